"""The whole agent as a process: what misbehaves costs nobody else anything, and every point is accounted for."""

from __future__ import annotations

import itertools
import os
import re
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from agents import RunningAgent, Sink, balanced

HEAD = """
[agent]
hostname = "h"
interval = "1s"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
defaults = false
[web]
enabled = false
[history]
enabled = false
"""

REAL = "[collectors.loadavg]\n[collectors.adamas]\n[collectors.cpu]\n[collectors.tcp]\n"


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    (tmp_path / "plugins").mkdir()
    running: list[RunningAgent] = []

    def begin(config: str, plugins: dict[str, str] | None = None, env: dict[str, str] | None = None) -> RunningAgent:
        for name, text in (plugins or {}).items():
            (tmp_path / "plugins" / f"{name}.py").write_text(text)
        running.append(RunningAgent(tmp_path, HEAD + config, env))
        return running[-1]

    yield begin
    for one in running:
        one.end()


@pytest.fixture
def sink() -> Sink:
    return Sink()


def to(sink: Sink) -> str:
    return f'[outputs.sink]\ntype = "graphite"\naddress = "127.0.0.1:{sink.port}"\ntimeout = "2s"\n'


PLUGIN = '''"""A plugin."""
import math, os, time
from adamas import Collector, Counter, Gauge


class Plugin(Collector):
    """Misbehaves."""

    name = "{name}"
    value = Gauge("{{slot}}", "A number")
    total = Counter("total.{{slot}}", "A total")
    run = 0

    def collect(self):
        self.run += 1
        {body}
'''


def plugin(name: str, body: str) -> str:
    return PLUGIN.format(name=name, body=body.replace("\n", "\n        "))


CULPRITS = {
    "hangs": plugin("hangs", "time.sleep(3600)\nyield self.value(1, 'a')"),
    "raises": plugin("raises", "yield self.value(1, 'a')\nraise RuntimeError('no such luck')"),
    "exits": plugin("exits", "yield self.value(1, 'a')\nos._exit(3)"),
    "million": plugin("million", "for slot in range(1_000_000):\n    yield self.value(1, slot)"),
    "hostile": plugin(
        "hostile",
        "yield self.value(math.nan, 'nan')\nyield self.value(math.inf, 'inf')\n"
        "yield self.value(5, 'new\\nline and spaces/slash')\nyield self.value('text', 'text')",
    ),
}


def test_culprits_all_at_once(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    """Hanging, raising, exiting, a million series, NaN and hostile names beside the real ones: the real ones miss nothing."""
    config = REAL + "".join(f"[collectors.{name}]\n" for name in CULPRITS) + to(sink)
    config = config.replace("[collectors.exits]", '[collectors.exits]\nisolation = "process"')
    config = config.replace("[collectors.million]", "[collectors.million]\nseries_limit = 5000")
    running = agent(config, CULPRITS)
    running.wait(lambda s: all(c["runs"] for c in s["collectors"] if c["name"] not in ("hangs", "million")))
    late: dict[tuple[str, int], float] = {}
    end = time.monotonic() + 12
    while time.monotonic() < end:
        status = running.status()
        for one in status["collectors"]:
            if one["name"] in ("loadavg", "cpu", "tcp"):
                late[one["name"], one["runs"]] = one["late"]
        assert all(balanced(o["ledger"]) for o in status["outputs"])
        time.sleep(0.1)
    status = running.status()
    states = {c["name"]: c for c in status["collectors"]}
    assert states["hangs"]["state"] == "stuck"
    assert "time.sleep(3600)" in states["hangs"]["stack"]
    assert states["raises"]["state"] in ("failed", "backoff")
    assert "no such luck" in states["raises"]["error"]
    assert "exited with status 3" in states["exits"]["error"]
    assert states["million"]["removed"]["surplus"] >= 995_000
    assert states["million"]["series"] == 5000
    assert states["hostile"]["removed"]["invalid"] >= 3
    for real in ("loadavg", "cpu", "tcp"):
        assert states[real]["state"] == "ok", states[real]
        assert states[real]["missed"] == 0
        assert states[real]["failures"] == 0
    assert status["memory"] < 80e6
    lateness = sorted(late.values())
    p99 = lateness[min(len(lateness) - 1, int(len(lateness) * 0.99))]
    print(
        f"start jitter of the others: p50 {lateness[len(lateness) // 2] * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms; RSS {status['memory']}"
    )
    code, seconds = running.stop()
    assert code == 0
    assert seconds < 2.6
    stamps = sink.stamps("servers.h.loadavg.01")
    assert len(stamps) >= 11
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps)))
    assert not sink.bad
    assert "servers.h.hostile.new_line_and_spaces_slash" in {name for name, _, _ in sink.lines}


