"""The ceph collector against real monitors; a whole cluster is in soak/test_ceph_cluster.py."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ceph_server
import pytest
import servers
from cases import spelled
from ceph_server import Mon

from adamas.collectors.ceph import Ceph
from adamas.errors import NoData
from adamas.exposition import Exposition
from adamas.host import Host
from adamas.lines import Plan
from adamas.metric import COUNTER, Batch
from adamas.naming import Naming
from adamas.pipeline import Intake
from adamas.recording import Recorder

BUDGET = 0.005


class Watch:
    """A collector on the sockets of one folder, and what its runs gave."""

    def __init__(self, run: Path, **options: Any) -> None:
        self.host = Recorder()
        self.collector = Ceph(self.host, {"socket_path": str(run), **options})
        self.intake = Intake(self.collector)

    def __call__(self) -> Batch:
        self.host.calls.clear()
        series, values = self.intake.gather()
        batch = self.intake.publish(series, values, time.time(), time.monotonic())
        assert batch is not None
        return batch

    def talks(self) -> int:
        """How many conversations the last run had."""
        return sum(call["call"] == "unix" for call in self.host.calls)


def values(batch: Batch, naming: str = "diamond") -> dict[str, Any]:
    """Every point of a batch by its name, the labels left out, with its exact value."""
    return {point.name: value for point, value in Plan(batch.shape, Naming(naming).spell).pairs(batch)}


def up(batch: Batch) -> dict[str, int]:
    return {s.labels[0]: int(v) for s, v in zip(batch.shape.series, batch.values) if s.declaration.name == "up"}


def of(batch: Batch, daemon: str) -> int:
    return sum(s.labels[0] == daemon and s.declaration.name != "up" for s in batch.shape.series)


def leaves(found: Any, prefix: str) -> dict[str, Any]:
    if not isinstance(found, dict):
        return {prefix: found}
    return {k: v for name, inner in found.items() for k, v in leaves(inner, f"{prefix}.{name}").items()}


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    servers.require("ceph-mon", "monmaptool", "ceph")
    directory = ceph_server.short_directory()
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def mon(folder: Path) -> Iterator[Mon]:
    running = Mon(folder / "a", folder / "run")
    yield running
    running.server.stop()


@pytest.fixture
def second(folder: Path, mon: Mon) -> Iterator[Mon]:
    """Another monitor, whose socket lies beside the first's while the test runs."""
    running = Mon(folder / "b", folder / "run", "b")
    yield running
    running.server.stop()
    running.socket.unlink(missing_ok=True)


@pytest.fixture
def stale(mon: Mon) -> Iterator[Path]:
    """A socket that a daemon left behind."""
    path = mon.socket.with_name("ceph-osd.7.asok")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
    yield path
    path.unlink()


def test_the_values_are_those_that_the_program_prints(mon: Mon) -> None:
    watch = Watch(mon.socket.parent)
    watch()
    argv = ("ceph", "--admin-daemon", str(mon.socket), "perf", "dump")
    before = leaves(json.loads(mon.run(*argv)), "CephCollector.ceph.mon.a")
    found = values(watch())
    after = leaves(json.loads(mon.run(*argv)), "CephCollector.ceph.mon.a")
    still = {name for name in before if before[name] == after[name]}
    assert set(found) == set(before) == set(after)
    assert len(still) > 200
    assert {name: found[name] for name in still} == {name: before[name] for name in still}


def test_both_spellings_say_the_same(mon: Mon) -> None:
    watch = Watch(mon.socket.parent)
    before = values(watch())
    mon.run("ceph", "config", "set", "mon", "debug_none", "0")  # a commit, so that paxos counts
    batch = watch()
    labelled = values(batch, "prometheus")
    dotted = values(batch)
    for name, value in dotted.items():
        if name.endswith(".avgtime"):
            continue
        section, counter, *part = name.removeprefix("CephCollector.ceph.mon.a.").split(".")
        suffix = {"avgcount": "_count", "sum": "_sum"}[part[0]] if part else ""
        assert labelled.pop(f"ceph_{section}_{counter}".replace("::", "_").replace("-", "_") + suffix) == value
    assert labelled == {"ceph_daemon_socket_up": 1}
    rates = values(batch, "path")
    for ours, theirs in (("begin", "begin"), ("begin_bytes_sum", "begin_bytes.sum"), ("begin_keys_count", "begin_keys.avgcount")):
        theirs = f"CephCollector.ceph.mon.a.paxos.{theirs}"
        assert dotted[theirs] > before[theirs]
        assert rates[f"ceph.mon_a.paxos.{ours}"] == pytest.approx((dotted[theirs] - before[theirs]) / batch.elapsed)
    assert rates["ceph.mon_a.cluster.num_mon"] == 1
    assert not [name for name in rates if "avgtime" in name]


