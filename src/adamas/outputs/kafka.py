"""Samples as records in a topic of Kafka, by librdkafka.

A send is over when every record is on all replicas that are in sync (acks=all). Where the brokers know idempotent producers
(Kafka 0.11 and later) a record that librdkafka sends again is stored once; brokers that do not are found out and written to
without. What is not confirmed within `timeout` is taken back from librdkafka and waits here: nothing that counted as failed is
sent behind the agent's back. It is sent again then, and consumers may see it twice where only its confirmation was lost.

Records of one host have one key, so that they stay in order in one partition; `key` may be another, or the point's name.

Tested against librdkafka's own mock cluster, which speaks the protocol over TCP and TLS, not against a real broker; logging in
(SASL) is librdkafka's and not tested here. Sources:
https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md,
https://github.com/confluentinc/librdkafka/blob/master/INTRODUCTION.md,
https://kafka.apache.org/protocol.html#protocol_error_codes.
"""

from __future__ import annotations

import os
import re
import time
from importlib import import_module

from adamas import Retry, Secret, log, option
from adamas.messages import Message, Messages, misplaced

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NEVER = ("MSG_SIZE_TOO_LARGE", "INVALID_MSG", "INVALID_MSG_SIZE", "INVALID_RECORD", "POLICY_VIOLATION", "INVALID_TIMESTAMP")
"""Errors of a record that the broker will not take however often it is sent."""
NOT_TOPIC = re.compile(r"[^a-zA-Z0-9._-]")
IDEMPOTENCE = ("_UNSUPPORTED_FEATURE", "UNSUPPORTED_VERSION", "CLUSTER_AUTHORIZATION_FAILED")
"""Errors of brokers that know no idempotent producers, or let us be none."""
WORDLESS = ("_MSG_TIMED_OUT", "_PURGE_QUEUE", "_PURGE_INFLIGHT", "_FATAL")
"""Errors of a record that do not say why: the trouble with the brokers does."""
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


