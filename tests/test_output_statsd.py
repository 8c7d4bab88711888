"""statsd takes what is sent and sums it up rightly; DogStatsD's lines are as its protocol page has them."""

from __future__ import annotations

import math
import re
import shutil
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

sys.path.insert(0, str(Path(__file__).parent))

from roundtrip import Trip, batches

from adamas.outputs.dogstatsd import Dogstatsd
from adamas.outputs.statsd import Statsd

STATSD = Path(__file__).parent.parent / "node_modules" / "statsd" / "stats.js"
ENTRY = re.compile(r"'?([\w.;=-]+)'?: (-?[\d.]+(?:e[+-]?\d+)?)")


class RunningStatsd:
    """The statsd of Etsy's, which never flushes here, so that counts stay; asked at its management port."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port, self.tcp, self.management = servers.free_port(socket.SOCK_DGRAM), servers.free_port(), servers.free_port()
        self.begin()

    def begin(self) -> None:
        """Start it, again on the same ports."""
        self.directory.mkdir(exist_ok=True)
        config = self.directory / "config.js"
        config.write_text(
            f'{{servers: [{{server: "./servers/udp", address: "127.0.0.1", port: {self.port}}},'
            f' {{server: "./servers/tcp", address: "127.0.0.1", port: {self.tcp}}}], mgmt_port: {self.management}, mgmt_address: "127.0.0.1",'
            " flushInterval: 3600000, backends: [], deleteIdleStats: false}"
        )
        self.server = servers.start(
            ["node", str(STATSD), str(config)], self.directory, lambda: "health: up" in self.ask("health", "\n")
        )

    def ask(self, command: str, end: str = "END\n") -> str:
        """What a command of its management answers."""
        with socket.create_connection(("127.0.0.1", self.management), 5) as connection:
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while end.encode() not in answer:
                data = connection.recv(65536)
                if not data:
                    break
                answer += data
        return answer.decode()

    def values(self, what: str) -> dict[str, float]:
        """Its gauges, or its counters, by name."""
        return {name: float(value) for name, value in ENTRY.findall(self.ask(what))}

    def wait_for(self, counter: str, value: float) -> None:
        """Wait until one of its counters has this value."""
        servers.wait_until(lambda: self.values("counters").get(counter) == value, 20, f"{counter} of {value}")


@pytest.fixture
def statsd(tmp_path: Path) -> Iterator[RunningStatsd]:
    """A running statsd."""
    if not STATSD.exists():
        if shutil.which("npm") is None:
            servers.require("npm")
        pytest.skip(f"not installed: {STATSD} (npm ci)")
    servers.require("node")
    running = RunningStatsd(tmp_path / "statsd")
    yield running
    running.server.stop()


@pytest.mark.parametrize("totals", ["count", "gauge"])
def test_statsd_has_every_gauge_and_the_sum_of_every_count(statsd: RunningStatsd, tmp_path: Path, totals: str) -> None:
    trip = Trip(tmp_path, "statsd", {"address": f"127.0.0.1:{statsd.port}", "totals": totals})
    sent = batches()
    lines = 0
    last: dict[str, float] = {}
    for batch in sent:  # one at a time: a burst of all of them may be more than the receiver's buffer
        trip.output.open()
        trip.output.send(trip.output.encode([batch]))
        pairs = list(trip.pairs(batch))
        lines += len(pairs) + sum(value < 0 and not trip.output.counted(point) for point, value in pairs)
        statsd.wait_for("statsd.metrics_received", lines)
        for point, value in pairs:
            last[point.name] = last.get(point.name, 0) + value if trip.output.counted(point) else value
    trip.output.close()
    counters, gauges = statsd.values("counters"), statsd.values("gauges")
    assert counters["statsd.bad_lines_seen"] == 0
    assert counters["statsd.packets_received"] < lines / 10
    assert not trip.output.lines.unfit
    assert len(trip.output.spelling.collisions) > 50  # statsd would have stripped them into one
    counted = {point.name for batch in sent for point, _ in trip.pairs(batch) if trip.output.counted(point)}
    assert len(last) == 1000
    assert len(counted) == (50 if totals == "count" else 0)
    there = {name: (counters if name in counted else gauges).get(name) for name in last}
    wrong = {n: (v, there[n]) for n, v in last.items() if there[n] is None or not math.isclose(there[n] or 0, v, rel_tol=1e-11)}
    print(f"{lines} lines, {len(last)} series, {len(trip.output.spelling.collisions)} collisions, {len(wrong)} different")
    assert not wrong
    if totals == "count":
        assert last["servers.h.mixed.total.plain0"] == 7 * 9  # a first run has no increase


def test_over_tcp_nothing_is_lost_in_a_burst_nor_while_statsd_is_away(statsd: RunningStatsd, tmp_path: Path) -> None:
    statsd.server.stop()
    trip = Trip(tmp_path, "statsd_tcp", {"address": f"127.0.0.1:{statsd.tcp}"})
    trip.sender.start()
    sent = batches()
    for batch in sent:
        trip.sender.offer(batch)
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures > 0)
    statsd.begin()
    servers.wait_until(lambda: statsd.values("counters").get("servers.h.mixed.total.plain0") == 63, 30)
    trip.sender.stop(time.monotonic() + 5)  # asks for confirmation at once
    trip.sender.join(time.monotonic() + 5)
    assert trip.sender.ledger.snapshot()["delivered"] == 9950
    counters, gauges = statsd.values("counters"), statsd.values("gauges")
    assert counters["statsd.bad_lines_seen"] == 0
    wrong = []
    for (name, _), values in trip.points(sent).items():
        total = name.startswith("servers.h.mixed.total.")
        value = sum(values.values()) if total else values[sent[-1].time]
        if not math.isclose((counters if total else gauges)[name], value, rel_tol=1e-11):
            wrong.append((name, value))
    assert not wrong


def test_what_was_measured_while_statsd_was_away_comes_when_it_is_back(statsd: RunningStatsd, tmp_path: Path) -> None:
    """The machine says that nobody listens: it is sent again."""
    statsd.server.stop()
    trip = Trip(tmp_path, "statsd", {"address": f"127.0.0.1:{statsd.port}"})
    trip.sender.start()
    sent = batches()
    trip.sender.offer(sent[0])
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures > 0)
    statsd.begin()
    servers.wait_until(lambda: len(statsd.values("gauges")) == 950, 20)
    for number, batch in enumerate(sent[1:], 1):
        trip.sender.offer(batch)
        trip.sender.ring()
        statsd.wait_for("servers.h.mixed.total.plain0", 7 * number)
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == sum(map(trip.output.points, sent)))
    assert not trip.sender.ledger.snapshot()["dropped"]
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)


def test_labels_are_tags_that_statsd_makes_graphites_of(statsd: RunningStatsd, tmp_path: Path) -> None:
    trip = Trip(tmp_path, "statsd", {"address": f"127.0.0.1:{statsd.port}", "naming": "prometheus"}, {"host": "h"})
    batch = batches(2)[1]
    trip.output.open()
    trip.output.send(trip.output.encode([batch]))
    trip.output.close()
    gauges = servers.wait_until(lambda: len(found := statsd.values("gauges")) >= 950 and found)
    expected = {";".join([p.name, *[f"{k}={v}" for k, v in p.labels]]): v for p, v in trip.pairs(batch) if p.kind == "gauge"}
    assert "mixed_level_bytes;kind=0;item=with_space;host=h" in expected
    assert all(math.isclose(gauges[name], value, rel_tol=1e-11) for name, value in expected.items())


@pytest.mark.parametrize("packet", [64, 100, 1432, 65507])
def test_a_negative_gauge_and_the_zero_before_it_share_a_datagram(packet: int) -> None:
    output = Statsd({"packet": packet})
    lines = [f"n{i}:0|g\nn{i}:-{i}|g" if i % 3 else f"n{i}:{i}|g" for i in range(1, 200)] + [
        "x" * 300 + ":0|g\n" + "x" * 300 + ":-1|g"
    ]
    payload = "\n".join(lines).encode() + b"\n"
    packets = list(output.packets(payload))
    assert b"".join(packets) == payload
    for one in packets:
        assert len(one) <= packet or one.count(b"\n") <= 2
        assert one.endswith(b"\n")
        assert not re.match(rb"[^:]+:-", one)


class Receiver:
    """An Agent's place: takes datagrams over UDP or a unix socket."""

    def __init__(self, path: Path | None = None) -> None:
        self.socket = socket.socket(socket.AF_UNIX if path else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(str(path) if path else ("127.0.0.1", 0))
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.address = f"unix://{path}" if path else f"127.0.0.1:{self.socket.getsockname()[1]}"
        self.datagrams: list[bytes] = []
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        while True:
            try:
                self.datagrams.append(self.socket.recv(65536))
            except OSError:
                return

    def lines(self) -> list[str]:
        """All lines so far."""
        return b"".join(self.datagrams).decode().splitlines()

    def wait_for(self, count: int) -> None:
        """Wait until so many lines came."""
        servers.wait_until(lambda: len(self.lines()) == count, 20, f"{count} lines")


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Callable[..., Receiver]]:
    """`receiver()` over UDP, `receiver(path)` over a unix socket."""
    running: list[Receiver] = []

    def begin(path: Path | None = None) -> Receiver:
        running.append(Receiver(path))
        return running[-1]

    yield begin
    for one in running:
        one.socket.close()


