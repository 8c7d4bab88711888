"""The history keeps what it was offered: exactly, across kills, damage and full disks, while it is read.

`python tests/test_history.py FILE SEED PERIOD` is the process that the kill tests kill.
"""

from __future__ import annotations

import math
import os
import random
import signal
import sqlite3
import stat
import struct
import subprocess
import sys
import threading
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adamas.history import History, codec, history, memory
from adamas.history.reader import buckets, join, matcher
from adamas.metric import Batch, Counter, Declaration, Delta, Gauge, Series, Shape, Source, Spelled
from adamas.naming import Naming
from adamas.rate import Rates

START = 1_700_000_000
DAY = 86_400


class Made:
    """A collector's side of the history: batches as a run gives them."""

    def __init__(self, name: str, gauges: Sequence[str] = (), counters: Sequence[str] = (), **how: Any) -> None:
        self.source = Source(name, name, name)
        self.gauge, self.counter = Gauge("{what}", "A level", unit="By"), Counter("{what}", "A total", unit="By", **how)
        self.gauge.name, self.counter.name = "level", "total"
        self.rates = Rates()
        self.series: dict[tuple[str, str], Series] = {}
        self.shapes: dict[tuple[Series, ...], Shape] = {}
        self.shape = self.of(gauges, counters)

    def one(self, declaration: Declaration, what: str) -> Series:
        return self.series.setdefault((declaration.name, what), Series(self.source, declaration, (what,)))

    def of(self, gauges: Sequence[str] = (), counters: Sequence[str] = ()) -> Shape:
        series = (*[self.one(self.gauge, g) for g in gauges], *[self.one(self.counter, c) for c in counters])
        return self.shapes.setdefault(series, Shape(series, None))

    def batch(self, time: float, values: Sequence[float], shape: Shape | None = None, moment: float | None = None) -> Batch:
        shape = shape or self.shape
        deltas, elapsed, missing = self.rates.update(shape, values, time if moment is None else moment)
        return Batch(time, shape, values, deltas, elapsed, missing)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state" / "history.db")


@pytest.fixture
def begin(path: str) -> Iterator[Callable[..., History]]:
    """A history that has started, and is stopped after the test."""
    running: list[History] = []

    def begin(where: str = path, retention: float = 100 * 365 * DAY, **how: Any) -> History:
        made = History(where, Naming("path"), retention)
        for name, value in how.items():
            assert hasattr(made, name)
            setattr(made, name, value)
        made.start()
        running.append(made)
        return made

    yield begin
    for one in running:
        one.stop(time.monotonic() + 5)


def stop(one: History) -> None:
    one.stop(time.monotonic() + 10)
    assert not one._thread.is_alive()


def balanced(one: History) -> dict[str, Any]:
    """The status, once every sample is accounted for."""
    status = one.status()
    assert status["offered"] == status["written"] + status["memory"] + sum(status["dropped"].values()), status
    return status


def until(what: Callable[[], Any], limit: float = 10) -> None:
    deadline = time.monotonic() + limit
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def ask(path: str, statement: str) -> list[Any]:
    """What the file says to another process."""
    db = sqlite3.connect(path)
    try:
        return db.execute(statement).fetchall()
    finally:
        db.close()


def everything(one: History, name: str) -> list[tuple[float, float]]:
    return one.query(name, 0, 1e11)


# The codec

FINITE = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(-(2**53), 2**53).map(float)
SMALL = st.integers(-1000, 1000).map(float)
TENTHS = st.builds(lambda i, scale: i / scale, st.integers(-(10**9), 10**9), st.sampled_from([10, 100, 1000]))
PAGES = st.integers(0, 2**40).map(lambda i: i * 4096.0)
COLUMNS = st.one_of(*[st.lists(kind, min_size=1, max_size=70) for kind in (FINITE, WHOLE, SMALL, TENTHS, PAGES, FINITE | WHOLE)])


@settings(max_examples=400, deadline=None)
@given(COLUMNS)
@example([5e-324, -5e-324, 1.7976931348623157e308, -1.7976931348623157e308])
@example([2.0**53, -(2.0**53), 2.0**53 - 1, 0.0])
@example([0.1 * i for i in range(60)])
@example([1_700_000_000.457 + 10 * i for i in range(60)])
def test_a_column_comes_back(values: list[float]) -> None:
    assert codec.decode(codec.encode(array("d", values)), len(values)) == values


@settings(max_examples=200, deadline=None)
@given(st.lists(st.none() | FINITE | SMALL, min_size=1, max_size=70))
def test_gaps_come_back(values: list[float | None]) -> None:
    column = codec.encode(array("d", [codec.NAN if v is None else v for v in values]), gaps=True)
    if all(v is None for v in values):
        assert column == b""
    else:
        assert [None if math.isnan(v) else v for v in codec.decode(column, len(values))] == values