class Kafka(Messages):
    """Produces records, each with as many points as fit unless `messages` says otherwise, and waits for their delivery reports.

    The topic must exist, unless the brokers make topics by themselves.
    """

    name = "kafka"
    default_naming = "path"
    modules = ("confluent_kafka",)
    extra = "kafka"
    route = "key"

    address: list[str] = option(["127.0.0.1:9092"], "Brokers to ask for the others: host, or host:port")
    topic: str = option("metrics", "The topic; $host stands for this host's name")
    key: str = option("$host", "The records' key; $host and $name stand for this host and the point's name")
    compression: str = option("lz4", "How batches are compressed", choices=("none", "gzip", "snappy", "lz4", "zstd"))
    idempotence: bool = option(True, "Have the broker store once what is sent again, where it can")
    username: str = option("", "The name to log in with (SASL)")
    password: Secret = option("", "The password")
    mechanism: str = option("SCRAM-SHA-512", "How to log in", choices=MECHANISMS)
    tls: bool = option(False, "Encrypt the connections")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._producer: Any = None
        self._plain = not self.idempotence
        self._failed: list[tuple[str, str, Message]] = []
        self._open = 0
        self._trouble = ""

    def check(self) -> list[str]:
        """Each address must be one, and the topic is the same for all points."""
        wrong = [*super().check(), *misplaced(self.address, 9092)]
        if "$name" in self.topic:
            wrong.append('topic: a topic for each series is more than Kafka bears; use key = "$name"')
        elif not 0 < len(self._topic()) < 250 or NOT_TOPIC.search(self._topic()):
            wrong.append(f"topic: expected letters, digits, dots, dashes and underscores, not {self.topic!r}")
        if self.server_name:
            wrong.append("server_name: librdkafka compares with the broker's own name only")
        if bool(self.username) != bool(self.password):
            wrong.append("username, password: one needs the other")
        return wrong

    def _templates(self) -> tuple[str, ...]:
        return ("topic", "key")

    def _topic(self) -> str:
        return self.topic.replace("$host", NOT_TOPIC.sub("_", self.host()))

    def _settings(self) -> dict[str, object]:
        security = ("SASL_" if self.username else "") + ("SSL" if self.tls else "PLAINTEXT")
        settings: dict[str, object] = {
            "bootstrap.servers": ",".join(self.address),
            "client.id": f"adamas-{self.host()}",
            "security.protocol": security,
            "acks": "all",
            "enable.idempotence": not self._plain,
            "compression.type": self.compression,
            "message.timeout.ms": max(1000, int(self.timeout * 1000)),
            "request.timeout.ms": max(1000, int(self.timeout * 1000)),
            "socket.timeout.ms": max(1000, int(self.timeout * 1000)),
            "socket.keepalive.enable": True,
            "topic.metadata.propagation.max.ms": 0,
            "reconnect.backoff.max.ms": 1000,
            "linger.ms": 5,
            "queue.buffering.max.messages": 100_000,
            "queue.buffering.max.kbytes": 65_536,
            "log_level": 0,
            "logger": _silence(),
            "error_cb": self._is_troubled,
        }
        if self.username:
            settings |= {
                "sasl.mechanism": self.mechanism,
                "sasl.username": self.username,
                "sasl.password": str(self.password),
            }
        if self.tls:
            files = {"ca": self.ca_file, "certificate": self.cert_file, "key": self.key_file or self.cert_file}
            settings |= {f"ssl.{what}.location": os.path.expanduser(path) for what, path in files.items() if path}
            settings["enable.ssl.certificate.verification"] = self.verify
        return settings

    def open(self) -> None:
        """Make the producer, if there is none; it connects by itself. Retry where it cannot be made."""
        if self._producer is not None:
            return
        library: Any = import_module("confluent_kafka")
        self._trouble = ""
        try:
            self._producer = library.Producer(self._settings())
        except library.KafkaException as error:
            raise Retry(error.args[0].str()) from None

    def send(self, payload: bytes) -> None:
        """Produce everything and wait until each record is confirmed or failed."""
        library: Any = import_module("confluent_kafka")
        topic, key = self._topic(), self.destination()
        self._failed, self._open = [], 0
        until = time.monotonic() + self.timeout
        try:
            for message in self.split(payload):
                self._produce(library, topic, message.address or key, message, until)
            while self._open and (left := until - time.monotonic()) > 0:
                self._producer.poll(min(left, 1.0))
        except library.KafkaException as error:  # the producer can do nothing more
            self._is_troubled(error.args[0])
            raise Retry(self._trouble) from None
        if self._open:
            self._take_back()
        never = [(words, message) for name, words, message in self._failed if name in NEVER]
        if len(never) < len(self._failed):
            raise self._not_now(next((name, words) for name, words, _ in self._failed if name not in NEVER))
        self.refuse([message for _, message in never], never[0][0] if never else "")

    def _produce(self, library: Any, topic: str, key: str, message: Message, until: float) -> None:
        def reported(error: Any, record: object) -> None:
            self._open -= 1
            if error is not None:
                self._failed.append((error.name(), error.str(), message))

        while True:
            try:
                self._producer.produce(topic, message.body, key or None, on_delivery=reported)
            except BufferError:
                if time.monotonic() > until:
                    self._take_back()
                    raise Retry(self._trouble or f"the brokers took nothing for {self.timeout:g} s") from None
                self._producer.poll(0.1)
            except library.KafkaException as error:
                self._failed.append((error.args[0].name(), error.args[0].str(), message))
                return
            else:
                self._open += 1
                return

    def _take_back(self) -> None:
        """Have librdkafka forget what it has not delivered."""
        self._producer.purge()
        self._producer.flush(1.0)

    def _not_now(self, failed: tuple[str, str]) -> Retry:
        """What went wrong, in the words of who knows most."""
        name, words = failed
        return Retry(self._trouble if name in WORDLESS and self._trouble else words)

    def _is_troubled(self, error: Any) -> None:
        """What librdkafka says of its connections and of itself."""
        if error.name() != "_ALL_BROKERS_DOWN" or not self._trouble:  # that one says less than what led to it
            self._trouble = error.str()
        if not self._plain and error.name() in IDEMPOTENCE:
            self._plain = True  # the next producer
            log.warning(self.instance, f"goes on without idempotence: {error.str()}")

    def close(self) -> None:
        """Take back what is not delivered, and end the producer and its threads."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.purge()
            producer.flush(1.0)
            producer.close()


def _silence() -> Any:
    """A log that nobody reads: librdkafka would write to standard error, and what matters comes as an error, too."""
    import logging

    log = logging.getLogger("adamas.outputs.kafka")
    if not log.handlers:
        log.addHandler(logging.NullHandler())
        log.propagate = False
    return log
