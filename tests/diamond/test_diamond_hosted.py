"""Collectors and handlers that were written for Diamond, unmodified, in a real agent; and what the original did wrong."""

from __future__ import annotations

import json
import os
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

from agents import RunningAgent, Sink, balanced
from culprits import descendants, zombies

HERE = Path(__file__).parent
HEAD = """
[agent]
hostname = "h"
interval = "1s"
state_dir = "{state}"
defaults = false
[web]
enabled = false
[history]
enabled = false
"""


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    running: list[RunningAgent] = []

    def begin(config: str, env: dict[str, str] | None = None) -> RunningAgent:
        running.append(RunningAgent(tmp_path, HEAD + config, env))
        return running[-1]

    yield begin
    for one in running:
        one.end()


@pytest.fixture
def sink() -> Sink:
    return Sink()


def to(sink: Sink, naming: str = "diamond") -> str:
    return f'[outputs.sink]\ntype = "graphite"\nnaming = "{naming}"\naddress = "127.0.0.1:{sink.port}"\ntimeout = "2s"\n'


def hosted(name: str, folder: Path | str, options: str = "", **config: Any) -> str:
    """The table of a collector that is loaded from a folder."""
    return (
        f'[collectors."{name}"]\ntype = "diamond"\ncollectors_path = ["{folder}"]\n{options}\n'
        f'[collectors."{name}".config]\n' + "".join(f"{key} = {toml(value)}\n" for key, value in config.items())
    )


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items()) + " }"
    return json.dumps(value)


def values(sink: Sink, skip: int = 0) -> dict[str, str]:
    """The last text of each name."""
    return {name: value for name, value, _ in sink.lines[skip:]}


COLLECTORS = HERE / "collectors"


def test_custom_collectors_run_unmodified(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    (tmp_path / "mail").mkdir()
    for name in ("a.msg", "b.msg", "c.tmp", ".d.msg"):
        (tmp_path / "mail" / name).touch()
    spools = {"mail": {"dir": str(tmp_path / "mail"), "limit": "8"}}
    running = agent(
        to(sink)
        + hosted("QueueDepthCollector", COLLECTORS, suffixes=".msg", spools=spools)
        + hosted("HttpPortsCollector", COLLECTORS)
        + hosted("BillingCollector", COLLECTORS)
        + hosted("TickerCollector", COLLECTORS, step="60")
        + hosted("WorkersCollector", COLLECTORS, targets=["x", "y"])
        + hosted("GuestsCollector", COLLECTORS, instance_prefix="guests")
        + hosted("AntiqueCollector", COLLECTORS, path_suffix="museum")
        + hosted("UnameCollector", COLLECTORS)
        + hosted("PreciseCollector", COLLECTORS, path=".", metrics_blacklist="hid")
        + hosted("QueueDepthCollector two", COLLECTORS, path="queue2", hidden="yes", spools=spools, hostname="other")
    )
    running.wait(lambda s: all(c["runs"] >= 5 for c in s["collectors"]), 20)
    status = running.status()
    assert {c["name"]: c["error"] for c in status["collectors"] if c["error"]} == {}
    assert running.stop()[0] == 0
    last = values(sink)
    timed = {name: last.pop(name) for name in ("servers.h.ticker.seconds", "servers.h.ticker.twice")}
    assert float(last.pop("servers.h.guest.collector_time_ms")) < 500
    assert int(last.pop("servers.h.workers.target.x.asked")) >= 4
    assert int(last.pop("servers.h.workers.target.y.asked")) >= 4
    assert last == {
        "servers.h.queue.mail.depth": "2",
        "servers.h.queue.mail.share": "0.250",
        "servers.other.queue2.mail.depth": "4",
        "servers.other.queue2.mail.share": "0.500",
        "servers.h.ports.library.port": "80",
        "servers.h.ports.tls.port": "443",
        "billing.h.euro": "12.50",
        "billing.accounts": "42",
        "servers.h.BillingCollector.hours": "7.2",
        "servers.h.BillingCollector.now": "1",
        "servers.h.ticker.steps.change": "60",
        "servers.h.ticker.reset": last["servers.h.ticker.reset"],
        "servers.h.guest.running": "2",
        "guests.web.guest.cpu": "11",
        "guests.db.guest.cpu": "97",
        "servers.h.museum.antique.size_byte": "3145728",
        "servers.h.museum.antique.size_kilobyte": "3072",
        "servers.h.uname.load": "4",
        "servers.h.uname.users": "7",
        "servers.h.as_text": "12.35" if "12.35" in last["servers.h.as_text"] else "12.34",
        "servers.h.zero_first": "0.125",
        "servers.h.big": "9007199254740992",
        "servers.h.odd_name/with_{braces}": "1",
    }
    assert not sink.bad
    # Rates are of the time that passed, none is sent for a first sample, and a reset is no spike.
    for name, expected in (("seconds", 1), ("twice", 2)):
        text = timed[f"servers.h.ticker.{name}"]
        assert float(text) == pytest.approx(expected, abs=0.3) and len(text.partition(".")[2]) == 1
    rates = [float(value) for name, value, _ in sink.lines if name.endswith(("ticker.seconds", "ticker.reset"))]
    assert 0 not in rates[:1] and max(rates) < 1000
    # Times as given; the others on the grid, one for each window.
    assert set(sink.stamps("billing.h.euro")) == {1700000000}
    assert set(sink.stamps("servers.h.BillingCollector.hours")) == {1700003600}
    stamps = sink.stamps("servers.h.BillingCollector.now")
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps)))
    assert "GuestsCollector saw its guests 1 times" in running.log.read_text()