def test_reload_under_load(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    """200 SIGHUPs, half of them with a broken file: nothing is lost, nothing unchanged starts anew."""
    good = REAL + to(sink)
    running = agent(good)
    running.wait(lambda s: all(c["runs"] > 1 for c in s["collectors"]))
    before = running.status()
    for turn in range(200):
        running.write(HEAD + (good if turn % 2 else good + "[collectors.loadavrg]\n"))
        running.hup()
        time.sleep(0.02)
    status = running.wait(lambda s: s["reload"]["ok"] and s["reload"]["time"] > before["now"])
    running.write(HEAD + good + "[collectors.loadavrg]\n")
    running.hup()
    status = running.wait(lambda s: not s["reload"]["ok"])
    line = (HEAD + good).count("\n") + 1
    assert f"adamas.toml:{line}:" in status["reload"]["message"]
    assert 'did you mean "loadavg"' in status["reload"]["message"]
    time.sleep(1.5)
    status = running.status()
    runs = {c["name"]: c["runs"] for c in before["collectors"]}
    for one in status["collectors"]:
        assert one["runs"] > runs[one["name"]], "it started anew"
        assert one["missed"] == 0
    code, _ = running.stop()
    assert code == 0
    stamps = sink.stamps("servers.h.loadavg.01")
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps)))
    ledger = status["outputs"][0]["ledger"]
    assert balanced(ledger)
    assert not ledger["dropped"]