LINE = re.compile(r"([A-Za-z][A-Za-z0-9_.]*):(-?[0-9.]+(?:e[+-]\d+)?)\|([gc])(?:\|#([^|]+))?(?:\|c:([^|]+))?(?:\|T(\d+))?")
TAG = re.compile(r"[^\W\d_][\w\-./]*:[\w\-:./]+")


def parsed(line: str) -> tuple[str, float, str, dict[str, str], str | None, int]:
    """A line as the protocol's page reads it."""
    match = LINE.fullmatch(line)
    assert match, line
    name, value, kind, tags, container, stamp = match.groups()
    assert len(name) <= 200
    pairs = {}
    for tag in (tags or "").split(",") if tags else ():
        assert TAG.fullmatch(tag), line
        assert tag == tag.lower()
        assert len(tag) <= 200
        key, _, text = tag.partition(":")
        assert key not in pairs
        pairs[key] = text
    return name, float(value), kind, pairs, container, int(stamp or 0)


@pytest.mark.parametrize("over", ["udp", "unix"])
@pytest.mark.parametrize("naming", ["prometheus", "path"])
def test_dogstatsd_carries_every_sample_with_tags_and_time(
    receiver: Callable[..., Receiver], tmp_path: Path, over: str, naming: str
) -> None:
    agent = receiver(tmp_path / "dsd.socket" if over == "unix" else None)
    trip = Trip(tmp_path, "dogstatsd", {"address": agent.address, "naming": naming, "container": "ci-0a1b"})
    sent = batches()
    count = 0
    trip.sender.start()
    for batch in sent:  # one at a time: a burst of all of them may be more than the receiver's buffer
        count += trip.output.points(batch)
        trip.sender.offer(batch)
        trip.sender.ring()
        agent.wait_for(count)
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == count)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    expected = trip.points(sent)
    assert count == sum(map(len, expected.values())) == 9950  # a first run has no increases
    assert all(len(one) <= 1432 for one in agent.datagrams)
    counts = 0
    for line in agent.lines():
        name, value, kind, tags, container, stamp = parsed(line)
        assert container == "ci-0a1b"
        wanted = expected[name, tuple(tags.items())].pop(stamp)
        assert math.isclose(value, wanted, rel_tol=1e-11)
        counts += kind == "c"
    assert not any(expected.values())
    assert counts == 450
    print(f"{count} lines in {len(agent.datagrams)} datagrams, {len(trip.output.spelling.collisions)} collisions")