def test_kind_and_help_are_the_schema_s(mon: Mon) -> None:
    batch = Watch(mon.socket.parent)()
    declared = {s.declaration.name: s.declaration for s in batch.shape.series}
    schema = json.loads(ceph_server.ask(mon.socket, "perf schema"))
    for section, counters in schema.items():
        for counter, about in counters.items():
            name = f"{section}.{counter}"
            if about["value_type"].endswith("-pair"):
                assert declared[f"{name}_count"].kind == declared[f"{name}_sum"].kind == COUNTER
                assert declared[f"{name}_sum"].unit == ("s" if about["type"] & 1 else "By" if about["units"] == "bytes" else "")
            else:
                assert declared[name].kind == about["metric_type"]
                assert declared[name].help == about["description"]
    page = Exposition(Naming("prometheus")).render([batch])
    assert "# TYPE ceph_paxos_begin counter\n" in page
    assert "# HELP ceph_paxos_begin_latency_sum Latency of begin operation, sum\n" in page
    assert 'ceph_paxos_begin{ceph_daemon="mon.a"} ' in page


def test_the_schema_is_asked_for_once_and_again_after_a_restart(second: Mon, mon: Mon) -> None:
    watch = Watch(mon.socket.parent)
    first = watch()
    assert watch.talks() == 4
    steady = watch()
    assert watch.talks() == 2
    assert steady.missing == 0
    assert steady.shape is first.shape
    second.server.kill()
    second.start()
    again = watch()
    assert watch.talks() == 3
    names = {s.key: s for s in first.shape.series}
    assert all(names.get(s.key, s) is s for s in again.shape.series), "the same counters stay the same series"
    without = {again.shape.series[i].labels for i, d in zip(again.shape.counters, again.deltas) if d is None}
    assert without == {("mon.b",)}, "what was reset gives no rate, the other daemon keeps its rates"


def test_an_error_comes_in_the_frame_of_an_answer(mon: Mon) -> None:
    assert ceph_server.ask(mon.socket, "nonsense").startswith(b"ERROR: (22)")
    collector = Watch(mon.socket.parent).collector
    daemons = collector._present()
    assert list(collector._ask(daemons, "nonsense")) == []
    assert "unknown command prefix nonsense" in daemons[0].trouble


def test_a_dead_daemon_costs_the_others_nothing(mon: Mon, stale: Path, capsys: pytest.CaptureFixture[str]) -> None:
    watch = Watch(mon.socket.parent)
    for _ in range(3):
        batch = watch()
        assert up(batch) == {"mon.a": 1, "osd.7": 0}
        assert of(batch, "mon.a") > 300
    assert capsys.readouterr().err.count("osd.7: perf dump: [Errno 111]") == 1, "said once, when it begins"


@pytest.fixture
def silent(mon: Mon) -> Iterator[Path]:
    """A socket that somebody listens on who never says anything; its turn is before that of the monitors."""
    path = mon.socket.with_name("ceph-client.8.asok")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        yield path
    path.unlink()