@settings(max_examples=200, deadline=None)
@given(COLUMNS)
def test_an_increase_comes_back_but_for_rounding(values: list[float]) -> None:
    found = codec.decode(codec.encode(array("d", values), increase=True), len(values))
    assert all(abs(f - v) <= codec.RELATIVE * abs(v) * 1.01 for f, v in zip(found, values))


def test_the_rounding_of_a_subtraction_is_taken_back() -> None:
    totals = [123456.78 + round(0.07 * i, 2) for i in range(61)]
    increases = [b - a for a, b in pairwise(totals)]
    assert len(set(increases)) > 1
    found = codec.decode(codec.encode(array("d", increases), increase=True), 60)
    assert set(found) == {0.07}
    assert len(codec.encode(array("d", increases), increase=True)) < 20 < len(codec.encode(array("d", increases)))


def test_what_is_regular_is_small() -> None:
    assert len(codec.encode(array("d", [START + 10.0 * i for i in range(60)]))) == 17
    assert len(codec.encode(array("d", [0.1 + 0.2] * 60))) == 9
    assert len(codec.encode(array("d", [4096.0 * (i * i % 200) for i in range(60)]))) == 1 + 16 + 60


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 70))
@example(b"\xfd" * 200, 0)
def test_foreign_bytes_are_damaged_and_nothing_else(data: bytes, count: int) -> None:
    for look in (
        lambda: codec.decode(data, count),
        lambda: codec.column_of(data, 3),
        lambda: codec.stamps_of(data, True),
        lambda: codec.column_of(zlib.compress(data), 3),
        lambda: codec.stamps_of(zlib.compress(data), True),
    ):
        try:
            look()
        except codec.Damaged:
            pass


# What goes in comes out


