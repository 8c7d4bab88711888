"""Samples as messages to an MQTT broker, in version 3.1.1 or 5 of the protocol.

With QoS 1 or 2 a send is over when the broker acknowledged every message; what it did not is sent again on a new connection, so
that subscribers may see it twice (with QoS 2, too: the session ends with its connection). With QoS 0 there is no answer: what was
handed to the kernel counts as delivered, and is lost where the connection breaks. Version 5 says which messages the broker
refuses; in version 3.1.1 most brokers acknowledge what their access list forbids and throw it away.

A topic is the point's name with / between its parts; + and # become _, and names that would meet are kept apart. A message costs
the library some 80 us: with thousands of points a second take one topic and messages = "batch".

Tested against mosquitto 2.0 in both versions, with a password, TLS, and killed in the middle; refusals of single
messages against a stub, as that mosquitto closes the connection instead.
Sources: https://docs.oasis-open.org/mqtt/mqtt/v3.1.1/mqtt-v3.1.1.html, https://docs.oasis-open.org/mqtt/mqtt/v5.0/mqtt-v5.0.html,
https://eclipse.dev/paho/files/paho.mqtt.python/html/client.html.
"""

from __future__ import annotations

import re
import socket
import threading
from importlib import import_module
from itertools import islice

from adamas import Duration, Retry, Secret, log, option
from adamas.host import split_address
from adamas.messages import Message, Messages, misplaced, sharing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

VERSIONS = ("3.1.1", "5")
PIECE = 5000
"""Messages that are handed to the library at a time: their numbers have 16 bits."""
PARTING = 1.0
"""Seconds that saying goodbye may take."""
LARGEST = (1 << 28) - 1
"""The most bytes that a packet can have."""
HEAD = 16
"""Bytes of a packet beside its topic and its payload, at most."""
NEVER = (0x95, 0x90, 0x99)
"""Reasons that lie in the message: its size, its topic, its payload."""
SOME = (0x87, 0x92)
"""Reasons that lie in the message where others are taken: not authorized, and what follows it in QoS 2."""


