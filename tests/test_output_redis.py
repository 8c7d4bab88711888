"""Streams of a real Redis: every sample is in them, through its faults too."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from brokers import certificate, complaints, keeps_nothing_open, letters, same, survives
from roundtrip import Trip, batches

from adamas import Retry


class Redis:
    """A redis-server of the test's own, that keeps its port and its files."""

    def __init__(self, folder: Path, *more: str, password: str = "", tls: tuple[Path, Path] | None = None) -> None:
        self.folder, self.more, self.password, self.tls = folder, more, password, tls
        self.port = servers.free_port()
        self.start()

    def start(self) -> None:
        ports = ["--port", str(self.port)]
        if self.tls:
            ports = [
                "--port",
                "0",
                "--tls-port",
                str(self.port),
                "--tls-cert-file",
                str(self.tls[0]),
                "--tls-key-file",
                str(self.tls[1]),
            ]
            ports += ["--tls-ca-cert-file", str(self.tls[0]), "--tls-auth-clients", "no"]
        argv = ["redis-server", *ports, "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), *self.more]
        if self.password:
            argv += ["--requirepass", self.password]
        self.server = servers.start(argv, self.folder, lambda: self.ask("PING") == "PONG")

    def ask(self, *words: str, database: int = 0) -> Any:
        argv = ["redis-cli", "-h", "localhost", "-p", str(self.port), "-n", str(database), "--json", *words]
        if self.tls:
            argv[1:1] = ["--tls", "--cacert", str(self.tls[0])]
        env = {**os.environ, **({"REDISCLI_AUTH": self.password} if self.password else {})}
        done = subprocess.run(argv, env=env, capture_output=True, check=True, timeout=10)
        return json.loads(done.stdout)

    def bodies(self, stream: str = "metrics", field: str = "body", database: int = 0) -> list[bytes]:
        entries = self.ask("XRANGE", stream, "-", "+", database=database)
        assert all(len(pairs) == 2 and pairs[0] == field for _, pairs in entries)
        return [pairs[1].encode() for _, pairs in entries]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    servers.require("redis-server", "redis-cli")
    running: list[Redis] = []

    def begin(*more: str, **how: Any) -> Redis:
        running.append(Redis(tmp_path / f"redis{len(running)}", *more, **how))
        return running[-1]

    yield begin
    for one in running:
        one.server.kill()


def test_every_sample_is_an_entry(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis(password="open sesame")
    options = {"address": server.address, "password": "open sesame", "database": 3, "stream": "m:$host", "field": "sample"}
    trip = Trip(tmp_path, "redis", options)
    sent = batches()
    ledger = trip.go(sent)
    bodies = server.bodies("m:h", "sample", 3)
    assert len(bodies) == ledger["delivered"] == ledger["offered"] > 9_900
    assert same(trip, sent, bodies) == 0


@pytest.mark.parametrize("format", ["json", "graphite", "influx"])
@pytest.mark.parametrize("naming", ["path", "prometheus"])
def test_many_samples_in_an_entry(redis: Callable[..., Redis], tmp_path: Path, format: str, naming: str) -> None:
    server = redis()
    options = {"address": server.address, "messages": "batch", "message_size": "64KiB", "format": format, "naming": naming}
    trip = Trip(tmp_path, "redis", options)
    sent = batches()
    trip.go(sent)
    bodies = server.bodies()
    assert 5 < len(bodies) < 100
    assert max(map(len, bodies)) <= 65536
    assert same(trip, sent, bodies, format) == 0
    assert not trip.output.lines.unfit


def test_a_stream_for_each_series(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    trip = Trip(tmp_path, "redis", {"address": server.address, "stream": "s:$name", "format": "value_time"})
    sent = batches()
    trip.go(sent)
    keys = {f"s:{name}": times for (name, _), times in trip.points(sent).items()}
    assert set(server.ask("KEYS", "*")) == set(keys)
    for key, times in list(keys.items())[::37]:
        found = [body.decode().split(" ") for body in server.bodies(key)]
        assert [(float(value), float(stamp)) for value, stamp in found] == [
            (pytest.approx(value, rel=1e-11), stamp) for stamp, value in times.items()
        ]


def test_a_stream_stays_short(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    Trip(tmp_path, "redis", {"address": server.address, "maxlen": 500}).go(batches())
    assert 500 <= server.ask("XLEN", "metrics") < 1000


def test_a_killed_server_loses_nothing(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis("--appendonly", "yes", "--appendfsync", "always")
    trip = Trip(tmp_path, "redis", {"address": server.address, "maxlen": 0})
    sent = survives(trip, server.server.kill, server.start)
    print(same(trip, sent, server.bodies()), "entries came twice")


def test_an_ended_connection_is_made_anew_before_it_is_used(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    trip = Trip(tmp_path, "redis", {"address": server.address})
    payload = trip.output.encode(batches(1))
    trip.output.open()
    trip.output.send(payload)
    server.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    trip.output.open()
    trip.output.send(payload)
    trip.output.close()
    assert server.ask("XLEN", "metrics") == 2 * payload.count(b"\n")


def test_a_full_server_is_waited_for(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    server.ask("CONFIG", "SET", "maxmemory", "1")
    trip = Trip(tmp_path, "redis", {"address": server.address})
    trip.sender.start()
    sent = batches()
    trip.sender.offer(sent[0])
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.error.startswith("OOM"), 10)
    server.ask("CONFIG", "SET", "maxmemory", "0")
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"], 20)
    trip.sender.stop(0)
    trip.sender.join(0)
    assert same(trip, sent[:1], server.bodies()) == 0


def test_a_stream_that_takes_no_more_is_told_and_kept(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    last = 2**64 - 1
    server.ask("XADD", "metrics", f"{last}-{last}", "body", "the last one that there can be")
    trip = Trip(tmp_path, "redis", {"address": server.address})
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 0
    assert ledger["dropped"] == {"rejected": ledger["offered"]}
    [letter] = letters(tmp_path)
    assert "exhausted" in letter["reason"]
    assert letter["text"].count("\n") == letter["points"] == ledger["offered"]


def test_a_replica_is_left_for_the_next_address(redis: Callable[..., Redis], tmp_path: Path) -> None:
    writes = redis()
    reads = redis("--replicaof", "127.0.0.1", str(writes.port))
    trip = Trip(tmp_path, "redis", {"address": [reads.address, writes.address]})
    sent = batches(2)
    trip.go(sent)
    assert trip.sender.reconnects == 1
    assert same(trip, sent, writes.bodies()) == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [({}, "NOAUTH.*see username and password"), ({"password": "wrong"}, "WRONGPASS.*see username and password")],
)
def test_a_wrong_password_is_told(redis: Callable[..., Redis], tmp_path: Path, options: dict[str, str], words: str) -> None:
    server = redis(password="open sesame")
    trip = Trip(tmp_path, "redis", {"address": server.address, **options})
    with pytest.raises(Retry, match=words):
        trip.output.open()
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()


def test_tls(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis(tls=certificate(tmp_path))
    options = {"address": f"localhost:{server.port}", "tls": True, "ca_file": str(tmp_path / "cert.pem")}
    trip = Trip(tmp_path, "redis", options)
    sent = batches(2)
    trip.go(sent)
    assert same(trip, sent, server.bodies()) == 0


def test_nothing_stays_open(redis: Callable[..., Redis], tmp_path: Path) -> None:
    server = redis()
    trip = Trip(tmp_path, "redis", {"address": server.address})
    keeps_nothing_open(trip)
    keeps_nothing_open(Trip(tmp_path, "redis", {"address": f"127.0.0.1:{servers.free_port()}"}), ConnectionRefusedError)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stream": "$name", "messages": "batch"}, 'stream: $name needs messages = "point"'),
        ({"stream": "$hots"}, "stream: expected $name or $host, not $hots"),
        ({"format": "value"}, 'format: "value" says no name; stream needs $name'),
        ({"format": "value", "stream": "$name", "naming": "otel"}, 'format: "value" says no labels'),
        ({"username": "me"}, "username: needs a password"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, str], words: str) -> None:
    assert words in complaints("redis", options)
