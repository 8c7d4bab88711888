"""A real mosquitto, in both versions of the protocol: every sample reaches a subscriber, through the broker's death too."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import paho.mqtt.client
import pytest
import servers
from brokers import certificate, complaints, keeps_nothing_open, letters, same, survives
from roundtrip import Trip, batches

from adamas import Retry


class Mosquitto:
    """A mosquitto of the test's own, that keeps its port and what persistent sessions wait for."""

    def __init__(self, folder: Path, *settings: str, tls: bool = False) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port = servers.free_port()
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
        lines += ["user root", "max_queued_messages 0", *settings]
        if not any(line.startswith("password_file") for line in settings):
            lines.append("allow_anonymous true")
        if tls:
            cert, key = certificate(folder)
            lines += [f"certfile {cert}", f"keyfile {key}"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self.start()

    def start(self) -> None:
        argv = ["mosquitto", "-c", str(self.folder / "mosquitto.conf")]
        self.server = servers.start(argv, self.folder, lambda: servers.listens(self.port))

    @property
    def address(self) -> str:
        return f"localhost:{self.port}"

    @contextlib.contextmanager
    def subscriber(self, topics: str = "#", version: int = 4, **login: str) -> Iterator[list[tuple[str, bytes, bool]]]:
        """A list that grows by (topic, body, retained) of each message that a subscriber gets, through restarts of the broker."""
        found: list[tuple[str, bytes, bool]] = []
        ready = threading.Event()
        mqtt = paho.mqtt.client
        client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "subscriber", protocol=version, **({} if version == 5 else {"clean_session": False}))  # fmt: skip
        client.on_message = lambda client, data, message: found.append((message.topic, message.payload, message.retain))
        client.on_connect = lambda client, *rest: client.subscribe(topics, 1)
        client.on_subscribe = lambda *rest: ready.set()
        client.reconnect_delay_set(0.1, 0.5)
        if login:
            client.username_pw_set(**login)
        if (self.folder / "cert.pem").exists():
            client.tls_set(str(self.folder / "cert.pem"))
        client.connect("localhost", self.port)
        client.loop_start()
        assert ready.wait(10)
        try:
            yield found
        finally:
            client.disconnect()
            client.loop_stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Callable[..., Mosquitto]]:
    servers.require("mosquitto")
    running: list[Mosquitto] = []

    def begin(*settings: str, **how: Any) -> Mosquitto:
        running.append(Mosquitto(tmp_path / f"mosquitto{len(running)}", *settings, **how))
        return running[-1]

    yield begin
    for one in running:
        one.server.kill()


def arrived(found: list[tuple[str, bytes, bool]], count: int) -> list[bytes]:
    """The bodies, once there are so many."""
    servers.wait_until(lambda: len(found) >= count, 20, f"{count} messages")
    return [body for _, body, _ in found]


@pytest.mark.parametrize("version", ["3.1.1", "5"])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_every_sample_reaches_a_subscriber(mosquitto: Callable[..., Mosquitto], tmp_path: Path, version: str, qos: int) -> None:
    broker = mosquitto()
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "version": version, "qos": qos})
    sent = batches()
    with broker.subscriber() as found:
        began = time.monotonic()
        ledger = trip.go(sent)
        print(f"{ledger['delivered']} messages in {time.monotonic() - began:.2f} s")
        bodies = arrived(found, ledger["delivered"])
    assert len(bodies) == ledger["delivered"] > 9_900
    assert same(trip, sent, bodies) == 0
    assert {topic for topic, _, _ in found} == {name.replace(".", "/") for name, _ in trip.points(sent)}
    assert not any(retained for _, _, retained in found)
    assert "servers.h.mixed.0.plus_" in {name for name, _ in trip.points(sent)}