def test_values_come_back_from_memory_and_from_the_file(begin: Callable[..., History], path: str) -> None:
    values = [0, 1, -1, 2**53, -(2**53), 1e-300, -1e300, 5e-324, 0.1, 1 / 3, 2**31, -273.15, True, 10**15 + 0.5]
    made = Made("source", [f"item{i}" for i in range(len(values))])
    one = begin()
    expected: dict[str, list[tuple[float, float]]] = {}
    for tick in range(150):  # two blocks and a half
        row = values[tick % 14 :] + values[: tick % 14]
        at = START + 10 * tick + 0.457
        one.offer(made.batch(at, row))
        for i, value in enumerate(row):
            expected.setdefault(f"source.item{i}", []).append((at, float(value)))
    for where in ("memory", "flushed", "started again"):
        if where == "flushed":
            one.flush()
            assert balanced(one)["memory"] == 0
        if where == "started again":
            stop(one)
            one = begin()
        for name, samples in expected.items():
            assert everything(one, name) == samples, (where, name)
        assert one.query("source.item3", START + 100, START + 200) == expected["source.item3"][10:20], where
        assert balanced(one)["samples"] == 150 * 14
    assert one.status()["oldest"] == START + 0.457
    assert ask(path, "SELECT count(*), sum(samples) FROM block") == [(2, 120 * 14)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


def test_counters_are_kept_as_rates(begin: Callable[..., History]) -> None:
    made = Made("net", ["up"], ["rx", "tx"])
    one = begin()
    total, moment, last = 2**40, 0.0, (0.0, 0)
    expected = []
    for tick in range(130):
        total += tick * 1000 if tick != 70 else -(2**39)  # a reset
        moment += 10 + 0.000_123 * (tick % 7)
        one.offer(made.batch(START + 10 * tick, [1, total, 7], moment=moment))
        if tick and tick != 70:
            expected.append((float(START + 10 * tick), (total - last[1]) / (moment - last[0])))
        last = (moment, total)
    for _ in range(2):
        assert everything(one, "net.rx") == expected
        assert [v for _, v in everything(one, "net.tx")] == [0.0] * 129
        assert len(everything(one, "net.up")) == 130
        one.flush()
    about = one.names("net.rx")[0]
    assert about == {
        "name": "net.rx",
        "collector": "net",
        "unit": "By/s",
        "kind": "counter",
        "help": "A total",
        "last": (expected[-1][1], expected[-1][0]),
    }
    assert balanced(one)["offered"] == 130 + 129 + 128


def test_increases_that_took_different_times(begin: Callable[..., History]) -> None:
    made = Made("net", [], ["a", "b"])
    one = begin()
    both, alone = made.shape, made.of([], ["a"])
    one.offer(made.batch(START, [0, 0]))
    one.offer(made.batch(START + 10, [100], alone))
    one.offer(made.batch(START + 20, [300, 600], both))  # b's increase took 20 s, a's 10
    for _ in range(2):
        assert everything(one, "net.a") == [(START + 10, 10.0), (START + 20, 20.0)]
        assert everything(one, "net.b") == [(START + 20, 30.0)]
        stop(one)
        one = begin()


@pytest.mark.parametrize(
    ("how", "values"),
    [(Spelled("{what}", conversion="rate", scale=8), [8.0, 16.0]), (Delta("{what}", scale=0.5), [5.0, 10.0])],
)
def test_conversions_and_scales(begin: Callable[..., History], how: Spelled, values: list[float]) -> None:
    made = Made("net", [], ["a"], path=how)
    one = begin()
    for tick, total in enumerate([0, 10, 30]):
        one.offer(made.batch(START + 10 * tick, [total]))
    assert [v for _, v in everything(one, "net.a")] == values


def test_a_gauge_that_becomes_a_counter_keeps_its_past(begin: Callable[..., History]) -> None:
    one = begin()
    before = Made("net", ["a"])
    for tick in range(70):
        one.offer(before.batch(START + 10 * tick, [5]))
    one.flush()
    stop(one)
    one = begin()
    after = Made("net", [], ["a"])
    for tick in range(70, 140):
        one.offer(after.batch(START + 10 * tick, [tick * 100]))
    one.flush()
    assert [v for _, v in everything(one, "net.a")] == [5.0] * 70 + [10.0] * 69
    assert [row["kind"] for row in one.names("net.a")] == ["counter"]


def test_what_is_no_number_is_counted_and_left_out(begin: Callable[..., History]) -> None:
    made = Made("odd", ["a", "b"])
    one = begin()
    for tick, value in enumerate([1, float("nan"), float("inf"), 10**400, "text", None, 2]):
        one.offer(Batch(START + tick, made.shape, [value, tick], (), 1.0, 0))  # type: ignore[list-item]
    one.flush()
    assert everything(one, "odd.a") == [(START, 1.0), (START + 6, 2.0)]
    assert [v for _, v in everything(one, "odd.b")] == [0, 1, 2, 3, 4, 5, 6]
    assert balanced(one)["dropped"] == {"invalid": 5}


def test_what_has_no_name_is_said_and_the_rest_is_kept(begin: Callable[..., History]) -> None:
    def broken(value: str) -> str:
        raise ZeroDivisionError(value)

    bad, good = Made("bad", [], ["a"], path=Spelled("{what}", values={"what": broken})), Made("good", ["a"])
    one = begin()
    for tick in range(3):
        one.offer(bad.batch(START + tick, [1]))
        one.offer(good.batch(START + tick, [tick]))
    one.flush()
    assert [v for _, v in everything(one, "good.a")] == [0, 1, 2]
    assert "bad" in balanced(one)["error"] and "ZeroDivisionError" in one.status()["error"]


def test_names_are_found(begin: Callable[..., History]) -> None:
    made = [Made("cpu", ["cpu0.user", "cpu0.idle", "total.user"]), Made("Disk", ["sda.reads"])]
    one = begin()
    for batch in (made[0].batch(START, [1, 2, 3]), made[1].batch(START, [4])):
        one.offer(batch)
    one.flush()

    def found(match: str, limit: int = 1000) -> list[str]:
        return [row["name"] for row in one.names(match, limit)]

    # A label value is one node: its dots are cleaned away.
    assert found("") == ["Disk.sda_reads", "cpu.cpu0_idle", "cpu.cpu0_user", "cpu.total_user"]
    assert found("USER") == ["cpu.cpu0_user", "cpu.total_user"]
    assert found("cpu.*_{user,system}") == ["cpu.cpu0_user", "cpu.total_user"]
    assert found("disk.*") == ["Disk.sda_reads"]
    assert found("*_reads") == ["Disk.sda_reads"]
    assert found("", 2) == ["Disk.sda_reads", "cpu.cpu0_idle"]
    assert found("[z-a].*") == found("nothing") == []
    assert one.names("disk")[0]["last"] == (4.0, START)


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a.*.c", "a.b.c", True),
        ("a.*.c", "a.b.b.c", False),
        ("a*c", "a.b.c", True),
        ("a.b?", "a.bc", True),
        ("a.b?", "a.b.", False),
        ("a.[b-d]", "a.c", True),
        ("a.[!b-d]", "a.c", False),
        ("a.[^b]", "a.c", False),
        ("a.{b,c{d,e}}", "a.ce", True),
        ("a.{b", "a.{b", True),
        ("a.}b", "xa.}b", True),
        ("a.****b", "a.xb", True),
        ("*", "a.b", True),
        ("", "a.b", True),
        ("+(", "a+(b", True),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert matcher(pattern)(name) is fits


# Series and shapes that come and go


def test_a_shape_that_changes_each_time_costs_no_block_each_time(begin: Callable[..., History], path: str) -> None:
    made = Made("procs", ["all"])
    one = begin()
    dice = random.Random(3)
    expected: dict[str, list[tuple[float, float]]] = {}
    for tick in range(240):
        names = ["all", *sorted(dice.sample([f"p{i}" for i in range(40)], 12))]
        dice.shuffle(names)
        shape = made.of(names)
        row = [dice.randrange(100) for _ in names]
        one.offer(made.batch(START + 10 * tick, row, shape))
        for name, value in zip(names, row):
            expected.setdefault(f"procs.{name}", []).append((START + 10 * tick, float(value)))
        if tick % 20 == 0:
            one.flush()
    one.flush()
    for name, samples in expected.items():
        assert everything(one, name) == samples
    balanced(one)
    assert ask(path, "SELECT count(*) FROM block") == [(4,)]
    assert ask(path, "SELECT count(*) FROM chunk")[0][0] <= 4 * 3
    assert ask(path, "SELECT count(*) FROM series") == [(41,)]
    assert ask(path, "SELECT count(*) FROM layout")[0][0] <= 2


def test_many_new_series_each_time(begin: Callable[..., History]) -> None:
    made = Made("churn", ["stays"])
    one = begin()
    for tick in range(200):
        one.offer(made.batch(START + 10 * tick, [tick, 1], made.of(["stays", f"new{tick}"])))
    one.flush()
    assert [v for _, v in everything(one, "churn.stays")] == list(range(200))
    assert all(everything(one, f"churn.new{tick}") == [(START + 10 * tick, 1.0)] for tick in range(0, 200, 11))
    assert balanced(one)["series"] == 201
    head = one._memory.heads["churn"]
    assert len(head.known) <= 2 * 61 + 64 and len(head.layouts) <= 30  # what is gone is let go of
    rows = {row["name"]: row["last"] for row in one.names("churn")}
    assert rows["churn.new3"] == (1.0, START + 30) and rows["churn.stays"] == (199.0, START + 1990)


def test_series_that_vanish_go_to_the_file_after_a_while(begin: Callable[..., History], path: str) -> None:
    made = Made("gone", ["a"])
    one = begin(period=0.05)
    one._memory.idle = 0.2
    for tick in range(7):
        one.offer(made.batch(START + tick, [tick]))
    one.flush()
    until(lambda: ask(path, "SELECT count(*), sum(samples) FROM block") == [(1, 7)])
    assert [v for _, v in everything(one, "gone.a")] == list(range(7))
    assert one.names("gone")[0]["last"] == (6.0, START + 6)


def test_collectors_of_one_interval_come_to_keep_step(begin: Callable[..., History]) -> None:
    made = [Made(f"c{i}", ["a"]) for i in range(6)]
    one = begin()
    for tick in range(200):
        for i, each in enumerate(made):
            if tick >= 9 * i:  # each begins later
                one.offer(each.batch(START + 10 * tick, [tick]))
        one.flush()
    assert len({len(head.runs) for head in one._memory.heads.values()}) == 1
    for i in range(6):
        assert [v for _, v in everything(one, f"c{i}.a")] == list(range(9 * i, 200))


# Time


def test_a_clock_that_is_set_hides_nothing(begin: Callable[..., History]) -> None:
    made = Made("clock", ["a"])
    one = begin()
    times = [START + 10 * i for i in range(200)]
    times += [t - 3600 for t in times[100:]] + [START + 7200 + 10 * i for i in range(100)] + [START + 5]
    expected = sorted((float(t), float(i)) for i, t in enumerate(times))
    for i, at in enumerate(times):
        one.offer(made.batch(at, [i]))
        if i % 50 == 0:
            one.flush()
    for _ in range(3):
        found = everything(one, "clock.a")
        assert sorted(found) == expected
        assert [t for t, _ in found] == [t for t, _ in expected]
        middle = one.query("clock.a", START + 300, START + 900)
        assert sorted(middle) == [s for s in expected if START + 300 <= s[0] <= START + 900]
        one.flush()
        stop(one)
        one = begin()


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.floats(-1e6, 1e6)), min_size=1, max_size=300),
    st.integers(1, 50),
)
def test_buckets_hold_everything_once(samples: list[tuple[int, float]], points: int) -> None:
    samples = sorted(samples, key=lambda s: s[0])
    times, values = [START + t / 1000 for t, _ in samples], [v for _, v in samples]
    start, end = times[0], times[-1] + 0.5
    found = buckets(times, values, start, end, points)
    assert 1 <= len(found) <= points
    assert [t for t, *_ in found] == sorted({t for t, *_ in found}) or len(times) <= points
    assert all(low <= mean <= high for _, low, mean, high in found)
    assert min(low for _, low, _, _ in found) == min(values) and max(high for *_, high in found) == max(values)