def test_reload_changes_what_changed(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    other = Sink()
    running = agent("[collectors.loadavg]\n[collectors.tcp]\n" + to(sink))
    running.wait(lambda s: all(c["runs"] > 1 for c in s["collectors"]))
    config = (
        "[collectors.loadavg]\nsimple = true\n[collectors.cpu]\n" + to(sink) + to(other).replace("outputs.sink", "outputs.other")
    )
    running.write(HEAD + config)
    running.hup()
    status = running.wait(lambda s: len(s["outputs"]) == 2 and {c["name"] for c in s["collectors"]} == {"loadavg", "cpu"})
    for part in ("collector tcp removed", "collector loadavg changed", "collector cpu added", "output other added"):
        assert part in status["reload"]["message"]
    running.wait(lambda s: s["outputs"][1]["ledger"]["delivered"] > 0)
    running.wait(lambda s: all(c["runs"] > 1 for c in s["collectors"]))
    assert running.output("sink")["ledger"]["delivered"] > 0
    running.write(HEAD + "[collectors.cpu]\n" + to(other).replace("outputs.sink", "outputs.other"))
    running.hup()
    running.wait(lambda s: [o["name"] for o in s["outputs"]] == ["other"])
    assert running.stop()[0] == 0
    assert "loadavg.load" in {name.removeprefix("servers.h.") for name, _, _ in sink.lines}


def test_ledger_while_the_sink_fails(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    """Stopped, killed and restarted: the sum holds at every look, and nothing that was accepted is missing in the end."""
    count = plugin("count", "for slot in range(200):\n    yield self.value(self.run * 1000 + slot, slot)")
    config = '[collectors.count]\ninterval = "100ms"\n' + to(sink)
    running = agent(config.replace('timeout = "2s"', 'timeout = "1s"'), {"count": count})
    looks = 0

    def watch(seconds: float) -> None:
        nonlocal looks
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ledger = running.output("sink")["ledger"]
            assert balanced(ledger), ledger
            looks += 1
            time.sleep(0.003)

    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0)
    for _ in range(3):
        watch(0.7)
        sink.stalled = True
        watch(0.7)
        sink.kill()
        sink.stalled = False
        watch(0.7)
        sink.restart()

    def caught_up(status: dict[str, Any]) -> bool:
        ledger = status["outputs"][0]["ledger"]
        return status["outputs"][0]["state"] == "ok" and ledger["memory"] < 1000 and ledger["spool"] == 0

    running.wait(caught_up, 90)
    final = running.status()
    assert running.stop()[0] == 0
    assert looks > 100
    ledger = final["outputs"][0]["ledger"]
    assert not ledger["dropped"]
    runs = {int(value) // 1000 for _, value, _ in sink.lines}
    assert runs >= set(range(min(runs), final["collectors"][0]["runs"] + 1)), "a run is missing at the sink"


def test_clock_steps(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path, require: Callable[..., None]) -> None:
    """The wall clock goes back an hour and forth again: at most one window is missed each time, and no rate is negative."""
    require("cc")
    shim, clock = tmp_path / "shim.so", tmp_path / "clock"
    source = Path(__file__).parent / "wallshim.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-o", shim, source, "-ldl", "-lm"], check=True)
    clock.write_bytes(struct.pack("d", 0.0))
    grows = plugin("grows", "yield self.total(self.run * 7, 'a')\nyield self.value(self.run, 'n')")
    env = {"LD_PRELOAD": str(shim), "WALLSHIM_FILE": str(clock)}
    running = agent("[collectors.loadavg]\n[collectors.grows]\n" + to(sink), {"grows": grows}, env)
    running.wait(lambda s: s["collectors"][0]["runs"] > 2)
    for step in (-3600.0, 0.0, 3600.0, 0.0):
        began, runs = time.monotonic(), running.collector("loadavg")["runs"]
        with clock.open("r+b") as file:
            file.write(struct.pack("d", step))
        time.sleep(4)
        ran = running.collector("loadavg")["runs"] - runs
        assert ran >= int(time.monotonic() - began) - 1, f"after a step to {step}: {ran} runs"
    status = running.status()
    assert all(c["failures"] == 0 for c in status["collectors"])
    assert running.stop()[0] == 0
    rates = [float(value) for name, value, _ in sink.lines if name.endswith("total.a")]
    assert min(rates) > 0
    assert max(rates) < 7 / 0.125 + 1  # the shortest time that gives a rate
    stamps = {stamp // 3600 for stamp in sink.stamps("servers.h.grows.n")}
    assert len(stamps) >= 3, "points of all three hours arrived"
    numbers = [int(value) for name, value, _ in sink.lines if name == "servers.h.grows.n"]
    gaps = [b - a for a, b in itertools.pairwise(numbers) if b - a != 1]
    assert len(gaps) <= 4
    assert all(gap == 2 for gap in gaps)


def test_a_busy_loop(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    """A collector that burns a CPU for ever keeps its own thread, not the interpreter."""
    running = agent(
        REAL + "[collectors.burns]\n" + to(sink), {"burns": plugin("burns", "while True:\n    pass\nyield self.value(1, 'a')")}
    )
    running.wait(lambda s: any(c["name"] == "burns" and c["state"] == "stuck" for c in s["collectors"]))
    late = []
    for _ in range(40):
        late += [c["late"] for c in running.status()["collectors"] if c["name"] in ("loadavg", "cpu", "tcp")]
        time.sleep(0.1)
    print(f"lateness beside a busy loop: max {max(late) * 1000:.1f} ms")
    assert running.collector("loadavg")["missed"] == 0
    code, seconds = running.stop()
    assert code == 0
    assert seconds < 2.6


def test_isolated_collector(agent: Callable[..., RunningAgent], sink: Sink) -> None:
    """One child for good, its samples as if it ran here; killed at its deadline and started again."""
    body = "self.pid = os.getpid()\nyield self.value(self.run, 'n')\nyield self.total(self.run * 3, 't')\nif self.run == 3:\n    time.sleep(60)"
    running = agent(
        '[collectors.child]\nisolation = "process"\ninterval = "500ms"\n' + to(sink), {"child": plugin("child", body)}
    )
    running.wait(lambda s: s["collectors"][0]["failures"] > 0)
    assert "was killed" in running.log.read_text()  # the status may already be of the next run, which is well
    running.wait(lambda s: s["collectors"][0]["state"] == "ok")
    worker = int(
        subprocess.run(["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True).stdout.split()[0]
    )
    assert running.stop()[0] == 0
    assert not os.path.exists(f"/proc/{worker}"), "the worker host outlived the agent"
    assert {name for name, _, _ in sink.lines} >= {"servers.h.child.n", "servers.h.child.total.t"}


def test_children_die_with_the_agent(agent: Callable[..., RunningAgent]) -> None:
    running = agent('[collectors.child]\nisolation = "process"\n', {"child": plugin("child", "yield self.value(1, 'n')")})
    running.wait(lambda s: s["collectors"][0]["runs"] > 0)
    text = subprocess.run(["pgrep", "-P", str(running.process.pid)], capture_output=True, text=True, check=True).stdout
    worker = int(text.split()[0])
    running.process.kill()
    running.process.wait()
    end = time.monotonic() + 3
    while os.path.exists(f"/proc/{worker}") and time.monotonic() < end:
        time.sleep(0.02)
    assert not os.path.exists(f"/proc/{worker}")


def test_two_agents_do_not_share_a_state_directory(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    running = agent("[collectors.loadavg]\n")
    running.wait(lambda s: True)
    second = subprocess.run(
        [sys.executable, "-m", "adamas", "run", "-c", str(running.file)], capture_output=True, text=True, timeout=10
    )
    assert second.returncode == 1
    assert "another agent uses" in second.stderr
    assert running.stop(signal.SIGINT)[0] == 0


def test_an_unusable_state_directory_is_no_reason_to_stop(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    running = agent("[collectors.loadavg]\n" + to(sink))
    end = time.monotonic() + 8
    while not sink.lines and time.monotonic() < end:
        time.sleep(0.05)
    assert sink.lines
    assert running.stop()[0] == 0
    assert re.search("warning adamas: no state directory", running.log.read_text())
