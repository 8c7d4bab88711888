"""What arrives at real backends is what was measured: carbon's files, Prometheus' store, promtool's judgement."""

from __future__ import annotations

import math
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import RunningAgent, balanced

sys.path.insert(0, str(Path(__file__).parent))

HEAD = '[agent]\nhostname = "h"\ninterval = "1s"\nstate_dir = "{state}"\nplugins = ["{folder}/plugins"]\n'

EVERYTHING = ("--collector.vmstat.fields=.", "--collector.netstat.fields=.")
"""node_exporter shows only some of these by default; we show them all."""

KNOWN = '''"""Numbers that are known beforehand."""
from adamas import Collector, Counter, Gauge


class Known(Collector):
    """The same in every run, and a counter that grows by 500."""

    name = "known"
    value = Gauge("{which}", "A number")
    grows = Counter("grows", "A total")
    run = 0

    def collect(self):
        self.run += 1
        for which, value in NUMBERS.items():
            yield self.value(value, which)
        yield self.value(self.run, "run")
        yield self.grows(self.run * 500)


NUMBERS = {
    "zero": 0, "one": 1, "negative": -17.25, "tiny": 1.25e-9, "huge": 1.5e300, "long": 123456789012, "third": 1 / 3, "with space": 5,
    "umlaut_ä": 6, "slash/dot.": 7,
}
'''


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[str], RunningAgent]]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "known.py").write_text(KNOWN)
    running: list[RunningAgent] = []

    def begin(config: str) -> RunningAgent:
        running.append(RunningAgent(tmp_path, HEAD + config))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def test_carbon_stores_what_was_measured(agent: Callable[[str], RunningAgent], carbon: servers.Carbon, tmp_path: Path) -> None:
    """Every point that the agent says it delivered is in carbon's files, with the value that a file beside it got."""
    both = f'[outputs.carbon]\ntype = "graphite"\naddress = "{carbon.address}"\n[outputs.file]\npath = "{tmp_path}/lines"\n'
    running = agent("[collectors.known]\n[web]\nenabled = false\n[history]\nenabled = false\n" + both)
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 3000, 20)
    status = running.status()
    assert running.stop()[0] == 0
    sent: dict[str, dict[int, float]] = {}
    for line in (tmp_path / "lines").read_text().splitlines():
        name, value, stamp = line.split(" ")
        sent.setdefault(name, {})[int(stamp)] = float(value)
    assert sum(map(len, sent.values())) > 3000
    assert sent["servers.h.known.with_space"].popitem()[1] == 5
    assert sent["servers.h.known.third"].popitem()[1] == pytest.approx(1 / 3, rel=1e-11)
    rates = list(sent["servers.h.known.grows"].values())
    assert all(rate == pytest.approx(500, rel=0.1) for rate in rates[1:])  # the first is over the time since the start
    since = min(min(points) for points in sent.values()) - 2

    def missing() -> list[tuple[str, int]]:
        stored = {name: dict(points) for name, points in carbon.points(sent, since).items()}
        return [(name, stamp) for name, points in sent.items() for stamp in points if stamp not in stored[name]]

    servers.wait_until(lambda: not missing(), 15, "all that was delivered, on carbon's disk")
    stored = carbon.points(sent, since)
    wrong = [
        (name, stamp, value, dict(stored[name])[stamp])
        for name, points in sent.items()
        for stamp, value in points.items()
        if not math.isclose(dict(stored[name])[stamp], value, rel_tol=1e-12)
    ]
    print(f"{len(sent)} series, {sum(map(len, sent.values()))} points at carbon, {len(wrong)} different")
    assert not wrong
    assert all(balanced(o["ledger"]) and not o["ledger"]["dropped"] for o in status["outputs"])


