"""The sender's thread: how it ends, when it tries again, how it comes back to full speed, and a fleet of them."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import Sink, balanced

from adamas import Output, Retry
from adamas.metric import Batch, Gauge, Series, Shape, Source
from adamas.naming import Naming
from adamas.outputs.graphite import Graphite
from adamas.sender import ASKED, BASE, CAP, Sender

SHAPE = Shape((Series(Source("one", "one", "one"), Gauge("value"), ()),), None)


class Scripted(Output):
    """Does with each send what `does` says, and keeps when it came."""

    name = "scripted"

    def __init__(self, values: dict[str, Any] | None = None) -> None:
        super().__init__({"buffer": "memory", "batch": 1, **(values or {})})
        self.sent: list[tuple[float, bytes]] = []
        self.tries: list[float] = []
        self.spell(Naming("path", ("servers", "h")))

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return self.lines.encode(batches)

    def does(self, turn: int) -> None:
        """Nothing: it arrives."""

    def send(self, payload: bytes) -> None:
        self.tries.append(time.monotonic())
        self.does(len(self.tries))
        self.sent.append((time.monotonic(), payload))


def begun(output: Output, count: int) -> Sender:
    sender = Sender(output)
    for number in range(count):
        sender.offer(Batch(1000 + number, SHAPE, (number,), (), 1.0, 0))
    sender.start()
    sender.ring()
    return sender


def end(sender: Sender, seconds: float = 0.0) -> dict[str, Any]:
    deadline = time.monotonic() + seconds
    sender.stop(deadline)
    sender.join(deadline + 0.05)
    return sender.ledger.snapshot()


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_a_send_that_returns_after_the_end_is_accounted_for_once() -> None:
    """What a hanging send holds is given up at the end; the thread must not take it up again when the peer lets go."""
    gate = threading.Event()

    class Hanging(Scripted):
        name = "hanging"

        def does(self, turn: int) -> None:
            gate.wait(30)

    output = Hanging()
    sender = begun(output, 5)
    servers.wait_until(lambda: output.tries)
    found = end(sender)
    assert found["dropped"] == {"shutdown": 5}
    gate.set()
    servers.wait_until(lambda: "send hanging" not in threads())
    assert sender.ledger.snapshot() == found
    assert balanced(found)
    assert len(output.tries) == 1, "it sends no more"


def test_a_stop_ends_at_its_deadline_however_much_waits() -> None:
    class Tardy(Scripted):
        name = "tardy"

        def does(self, turn: int) -> None:
            time.sleep(0.02)

    output = Tardy()
    sender = begun(output, 1000)
    servers.wait_until(lambda: len(output.sent) > 3)
    began = time.monotonic()
    found = end(sender, 0.3)
    servers.wait_until(lambda: "send tardy" not in threads())
    took = time.monotonic() - began
    print(f"{found['delivered']} of 1000 sent, ended after {took:.2f} s")
    assert took < 5, "all of it would take 20 s"
    assert found["delivered"] + found["dropped"]["shutdown"] == 1000
    assert sender.ledger.snapshot()["delivered"] in (found["delivered"], found["delivered"] + 1)


@pytest.mark.parametrize("asked", [1.2, 1e12])
def test_a_peer_that_asks_for_a_pause_gets_it(asked: float) -> None:
    """As long as it says, and up to ten minutes."""

    class Asking(Scripted):
        name = "asking"

        def does(self, turn: int) -> None:
            if turn == 1:
                raise Retry("too many", asked)

    output = Asking()
    sender = begun(output, 1)
    servers.wait_until(lambda: sender.state == "retrying")
    if asked < ASKED:
        servers.wait_until(lambda: output.sent)
        assert output.tries[1] - output.tries[0] >= asked
    else:
        wait = sender._retry_at - time.monotonic()
        assert ASKED - 5 < wait < ASKED + 5
    assert balanced(end(sender))


def test_after_an_outage_what_waited_is_not_sent_at_once() -> None:
    """The pauses grow with the failures and shrink with the confirmations: a fleet does not dump what waited in one moment."""

    class Away(Scripted):
        name = "away"

        def does(self, turn: int) -> None:
            if turn <= 3:
                raise ConnectionRefusedError("not there")

    output = Away()
    sender = begun(output, 40)
    servers.wait_until(lambda: len(output.sent) == 40, 40)
    pauses = [b - a for a, b in zip(output.tries, output.tries[1:])]
    after = [b - a for (a, _), (b, _) in zip(output.sent, output.sent[1:])]
    print(f"between failures {', '.join(f'{p:.2f}' for p in pauses[:3])} s; then {', '.join(f'{p:.3f}' for p in after[:4])} s")
    assert all(pause <= 2 * 2**turn + 1 for turn, pause in enumerate(pauses[:3]))
    assert sum(after[:2]) > 0.02
    assert sum(after[3:]) < 5, "full speed again"
    assert [payload for _, payload in output.sent] == [f"servers.h.one.value {n} {1000 + n}\n".encode() for n in range(40)]
    assert end(sender, 1)["delivered"] == 40


# a fleet


class Host:
    """A sender of its own, as a host of a fleet has it, with a value a tick."""

    def __init__(self, number: int, port: int) -> None:
        self.name = f"host{number}"
        output = Graphite({"address": [f"127.0.0.1:{port}"], "buffer": "memory", "timeout": 5.0}, self.name)
        output.spell(Naming("path", ("servers", self.name)))
        self.sender = Sender(output)
        self.sender.start()

    def tick(self, stamp: int) -> None:
        self.sender.offer(Batch(stamp, SHAPE, (stamp,), (), 1.0, 0))
        self.sender.ring()


@pytest.mark.parametrize("away", [1.5, pytest.param(130.0, marks=pytest.mark.soak)])
def test_a_fleet_comes_back_evenly(away: float) -> None:
    """200 hosts lose one sink at the same moment. It comes back in the middle of their pauses: they do not all come at once."""
    hosts_count = 200
    sink = Sink(timed=True)
    hosts = [Host(number, sink.port) for number in range(hosts_count)]
    ticking = threading.Event()

    def tick() -> None:
        for stamp in itertools.count(1):
            for host in hosts:
                host.tick(stamp)
            if ticking.wait(0.5):
                return

    driver = threading.Thread(target=tick, daemon=True)
    driver.start()
    servers.wait_until(lambda: all(h.sender.ledger.snapshot()["delivered"] for h in hosts), 30, "a delivery of each")
    sink.kill()
    servers.wait_until(lambda: all(h.sender.state == "retrying" for h in hosts), 30, "everyone's failure")
    failed = time.monotonic()
    time.sleep(away)
    back, wall = time.monotonic(), time.time()
    before = len(sink.accepted)
    sink.restart()
    servers.wait_until(lambda: all(h.sender.state == "ok" for h in hosts), 90, "everyone's return")
    width = begin = BASE
    while begin < back - failed:
        width = min(CAP, 2 * width)
        begin += width
    first: dict[str, float] = {}
    for name, _, when in sink.arrivals[:]:
        if when >= wall:
            first.setdefault(name, when - wall)
    connects = [0] * (int(max(first.values())) + 1)
    for when in first.values():
        connects[int(when)] += 1
    mean = hosts_count / width
    everything = [when - back for when in sink.accepted[before:]]
    busiest = max(sum(s <= when < s + 1 for when in everything) for s in range(len(connects)))
    ticking.set()
    driver.join()
    servers.wait_until(lambda: all(not h.sender.queue for h in hosts), 90, "all that waited")
    for host in hosts:
        host.sender.stop(time.monotonic() + 5)
    for host in hosts:
        host.sender.join(time.monotonic() + 5)
        found = host.sender.ledger.snapshot()
        assert found["delivered"] == found["offered"]
    print(
        f"{hosts_count} hosts, {away:.0f} s away, slots of {width:.0f} s: back within {max(first.values()):.1f} s, {max(connects)} a second at "
        f"most, {mean:.0f} if even; with those that come to confirm {busiest}; by second: {connects}"
    )
    assert len(first) == hosts_count
    assert max(connects) <= 2 * mean + 3 * mean**0.5 if away > 60 else max(connects) <= 2 * mean


@pytest.mark.parametrize("buffer", ["spill", "write_through"])
def test_a_backend_that_wants_times_in_order_gets_them_in_order(buffer: str, tmp_path: Path) -> None:
    """Whatever fails, and whenever: what is on disk, or on its way there, is not overtaken."""

    class Ordered(Scripted):
        name = "ordered"
        ordered = True
        away = False

        def does(self, turn: int) -> None:
            time.sleep(0.002)  # what waited is still being sent when something new comes
            if self.away:
                raise Retry("away", 0.01)

    output = Ordered({"buffer": buffer, "batch": 3})
    sender = Sender(output, str(tmp_path / "spool"))
    sender.start()
    for number in range(1000):
        output.away = 50 < number < 100 or 600 < number < 615
        sender.offer(Batch(1000 + number, SHAPE, (number,), (), 1.0, 0))
        sender.ring()
        time.sleep(0.004)
    servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == 1000, 60, "all")
    assert end(sender, 5)["dropped"] == {}
    times = [int(line.split()[2]) for _, payload in output.sent for line in payload.splitlines()]
    assert times == sorted(times)
    assert len(times) == 1000
