"""What one output or one file does wrong costs no one else anything: a backend that is blocked, and reloads in a storm."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from agents import RunningAgent, Sink, balanced

HEAD = """
[agent]
hostname = "h"
interval = "100ms"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
defaults = false
[web]
enabled = false
[history]
enabled = false
[collectors.clock]
"""

CLOCK = '''"""When it was measured, and which run it was."""
import time
from adamas import Collector, Gauge


class Clock(Collector):
    """The time and the number of the run, and as many more series as are wanted."""

    name = "clock"
    time = Gauge("time", "Now", precision=6)
    run = Gauge("run.{slot}", "The run")
    runs = 0

    def collect(self):
        self.runs += 1
        yield self.time(time.time())
        for slot in range(SLOTS):
            yield self.run(self.runs, slot)
'''

STOPPABLE = """
import sys
sys.path.insert(0, sys.argv[1])
from agents import Sink
sink = Sink()
print(sink.port, flush=True)
sys.stdin.read()
for line in sink.lines:
    print(*line)
"""
"""A sink in a process of its own; it says what it got when its input ends."""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    (tmp_path / "plugins").mkdir()
    running: list[RunningAgent] = []

    def begin(outputs: str, slots: int) -> RunningAgent:
        (tmp_path / "plugins" / "clock.py").write_text(CLOCK.replace("SLOTS", str(slots)))
        running.append(RunningAgent(tmp_path, HEAD + outputs))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def to(port: int, name: str) -> str:
    return f'[outputs.{name}]\ntype = "graphite"\naddress = "127.0.0.1:{port}"\ntimeout = "1s"\n'


def runs(lines: list[tuple[str, str, int]]) -> list[int]:
    return sorted({int(value) for name, value, _ in list(lines) if name == "servers.h.clock.run.0"})


def whole(lines: list[tuple[str, str, int]]) -> bool:
    """Whether no run between the first and the last is missing."""
    found = runs(lines)
    return found == list(range(found[0], found[-1] + 1))


def spread(sink: Sink, since: int) -> str:
    """How long samples took from the moment they were measured until they were at the sink."""
    took = sorted(when - float(value) for name, value, when in sink.arrivals[since:] if name == "servers.h.clock.time")
    return f"p50 {took[len(took) // 2] * 1000:.1f} ms, p99 {took[int(len(took) * 0.99)] * 1000:.1f} ms of {len(took)}"


@pytest.mark.parametrize("seconds", [2, pytest.param(300, marks=pytest.mark.soak)])
def test_a_blocked_backend_holds_up_no_other(agent: Callable[..., RunningAgent], seconds: int) -> None:
    """One of three is stopped, its kernel takes what it can: the others get every window, and it gets all that waited."""
    sinks = [Sink(timed=True), Sink(timed=True)]
    argv = [sys.executable, "-c", STOPPABLE, str(Path(__file__).parent)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as third:
        assert third.stdout is not None
        try:
            outputs = [to(sinks[0].port, "first"), to(int(third.stdout.readline()), "blocked"), to(sinks[1].port, "last")]
            running = agent("".join(outputs), 200)
            running.wait(lambda s: all(o["ledger"]["delivered"] > 1000 for o in s["outputs"]))
            marks = [len(sink.arrivals) for sink in sinks]
            time.sleep(seconds)
            calm = [spread(sink, mark) for sink, mark in zip(sinks, marks)]
            third.send_signal(signal.SIGSTOP)
            running.wait(lambda s: s["outputs"][1]["state"] == "retrying", 30)
            marks = [len(sink.arrivals) for sink in sinks]
            before = [len(runs(sink.lines)) for sink in sinks]
            time.sleep(seconds)
            beside = [spread(sink, mark) for sink, mark in zip(sinks, marks)]
            status = running.status()
            third.send_signal(signal.SIGCONT)
            running.wait(lambda s: s["outputs"][1]["state"] == "ok" and not s["outputs"][1]["ledger"]["spool"], 60)
            assert running.stop()[0] == 0
            lines = [line.split(" ") for line in third.communicate(timeout=30)[0].splitlines()]
        finally:
            third.kill()
    for which, one, other in zip(("first", "last"), calm, beside):
        print(f"{which}: {one}; beside the blocked one {other}")
    for at, sink, had in ((0, sinks[0], before[0]), (2, sinks[1], before[1])):
        output = status["outputs"][at]
        assert output["state"] == "ok"
        assert output["reconnects"] == 0
        assert output["spool"] is None
        assert not output["ledger"]["dropped"]
        assert whole(sink.lines)
        assert len(runs(sink.lines)) > had + 5 * seconds
    assert all(balanced(o["ledger"]) for o in status["outputs"])
    assert status["collectors"][0]["missed"] == 0
    assert whole([(name, value, int(stamp)) for name, value, stamp in lines])


def descriptors(running: RunningAgent) -> int:
    return len(os.listdir(f"/proc/{running.process.pid}/fd"))


@pytest.mark.parametrize("turns", [60, pytest.param(1000, marks=pytest.mark.soak)])
def test_a_storm_of_reloads_under_ten_thousand_samples_a_second(agent: Callable[..., RunningAgent], turns: int) -> None:
    """Half of them with a broken file: nothing is lost, nothing that stays the same starts anew, no descriptor is left open.

    An output and a collector come and go meanwhile, so that a reload has something to do.
    """
    sink, other = Sink(), Sink()
    good = HEAD + to(sink.port, "sink")
    running = agent(to(sink.port, "sink"), 1000)
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 20_000, 20)
    files = descriptors(running)
    most = files
    for turn in range(turns):
        since = running.status()["reload"]["time"]
        more = "[collectors.loadavg]\n" + to(other.port, "other") if turn % 4 == 1 else ""
        running.write(good + more if turn % 2 else good + "[collectors.loadavrg]\n")
        running.hup()
        status = running.wait(lambda s, since=since: s["reload"]["time"] > since)
        assert status["reload"]["ok"] == bool(turn % 2)
        assert len(status["outputs"]) == (2 if turn % 4 in (1, 2) else 1)
        assert balanced(status["outputs"][0]["ledger"])
        most = max(most, descriptors(running))
    running.write(good)
    running.hup()
    running.wait(lambda s: s["reload"]["ok"] and len(s["outputs"]) == 1)
    servers.wait_until(lambda: descriptors(running) <= files + 3, 15, "as many descriptors as before")
    status = running.status()
    output = status["outputs"][0]
    print(
        f"{turns} reloads: {output['ledger']['offered']} points, {output['reconnects']} reconnects, {status['collectors'][0]['missed']} "
        f"windows missed, {files} descriptors before, {most} at most, {descriptors(running)} after"
    )
    assert running.stop()[0] == 0
    assert output["reconnects"] == 0
    assert not output["ledger"]["dropped"]
    assert runs(sink.lines)[0] <= 3, "it is the collector that began"
    assert whole(sink.lines)
    in_order = [int(value) for name, value, _ in sink.lines if name == "servers.h.clock.run.999"]
    assert all(a < b for a, b in itertools.pairwise(in_order)), "a collector that starts anew counts from 1"


@pytest.mark.parametrize("turns", [5, pytest.param(200, marks=pytest.mark.soak)])
def test_an_output_that_is_changed_again_and_again_loses_nothing(agent: Callable[..., RunningAgent], turns: int) -> None:
    """Each reload replaces the output, under load: what the old one has is delivered, by it or by the new one."""
    sink = Sink()
    running = agent(to(sink.port, "sink"), 1000)
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 10_000, 20)
    for turn in range(turns):
        since = running.status()["reload"]["time"]
        running.write(HEAD + to(sink.port, "sink").replace('"1s"', f'"{2 + turn % 2}s"'))
        running.hup()
        status = running.wait(lambda s, since=since: s["reload"]["time"] > since)
        assert "output sink changed" in status["reload"]["message"]
        running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0)
        assert balanced(status["outputs"][0]["ledger"])
    assert running.stop()[0] == 0
    found = runs(sink.lines)
    print(f"{turns} changes: {len(found)} runs, {found[-1] - found[0] + 1 - len(found)} missing")
    assert whole(sink.lines)
    assert "could not be delivered" not in running.log.read_text()