def test_carbon_restarts_lose_nothing(agent: Callable[[str], RunningAgent], carbon: servers.Carbon) -> None:
    """carbon is stopped for seconds: what was measured meanwhile waits and arrives."""
    sink = f'[outputs.carbon]\ntype = "graphite"\naddress = "{carbon.address}"\n'
    running = agent("defaults = false\n[collectors.known]\n[web]\nenabled = false\n[history]\nenabled = false\n" + sink)
    running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 0, 15)
    stopped = time.time()
    carbon.stop()
    time.sleep(3)
    carbon.start()
    began = running.status()["now"]
    running.wait(lambda s: s["outputs"][0]["state"] == "ok" and s["outputs"][0]["last_send"] > began, 30)
    running.wait(lambda s: not s["outputs"][0]["ledger"]["memory"] + s["outputs"][0]["ledger"]["spool"], 60)
    time.sleep(2)
    assert running.stop()[0] == 0
    points = carbon.wait_for("servers.h.known.run", 6)
    carbon.stop()
    stamps = [stamp for stamp, _ in carbon.points(["servers.h.known.run"])["servers.h.known.run"]]
    assert len(points) >= 6
    missing = set(range(stamps[0], stamps[-1])) - set(stamps)
    # What carbon had read and not yet written when it was told to stop is carbon's own loss.
    assert missing <= {int(stopped) - 1, int(stopped)}, (missing, stopped)


def port_of(running: RunningAgent) -> int:
    status = running.wait(lambda s: s["address"] and all(c["runs"] > 1 for c in s["collectors"]), 15)
    return int(status["address"].rsplit(":", 1)[1])


def test_prometheus_scrapes_the_agent(agent: Callable[[str], RunningAgent], prometheus: Callable[..., Any]) -> None:
    running = agent('[collectors.known]\n[web]\nlisten = "127.0.0.1:0"\n')
    target = f"127.0.0.1:{port_of(running)}"
    server = prometheus([target])
    assert server.wait_for(f'up{{instance="{target}"}} == 1', 30)
    found = {r["metric"]["which"]: float(r["value"][1]) for r in server.wait_for("known_value")}
    assert found["negative"] == -17.25
    assert found["tiny"] == 1.25e-9
    assert found["huge"] == 1.5e300
    assert found["slash/dot."] == 7
    assert found["umlaut_ä"] == 6
    server.wait_for("rate(known_grows_total[5s]) > 400 < 600", 30)
    for name in ("node_load1", "node_memory_MemTotal_bytes", "node_cpu_seconds_total", "node_boot_time_seconds"):
        assert server.query(name), name
    assert server.query("adamas_reload_ok")[0]["value"][1] == "1"


def test_promtool_finds_no_more_than_in_node_exporters_own_page(
    agent: Callable[[str], RunningAgent], require: Callable[..., None]
) -> None:
    """Names that we share with node_exporter are linted alike; names of our own are clean."""
    require("promtool", "prometheus-node-exporter")
    running = agent('[collectors.known]\n[web]\nlisten = "127.0.0.1:0"\n')
    port = port_of(running)
    status, page = servers.get(port, "/metrics")
    assert status == 200
    other = servers.free_port()
    exporter = servers.start(
        ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{other}", *EVERYTHING],
        running.folder / "node_exporter",
        lambda: servers.get(other, "/metrics")[0] == 200,
    )
    theirs = servers.get(other, "/metrics")[1].decode()
    exporter.stop()
    excused = _complaints(servers.promtool_check(theirs))
    found = _complaints(servers.promtool_check(page.decode()))
    families = set(re.findall(r"^# TYPE (\S+)", page.decode(), re.M))
    shared = families & set(re.findall(r"^# TYPE (\S+)", theirs, re.M))
    print(
        f"{len(families)} families, {len(shared)} of them node_exporter's; promtool: {len(found)} complaints, {len(excused)} there"
    )
    assert len(shared) > 100
    more = {f"{name}: {words}" for name, words in found if (name, words) not in excused and not _same_rule(name, words, excused)}
    assert not more


def _complaints(text: str) -> set[tuple[str, str]]:
    return {(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in text.splitlines() if " " in line}


def _same_rule(name: str, words: str, excused: set[tuple[str, str]]) -> bool:
    """A name that only our page has, of a family whose names node_exporter makes from the kernel's by the same rule."""
    kind = re.match(r"node_(netstat|vmstat|memory|sockstat|network)_", name)
    return kind is not None and any(n.startswith(kind[0]) and w == words for n, w in excused)