def test_dogstatsd_without_times_and_as_gauges(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    agent = receiver()
    trip = Trip(tmp_path, "dogstatsd", {"address": agent.address, "times": False, "totals": "gauge"})
    batch = batches(1)[0]
    trip.go([batch])
    servers.wait_until(lambda: len(agent.lines()) == 1000)
    found = [parsed(line) for line in agent.lines()]
    assert {kind for _, _, kind, _, _, _ in found} == {"g"}
    assert {stamp for *_, stamp in found} == {0}


def test_dogstatsd_waits_for_an_agent_that_is_not_there_yet(receiver: Callable[..., Receiver], tmp_path: Path) -> None:
    trip = Trip(tmp_path, "dogstatsd", {"address": f"unix:{tmp_path}/dsd.socket"})
    trip.sender.start()
    batch = batches(1)[0]
    trip.sender.offer(batch)
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures > 0)
    agent = receiver(tmp_path / "dsd.socket")
    servers.wait_until(lambda: len(agent.lines()) == 950, 20)
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == 950)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"address": "nowhere"}, []),
        ({"address": "h:99999"}, ["port"]),
        ({"container": "a|b"}, ["container"]),
        ({"address": "unix:/x"}, []),
    ],
)
def test_what_is_wrong_with_the_options_is_said(options: dict[str, Any], words: list[str]) -> None:
    wrong = Dogstatsd(options).check()
    assert len(wrong) == len(words)
    assert all(word in text for word, text in zip(words, wrong, strict=True))