def test_a_range_in_few_points(begin: Callable[..., History]) -> None:
    made = Made("chart", ["a"])
    one = begin()
    for tick in range(1000):
        one.offer(made.batch(START + 10 * tick, [tick % 10]))
    end = START + 10_000
    assert len(one.query("chart.a", START, end, 1000)) == 1000
    few = one.query("chart.a", START, end, 51)
    assert len(few) <= 51 and all(v == 4.5 for _, v in few[1:-1])
    assert {(low, high) for _, low, _, high in one.buckets("chart.a", START, end, 51)[1:-1]} == {(0.0, 9.0)}
    # A range that moves on shows the same means.
    assert set(one.query("chart.a", START + 10, end + 10, 51)[1:-1]) <= set(few)
    assert one.query("chart.a", START, end, 1) == [(0.0, 4.5)] or len(one.query("chart.a", START, end, 1)) == 1
    assert join([([3.0, 4.0], [1.0, 2.0]), ([1.0], [9.0])], 0, 3.5) == ([1.0, 3.0], [9.0, 1.0])


# Retention


def test_old_blocks_go_and_their_room_is_used_again(begin: Callable[..., History], path: str) -> None:
    made, other = Made("old", [f"i{i}" for i in range(120)]), Made("gone", ["a"])
    dice = random.Random(5)
    one = begin(settle=0.0, sweep=0.0, period=0.005)
    one._memory.idle = 0.2
    now = time.time()
    sizes = []
    one.offer(other.batch(now - 10 * DAY, [1]))
    for tick in range(6000):
        at = now - 60_000 + 10 * tick
        one.offer(made.batch(at, [dice.random() for _ in range(120)]))
        if tick % 120 == 119:
            one.flush()
        if tick % 600 == 599:
            one.retention = now - at + 20_000  # the last 2,000 runs
            until(lambda at=at: (one.status()["oldest"] or now) >= at - 20_700)  # type: ignore[misc]
            sizes.append(one.status()["bytes"])
    # 6,000 runs were written, 2,000 are kept: the file does not grow with what went through it.
    assert max(sizes[-3:]) < 1.1 * min(sizes[-3:]), sizes
    assert os.path.getsize(path) < 4_000_000
    found = one.query("old.i3", 0, now + 1)
    assert 2000 <= len(found) <= 2000 + 70 and found[0][0] >= now - 20_700
    until(lambda: one.status()["series"] == 120)
    assert one.names("gone") == [] and ask(path, "SELECT name FROM collector") == [("old",)]
    assert one.status()["samples"] == 120 * len(found)
    # What was forgotten may come again.
    one.offer(other.batch(now, [3]))
    one.flush()
    assert one.query("gone.a", 0, now + 1) == [(round(now, 3), 3.0)]
    # Room that is not used again is given back.
    before = os.path.getsize(path)
    one.retention = 2000
    until(lambda: one.status()["samples"] < 120 * 300)
    until(lambda: ask(path, "PRAGMA page_count")[0][0] * 4096 < before * 0.6)
    balanced(one)