def test_many_samples_in_a_message(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto()
    options = {
        "address": broker.address,
        "topic": "metrics/$host",
        "messages": "batch",
        "message_size": "64KiB",
        "format": "influx",
    }
    trip = Trip(tmp_path, "mqtt", options)
    sent = batches()
    with broker.subscriber() as found:
        trip.go(sent)
        servers.wait_until(lambda: sum(body.count(b"\n") + 1 for _, body, _ in found) >= 9_950, 20)
    assert 5 < len(found) < 100
    assert {topic for topic, _, _ in found} == {"metrics/h"}
    assert same(trip, sent, [body for _, body, _ in found], "influx") == 0


def test_the_last_value_is_kept(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto()
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "retain": True, "format": "value"})
    sent = batches(3)
    trip.go(sent)
    points = trip.points(sent)
    with broker.subscriber() as found:
        arrived(found, len(points))
    assert all(retained for _, _, retained in found)
    last = {name.replace(".", "/"): list(times.values())[-1] for (name, _), times in points.items()}
    assert {topic: float(body) for topic, body, _ in found} == {
        topic: pytest.approx(value, rel=1e-11) for topic, value in last.items()
    }


@pytest.mark.parametrize("version", ["3.1.1", "5"])
def test_a_killed_broker_loses_nothing(mosquitto: Callable[..., Mosquitto], tmp_path: Path, version: str) -> None:
    """What the broker acknowledged and had not handed on yet would be its own loss: so it is killed when there is nothing of that."""
    broker = mosquitto()
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "version": version, "timeout": "2s"})
    with broker.subscriber() as found:
        broker.server.stop()
        broker.start()  # the subscriber's session is on its disk now

        def hang() -> None:
            servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == trip.sender.ledger.snapshot()["offered"], 20)
            arrived(found, trip.sender.ledger.snapshot()["delivered"])
            broker.server.signal(signal.SIGSTOP)  # what is sent from now on is not acknowledged

        def die() -> None:
            servers.wait_until(lambda: trip.sender.ledger.snapshot()["flight"], 10)
            broker.server.kill()

        sent = survives(trip, die, broker.start, hang)
        wanted = sum(len(times) for times in trip.points(sent).values())
        servers.wait_until(lambda: len({(topic, body) for topic, body, _ in found}) >= wanted, 30, f"{wanted} messages")
    print(same(trip, sent, [body for _, body, _ in found]), "samples came twice")


def test_a_broker_that_hangs_is_left(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto()
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "timeout": "1s"})
    trip.output.open()
    broker.server.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(Retry, match="no acknowledgement within 1 s"):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()
    with pytest.raises(Retry, match="did not answer within 1 s"):
        trip.output.open()
    trip.output.close()
    assert time.monotonic() - began < 8


def test_a_password_is_enough(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "agent", "open sesame"], check=True, timeout=10)
    broker = mosquitto(f"password_file {tmp_path}/users")
    login = {"username": "agent", "password": "open sesame"}
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, **login})
    sent = batches(2)
    with broker.subscriber(**login) as found:
        ledger = trip.go(sent)
        assert same(trip, sent, arrived(found, ledger["delivered"])) == 0


class Refusing:
    """A stub of a broker of version 5: it takes messages with QoS 1 whose topic has a certain part, and refuses the others."""

    def __init__(self, reason: int, part: bytes) -> None:
        self.reason, self.part = reason, part
        self.taken: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self._accept)

    def __enter__(self) -> Refusing:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                with connection, connection.makefile("rb") as stream:
                    self._serve(connection, stream)

    def _serve(self, connection: socket.socket, stream: BinaryIO) -> None:
        while head := stream.read(1):
            length = shift = 0
            while True:
                byte = stream.read(1)[0]
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            packet = stream.read(length)
            if head[0] >> 4 == 1:
                connection.sendall(b"\x20\x03\x00\x00\x00")
            elif head[0] == 0x32:
                end = 2 + int.from_bytes(packet[:2], "big")
                takes = self.part in packet[2:end]
                if takes:
                    self.taken.append(packet[end + 3 :])
                # the taken ones are "no matching subscribers", which is a success
                connection.sendall(b"\x40\x03" + packet[end : end + 2] + bytes([0x10 if takes else self.reason]))
            elif head[0] >> 4 == 14:
                return


@pytest.mark.parametrize(("reason", "words"), [(0x87, "Not authorized"), (0x99, "Payload format invalid")])
def test_messages_that_the_broker_refuses_are_told_and_kept(tmp_path: Path, reason: int, words: str) -> None:
    with Refusing(reason, b"/mixed/1/") as broker:
        trip = Trip(tmp_path, "mqtt", {"address": f"127.0.0.1:{broker.port}", "version": "5"})
        sent = batches(2)
        ledger = trip.go(sent)
    assert len(broker.taken) == ledger["delivered"] > 50
    assert ledger["dropped"] == {"rejected": ledger["offered"] - ledger["delivered"]}
    [letter] = letters(tmp_path)
    assert letter["reason"] == words
    kept = [line.partition("\t")[2].encode() for line in letter["text"].rstrip("\n").split("\n")]
    assert same(trip, sent, [*broker.taken, *kept]) == 0