def test_daemons_that_hang_cost_one_time_limit_together(
    mon: Mon, second: Mon, silent: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    watch = Watch(mon.socket.parent, timeout=0.3)
    watch()
    second.server.signal(signal.SIGSTOP)
    before = time.monotonic()
    batch = watch()
    took = time.monotonic() - before
    assert up(batch) == {"client.8": 0, "mon.a": 1, "mon.b": 0}
    assert of(batch, "mon.a") > 300
    assert 0.3 <= took < 0.6
    watch.collector.timeout = 0.02
    for _ in range(12):  # until the queue of connections is full, which is another error
        assert up(watch())["mon.b"] == 0
    watch.collector.timeout = 0.3
    assert up(watch()) == {"client.8": 0, "mon.a": 1, "mon.b": 0}
    second.server.signal(signal.SIGCONT)
    servers.wait_until(lambda: up(watch()) == {"client.8": 0, "mon.a": 1, "mon.b": 1}, what="the answer of a daemon that goes on")
    said = capsys.readouterr().err
    assert said.count("mon.b: perf dump: ") == 1
    assert said.count("mon.b: it answers again") == 1


def test_room_is_made_for_those_that_come(mon: Mon, second: Mon) -> None:
    alone = len(Watch(mon.socket.parent, allow=[r"mon_a\."])().shape.series)
    watch = Watch(mon.socket.parent, series_limit=2 * alone, timeout=0.3)
    mine = [s for s in watch().shape.series if s.labels == ("mon.a",)]

    def run() -> tuple[int, int, int]:
        batch = watch()
        assert [s for s in batch.shape.series if s.labels == ("mon.a",)] == mine, "the same series after each sweep"
        assert len(batch.shape.series) <= 2 * alone
        assert all(watch.collector.catalog.series[s.key[1], s.labels] is s for s in batch.shape.series)
        return of(batch, "mon.a"), of(batch, "mon.b"), of(batch, "mon.c")

    counters = alone - 1
    assert run() == (counters, counters, 0)
    assert watch.intake.removed == {}
    second.server.signal(signal.SIGSTOP)
    third = Mon(second.directory.with_name("c"), mon.socket.parent, "c")
    try:
        first = run()
        assert first[:2] == (counters, 0)
        assert first[2] < counters, "the second's series still hold their room"
        assert watch.intake.removed["surplus"] == counters - first[2] + 1
        assert run() == (counters, 0, counters)
        second.server.signal(signal.SIGCONT)
        servers.wait_until(lambda: run() and not watch.collector._daemons[str(second.socket)].trouble, what="its return")
        assert run() == (counters, 0, counters), "what it had before is no way round the limit"
    finally:
        third.server.stop()
        third.socket.unlink(missing_ok=True)
    servers.wait_until(lambda: run() == (counters, counters, 0), what="room for all of the second")


def test_no_sockets_is_no_data(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "not there"):
        with pytest.raises(NoData):
            list(Ceph(Host(), {"socket_path": str(path)}).collect())


@pytest.fixture
def nobody() -> Iterator[None]:
    """The test is done with the rights of a user who has none; a program that it starts may take root's back."""
    if os.geteuid() != 0:
        pytest.skip("only root can lay its rights down")
    importlib.import_module("adamas.process")  # while it may still be read: a checkout can be root's alone
    os.seteuid(65534)
    yield
    os.seteuid(0)


@pytest.fixture
def closed(folder: Path, mon: Mon) -> Iterator[Path]:
    """The folder of the sockets, that all may read but only root may connect in."""
    run = mon.socket.parent
    run.chmod(0o755)
    yield run
    folder.chmod(0o700)


def test_a_closed_folder_is_told_from_an_empty_one(closed: Path, nobody: None) -> None:
    with pytest.raises(PermissionError):
        list(Ceph(Host(), {"socket_path": str(closed)}).collect())


def test_without_permission_the_program_is_asked(closed: Path, mon: Mon, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    program = closed / "ceph"
    program.write_text(f"#!{servers.SYSTEM_PYTHON}\nimport os, sys\nos.setuid(0)\nos.execvp('ceph', sys.argv)\n")
    program.chmod(0o755)
    closed.parent.chmod(0o755)
    request.getfixturevalue("nobody")
    watch = Watch(closed, timeout=10, ceph_binary=str(program))
    batch = watch()
    assert up(batch) == {"mon.a": 1}
    assert of(batch, "mon.a") > 300
    assert spelled(batch, "diamond")["servers.host.CephCollector.ceph.mon.a.cluster.num_mon"] == "1"
    assert [call["args"][0] for call in watch.host.calls if call["call"] == "run"] == [str(program)] * 2
    denied = Watch(closed, timeout=10)
    assert up(denied()) == {"mon.a": 0}
    assert "no permission to connect" in denied.collector._daemons[str(mon.socket)].troubled


def test_a_run_costs_less_than_its_budget(mon: Mon, capsys: pytest.CaptureFixture[str]) -> None:
    collector = Ceph(Host(), {"socket_path": str(mon.socket.parent)})
    intake = Intake(collector)
    wall, cpu = [], []
    for run in range(60):
        start, burnt = time.perf_counter(), time.thread_time()
        intake.publish(*intake.gather(), run + 1.0, run + 1.0)
        wall.append(time.perf_counter() - start)
        cpu.append(time.thread_time() - burnt)
    median = statistics.median(wall[1:])
    with capsys.disabled():
        print(
            f"\nceph: {intake.samples // 60} values of a mon in {median * 1000:.2f} ms (median of 59; "
            f"{statistics.median(cpu[1:]) * 1000:.2f} ms CPU; the first, with its schema: {wall[0] * 1000:.1f} ms)"
        )
    assert median < BUDGET
