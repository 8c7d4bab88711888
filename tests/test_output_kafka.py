"""librdkafka's mock cluster, which speaks Kafka's protocol over TCP: every sample can be consumed, through its faults too."""

from __future__ import annotations

import contextlib
import ctypes
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import confluent_kafka
import pytest
import servers
from brokers import certificate, complaints, keeps_nothing_open, letters, same, survives
from roundtrip import Trip, batches

from adamas import Retry

PRODUCE, INIT_PRODUCER_ID = 0, 22
UNKNOWN_TOPIC, NOT_ENOUGH_REPLICAS, TOPIC_AUTHORIZATION, POLICY_VIOLATION = 3, 19, 29, 44


class Cluster:
    """A mock cluster whose brokers can be taken down, keep what they have, and can be made to refuse."""

    def __init__(self, brokers: int = 3) -> None:
        path = next((Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*"))
        self.library = ctypes.CDLL(str(path))
        for name in ("conf_new", "new", "mock_cluster_new"):
            getattr(self.library, f"rd_kafka_{name}").restype = ctypes.c_void_p
        self.library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        words = ctypes.create_string_buffer(512)
        conf = ctypes.c_void_p(self.library.rd_kafka_conf_new())
        self.library.rd_kafka_conf_set(conf, b"log_level", b"0", words, 512)
        self.handle = ctypes.c_void_p(self.library.rd_kafka_new(0, conf, words, 512))
        self.cluster = ctypes.c_void_p(self.library.rd_kafka_mock_cluster_new(self.handle, brokers))
        self.brokers = brokers
        self.address = self.library.rd_kafka_mock_cluster_bootstraps(self.cluster).decode().split(",")

    def topic(self, name: str, partitions: int = 4) -> None:
        assert self.library.rd_kafka_mock_topic_create(self.cluster, name.encode(), partitions, self.brokers) == 0

    def down(self) -> None:
        for broker in range(1, self.brokers + 1):
            assert self.library.rd_kafka_mock_broker_set_down(self.cluster, broker) == 0

    def up(self) -> None:
        for broker in range(1, self.brokers + 1):
            assert self.library.rd_kafka_mock_broker_set_up(self.cluster, broker) == 0

    def slow(self, milliseconds: int) -> None:
        for broker in range(1, self.brokers + 1):
            assert self.library.rd_kafka_mock_broker_set_rtt(self.cluster, broker, milliseconds) == 0

    def advertise(self, host: str, port: int | str) -> None:
        """Tell clients that the first broker is there."""
        name = ctypes.c_char_p(host.encode())
        assert self.library.rd_kafka_mock_broker_set_host_port(self.cluster, 1, name, int(port)) == 0

    def refuse(self, api: int, *errors: int) -> None:
        """Answer the next requests of a kind with these errors."""
        array = (ctypes.c_int * len(errors))(*errors)
        self.library.rd_kafka_mock_push_request_errors_array(
            self.cluster, ctypes.c_int16(api), ctypes.c_size_t(len(errors)), array
        )

    def unlearn(self, api: int) -> None:
        """No longer know a kind of request."""
        assert (
            self.library.rd_kafka_mock_set_apiversion(self.cluster, ctypes.c_int16(api), ctypes.c_int16(-1), ctypes.c_int16(-1))
            == 0
        )

    def records(self, topic: str = "metrics") -> list[tuple[bytes | None, int, bytes]]:
        """(key, partition, value) of every record of a topic."""
        consumer = confluent_kafka.Consumer({"bootstrap.servers": ",".join(self.address), "group.id": "test", "log_level": 0})
        found = []
        try:
            partitions = consumer.list_topics(topic, 10).topics[topic].partitions
            left = {}
            for partition in partitions:
                low, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, partition), 10)
                if high > low:
                    left[partition] = high
            consumer.assign([confluent_kafka.TopicPartition(topic, partition, 0) for partition in left])
            until = time.monotonic() + 20
            while left:
                assert time.monotonic() < until, left
                for record in consumer.consume(1000, 0.2):
                    assert not record.error(), record.error()
                    found.append((record.key(), record.partition(), record.value()))
                    if record.offset() + 1 >= left[record.partition()]:
                        del left[record.partition()]
        finally:
            consumer.close()
        return found

    def trip(self, folder: Path, **options: Any) -> Trip:
        return Trip(folder, "kafka", {"address": self.address, **options})

    def fail(self, topic: str, error: int) -> None:
        """Answer questions about a topic with an error."""
        self.library.rd_kafka_mock_topic_set_error(self.cluster, topic.encode(), ctypes.c_int(error))

    def end(self) -> None:
        self.library.rd_kafka_mock_cluster_destroy(self.cluster)
        self.library.rd_kafka_destroy(self.handle)