def test_nothing_expires_by_a_clock_that_was_just_set(begin: Callable[..., History]) -> None:
    made = Made("old", ["a"])
    one = begin(retention=60, sweep=0.0, period=0.02)
    for tick in range(120):
        one.offer(made.batch(START + tick, [tick]))
    one.flush()
    time.sleep(0.2)
    assert len(everything(one, "old.a")) == 120


# What can go wrong with the file


def test_files_are_the_users_own(begin: Callable[..., History], path: str) -> None:
    before = os.umask(0)
    try:
        one = begin()
        one.offer(Made("a", ["b"]).batch(START, [1]))
        one.flush()
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in Path(path).parent.iterdir()}
    assert modes == {"history.db": 0o600, "history.db-wal": 0o600, "history.db-shm": 0o600}
    assert stat.S_IMODE(Path(path).parent.stat().st_mode) == 0o700
    stop(one)
    assert [p.name for p in Path(path).parent.iterdir()] == ["history.db"]


def garbage(path: str) -> None:
    Path(path).write_bytes(random.Random(1).randbytes(100_000))


def cut(path: str) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def overwritten(path: str) -> None:
    with open(path, "r+b") as file:
        for page in range(1, os.path.getsize(path) // 4096):
            file.seek(page * 4096)
            file.write(b"\xa5" * 4096)


def foreign(path: str) -> None:
    os.unlink(path)
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE precious (data)")
    db.commit()
    db.close()


def newer(path: str) -> None:
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize("spoil", [garbage, cut, overwritten, foreign, newer])
def test_a_file_that_cannot_be_used_is_moved_aside(
    begin: Callable[..., History], path: str, spoil: Callable[[str], None]
) -> None:
    made = Made("a", [f"b{i}" for i in range(50)])
    one = begin()
    for tick in range(300):
        one.offer(made.batch(START + 10 * tick, [tick] * 50))
    one.flush()
    stop(one)
    spoil(path)
    before = Path(path).read_bytes()
    one = begin()
    one.offer(made.batch(START + 10_000, [7] * 50))
    one.flush()
    one.flush()  # the first may be the one that finds it
    one.offer(made.batch(START + 10_010, [8] * 50))
    one.flush()
    status = balanced(one)
    (aside,) = Path(path).parent.glob("history.db.damaged-*")
    assert aside.read_bytes() == before
    assert str(aside) in status["error"]
    assert everything(one, "a.b3")[-1] == (START + 10_010, 8.0)
    stop(one)
    one = begin()
    assert everything(one, "a.b3")[-1] == (START + 10_010, 8.0) and one.status()["error"] == ""


def test_damage_while_it_runs(begin: Callable[..., History], path: str) -> None:
    made = Made("a", [f"b{i}" for i in range(50)])
    one = begin()
    for tick in range(100):
        one.offer(made.batch(START + 10 * tick, [tick] * 50))
    one.flush()
    stop(one)
    one = begin()
    one.flush()
    overwritten(path)
    for tick in range(100, 400):
        one.offer(made.batch(START + 10 * tick, [tick] * 50))
        if tick % 10 == 0:
            one.flush()
            one.query("a.b1", 0, 1e11)  # whatever it finds, it must not raise
            one.names("a")
    assert "damaged-" in balanced(one)["error"]
    assert everything(one, "a.b1")[-1] == (START + 3990, 399.0)
    assert [v for _, v in everything(one, "a.b1")][-240:] == list(range(160, 400))
    assert one.status()["dropped"] == {}


def test_a_damaged_block_hides_no_other(begin: Callable[..., History], path: str) -> None:
    made = Made("a", ["b"])
    one = begin()
    for tick in range(180):
        one.offer(made.batch(START + 10 * tick, [tick]))
    one.flush()
    stop(one)
    db = sqlite3.connect(path)
    db.execute("UPDATE chunk SET data = zeroblob(40) WHERE id = (SELECT min(id) + (1 << 24) FROM chunk)")
    db.commit()
    db.close()
    one = begin()
    assert [v for _, v in everything(one, "a.b")] == [*range(60), *range(120, 180)]
    assert "cannot be read" in one.status()["error"]


def test_the_file_is_removed_while_it_runs(begin: Callable[..., History], path: str) -> None:
    made = Made("a", ["b"])
    one = begin()
    one.offer(made.batch(START, [1]))
    one.flush()
    for end in ("", "-wal", "-shm"):
        os.unlink(path + end)
    one.offer(made.batch(START + 10, [2]))
    one.flush()
    # What had not become a block is in the new file, under its name.
    for _ in range(2):
        assert everything(one, "a.b") == [(START, 1.0), (START + 10, 2.0)]
        assert balanced(one)["error"] == "" and one.status()["series"] == 1
        assert one.names("a")[0]["unit"] == "By"
        stop(one)
        one = begin()


def test_no_directory_and_then_one(begin: Callable[..., History], tmp_path: Path) -> None:
    blocker = tmp_path / "state"
    blocker.write_text("a file where the directory should be")
    made = Made("a", ["b"])
    one = begin(str(blocker / "history.db"), period=0.1)
    for tick in range(10):
        one.offer(made.batch(START + 10 * tick, [tick]))
    one.flush()
    assert one.query("a.b", 0, 1e11) == []
    assert "state" in balanced(one)["error"] and one.status()["memory"] == 10
    blocker.unlink()
    until(lambda: one.status()["written"] == 10)
    assert [v for _, v in everything(one, "a.b")] == list(range(10)) and one.status()["error"] == ""


def test_another_process_locks_the_file(begin: Callable[..., History], path: str) -> None:
    made = Made("a", ["b"])
    one = begin(period=0.1)
    one.offer(made.batch(START, [0]))
    one.flush()
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    for tick in range(1, 200):
        one.offer(made.batch(START + 10 * tick, [tick]))
    one.flush()
    status = balanced(one)
    assert "locked" in status["error"] and status["memory"] == 199
    assert [v for _, v in everything(one, "a.b")] == list(range(200))  # what waits is read all the same
    other.rollback()
    other.close()
    until(lambda: one.status()["memory"] == 0)
    assert [v for _, v in everything(one, "a.b")] == list(range(200))
    assert balanced(one)["error"] == "" and one.status()["dropped"] == {}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """2 MiB of room."""
    where = tmp_path / "disk"
    where.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(where)], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mount: {done.stderr.decode().strip()}")
    yield where
    subprocess.run(["umount", "-l", str(where)], check=True)


