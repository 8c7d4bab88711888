"""Nothing that was accepted is lost: the backend away, the agent killed, the disk full, and all of it accounted for."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import RunningAgent, Sink, balanced

from adamas.spool import Spool

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
[collectors.count]
"""

COUNT = '''"""Consecutive numbers."""
import os, time
from adamas import Collector, Gauge

START = int(time.time() * 10) % 10**8 * 10


class Count(Collector):
    """A number that no other run has, in each of many slots."""

    name = "count"
    value = Gauge("{slot}", "A number")
    run = 0

    def collect(self):
        self.run += 1
        for slot in range(SLOTS):
            yield self.value(START + self.run, slot)
'''


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    running: list[RunningAgent] = []

    def begin(output: str, slots: int = 50) -> RunningAgent:
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / "count.py").write_text(COUNT.replace("SLOTS", str(slots)))
        running.append(RunningAgent(tmp_path, HEAD + output))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def to(sink: Sink, buffer: str = "spill", more: str = "") -> str:
    return f'[outputs.sink]\ntype = "graphite"\naddress = "127.0.0.1:{sink.port}"\ntimeout = "1s"\nbuffer = "{buffer}"\n{more}'


def ledger(running: RunningAgent) -> dict[str, int]:
    found = running.output("sink")["ledger"]
    assert balanced(found), found
    return dict(found)


def values(sink: Sink, slot: int = 0) -> list[int]:
    return [int(value) for name, value, _ in list(sink.lines) if name == f"servers.h.count.{slot}"]


def emptied(status: dict[str, Any]) -> bool:
    """Whether the spool is in use, and nothing is left in it."""
    output = status["outputs"][0]
    return bool(output["spool"] and output["spool"]["open"] and output["ledger"]["spool"] == 0)


def gaps(sink: Sink, slot: int = 0) -> int:
    """How often numbers between the first and the last are missing."""
    return sum(b - a > 1 for a, b in itertools.pairwise(sorted(set(values(sink, slot)))))


def test_a_backend_that_is_away_loses_nothing(agent: Callable[..., RunningAgent]) -> None:
    sink = Sink()
    running = agent(to(sink))
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0)
    sink.kill()
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] > 2000, 20)
    memory = running.status()["memory"]
    sink.restart()
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] == 0 and s["outputs"][0]["state"] == "ok", 60)
    assert running.status()["memory"] < memory + 20e6
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    for slot in (0, 49):
        assert gaps(sink, slot) == 0


def test_a_stop_puts_the_rest_in_the_spool_and_a_start_delivers_it(agent: Callable[..., RunningAgent]) -> None:
    sink = Sink()
    running = agent(to(sink))
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0)
    sink.kill()
    time.sleep(1.5)
    code, seconds = running.stop()
    assert code == 0
    assert seconds < 3
    assert "points wait in the spool for the next start" in running.log.read_text()
    sink.restart()
    again = agent(to(sink))
    again.wait(emptied, 20)
    assert balanced(ledger(again))
    assert again.stop()[0] == 0
    assert gaps(sink) == 1, "only what nobody measured between the two lives is missing"


@pytest.mark.parametrize("kills", [12, pytest.param(500, marks=pytest.mark.soak)])
def test_kill_9_during_an_outage_loses_nothing_that_was_on_disk(agent: Callable[..., RunningAgent], kills: int) -> None:
    """write_through: what the ledger calls spooled survives any number of kills."""
    sink = Sink()
    port = sink.port
    sink.kill()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    accepted: dict[int, int] = {}
    for _ in range(kills):
        running = agent(to(sink, "write_through"))
        running.wait(lambda s: s["outputs"][0]["spool"] and s["outputs"][0]["spool"]["open"], 20)
        time.sleep(chance.uniform(0.2, 0.6))
        before = running.status()
        start = before["outputs"][0]["ledger"]["spool"]
        accepted[running.process.pid] = start
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
    sink.restart()
    assert sink.port == port
    running = agent(to(sink, "write_through"))
    found = running.wait(lambda s: s["outputs"][0]["spool"] and s["outputs"][0]["spool"]["open"], 20)["outputs"][0]["ledger"]
    assert found["spool"] + found["delivered"] + found["flight"] >= max(accepted.values()), "a kill lost what was on disk"
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] < 500 and s["outputs"][0]["state"] == "ok", 120)
    assert running.stop()[0] == 0
    spool = Spool(str(running.state / "spool" / "sink"), 1 << 20)
    spool.open()
    left = spool.points
    spool.close()
    arrived = len({(n, v, t) for n, v, t in sink.lines})
    print(
        f"{kills} kills: {max(accepted.values())} points on disk before the last; {arrived} different ones arrived, {left} wait"
    )
    assert arrived + left >= max(accepted.values())