class TlsProxy:
    """Ends TLS and hands on what is in it to a port of this machine."""

    def __init__(self, behind: int, cert: Path, key: Path) -> None:
        self.behind = behind
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> TlsProxy:
        self.threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                raw, _ = self.listener.accept()
                self.threads.append(threading.Thread(target=self._serve, args=(raw,)))
                self.threads[-1].start()

    def _serve(self, raw: socket.socket) -> None:
        """One connection, both ways in one thread: only one may use a TLS socket at a time."""
        with contextlib.suppress(OSError), contextlib.closing(raw):
            raw.settimeout(5)
            front = self.context.wrap_socket(raw, server_side=True)
            with front, socket.create_connection(("127.0.0.1", self.behind)) as back:
                while True:
                    ready = [front] if front.pending() else select.select([front, back], [], [], 10)[0]
                    for one in ready:
                        data = one.recv(65536)
                        if not data:
                            return
                        (back if one is front else front).sendall(data)
                    if not ready:
                        return


@pytest.fixture
def kafka() -> Iterator[Cluster]:
    cluster = Cluster()
    cluster.topic("metrics")
    yield cluster
    cluster.end()


def test_every_sample_can_be_consumed(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path)
    sent = batches()
    trip.go(sent)
    found = kafka.records()
    assert 1 < len(found) < 20
    assert max(len(value) for _, _, value in found) <= 512 << 10
    assert {key for key, _, _ in found} == {b"h"}
    assert len({partition for _, partition, _ in found}) == 1
    assert same(trip, sent, [value for _, _, value in found]) == 0


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_a_record_for_each_sample(kafka: Cluster, tmp_path: Path, compression: str) -> None:
    kafka.topic("of-h")
    options = {"topic": "of-$host", "key": "$name", "messages": "point", "format": "graphite", "compression": compression}
    trip = kafka.trip(tmp_path, **options)
    sent = batches()
    ledger = trip.go(sent)
    found = kafka.records("of-h")
    assert len(found) == ledger["delivered"] > 9_900
    assert all(value.decode().partition(" ")[0].encode() == key for key, _, value in found)
    assert len({partition for _, partition, _ in found}) == 4
    assert len({(key, partition) for key, partition, _ in found}) == len({key for key, _, _ in found})
    assert same(trip, sent, [value for _, _, value in found], "graphite") == 0


def test_brokers_that_go_down_lose_nothing(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path, timeout="1s")
    sent = survives(trip, kafka.down, kafka.up)
    print(same(trip, sent, [value for _, _, value in kafka.records()]), "samples came twice")


def test_what_failed_is_not_sent_behind_the_agents_back(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path, timeout="1s")
    kafka.down()
    with pytest.raises(Retry, match=r"(?i)connect|disconnected|brokers are down"):
        trip.output.open()
        trip.output.send(trip.output.encode(batches(1)))
    kafka.up()
    time.sleep(2)  # time enough for a producer that had kept it
    assert kafka.records() == []
    sent = batches(1)
    trip.output.send(trip.output.encode(sent))
    trip.output.close()
    assert same(trip, sent, [value for _, _, value in kafka.records()]) == 0


def test_an_answer_that_comes_too_late_is_no_delivery(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path, timeout="1s")
    trip.output.open()
    trip.output.send(trip.output.encode(batches(1)))
    kafka.slow(3000)
    with pytest.raises(Retry):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()