def test_a_full_disk(begin: Callable[..., History], small_disk: Path) -> None:
    made = Made("full", [f"i{i}" for i in range(300)])
    dice = random.Random(2)
    one = begin(str(small_disk / "history.db"), period=0.1)
    one._memory.room = 300_000
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(1 << 20))
    for tick in range(1200):
        one.offer(made.batch(START + 10 * tick, [dice.random() for _ in range(300)]))
        if tick % 60 == 59:
            one.flush()
    status = balanced(one)
    assert status["error"] and set(status["dropped"]) <= {"disk_full", "io_error"} and status["dropped"], status
    assert 0 < status["written"] < status["offered"]
    kept = everything(one, "full.i7")
    assert kept[-1][0] == START + 10 * 1199  # the newest is always there
    assert status["memory"] * 7 < 2_000_000
    ballast.unlink()
    until(lambda: one.status()["memory"] == 0)
    status = balanced(one)
    assert status["error"] == "" and status["written"] + sum(status["dropped"].values()) == 1200 * 300
    assert everything(one, "full.i7") == kept
    one.offer(made.batch(START + 20_000, [1] * 300))
    one.flush()
    stop(one)
    found = everything(begin(str(small_disk / "history.db")), "full.i7")
    assert found[:-1] == kept and found[-1] == (START + 20_000, 1.0)