def test_a_broker_that_refuses_everything_is_waited_for(tmp_path: Path) -> None:
    with Refusing(0x87, b"nothing") as broker:
        trip = Trip(tmp_path, "mqtt", {"address": f"127.0.0.1:{broker.port}", "version": "5"})
        trip.output.open()
        with pytest.raises(Retry, match="Not authorized"):
            trip.output.send(trip.output.encode(batches(1)))
        trip.output.close()


def test_what_is_too_large_for_the_broker_is_refused(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto("max_packet_size 200")
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "version": "5"})
    sent = batches(2)
    with broker.subscriber() as found:
        ledger = trip.go(sent)
        bodies = arrived(found, ledger["delivered"])
    assert 0 < ledger["dropped"]["rejected"] < 100
    [letter] = letters(tmp_path)
    assert letter["reason"] == "larger than the 200 bytes that the broker takes"
    kept = [line.partition("\t")[2].encode() for line in letter["text"].rstrip("\n").split("\n")]
    assert same(trip, sent, [*bodies, *kept]) == 0


@pytest.mark.parametrize(("version", "words"), [("3.1.1", "(?i)not authorized|bad user"), ("5", "(?i)not authorized|bad user")])
def test_a_wrong_password_is_told(mosquitto: Callable[..., Mosquitto], tmp_path: Path, version: str, words: str) -> None:
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(tmp_path / "users"), "agent", "open sesame"], check=True, timeout=10)
    broker = mosquitto(f"password_file {tmp_path}/users")
    trip = Trip(tmp_path, "mqtt", {"address": broker.address, "version": version, "username": "agent", "password": "wrong"})
    with pytest.raises(Retry, match=words):
        trip.output.open()
    trip.output.close()


def test_what_the_broker_allows_is_kept_to(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto("max_inflight_messages 3", "max_qos 1", "retain_available false")
    options = {"address": broker.address, "version": "5", "max_inflight": 1000}
    trip = Trip(tmp_path, "mqtt", options)
    sent = batches(2)
    ledger = trip.go(sent)
    assert trip.output._window == 3
    assert ledger["delivered"] == ledger["offered"]
    assert trip.sender.reconnects == 0
    for more, words in (({"qos": 2}, "takes QoS 1 at most"), ({"retain": True}, "retain = false")):
        demanding = Trip(tmp_path, "mqtt", {**options, **more})
        with pytest.raises(Retry, match=words):
            demanding.output.open()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto(tls=True)
    options = {"address": broker.address, "tls": True}
    trip = Trip(tmp_path, "mqtt", {**options, "ca_file": str(broker.folder / "cert.pem")})
    sent = batches(2)
    with broker.subscriber() as found:
        ledger = trip.go(sent)
        assert same(trip, sent, arrived(found, ledger["delivered"])) == 0
    stranger = Trip(tmp_path, "mqtt", options)  # where this fails paho leaves the socket to the garbage: hence the mark above
    with pytest.raises(OSError, match="certificate"):
        stranger.output.open()


def test_nothing_stays_open(mosquitto: Callable[..., Mosquitto], tmp_path: Path) -> None:
    broker = mosquitto()
    trip = Trip(tmp_path, "mqtt", {"address": broker.address})
    keeps_nothing_open(trip)
    keeps_nothing_open(Trip(tmp_path, "mqtt", {"address": f"127.0.0.1:{servers.free_port()}"}), ConnectionRefusedError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"messages": "batch"}, 'topic: $name needs messages = "point"'),
        ({"topic": "a/#", "messages": "batch"}, "topic: expected one to publish to"),
        ({"format": "value", "naming": "prometheus"}, 'format: "value" says no labels'),
        ({"server_name": "x"}, "server_name: paho"),
        ({"password": "x"}, "password: needs a username"),
        ({"address": "one:two"}, "address: expected a port"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str) -> None:
    assert words in complaints("mqtt", options)