class Mqtt(Messages):
    """Publishes every point under its own topic, or many of them under one, and waits for the acknowledgements."""

    name = "mqtt"
    default_naming = "path"
    modules = ("paho.mqtt.client",)
    extra = "mqtt"
    route = "topic"
    hostile = re.compile(r"[+#/\x00-\x1f\x7f-\x9f]|^\$")
    separator = "/"
    longest = 65535

    address: str = option("127.0.0.1", "Where the broker listens: host, or host:port")
    version: str = option("3.1.1", "The version of the protocol", choices=VERSIONS)
    client_id: str = option(
        "", "What the client calls itself, each once at a broker (default: adamas, this host and this output)"
    )
    username: str = option("", "The name to log in with")
    password: Secret = option("", "The password")
    tls: bool = option(False, "Encrypt the connection")
    topic: str = option("$name", "The topic; $host and $name stand for this host and the point's name")
    qos: int = option(1, "0: sent once, 1: acknowledged, 2: acknowledged and stored once", minimum=0, maximum=2)
    retain: bool = option(False, "The broker keeps the last message of each topic for those who subscribe later")
    max_inflight: int = option(20, "The most messages that wait for their acknowledgement", minimum=1, maximum=65535)
    keepalive: Duration = option("60s", "How often the client shows that it is there", minimum=5)
    messages: str = sharing("point")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._client: Any = None
        self._change = threading.Condition()
        self._answer: tuple[int, str, dict[str, int]] | None = None
        self._gone = ""
        self._left = 0
        self._refused: dict[int, tuple[int, str]] = {}
        self._window = self.max_inflight

    def check(self) -> list[str]:
        """The address must be one, and the topic none to subscribe to."""
        wrong = [*super().check(), *misplaced([self.address], 1883)]
        if not self.topic or "+" in self.topic or "#" in self.topic:
            wrong.append(f"topic: expected one to publish to, not {self.topic!r}")
        if self.server_name:
            wrong.append("server_name: paho compares with the address's host only")
        if self.password and not self.username:
            wrong.append("password: needs a username")
        return wrong

    def open(self) -> None:
        """Connect and log in, if there is no connection; OSError or Retry where that cannot be."""
        if self._client is not None and not self._gone:
            return
        self.close()
        try:
            self._connect()
            if self._answer is not None and self._answer[2].get("ReceiveMaximum", 65535) < self._window:
                self._window = self._answer[2]["ReceiveMaximum"]
                self.close()
                self._connect()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> None:
        mqtt: Any = import_module("paho.mqtt.client")
        self._answer, self._gone = None, ""
        client = self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            self.client_id or f"adamas-{self.host()}" + (f"-{self.instance}" if self.instance != self.name else ""),
            protocol=mqtt.MQTTv5 if self.version == "5" else mqtt.MQTTv311,
            reconnect_on_failure=False,
        )
        client.on_connect, client.on_disconnect, client.on_publish = self._connected, self._disconnected, self._published
        client.max_inflight_messages_set(self._window)
        client.connect_timeout = self.timeout
        if self.username:
            client.username_pw_set(self.username, str(self.password) or None)
        if self.tls:
            client.tls_set_context(self.context())
        host, port = split_address(self.address, 8883 if self.tls else 1883)
        client.connect(host, port, int(self.keepalive))
        client.loop_start()
        with self._change:
            if not self._change.wait_for(lambda: self._answer or self._gone, self.timeout):
                raise Retry(f"the broker did not answer within {self.timeout:g} s")
        if self._answer is None:
            raise Retry(f"the broker closed the connection: {self._gone}")
        code, words, allowed = self._answer
        if code:
            raise Retry(f"the broker refuses the connection: {words}")
        if self.qos > allowed.get("MaximumQoS", 2):
            raise Retry(f"the broker takes QoS {allowed['MaximumQoS']} at most")
        if self.retain and not allowed.get("RetainAvailable", 1):
            raise Retry("the broker keeps no messages: retain = false")

    def send(self, payload: bytes) -> None:
        """Publish everything and wait until each message is acknowledged."""
        refused: list[tuple[int, str, Message]] = []
        messages = self.split(payload)
        count = 0
        while piece := list(islice(messages, PIECE)):
            count += len(piece)
            refused += self._publish(piece)
        later = [words for code, words, _ in refused if code not in NEVER and (code not in SOME or len(refused) == count)]
        if later:
            raise Retry(f"the broker refuses messages: {later[0]}")
        self.refuse([message for _, _, message in refused], refused[0][1] if refused else "")

    def _publish(self, messages: list[Message]) -> list[tuple[int, str, Message]]:
        """Publish these; returns those that the broker refuses, and why."""
        topic = self.destination()
        assert self._answer is not None
        most = self._answer[2].get("MaximumPacketSize", LARGEST) - HEAD
        refused, numbers = [], {}
        with self._change:
            self._left = len(messages)
            self._refused = {}
        for message in messages:
            where = message.address or topic
            if len(where.encode()) + len(message.body) > most:
                refused.append((NEVER[0], f"larger than the {most + HEAD} bytes that the broker takes", message))
                with self._change:
                    self._left -= 1
                continue
            info = self._client.publish(where, message.body, self.qos, self.retain)
            if info.rc:
                raise Retry(self._gone or f"the message was not sent ({info.rc.name})")
            numbers[info.mid] = message
        with self._change:
            while left := self._left:
                self._change.wait_for(lambda: self._gone or not self._left, self.timeout)
                if self._gone:
                    raise Retry(self._gone)
                if self._left == left:
                    raise Retry(f"no acknowledgement within {self.timeout:g} s")
        return refused + [(code, words, numbers[number]) for number, (code, words) in self._refused.items()]

    def _connected(self, client: object, data: object, flags: object, reason: Any, properties: Any) -> None:
        names = ("ReceiveMaximum", "MaximumQoS", "RetainAvailable", "MaximumPacketSize")
        allowed = {name: getattr(properties, name) for name in names if hasattr(properties, name)}
        with self._change:
            self._answer = (reason.value if reason.is_failure else 0, str(reason), allowed)
            self._change.notify_all()

    def _disconnected(self, client: object, data: object, flags: object, reason: Any, properties: object) -> None:
        if client is self._client:
            with self._change:
                self._gone = f"the connection ended: {reason}"
                self._change.notify_all()

    def _published(self, client: object, data: object, number: int, reason: Any, properties: object) -> None:
        """A message is acknowledged, or refused; with QoS 0 it is written."""
        with self._change:
            self._left -= 1
            if reason.is_failure:
                self._refused[number] = (reason.value, str(reason))
            if not self._left:
                self._change.notify_all()

    def close(self) -> None:
        """Say goodbye where that is possible at once, and end the library's thread."""
        client = self._client
        if client is None:
            return
        there = client.is_connected()
        client.disconnect()
        with self._change:
            self._change.wait_for(lambda: self._gone, PARTING if there else 0)
        self._client = None
        if (sock := client.socket()) is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)  # its thread goes on as long as something is not acknowledged
            except OSError as error:
                log.debug(self.instance, f"closing: {error!r}")
        client.loop_stop()