class _Stats(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        if self.rfile.readline() == b"stats\n":
            self.wfile.write(b"STAT pid 1\r\nSTAT get_hits 7\r\nSTAT get_misses 2\r\nSTAT version 1.4\r\nEND\r\n")


class _Api(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps({"jobs": {"waiting": 3, "done": 4.25}, "name": "x", "ok": True}).encode()
        self.send_response(200)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def services() -> Iterator[tuple[int, int]]:
    """The ports of a memcached that knows one command, and of an HTTP server."""
    servers = [socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Stats), HTTPServer(("127.0.0.1", 0), _Api)]
    for server in servers:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    yield servers[0].server_address[1], servers[1].server_address[1]
    for server in servers:
        server.shutdown()
        server.server_close()


def test_python_2_collectors_run_unmodified(agent: Callable[..., RunningAgent], sink: Sink, services: tuple[int, int]) -> None:
    cache, api = services
    running = agent(
        to(sink)
        + hosted("McStatsCollector", HERE / "python2", hosts=[f"127.0.0.1:{cache}"])
        + hosted("ApiStatusCollector", HERE / "python2", url=f"http://127.0.0.1:{api}/status", flat="no")
        + hosted("ProcsCollector", HERE / "python2")
    )
    running.wait(lambda s: all(c["runs"] >= 3 for c in s["collectors"]), 20)
    assert {c["name"]: c["error"] for c in running.status()["collectors"] if c["error"]} == {}
    assert running.stop()[0] == 0
    assert values(sink) == {
        f"servers.h.mc.{cache}.get_hits": "7",
        f"servers.h.mc.{cache}.get_misses": "2",
        "servers.h.mc.hit_percent": "77",
        "servers.h.api.jobs.waiting": "3.0",
        "servers.h.api.jobs.done": "4.2",
        "servers.h.procs.root.mb": "2",
        "servers.h.procs.www.mb": "0",
        "servers.h.procs.root.mode": "420",
        "servers.h.procs.www.mode": "420",
        "servers.h.procs.total": "2748",
    }


def write(folder: Path, name: str, body: str, head: str = "") -> None:
    """A collector of that name whose `collect` does this."""
    folder.mkdir(exist_ok=True)
    lines = body.replace("\n", "\n        ")
    text = f"import os, sys, time, signal, subprocess, threading\nimport diamond.collector\n{head}\n"
    text += f"class {name}(diamond.collector.Collector):\n    runs = 0\n    def collect(self):\n        self.runs += 1\n        {lines}\n"
    (folder / f"{name.lower()}.py").write_text(text)


def test_where_the_class_comes_from(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    write(tmp_path / "c", "OneCollector", "self.publish('x', 1)")
    (tmp_path / "garbled.py").write_text("import diamond.collector\n\nclass GarbledCollector(:\n    pass\n")
    write(tmp_path / "site", "DottedCollector", "self.publish('x', 1)")
    write(tmp_path / "site", "OfferedCollector", "self.publish('x', 1)")
    (tmp_path / "site/old_package").mkdir()
    (tmp_path / "site/old_package/__init__.py").touch()
    (tmp_path / "site/dottedcollector.py").rename(tmp_path / "site/old_package/stats.py")
    (tmp_path / "site/offered-1.0.dist-info").mkdir()
    (tmp_path / "site/offered-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (tmp_path / "site/offered-1.0.dist-info/entry_points.txt").write_text("[diamond.collectors]\noffered = offeredcollector\n")
    running = agent(
        to(sink)
        + f'[collectors.named]\ntype = "diamond"\nclass = "OneCollector"\ncollectors_path = ["{tmp_path}/c"]\n'
        + f'[collectors.filed]\ntype = "diamond"\nfile = "{tmp_path}/c/onecollector.py"\nconfig = {{ path = "filed" }}\n'
        + f'[collectors.Missing]\ntype = "diamond"\ncollectors_path = ["{tmp_path}/c"]\n'
        + '[collectors.nowhere]\ntype = "diamond"\nclass = "XCollector"\ncollectors_path = ["/nowhere"]\n'
        + f'[collectors.garbled]\ntype = "diamond"\nfile = "{tmp_path}/garbled.py"\n'
        + '[collectors.dotted]\ntype = "diamond"\nclass = "old_package.stats.DottedCollector"\n'
        + '[collectors.offered]\ntype = "diamond"\nclass = "OfferedCollector"\n',
        {"PYTHONPATH": str(tmp_path / "site")},
    )
    running.wait(lambda s: all(c["runs"] >= 2 for c in s["collectors"]), 20)
    errors = {c["name"]: c["error"] for c in running.status()["collectors"]}
    assert errors["named"] == errors["filed"] == ""
    assert "there is no collector class Missing in" in errors["Missing"]
    assert "Directory does not exist: /nowhere" in errors["nowhere"]
    assert f"{tmp_path}/garbled.py:3: " in errors["garbled"] or (
        "garbled.py" in errors["garbled"] and "line 3" in errors["garbled"]
    )
    assert errors["dotted"] == errors["offered"] == "", errors
    assert running.stop()[0] == 0
    names = {"servers.h.OneCollector.x", "servers.h.filed.x", "servers.h.DottedCollector.x", "servers.h.OfferedCollector.x"}
    assert values(sink) == dict.fromkeys(names, "1")


# What the original did wrong


def test_a_collector_that_raises_keeps_its_interval(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    """The original started its process anew at once: 15 runs where 5 were due."""
    write(
        tmp_path / "c",
        "RaisesCollector",
        f"open('{tmp_path}/runs', 'a').write('%d\\n' % os.getpid())\nself.publish('x', 1)\nraise IOError('no')",
    )
    write(tmp_path / "c", "GoodCollector", "self.publish('x', 1)")
    running = agent(to(sink) + hosted("RaisesCollector", tmp_path / "c") + hosted("GoodCollector", tmp_path / "c"))
    began = time.monotonic()
    running.wait(lambda s: next(c for c in s["collectors"] if c["name"] == "GoodCollector")["runs"] >= 7, 20)
    elapsed = time.monotonic() - began
    runs = (tmp_path / "runs").read_text().split()
    raises = running.collector("RaisesCollector")
    assert 3 <= len(runs) <= elapsed + 2
    assert len(set(runs)) == 1, "in one process"
    assert raises["state"] in ("failed", "backoff") and "no" in raises["error"]
    assert raises["failures"] == raises["runs"]
    assert running.stop()[0] == 0
    assert "servers.h.RaisesCollector.x" not in values(sink), "a failed run gives nothing"


def test_a_swallowed_alarm_ends_at_the_deadline(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    """The original hung for ever where `except Exception` caught its alarm; nothing catches SIGKILL."""
    body = (
        f"open('{tmp_path}/pids', 'a').write('%d\\n' % os.getpid())\n"
        "for number in (signal.SIGALRM, signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)\n"
        "while True:\n    try:\n        time.sleep(1000)\n    except Exception:\n        pass"
    )
    write(tmp_path / "c", "HangsCollector", body)
    write(tmp_path / "c", "GoodCollector", "self.publish('x', self.runs)")
    running = agent(
        to(sink) + hosted("HangsCollector", tmp_path / "c", 'deadline = "300ms"') + hosted("GoodCollector", tmp_path / "c")
    )
    running.wait(lambda s: next(c for c in s["collectors"] if c["name"] == "HangsCollector")["failures"] >= 2, 20)
    assert "took longer than 0.3 s and was killed" in running.collector("HangsCollector")["error"]
    first, second = (tmp_path / "pids").read_text().split()[:2]
    assert first != second
    running.wait(lambda s: next(c for c in s["collectors"] if c["name"] == "GoodCollector")["runs"] >= 5, 20)
    assert running.stop()[0] == 0
    stamps = sink.stamps("servers.h.GoodCollector.x")
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps)))
    for pid in (tmp_path / "pids").read_text().split():
        assert not os.path.exists(f"/proc/{pid}"), "killed and reaped"


def test_two_instances_have_names_of_their_own(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    """The original sent both under one name; here the second's is marked, and told."""
    write(tmp_path / "c", "TwinCollector", "self.publish('x', self.config['n'])")
    running = agent(
        to(sink) + hosted("TwinCollector", tmp_path / "c", n="1") + hosted("TwinCollector two", tmp_path / "c", n="2")
    )
    running.wait(lambda s: all(c["runs"] >= 2 for c in s["collectors"]), 20)
    assert running.stop()[0] == 0
    found = values(sink)
    assert sorted(found.values()) == ["1", "2"] and set(found) == {"servers.h.TwinCollector.x", "servers.h.TwinCollector.x_2"}


def test_what_a_child_of_a_collector_leaves_is_reaped(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    """Forked and never waited for; forked away from its parent; a shell in the background."""
    body = (
        "if os.fork() == 0: os._exit(0)\n"
        "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(0.3)\n    os._exit(0)\n"
        "subprocess.Popen(['/bin/true'])\nself.publish('x', 1)"
    )
    write(tmp_path / "c", "ForksCollector", body)
    running = agent(to(sink) + hosted("ForksCollector", tmp_path / "c"))
    running.wait(lambda s: s["collectors"][0]["runs"] >= 6, 20)
    stay = set(zombies(running.process.pid))
    time.sleep(2.5)
    assert stay & set(zombies(running.process.pid)) == set()
    assert running.collector("ForksCollector")["failures"] == 0
    assert running.stop()[0] == 0


def test_memory_has_a_limit(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    write(tmp_path / "c", "LeaksCollector", "self.publish('x', self.runs)\nself.kept.append(bytearray(20 << 20))", "kept = []")
    text = (tmp_path / "c/leakscollector.py").read_text().replace("    runs = 0", "    runs = 0\n    kept = kept")
    (tmp_path / "c/leakscollector.py").write_text(text)
    running = agent(
        to(sink) + hosted("LeaksCollector", tmp_path / "c", 'memory_limit = "96MiB"\ninterval = "200ms"\ndeadline = "5s"')
    )
    running.wait(lambda s: s["collectors"][0]["failures"] >= 1, 20)
    assert "reached the limit of its memory" in running.collector("LeaksCollector")["error"]
    running.wait(lambda s: s["collectors"][0]["state"] == "ok", 20)
    assert running.stop()[0] == 0


# Handlers


def handler(name: str, folder: Path, cls: str, options: str = "", **config: Any) -> str:
    return (
        f'[outputs.{name}]\ntype = "diamond"\nclass = "{cls}"\nhandlers_path = ["{folder}"]\n{options}\n'
        f"[outputs.{name}.config]\n" + "".join(f"{key} = {toml(value)}\n" for key, value in config.items())
    )


SOURCE = "[collectors.loadavg]\n[collectors.proc]\n"


def fifo_lines(path: Path) -> list[list[str]]:
    return [line.split("|") for line in path.read_text().splitlines()] if path.exists() else []


def missing(path: Path, name: str) -> list[int]:
    """Windows that a name has no value for, between its first and its last."""
    stamps = sorted({int(line[3].split()[2]) for line in fifo_lines(path) if line[3].split()[0] == name})
    return sorted(set(range(stamps[0], stamps[-1] + 1)) - set(stamps))


def test_custom_handlers_run_unmodified(agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = agent(
        SOURCE
        + handler("fifo", HERE / "handlers", "fifo.FifoHandler", path=str(out))
        + handler(
            "tagged",
            HERE / "handlers",
            "tagged.TaggedGraphiteHandler",
            tag="new",
            host="127.0.0.1",
            port=str(sink.port),
            batch="7",
        )
    )
    running.wait(lambda s: all(o["ledger"]["delivered"] > 40 for o in s["outputs"]), 20)
    status = running.status()
    assert all(balanced(o["ledger"]) and not o["ledger"]["dropped"] and not o["error"] for o in status["outputs"])
    assert running.stop()[0] == 0
    collector, name, kind, line = fifo_lines(out)[0]
    assert (collector, name, kind) == ("loadavg", "01", "GAUGE")
    assert line.startswith("servers.h.loadavg.01 ") and len(line.split()[1].partition(".")[2]) == 2
    kinds = {line[3].split()[0]: line[2] for line in fifo_lines(out)}
    assert kinds["servers.h.proc.ctxt"] == "COUNTER"
    names = {line[3].split()[0] for line in fifo_lines(out)}
    assert {name.removeprefix("new.") for name, _, _ in sink.lines} == names
    assert all(name.startswith("new.servers.h.") for name, _, _ in sink.lines)


@pytest.mark.parametrize("fault", ["block", "die", "away", "nostart"])
def test_a_handler_in_trouble_costs_nobody_anything(
    agent: Callable[..., RunningAgent], sink: Sink, tmp_path: Path, fault: str
) -> None:
    """The original's handlers shared a process: one that blocked or died ended the delivery of all."""
    out = tmp_path / "out"
    trouble = tmp_path / f"out.{fault}"
    if fault == "nostart":
        trouble.touch()
    running = agent(
        SOURCE + to(sink) + handler("fifo", HERE / "handlers", "fifo.FifoHandler", 'timeout = "300ms"', path=str(out))
    )
    if fault != "nostart":
        running.wait(lambda s: next(o for o in s["outputs"] if o["name"] == "fifo")["ledger"]["delivered"] > 0, 20)
        trouble.touch()
    status = running.wait(lambda s: next(o for o in s["outputs"] if o["name"] == "fifo")["reconnects"] >= 2, 30)
    words = {"block": "was killed", "die": "exited with status 3", "away": "away", "nostart": "no such host"}
    assert words[fault] in next(o for o in status["outputs"] if o["name"] == "fifo")["error"]
    trouble.unlink()
    running.wait(lambda s: next(o for o in s["outputs"] if o["name"] == "fifo")["state"] == "ok", 30)
    running.wait(lambda s: not next(o for o in s["outputs"] if o["name"] == "fifo")["ledger"]["memory"], 30)
    ledger = running.output("fifo")["ledger"]
    assert balanced(ledger) and not ledger["dropped"]
    assert running.stop()[0] == 0
    assert missing(out, "servers.h.loadavg.01") == []
    stamps = sink.stamps("servers.h.loadavg.01")
    assert stamps == list(range(stamps[0], stamps[0] + len(stamps))), "the other output noticed nothing"


def test_a_killed_handler_process_starts_again(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    """`kill -9` of the original's Handlers process ended all delivery until somebody came."""
    out = tmp_path / "out"
    running = agent(SOURCE + handler("fifo", HERE / "handlers", "fifo.FifoHandler", path=str(out)))
    for turn in range(3):
        running.wait(lambda s: len(fifo_lines(out)) > 30 * (turn + 1), 30)  # noqa: B023
        children = [
            pid for pid in descendants(running.process.pid) if "adamas.worker" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        worker, child = sorted(children)[0], sorted(children)[-1]
        os.kill(child if turn < 2 else worker, 9)  # at last the host of all children too
    running.wait(lambda s: len(fifo_lines(out)) > 120, 30)
    assert running.stop()[0] == 0
    assert missing(out, "servers.h.loadavg.01") == []


def test_points_that_a_handler_refuses_are_counted(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = agent(SOURCE + handler("fifo", HERE / "handlers", "fifo.FifoHandler", path=str(out), refuse="loadavg.05"))
    status = running.wait(lambda s: s["outputs"][0]["ledger"]["dropped"].get("rejected", 0) >= 4, 20)
    ledger = status["outputs"][0]["ledger"]
    assert balanced(ledger) and ledger["delivered"] > ledger["dropped"]["rejected"]
    assert "not this one" in status["outputs"][0]["error"]
    assert running.stop()[0] == 0
    names = {line[3].split()[0] for line in fifo_lines(out)}
    assert "servers.h.loadavg.01" in names and not any("loadavg.05" in name for name in names)