def test_what_waits_is_bounded(path: str) -> None:
    made = Made("a", [f"b{i}" for i in range(1000)])
    one = History(path, Naming("path"), 100 * 365 * DAY)  # its writer does not run yet
    for tick in range(1000):
        one.offer(made.batch(START + tick, [tick] * 1000))
    status = balanced(one)
    assert status["dropped"]["queue_full"] > 0 and 0 < status["memory"] * 32 <= memory.WAITING
    one.start()
    one.flush()
    assert [v for _, v in everything(one, "a.b1")] == list(range(1000))[-status["memory"] // 1000 :]
    stop(one)
    one.offer(made.batch(START + 5000, [0] * 1000))
    assert balanced(one)["dropped"]["stopped"] == 1000


# Everything at once


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**32))
def test_whatever_happens_it_has_what_it_was_offered(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    dice = random.Random(seed)
    path = str(tmp_path_factory.mktemp("any") / "history.db")
    collectors = [Made(f"c{i}") for i in range(3)]
    clocks = [0.0, 0.0, 0.0]
    expected: dict[str, list[tuple[float, float]]] = {}

    def begin() -> History:
        one = History(path, Naming("path"), 100 * 365 * DAY)
        one.period = dice.choice([0.001, 5.0])
        one.start()
        return one

    one = begin()
    try:
        for _ in range(40):
            doing = dice.random()
            which = dice.randrange(3)
            if doing < 0.1:
                stop(one)
                one = begin()
            elif doing < 0.2:
                one.flush()
            elif doing < 0.3:
                clocks[which] += dice.choice([-3600, -10, 30, 3600, 30_000])
            else:
                made = collectors[which]
                for _ in range(dice.choice([1, 3, 25, 80])):
                    clocks[which] += 10
                    names = [f"i{j}" for j in sorted(dice.sample(range(20), dice.randrange(1, 20)))]
                    if dice.random() < 0.7:
                        names = ["i0", "i1", "i2"]
                    row = [dice.choice([0, 1, dice.randrange(-5, 10**9), dice.random()]) for _ in names]
                    one.offer(made.batch(START + clocks[which], row, made.of(names)))
                    for name, value in zip(names, row):
                        expected.setdefault(f"c{which}.{name}", []).append((START + clocks[which], float(value)))
            if dice.random() < 0.3:
                one.flush()
                for name, samples in expected.items():
                    assert sorted(everything(one, name)) == sorted(samples), name
        one.flush()
        assert balanced(one)["dropped"] == {}
        assert one.status()["samples"] == sum(map(len, expected.values()))
    finally:
        stop(one)


# Readers beside the writer


def test_readers_see_every_sample_once_while_it_is_written(begin: Callable[..., History]) -> None:
    made = [Made(f"c{i}", [f"i{j}" for j in range(20)], ["t"]) for i in range(4)]
    one = begin(period=0.01)
    offered = 0
    over = threading.Event()
    faults: list[object] = []
    looks = [0]

    def look(seed: int) -> None:
        dice = random.Random(seed)
        while not over.is_set():
            least = offered
            found = everything(one, f"c{dice.randrange(4)}.i{dice.randrange(20)}")
            if [v for _, v in found] != list(range(len(found))) or len(found) < least:
                faults.append((least, len(found), found[:3]))
            one.names("c1")
            looks[0] += 1

    readers = [threading.Thread(target=look, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    try:
        for tick in range(900):
            for each in made:
                one.offer(each.batch(START + 10 * tick, [tick] * 20 + [tick * 5]))
            offered = tick + 1
            time.sleep(0.001)
    finally:
        over.set()
        for reader in readers:
            reader.join(20)
    assert faults == [] and looks[0] > 20
    balanced(one)


# Kills


def offer_for_ever(path: str, seed: int, period: float) -> None:
    """Until it is killed: runs of four collectors; on standard output, after each flush, how many ticks are safe."""
    made = [Made(f"c{i}", [f"i{j}" for j in range(30)]) for i in range(3)]
    changing = Made("changing", [])
    one = History(path, Naming("path"), 100 * 365 * DAY)
    one.period = period
    one.start()
    dice = random.Random(seed)
    tick = len(everything(one, "c0.i0"))
    while True:
        for each in made:
            one.offer(each.batch(START + 10 * tick, [tick * 30 + j for j in range(30)]))
        one.offer(changing.batch(START + 10 * tick, [tick, tick], changing.of(["all", f"i{tick % 50}"])))
        tick += 1
        if period:
            print(f"{tick} {time.time()}", flush=True)
            time.sleep(0.005)
        elif dice.random() < 0.3:
            one.flush()
            print(tick, flush=True)


def killed(path: str, seed: int, period: float, after: float) -> list[str]:
    """The lines of a process that was killed so long after its first one."""
    argv = [sys.executable, __file__, path, str(seed), str(period)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline()]
        timer = threading.Timer(after, process.send_signal, [signal.SIGKILL])
        timer.start()
        lines += process.stdout.readlines()
        timer.join()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert process.returncode == -signal.SIGKILL
    return [line for line in lines if line.endswith("\n")]


def test_a_kill_loses_nothing_that_was_flushed(begin: Callable[..., History], path: str) -> None:
    dice = random.Random(11)
    for round in range(6):
        safe = int(killed(path, round, 0, dice.uniform(0, 0.35))[-1])
        one = begin()
        for name in ("c0.i0", "c1.i29", "c2.i7"):
            found = everything(one, name)
            offset = int(name.split(".i")[1])
            assert len(found) >= safe
            assert found == [(START + 10 * t, float(t * 30 + offset)) for t in range(len(found))]
        assert [v for _, v in everything(one, "changing.all")][:safe] == list(range(safe))
        stop(one)
        assert ask(path, "PRAGMA integrity_check") == [("ok",)]
        assert balanced(one)["error"] == ""
    assert not list(Path(path).parent.glob("*damaged*"))


def test_a_kill_loses_at_most_a_period(begin: Callable[..., History], path: str) -> None:
    assert history.PERIOD <= 10
    lines = [line.split() for line in killed(path, 0, 0.5, 1.7)]
    died = float(lines[-1][1])
    kept = len(everything(begin(), "c1.i3"))
    lost = [float(at) for tick, at in lines if int(tick) > kept]
    assert kept > 0 and all(at > died - 0.5 - 0.3 for at in lost)


# The file, as its documentation says


def test_the_file_can_be_read_as_it_is_documented(begin: Callable[..., History], path: str) -> None:
    made = Made("doc", [f"i{i}" for i in range(20)], ["t"])
    one = begin()
    for tick in range(80):
        one.offer(made.batch(START + 10 * tick, [tick * 4096] * 20 + [tick * 50], moment=10.0 * tick))
    expected = {name: everything(one, name) for name in ("doc.i17", "doc.t")}
    stop(one)
    db = sqlite3.connect(path)
    assert db.execute("SELECT value FROM meta WHERE key = 'samples'").fetchone() == (60 * 20 + 59,)
    for name, samples in expected.items():
        (key, increase) = db.execute("SELECT id, increase FROM series WHERE name = ?", [name]).fetchone()
        collector, place = key >> 32, key & 0xFFFFFFFF
        assert db.execute("SELECT name FROM collector WHERE id = ?", [collector]).fetchone() == ("doc",)
        found = []
        for block, count, stamps in db.execute("SELECT id, samples, stamps FROM block WHERE collector = ?", [collector]):
            (data,) = db.execute("SELECT data FROM chunk WHERE id = ?", [block << 24 | place // 16]).fetchone()
            raw, stamps = zlib.decompress(data), zlib.decompress(stamps)
            lengths = struct.unpack_from("=16H", raw)
            offset = 32 + sum(lengths[: place % 16])
            runs, length = struct.unpack_from("=HH", stamps)
            times = codec.decode(stamps[4 : 4 + length], runs)
            values = codec.decode(raw[offset : offset + lengths[place % 16]], runs)
            took = codec.decode(stamps[4 + length :], runs)
            assert count == 60 * 20 + 59
            found += [(t, v / e if increase else v) for t, v, e in zip(times, values, took) if v == v]
        (sealed,) = db.execute("SELECT sealed FROM collector WHERE id = ?", [collector]).fetchone()
        query = (
            "SELECT time, elapsed, data, places FROM run JOIN layout ON layout.id = run.layout WHERE run.id > ? ORDER BY run.id"
        )
        for moment, elapsed, data, places in db.execute(query, [sealed]):
            value = array("d", data)[array("I", places).index(place)]
            found.append((moment / 1000, value / elapsed if increase else value))
        assert found == samples
    db.close()


def test_it_imports_little() -> None:
    code = "import sys; before = set(sys.modules); import adamas.history; print(*sorted(set(sys.modules) - before))"
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent / "src")}
    loaded = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.split()
    assert "sqlite3" in loaded
    assert not {"asyncio", "dataclasses", "inspect", "json", "logging", "pickle", "decimal"} & set(loaded)


if __name__ == "__main__":
    offer_for_ever(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