@pytest.mark.parametrize("idempotence", [True, False])
def test_records_that_a_policy_forbids_are_told_and_kept(kafka: Cluster, tmp_path: Path, idempotence: bool) -> None:
    trip = kafka.trip(tmp_path, message_size="64KiB", idempotence=idempotence, key="")
    kafka.refuse(PRODUCE, POLICY_VIOLATION)
    sent = batches()
    ledger = trip.go(sent)
    taken = [value for _, _, value in kafka.records()]
    assert ledger["delivered"] > 0
    assert ledger["dropped"]["rejected"] > 0
    kept = letters(tmp_path)
    assert all("policy" in letter["reason"].lower() for letter in kept)
    assert sum(letter["points"] for letter in kept) == ledger["dropped"]["rejected"]
    assert same(trip, sent, [*taken, *[letter["text"].rstrip("\n").encode() for letter in kept]]) == 0


def test_replicas_that_are_missing_are_waited_for(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path, timeout="5s")
    kafka.refuse(PRODUCE, NOT_ENOUGH_REPLICAS, NOT_ENOUGH_REPLICAS)
    sent = batches(1)
    trip.go(sent)
    assert trip.sender.reconnects == 0
    assert same(trip, sent, [value for _, _, value in kafka.records()]) == 0


@pytest.mark.parametrize(
    ("error", "words"), [(UNKNOWN_TOPIC, "(?i)unknown topic"), (TOPIC_AUTHORIZATION, "(?i)authorization failed")]
)
def test_a_topic_that_is_not_there_is_told(kafka: Cluster, tmp_path: Path, error: int, words: str) -> None:
    kafka.fail("metrics", error)
    trip = kafka.trip(tmp_path)
    trip.output.open()
    began = time.monotonic()
    with pytest.raises(Retry, match=words):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()
    assert time.monotonic() - began < 5


def test_brokers_without_idempotence(kafka: Cluster, tmp_path: Path) -> None:
    kafka.unlearn(INIT_PRODUCER_ID)
    trip = kafka.trip(tmp_path, timeout="2s")
    sent = batches(2)
    trip.go(sent)
    assert trip.sender.reconnects == 1
    assert same(trip, sent, [value for _, _, value in kafka.records()]) == 0


def test_nobody_listens(tmp_path: Path) -> None:
    trip = Trip(tmp_path, "kafka", {"address": f"127.0.0.1:{servers.free_port()}", "timeout": "1s"})
    trip.output.open()
    began = time.monotonic()
    with pytest.raises(Retry, match=r"Connection refused|brokers are down"):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()
    assert time.monotonic() - began < 5


def test_nothing_stays_open(kafka: Cluster, tmp_path: Path) -> None:
    trip = kafka.trip(tmp_path, idempotence=False)  # with it a producer's first record takes half a second
    keeps_nothing_open(trip)


def test_tls(tmp_path: Path) -> None:
    """The mock cluster knows no TLS: a proxy in front of its only broker does."""
    cluster = Cluster(1)
    cluster.topic("metrics")
    with TlsProxy(int(cluster.address[0].rpartition(":")[2]), *certificate(tmp_path)) as proxy:
        cluster.advertise("localhost", proxy.port)
        options = {"address": f"localhost:{proxy.port}", "tls": True, "timeout": "5s"}
        trip = Trip(tmp_path, "kafka", {**options, "ca_file": str(tmp_path / "cert.pem")})
        sent = batches(2)
        trip.go(sent)
        stranger = Trip(tmp_path, "kafka", {**options, "timeout": "1s"})
        stranger.output.open()
        with pytest.raises(Retry, match="certificate"):
            stranger.output.send(stranger.output.encode(sent))
        stranger.output.close()
        cluster.advertise(*cluster.address[0].split(":"))
        assert same(trip, sent, [value for _, _, value in cluster.records()]) == 0
    cluster.end()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"topic": "t-$name"}, "topic: a topic for each series"),
        ({"topic": "größe"}, "topic: expected letters, digits"),
        ({"key": "$name"}, 'key: $name needs messages = "point"'),
        ({"server_name": "x"}, "server_name: librdkafka"),
        ({"username": "x"}, "username, password: one needs the other"),
        ({"address": ["one:two"]}, "address: expected a port"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str) -> None:
    assert words in complaints("kafka", options)
