"""A real nats-server: every sample is in its stream, through its death too."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nats.aio.client
import nats.js.api
import pytest
import servers
from brokers import certificate, complaints, keeps_nothing_open, letters, same, survives
from roundtrip import Trip, batches

from adamas import Retry


class Server:
    """A nats-server of the test's own, that keeps its port and its streams."""

    def __init__(self, folder: Path, config: str = "", jetstream: bool = True) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self.monitor = servers.free_port(), servers.free_port()
        store = f'jetstream {{ store_dir: "{folder}/js" }}\n' if jetstream else ""
        (folder / "nats.conf").write_text(f'listen: "127.0.0.1:{self.port}"\nhttp: "127.0.0.1:{self.monitor}"\n{store}{config}\n')
        self.start()

    def start(self) -> None:
        argv = ["nats-server", "-c", str(self.folder / "nats.conf")]
        self.server = servers.start(argv, self.folder, lambda: servers.get(self.monitor, "/healthz")[0] == 200)

    def ask(self, path: str) -> Any:
        return json.loads(servers.get(self.monitor, path)[1])

    def streams(self) -> dict[str, dict[str, Any]]:
        """Each stream's state and settings."""
        found = self.ask("/jsz?streams=true&config=true")
        accounts = found.get("account_details") or []
        return {one["name"]: one for account in accounts for one in account.get("stream_detail") or []}

    def messages(self, stream: str = "METRICS", **login: Any) -> list[tuple[str, bytes]]:
        """(subject, body) of all that a stream has."""

        async def fetch() -> list[tuple[str, bytes]]:
            client = nats.aio.client.Client()
            await client.connect(f"nats://127.0.0.1:{self.port}", **login)
            jetstream = client.jetstream()
            left = (await jetstream.stream_info(stream)).state.messages
            found: list[tuple[str, bytes]] = []
            if left:
                subscription = await jetstream.pull_subscribe("", "reader", stream, nats.js.api.ConsumerConfig(ack_policy="none"))
                while len(found) < left:
                    some = await subscription.fetch(min(500, left - len(found)), timeout=10)
                    found += [(one.subject, one.data) for one in some]
            await client.close()
            return found

        return asyncio.run(fetch())

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    servers.require("nats-server")
    running: list[Server] = []

    def begin(config: str = "", **how: Any) -> Server:
        running.append(Server(tmp_path / f"nats{len(running)}", config, **how))
        return running[-1]

    yield begin
    for one in running:
        one.server.kill()


