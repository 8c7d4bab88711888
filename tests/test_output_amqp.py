"""A real RabbitMQ: every sample comes out of its queues, through its death too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pika
import pytest
import servers
from brokers import certificate, complaints, keeps_nothing_open, letters, same, survives
from roundtrip import Trip, batches

from adamas import Retry

LOGIN = {"username": "agent", "password": "open sesame"}


class Rabbit:
    """A RabbitMQ of the test's own, with an epmd of its own, that keeps its ports and its files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.tls_port, dist, epmd = (servers.free_port() for _ in range(4))
        self.cert, key = certificate(folder)
        (folder / "rabbit.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.port}\nlisteners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.certfile = {self.cert}\nssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
            f"default_user = {LOGIN['username']}\ndefault_pass = {LOGIN['password']}\nlog.console = true\nlog.console.level = error\n"
        )
        (folder / "plugins").write_text("[].\n")
        self.env = {
            "HOME": str(folder),
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbit.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_DIST_PORT": str(dist),
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "ERL_EPMD_PORT": str(epmd),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
        }
        self.epmd = servers.start(["epmd"], folder, lambda: servers.listens(epmd), env=self.env)
        self.start()

    def start(self) -> None:
        began = time.monotonic()
        argv = ["/usr/lib/rabbitmq/bin/rabbitmq-server"]
        self.server = servers.start(argv, self.folder, lambda: self.connect().close() is None, env=self.env, timeout=90)
        print(f"RabbitMQ took {time.monotonic() - began:.1f} s to start")

    def connect(self) -> Any:
        login = pika.PlainCredentials(LOGIN["username"], LOGIN["password"])
        return pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", self.port, credentials=login))

    @contextlib.contextmanager
    def channel(self) -> Iterator[Any]:
        connection = self.connect()
        try:
            yield connection.channel()
        finally:
            connection.close()

    def take(self, queue: str) -> list[tuple[str, Any, bytes]]:
        """(routing key, properties, body) of all that is in a queue; they are gone from it then."""
        found = []
        with self.channel() as channel:
            while True:
                method, properties, body = channel.basic_get(queue, auto_ack=True)
                if method is None:
                    return found
                found.append((method.routing_key, properties, body))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def trip(self, folder: Path, **options: Any) -> Trip:
        return Trip(folder, "amqp", {"address": self.address, **LOGIN, **options})


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rabbit]:
    servers.require("rabbitmq-server", "epmd")
    running = Rabbit(tmp_path_factory.mktemp("rabbit"))
    yield running
    running.server.kill()
    running.epmd.kill()


def test_every_sample_comes_out_of_the_queue(rabbit: Rabbit, tmp_path: Path) -> None:
    trip = rabbit.trip(tmp_path, exchange="all", queue="all")
    sent = batches()
    trip.go(sent)
    found = rabbit.take("all")
    assert len(found) < 10
    assert {key for key, _, _ in found} == {"metrics.h"}
    assert {(p.content_type, p.delivery_mode, p.app_id) for _, p, _ in found} == {("application/x-ndjson", 2, "adamas")}
    assert same(trip, sent, [body for _, _, body in found]) == 0


def test_a_message_for_each_sample_under_its_name(rabbit: Rabbit, tmp_path: Path) -> None:
    trip = rabbit.trip(tmp_path, exchange="one", queue="one", messages="point", routing_key="$name", format="graphite")
    sent = batches()
    began = time.monotonic()
    ledger = trip.go(sent)
    print(f"{ledger['delivered']} messages in {time.monotonic() - began:.2f} s")
    found = rabbit.take("one")
    assert len(found) == ledger["delivered"]
    assert all(body.decode().split(" ")[0] == key and len(key.encode()) <= 255 for key, _, body in found)
    assert len({key for key, _, _ in found}) == len(trip.points(sent))
    assert same(trip, sent, [body for _, _, body in found], "graphite") == 0


def test_what_no_queue_takes_is_refused(rabbit: Rabbit, tmp_path: Path) -> None:
    """A queue takes some of the routing keys; the messages of the others come back."""
    with rabbit.channel() as channel:
        channel.exchange_declare("some", "topic", durable=True)
        channel.queue_declare("some", durable=True)
        channel.queue_bind("some", "some", "servers.h.mixed.1.#")
    trip = rabbit.trip(tmp_path, exchange="some", messages="point", routing_key="$name")
    sent = batches(2)
    ledger = trip.go(sent)
    taken = [body for _, _, body in rabbit.take("some")]
    assert len(taken) == ledger["delivered"] > 50
    assert ledger["dropped"] == {"rejected": ledger["offered"] - len(taken)}
    [letter] = letters(tmp_path)
    assert "312 NO_ROUTE" in letter["reason"]
    kept = letter["text"].rstrip("\n").split("\n")
    assert same(trip, sent, [*taken, *[line.partition("\t")[2].encode() for line in kept]]) == 0
    anyhow = rabbit.trip(tmp_path / "b", exchange="some", messages="point", routing_key="$name", mandatory=False)
    assert anyhow.go(batches(1))["dropped"] == {}