def test_the_disk_is_full(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    """A spool on a full tmpfs: collecting goes on, the loss is counted, and it works again once there is room."""
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=80m", "tmpfs", str(state)], check=True)
    try:
        (state / "ballast").write_bytes(b"x" * (78 << 20))
        sink = Sink()
        sink.kill()
        running = agent(to(sink, "spill", 'memory = "64KiB"\n'), slots=300)
        running.wait(lambda s: s["outputs"][0]["ledger"]["dropped"], 30)
        # Memory may be full a moment before the disk was asked.
        status = running.wait(lambda s: s["outputs"][0]["spool"] and s["outputs"][0]["spool"]["error"], 10)
        assert status["outputs"][0]["ledger"]["dropped"].keys() == {"queue_full"}
        assert "full" in status["outputs"][0]["spool"]["error"]
        assert status["collectors"][0]["failures"] == 0
        assert balanced(ledger(running))
        (state / "ballast").unlink()
        running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] > 0, 15)
        sink.restart()
        running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] == 0 and s["outputs"][0]["state"] == "ok", 90)
        assert running.stop()[0] == 0
    finally:
        subprocess.run(["umount", "-l", str(state)], check=False)


def test_a_reload_keeps_the_spool_of_an_unchanged_output(agent: Callable[..., RunningAgent]) -> None:
    sink = Sink()
    running = agent(to(sink))
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0)
    sink.kill()
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] > 500, 20)
    pid_offered = ledger(running)["offered"]
    running.write(HEAD + to(sink) + "[collectors.loadavg]\n")
    running.hup()
    running.wait(lambda s: len(s["collectors"]) == 2)
    assert ledger(running)["offered"] >= pid_offered
    running.write(HEAD)
    running.hup()
    running.wait(lambda s: not s["outputs"], 10)
    time.sleep(3)
    assert list((running.state / "spool" / "sink").glob("*.seg")), "a removed output's spool is kept"
    running.write(HEAD + to(sink))
    running.hup()
    sink.restart()
    running.wait(lambda s: s["outputs"] and emptied(s) and gaps(sink), 30)  # and what is measured since has come
    assert running.stop()[0] == 0
    assert gaps(sink) == 1, "only what was measured while there was no such output is missing"


@pytest.mark.parametrize("seconds", [8, pytest.param(1800, marks=pytest.mark.soak)])
def test_ten_thousand_a_second_while_the_backend_is_away(agent: Callable[..., RunningAgent], seconds: int) -> None:
    """Nothing is lost, memory stays, and what waited is sent at ten times the rate at which it comes."""
    sink = Sink()
    running = agent(to(sink, "spill", 'spool = "1GiB"\n'), slots=1000)
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 10_000, 20)
    before = running.status()["memory"]
    sink.kill()
    sink.lines.clear()
    end = time.monotonic() + seconds
    most = 0
    while time.monotonic() < end:
        status = running.status()
        assert balanced(status["outputs"][0]["ledger"])
        most = max(most, status["memory"])
        time.sleep(0.5)
    spooled = ledger(running)["spool"]
    sink.restart()
    running.wait(lambda s: s["outputs"][0]["state"] == "ok", 90)
    began, first = time.monotonic(), ledger(running)["delivered"]
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] == 0, 300)
    took = time.monotonic() - began
    rate = (ledger(running)["delivered"] - first) / max(took, 0.1)
    print(f"{seconds} s away: {spooled} points spooled, memory +{(most - before) / 1e6:.1f} MB, drained at {rate:.0f} points/s")
    assert most < before + 20e6
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.soak)])
def test_a_backend_that_is_killed_again_and_again_loses_nothing(agent: Callable[..., RunningAgent], kills: int) -> None:
    sink = Sink()
    running = agent(to(sink))
    for _ in range(kills):
        goal = ledger(running)["delivered"] + 100 if running.wait(lambda s: s["outputs"]) else 0
        running.wait(lambda s, goal=goal: s["outputs"][0]["ledger"]["delivered"] > goal, 90)
        sink.kill()
        time.sleep(0.3)
        sink.restart()
    running.wait(lambda s: s["outputs"][0]["state"] == "ok" and s["outputs"][0]["ledger"]["spool"] == 0, 90)
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    for slot in (0, 25, 49):
        assert gaps(sink, slot) == 0