def test_every_sample_is_in_the_stream(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    options = {"address": running.address, "create": True, "max_bytes": "64MiB", "max_age": "2h", "message_size": "64KiB"}
    trip = Trip(tmp_path, "nats", options)
    sent = batches()
    trip.go(sent)
    made = running.streams()["METRICS"]
    assert made["config"]["subjects"] == ["metrics.>"]
    assert (made["config"]["max_bytes"], made["config"]["max_age"]) == (64 << 20, 7200 * 10**9)
    found = running.messages()
    assert 5 < len(found) < 100
    assert {subject for subject, _ in found} == {"metrics.h"}
    assert same(trip, sent, [body for _, body in found]) == 0


def test_a_subject_for_each_series(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    options = {"address": running.address, "create": True, "subject": "m.$host.$name", "messages": "point", "format": "influx"}
    trip = Trip(tmp_path, "nats", options)
    sent = batches()
    began = time.monotonic()
    ledger = trip.go(sent)
    print(f"{ledger['delivered']} messages in {time.monotonic() - began:.2f} s")
    found = running.messages()
    assert len(found) == ledger["delivered"] > 9_900
    assert {subject for subject, _ in found} == {f"m.h.{name}" for name, _ in trip.points(sent)}
    assert "servers.h.mixed.0.star_" in {name for name, _ in trip.points(sent)}
    assert same(trip, sent, [body for _, body in found], "influx") == 0


def test_a_killed_server_loses_nothing(server: Callable[..., Server], tmp_path: Path) -> None:
    """Killed at any moment; and what was sent twice is stored once, as long as it goes in the same message."""
    running = server()
    options = {"address": running.address, "create": True, "messages": "point"}
    trip = Trip(tmp_path, "nats", options)
    sent = survives(trip, running.server.kill, running.start)
    assert same(trip, sent, [body for _, body in running.messages()]) == 0


def test_the_same_again_is_stored_once(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True})
    sent = batches(2)
    payload = trip.output.encode(sent)
    for _ in range(3):
        trip.output.open()
        trip.output.send(payload)
    trip.output.close()
    assert same(trip, sent, [body for _, body in running.messages()]) == 0


def test_without_jetstream_it_goes_to_who_listens(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server(jetstream=False)
    trip = Trip(tmp_path, "nats", {"address": running.address, "jetstream": False, "subject": "live.$name", "messages": "point"})
    sent = batches()
    found: list[bytes] = []

    async def listen() -> None:
        client = nats.aio.client.Client()
        await client.connect(f"nats://{running.address}")

        async def take(message: Any) -> None:
            found.append(message.data)

        await client.subscribe("live.>", cb=take)
        await client.flush()
        ledger = await asyncio.to_thread(trip.go, sent)
        until = time.monotonic() + 20
        while len(found) < ledger["delivered"] and time.monotonic() < until:
            await asyncio.sleep(0.02)
        await client.close()

    asyncio.run(listen())
    assert same(trip, sent, found) == 0


@pytest.mark.parametrize(
    ("jetstream", "words"), [(True, "no stream takes the subject; make one, or set create = true"), (False, "no stream takes")]
)
def test_a_stream_that_is_not_there_is_told(server: Callable[..., Server], tmp_path: Path, jetstream: bool, words: str) -> None:
    running = server(jetstream=jetstream)
    trip = Trip(tmp_path, "nats", {"address": running.address})
    trip.output.open()
    with pytest.raises(Retry, match=words):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()


def make_stream(running: Server, **config: Any) -> None:
    async def make() -> None:
        client = nats.aio.client.Client()
        await client.connect(f"nats://{running.address}")
        await client.jetstream().add_stream(name="METRICS", subjects=["metrics.>"], **config)
        await client.close()

    asyncio.run(make())


def test_a_full_stream_is_waited_for(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    make_stream(running, max_bytes=1000, discard="new")
    trip = Trip(tmp_path, "nats", {"address": running.address})
    trip.output.open()
    with pytest.raises(Retry, match="maximum bytes exceeded"):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()


def test_messages_that_are_too_large_for_the_stream_are_refused(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    make_stream(running, max_msg_size=200)
    trip = Trip(tmp_path, "nats", {"address": running.address, "messages": "point"})
    sent = batches(2)
    ledger = trip.go(sent)
    [letter] = letters(tmp_path)
    assert "message size exceeds maximum" in letter["reason"]
    assert 0 < ledger["dropped"]["rejected"] == letter["points"] < 100
    assert same(trip, sent, [*[body for _, body in running.messages()], *letter["text"].encode().rstrip().split(b"\n")]) == 0


def test_messages_that_are_too_large_for_the_server_are_refused(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server("max_payload: 400\n")
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True, "messages": "point"})
    sent = batches(2)
    ledger = trip.go(sent)
    [letter] = letters(tmp_path)
    assert letter["reason"] == "larger than the 144 bytes that the server takes"
    assert 0 < ledger["dropped"]["rejected"] == letter["points"] < 100
    assert same(trip, sent, [*[body for _, body in running.messages()], *letter["text"].encode().rstrip().split(b"\n")]) == 0


LOGIN = 'authorization { user: agent, password: "open sesame", permissions: { publish: ["metrics.>", "$JS.>"] } }'


def test_a_password_and_what_it_allows(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server(f"authorization {{ users: [{{ {LOGIN.partition('{')[2].strip().removesuffix('}')} }}] }}")
    login = {"username": "agent", "password": "open sesame"}
    options = {"address": running.address, "create": True}
    trip = Trip(tmp_path, "nats", {**options, **login})
    sent = batches(2)
    trip.go(sent)
    assert same(trip, sent, [body for _, body in running.messages(user="agent", password="open sesame")]) == 0
    for wrong in ({}, {**login, "password": "wrong"}):
        stranger = Trip(tmp_path, "nats", {**options, **wrong})
        with pytest.raises(Retry, match=r"(?i)authorization"):
            stranger.output.open()
    elsewhere = Trip(tmp_path, "nats", {"address": running.address, **login, "subject": "forbidden"})
    elsewhere.output.open()
    with pytest.raises(Retry, match=r"(?i)permissions violation"):
        elsewhere.output.send(elsewhere.output.encode(sent))
    elsewhere.output.close()


def test_a_token(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server('authorization { token: "open sesame" }')
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True, "token": "open sesame"})
    assert trip.go(batches(1))["dropped"] == {}


def test_tls(server: Callable[..., Server], tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    running = server(f'tls {{ cert_file: "{cert}", key_file: "{key}" }}')
    options = {"address": f"localhost:{running.port}", "create": True, "tls": True}
    trip = Trip(tmp_path, "nats", {**options, "ca_file": str(cert)})
    trip.go(batches(2))
    assert running.streams()["METRICS"]["state"]["messages"] > 0
    stranger = Trip(tmp_path, "nats", {**options, "timeout": "2s"})
    with pytest.raises((Retry, OSError), match="certificate"):
        stranger.output.open()
    stranger.output.close()


def test_no_password_goes_out_where_the_server_has_no_tls(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server("debug: true\ntrace: true")
    secret = {"username": "agent", "password": "open sesame", "tls": True}
    for more in (secret, {"tls": True}):
        trip = Trip(tmp_path, "nats", {"address": running.address, **more})
        with pytest.raises((Retry, OSError), match="the server has no TLS"):
            trip.output.open()
        trip.output.close()
    assert "agent" not in running.server.output()


def test_an_ended_connection_is_made_anew_before_it_is_used(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True})
    sent = batches(2)
    trip.output.open()
    trip.output.send(trip.output.encode(sent[:1]))
    running.server.stop()
    running.start()
    trip.output.open()
    trip.output.send(trip.output.encode(sent[1:]))
    trip.output.close()
    assert same(trip, sent, [body for _, body in running.messages()]) == 0


def test_a_server_that_hangs_is_left(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True, "timeout": "1s"})
    trip.output.open()
    running.server.signal(signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(Retry, match="no acknowledgement within 1 s"):
        trip.output.send(trip.output.encode(batches(1)))
    trip.output.close()
    with pytest.raises((Retry, OSError)):
        trip.output.open()
    trip.output.close()
    assert time.monotonic() - began < 10


def test_nothing_stays_open(server: Callable[..., Server], tmp_path: Path) -> None:
    running = server()
    trip = Trip(tmp_path, "nats", {"address": running.address, "create": True})
    keeps_nothing_open(trip)
    keeps_nothing_open(
        Trip(tmp_path, "nats", {"address": [f"127.0.0.1:{servers.free_port()}"] * 2}), Retry, "Connect call failed"
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"subject": "a.*"}, "subject: expected one to publish to"),
        ({"subject": "a..b"}, "subject: expected one to publish to"),
        ({"subject": "$host.metrics", "create": True}, "create: the subject needs a first part"),
        ({"subject": "$name"}, 'subject: $name needs messages = "point"'),
        ({"jetstream": False, "create": True}, "create: only JetStream has streams"),
        ({"username": "x"}, "username, password: one needs the other"),
        ({"address": ["one:two"]}, "address: expected a port"),
    ],
)
def test_options_that_contradict_each_other(options: dict[str, Any], words: str) -> None:
    assert words in complaints("nats", options)