def test_a_full_queue_is_waited_for(rabbit: Rabbit, tmp_path: Path) -> None:
    with rabbit.channel() as channel:
        channel.exchange_declare("full", "topic", durable=True)
        channel.queue_declare("full", durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
        channel.queue_bind("full", "full", "#")
        channel.basic_publish("full", "x", b"in the way")
    trip = rabbit.trip(tmp_path, exchange="full")
    sent = batches(1)
    trip.sender.start()
    trip.sender.offer(sent[0])
    trip.sender.ring()
    servers.wait_until(lambda: "is a queue full?" in trip.sender.error, 10)
    with rabbit.channel() as channel:
        channel.queue_purge("full")
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"], 20)
    trip.sender.stop(0)
    trip.sender.join(2)
    assert same(trip, sent, [body for _, _, body in rabbit.take("full")]) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"password": "wrong"}, "ACCESS_REFUSED"),
        ({"declare": False, "exchange": "there is none"}, "NOT_FOUND - no exchange"),
        ({"exchange": "amq.direct", "exchange_type": "topic"}, "PRECONDITION_FAILED"),
        ({"vhost": "nowhere"}, "vhost nowhere not found"),
    ],
)
def test_what_the_broker_says_is_told(rabbit: Rabbit, tmp_path: Path, options: dict[str, Any], words: str) -> None:
    trip = rabbit.trip(tmp_path, **options)
    with pytest.raises(Retry, match=words):
        trip.output.open()
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()


def test_a_connection_that_was_ended_is_made_anew(rabbit: Rabbit, tmp_path: Path) -> None:
    """Nobody tends the connection while there is nothing to send: with the shortest heartbeat the broker gives it up soon."""
    trip = rabbit.trip(tmp_path, exchange="beat", queue="beat", heartbeat="1s")
    payload = trip.output.encode(batches(1))
    trip.output.open()
    first = trip.output._connection
    trip.output.send(payload)

    def given_up() -> bool:
        trip.output.open()
        return trip.output._connection is not first

    time.sleep(4)
    servers.wait_until(given_up, 10)
    trip.output.send(payload)
    trip.output.close()
    assert sum(body.count(b"\n") + 1 for _, _, body in rabbit.take("beat")) == 2 * payload.count(b"\n")


def test_tls(rabbit: Rabbit, tmp_path: Path) -> None:
    options = {"address": f"127.0.0.1:{rabbit.tls_port}", "tls": True, "ca_file": str(rabbit.cert), "server_name": "localhost"}
    trip = rabbit.trip(tmp_path, exchange="tls", queue="tls", **options)
    sent = batches(2)
    trip.go(sent)
    assert same(trip, sent, [body for _, _, body in rabbit.take("tls")]) == 0
    stranger = rabbit.trip(tmp_path, **{**options, "ca_file": ""})
    with pytest.raises((Retry, OSError), match="certificate verify failed"):
        stranger.output.open()
    stranger.output.close()


def test_the_first_address_that_answers(rabbit: Rabbit, tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{servers.free_port()}"
    trip = rabbit.trip(tmp_path, exchange="", routing_key="first", queue="first", address=[nobody, rabbit.address])
    sent = batches(1)
    trip.go(sent)
    assert same(trip, sent, [body for _, _, body in rabbit.take("first")]) == 0
    assert trip.sender.reconnects == 0


def test_nothing_stays_open(rabbit: Rabbit, tmp_path: Path) -> None:
    trip = rabbit.trip(tmp_path, exchange="leaks", queue="leaks")
    keeps_nothing_open(trip)
    keeps_nothing_open(Trip(tmp_path, "amqp", {"address": f"127.0.0.1:{servers.free_port()}"}), Retry)


@pytest.mark.soak
def test_a_killed_broker_loses_nothing(rabbit: Rabbit, tmp_path: Path) -> None:
    trip = rabbit.trip(tmp_path, exchange="killed", queue="killed")
    sent = survives(trip, rabbit.server.kill, rabbit.start)
    print(same(trip, sent, [body for _, _, body in rabbit.take("killed")]), "samples came twice")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"routing_key": "$name"}, 'routing_key: $name needs messages = "point"'),
        ({"routing_key": "$name", "messages": "point", "exchange_type": "direct", "queue": "q"}, "bind the queue yourself"),
        ({"address": ["one:two"]}, "address: expected a port"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str) -> None:
    assert words in complaints("amqp", options)
