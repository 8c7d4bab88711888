"""The pure parts: schedule, rates, queue and ledger, naming, lines, pipeline."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adamas import Collector, Counter, Delta, Gauge, Group, Otel, Rate, Raw, Spelled, option
from adamas.errors import DeclarationError
from adamas.exposition import Exposition
from adamas.host import Host
from adamas.ledger import Ledger
from adamas.lines import LineEncoder
from adamas.metric import Batch, Series, Shape, Source, Template
from adamas.naming import BYTE_UNITS, Naming, clean_diamond, clean_node
from adamas.pipeline import Filter, Intake
from adamas.queue import Queue
from adamas.rate import Rates
from adamas.schedule import MAX_BACKOFF, backoff, next_window, stable_offset, window


class Example(Collector):
    """Something of everything."""

    name = "example"
    diamond = "ExampleCollector"

    byte_unit: list[str] = option(["byte"], "Units")
    rows: int = option(2, "How many")

    level = Gauge("{device}.level", "A level", unit="By", diamond=Raw("{device}.{unit}_level", units="byte_unit"))
    total = Counter("{device}.total", "A total", diamond=Rate(scale=100, precision=2), wrap=2**32)
    count = Counter("{device}.count", "Only in two namings", diamond=Delta(), prometheus=None, otel=None)
    seen = Counter("seen", "Plain", prometheus="example_seen_total", otel=Otel("example.seen"))
    pair = Group(level, total)

    values: tuple[Any, ...] = ()

    def collect(self) -> Any:
        yield from self.values


def collect(collector: Example, intake: Intake, time: float, *values: Any) -> Batch | None:
    collector.values = values
    series, numbers = intake.gather()
    return intake.publish(series, numbers, time, time)


def lines(naming: str, batch: Batch | None) -> dict[str, str]:
    assert batch is not None
    text = LineEncoder(Naming(naming, ("servers", "h"))).encode([batch]).decode()
    return {line.split(" ")[0]: line.split(" ")[1] for line in text.splitlines()}


# schedule


@given(st.floats(0, 4e9), st.sampled_from([0.1, 1.0, 10.0, 60.0, 300.0]), st.text(max_size=20))
def test_windows(now: float, interval: float, name: str) -> None:
    offset = stable_offset(name, interval)
    assert 0 <= offset < interval
    start = window(now, interval, offset)
    assert start <= now + 1e-5
    assert now < next_window(now, interval, offset) + 1e-5
    steps = (start - offset) / interval
    assert abs(steps - round(steps)) < 1e-3


def test_offsets_spread() -> None:
    offsets = sorted(stable_offset(f"host{i}.example.org", 10.0) for i in range(1000))
    assert max(b - a for a, b in itertools.pairwise(offsets)) < 0.2
    assert stable_offset("host", 10.0) == stable_offset("host", 10.0)


def test_backoff() -> None:
    assert [backoff(n, 10.0) for n in (0, 1, 2, 3)] == [0, 0, 20, 40]
    assert backoff(50, 10.0) == MAX_BACKOFF


# rates


def shape_of(kinds: str, wrap: int = 0) -> Shape:
    source = Source("t", "t", "t")
    made = []
    for number, kind in enumerate(kinds):
        declared = (Counter if kind == "c" else Gauge)(f"n{number}", wrap=wrap)
        declared.name = f"n{number}"
        made.append(Series(source, declared, ()))
    return Shape(tuple(made), None)


def test_first_sample_has_no_rate() -> None:
    rates, shape = Rates(), shape_of("cgc")
    assert rates.update(shape, [10, 5, 20], 100.0) == ([None, None], [1.0, 1.0], 2)
    assert rates.update(shape, [15, 5, 40], 110.0) == ([5, 20], 10.0, 0)


def test_a_reset_gives_nothing_once() -> None:
    rates, shape = Rates(), shape_of("cc")
    rates.update(shape, [1000, 10], 0.0)
    assert rates.update(shape, [3, 20], 10.0) == ([None, 10], 10.0, 1)
    assert rates.resets == 1
    assert rates.update(shape, [13, 30], 20.0) == ([10, 10], 10.0, 0)


def test_a_wrap_goes_on() -> None:
    rates, shape = Rates(), shape_of("c", wrap=2**32)
    rates.update(shape, [2**32 - 10], 0.0)
    assert rates.update(shape, [20], 10.0) == ([30], 10.0, 0)
    assert rates.update(shape, [5], 20.0)[0] == [None]  # it was nowhere near its end


def test_a_series_that_was_away_uses_its_own_time() -> None:
    rates = Rates()
    both = shape_of("cc")
    one = Shape(both.series[:1], None)
    rates.update(both, [10, 100], 0.0)
    assert rates.update(one, [20], 10.0) == ([10], [10.0], 0)
    assert rates.update(both, [30, 400], 30.0) == ([10, 300], [20.0, 30.0], 0)
    assert rates.update(both, [40, 500], 40.0) == ([10, 100], 10.0, 0)


def test_time_that_stands_still_gives_no_rate() -> None:
    rates, shape = Rates(), shape_of("c")
    rates.update(shape, [1], 5.0)
    assert rates.update(shape, [2], 5.0) == ([None], 1.0, 1)


@given(st.lists(st.tuples(st.integers(0, 2**64), st.floats(0.001, 1e6)), min_size=2, max_size=30))
def test_no_rate_is_negative(samples: list[tuple[int, float]]) -> None:
    rates, shape, now = Rates(), shape_of("c"), 0.0
    for value, later in samples:
        now += later
        deltas, elapsed, missing = rates.update(shape, [value], now)
        batch = Batch(now, shape, [value], deltas, elapsed, missing)
        assert all(rate is None or (rate >= 0 and math.isfinite(rate)) for rate in batch.rates())
        assert missing == list(deltas).count(None)


# queue and ledger


def batch_of(count: int, time: float = 0.0) -> Batch:
    return Batch(time, shape_of("g" * count), list(range(count)), (), 1.0, 0)


def balance(ledger: Ledger) -> None:
    s = ledger.snapshot()
    assert s["offered"] == s["delivered"] + s["memory"] + s["flight"] + s["spool"] + sum(s["dropped"].values())
    assert min(s["memory"], s["flight"], s["spool"], s["delivered"]) >= 0


@given(st.lists(st.sampled_from(["put", "take", "deliver", "restore"]), max_size=60))
def test_the_queue_accounts_for_everything(steps: list[str]) -> None:
    ledger = Ledger()
    queue = Queue(5 * batch_of(4).size, ledger)
    flight: list[Any] = []
    sent, put, out = [], 0, []
    for step in steps:
        if step == "put":
            queue.put(batch_of(4, float(put)), 4)
            put += 1
        elif step == "take" and not flight:
            flight = queue.take(9)
            out = flight
        elif step == "deliver":
            ledger.deliver(sum(e.points for e in flight))
            sent += [e.batch.time for e in flight]
            flight = []
        elif step == "restore":
            queue.restore(flight)
            flight = []
        balance(ledger)
        assert queue.bytes <= queue.limit
        assert sent == sorted(sent), "first in, first out"
    assert len(out) <= 2
    assert ledger.snapshot()["offered"] == 4 * put


def test_the_oldest_goes_first_and_is_counted() -> None:
    ledger = Ledger()
    queue = Queue(3 * batch_of(4).size, ledger)
    for time in range(5):
        queue.put(batch_of(4, float(time)), 4)
    assert ledger.snapshot()["dropped"] == {"queue_full": 8}
    assert [e.batch.time for e in queue.take(100)] == [2.0, 3.0, 4.0]
    balance(ledger)


# naming


def test_four_spellings() -> None:
    collector = Example(Host(), {"byte_unit": ["kilobyte", "bit"]})
    intake = Intake(collector)
    collect(collector, intake, 100, collector.pair((2048, 50), "sda"), collector.count(7, "sda"), collector.seen(1))
    batch = collect(collector, intake, 110, collector.pair((2048, 75), "sda"), collector.count(10, "sda"), collector.seen(3))
    assert lines("path", batch) == {
        "servers.h.example.sda.level": "2048",
        "servers.h.example.sda.total": "2.5",
        "servers.h.example.sda.count": "0.3",
        "servers.h.example.seen": "0.2",
    }
    assert lines("diamond", batch) == {
        "servers.h.example.sda.kilobyte_level": "2",
        "servers.h.example.sda.bit_level": "16384",
        "servers.h.example.sda.total": "250.00",
        "servers.h.example.sda.count": "3",
    }
    assert batch is not None
    page = Exposition(Naming("prometheus", (), {"env": "prod"})).render([batch])
    assert 'example_level_bytes{device="sda",env="prod"} 2048\n' in page
    assert "# TYPE example_level_bytes gauge\n" in page
    assert 'example_total{device="sda",env="prod"} 75\n' in page
    assert "# TYPE example_seen_total counter\n" in page
    assert "example_count" not in page


def test_a_collector_without_declared_spellings_has_names_in_all() -> None:
    class Plain(Collector):
        """Nothing declared."""

        name = "plain"
        heat = Gauge("{room}.heat", "Heat", unit="Cel")
        turns = Counter("turns", "Turns")

        def collect(self) -> Any:
            yield self.heat(21.5, "living room")
            yield self.turns(4)

    collector = Plain(Host())
    intake = Intake(collector)
    series, values = intake.gather()
    intake.publish(series, values, 1.0, 1.0)
    series, values = intake.gather()
    batch = intake.publish(series, values, 2.0, 2.0)
    expected = {"servers.h.plain.living_room.heat": "21.5", "servers.h.plain.turns": "0"}
    assert lines("path", batch) == expected
    assert lines("diamond", batch) == expected
    assert batch is not None
    page = Exposition(Naming("prometheus")).render([batch])
    assert 'plain_heat_celsius{room="living room"} 21.5' in page
    assert "plain_turns_total 4" in page
    names = [p.name for s in batch.shape.series for p in Naming("otel").spell(s)]
    assert names == ["plain.heat", "plain.turns"]


def test_two_instances_are_told_apart() -> None:
    first, second = Example(Host(), {}, "example"), Example(Host(), {}, "other")
    naming = Naming("prometheus")
    one = naming.spell(first.catalog.resolve(first.level.declaration, ("a",)))[0]  # type: ignore[attr-defined]
    two = naming.spell(second.catalog.resolve(second.level.declaration, ("a",)))[0]  # type: ignore[attr-defined]
    assert (one.name, dict(one.labels)) == ("example_level_bytes", {"device": "a"})
    assert (two.name, dict(two.labels)) == ("example_level_bytes", {"device": "a", "collector": "other"})
    dotted = Naming("path")
    assert dotted.spell(second.catalog.resolve(second.level.declaration, ("a",)))[0].name == "other.a.level"  # type: ignore[attr-defined]


def test_names_that_meet_are_kept_apart_and_counted() -> None:
    collector = Example(Host())
    naming = Naming("path")
    names = [naming.spell(collector.catalog.resolve(collector.level.declaration, (v,)))[0].name for v in ("a b", "a/b", "a b")]  # type: ignore[attr-defined]
    assert names == ["example.a_b.level", "example.a_b.level_2", "example.a_b.level"]
    assert list(naming.collisions) == ["example.a_b.level"]
    naming.release("example")
    assert naming.spell(collector.catalog.resolve(collector.level.declaration, ("a/b",)))[0].name == "example.a_b.level"  # type: ignore[attr-defined]


@given(st.text(max_size=200))
def test_a_hostile_label_is_one_node_on_one_line(value: str) -> None:
    for clean in (clean_node, clean_diamond):
        cleaned = clean(value)
        assert cleaned
        assert not set(cleaned) & set(" \t\r\n\0/\\")
        assert len(cleaned.splitlines()) == 1
    assert "." not in clean_node(value)
    assert not any(node == "" for node in clean_diamond(value).split("."))


@given(st.text(st.characters(), max_size=50), st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30))
def test_every_point_is_one_line_that_reads_back(label: str, value: float) -> None:
    collector = Example(Host())
    batch = collect(collector, Intake(collector), 1_700_000_000.5, collector.level(value, label))
    assert batch is not None
    text = LineEncoder(Naming("path", ("servers", "h"))).encode([batch]).decode()
    assert text.endswith("\n")
    assert text.count("\n") == 1
    name, number, stamp = text.split()
    assert len(text.split(" ")) == 3
    assert name.count(".") == 4
    assert stamp == "1700000000"
    assert math.isclose(float(number), value, rel_tol=1e-11)


def test_byte_units_are_diamonds() -> None:
    assert BYTE_UNITS["byte"] == 1
    assert BYTE_UNITS["bit"] == 8
    assert BYTE_UNITS["kilobyte"] == BYTE_UNITS["kB"] == BYTE_UNITS["KiB"] == 1 / 1024
    assert BYTE_UNITS["megabit"] == BYTE_UNITS["Mbit"] == 8 / 1024**2


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Template("a{b"), "template"),
        (lambda: Template("a{0}"), "not a label name"),
        (lambda: Gauge("{a}", diamond=Rate()), "a gauge has no rate"),
        (lambda: Gauge("{a}.{b}", diamond="{a}"), "leaves out the label 'b'"),
        (lambda: Gauge("{a}", prometheus="x_{b}"), "not a label"),
        (lambda: Gauge("{a}", otel=Otel("x", b="c")), "not a label"),
        (lambda: Group(Gauge("{a}"), Gauge("{b}")), "share their labels"),
    ],
)
def test_a_contradiction_is_found_when_the_class_is_made(make: Any, words: str) -> None:
    with pytest.raises(DeclarationError, match=words):
        make()


def test_reserved_attributes() -> None:
    with pytest.raises(DeclarationError, match="every collector has an attribute of that name"):
        type("Bad", (Collector,), {"name": "bad", "labels": Gauge("x")})
    with pytest.raises(DeclarationError, match="no option 'units'"):
        type("Bad", (Collector,), {"name": "bad", "x": Gauge("x", diamond=Spelled("{unit}", units="units"))})


# pipeline


def test_what_is_not_a_number_is_dropped_and_counted() -> None:
    collector = Example(Host())
    intake = Intake(collector)
    good = collector.level(1.5, "good")
    bad = [collector.level(v, f"bad{i}") for i, v in enumerate([math.nan, math.inf, -math.inf, "7", None, 10**400])]
    batch = collect(collector, intake, 1, good, *bad)
    assert lines("path", batch) == {"servers.h.example.good.level": "1.5"}
    assert intake.removed == {"invalid": 6}


def test_large_sums_are_no_reason_to_drop() -> None:
    collector = Example(Host())
    intake = Intake(collector)
    batch = collect(collector, intake, 1, collector.level(1.5e308, "a"), collector.level(1.5e308, "b"))
    assert len(lines("path", batch)) == 2
    assert intake.removed == {}


def test_filters_look_at_names_without_prefix() -> None:
    collector = Example(Host(), {"allow": ["sd"], "deny": [r"sdb\.", "seen"]})
    intake = Intake(collector)
    batch = collect(
        collector, intake, 1, collector.level(1, "sda"), collector.level(2, "sdb"), collector.level(3, "vda"), collector.seen(1)
    )
    assert lines("path", batch) == {"servers.h.example.sda.level": "1"}
    assert intake.removed == {"filtered": 3}
    assert Filter(["a"]).passes(["xa", "ab"])
    assert not Filter(deny=["a"]).passes(["xa", "ab"])


def test_the_series_limit_counts_what_does_not_fit() -> None:
    collector = Example(Host(), {"series_limit": 3})
    intake = Intake(collector)
    batch = collect(collector, intake, 1, *[collector.level(i, f"d{i}") for i in range(10)])
    assert batch is not None
    assert len(batch.values) == 3
    assert intake.removed == {"surplus": 7}
    assert collect(collector, intake, 2, *[collector.level(i, f"new{i}") for i in range(3)]) is None
    assert intake.removed == {"surplus": 10}
    batch = collect(collector, intake, 3, *[collector.level(i, f"new{i}") for i in range(3)])
    assert lines("path", batch) == {f"servers.h.example.new{i}.level": str(i) for i in range(3)}, "old labels made room"


def test_a_series_twice_in_a_run_counts_once() -> None:
    collector = Example(Host())
    intake = Intake(collector)
    batch = collect(collector, intake, 1, collector.level(1, "a"), collector.level(2, "a"))
    assert lines("path", batch) == {"servers.h.example.a.level": "2"}
    assert intake.removed == {"repeated": 1}


def test_stamps() -> None:
    collector = Example(Host())
    intake = Intake(collector)
    assert collect(collector, intake, 100, collector.level(1, "a")) is not None
    assert collect(collector, intake, 100, collector.level(2, "a")) is None
    assert intake.removed == {"same_stamp": 1}
    assert collect(collector, intake, 50, collector.level(3, "a")) is not None
    assert intake.stamps_back == 1


def test_labels_may_be_given_by_name_and_must_be_complete() -> None:
    collector = Example(Host())
    assert collector.level(1, device="a")[0] is collector.level(1, "a")[0]
    for wrong in (lambda: collector.level(1), lambda: collector.level(1, "a", "b"), lambda: collector.level(1, disk="a")):
        with pytest.raises(TypeError, match="labels"):
            wrong()


@given(st.lists(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 10**9)), max_size=8), max_size=12))
def test_any_sequence_of_runs_is_accounted_for(runs: list[list[tuple[str, int]]]) -> None:
    """Whatever appears, repeats and vanishes: each run's batch holds each of its series once, with its last value."""
    collector = Example(Host())
    intake = Intake(collector)
    yielded = 0
    for time, run in enumerate(runs):
        batch = collect(collector, intake, float(time + 1), *[collector.level(v, d) for d, v in run])
        yielded += len(run)
        expected = {f"servers.h.example.{d}.level": str(v) for d, v in run}
        assert (lines("path", batch) if batch is not None else {}) == expected
    assert yielded == intake.samples + sum(intake.removed.values())


def test_an_integer_beyond_all_floats_is_no_number_even_alone() -> None:
    collector = Example(Host())
    intake = Intake(collector)
    assert collect(collector, intake, 1, collector.level(10**400, "a")) is None
    assert intake.removed == {"invalid": 1}
