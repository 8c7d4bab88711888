"""From what a collector yields to a published batch: filter, series limit, validation, rates. No I/O, no threads.

Whatever does not change from run to run is decided once for each shape: a run like the last one costs one comparison of
lists, one sum and one subtraction a counter.
"""

from __future__ import annotations

import re
from collections import OrderedDict

from adamas.metric import SURPLUS, Batch, Shape, Stamped, picker
from adamas.naming import Naming
from adamas.rate import Rates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from adamas.collector import Collector
    from adamas.metric import Series, Value

SHAPES = 16
SHORTEST = 0.5
"""Seconds, and at most an eighth of the interval: see `Rates`."""


class Filter:
    """Allow and deny lists of regular expressions, matched from the start of a name as Diamond does."""

    __slots__ = ("_allow", "_deny")

    def __init__(self, allow: Sequence[str] = (), deny: Sequence[str] = ()) -> None:
        self._allow = [re.compile(p) for p in allow]
        self._deny = [re.compile(p) for p in deny]

    def __bool__(self) -> bool:
        return bool(self._allow or self._deny)

    def passes(self, names: Sequence[str]) -> bool:
        """Whether a series with these names (one in each spelling) goes on."""
        if self._allow and not any(p.match(n) for p in self._allow for n in names):
            return False
        return not any(p.match(n) for p in self._deny for n in names)


class Intake:
    """What one collector instance yields becomes batches here; what does not get through is counted.

    removed: counts by reason: `filtered`, `surplus` (past the series limit), `invalid` (not a finite number), `repeated`
    (a series twice in a run), `same_stamp` (a window that was published before).
    """

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.filter = Filter(collector.allow, collector.deny)
        if self.filter and collector.filter_naming:
            collector.source.only = (collector.filter_naming, lambda name: self.filter.passes((name,)))
        self.rates = Rates(min(SHORTEST, collector.interval / 8) if collector.interval else 0.0)
        self.last: Batch | None = None
        self.samples = 0
        self.removed: dict[str, int] = {}
        self.stamps_back = 0
        self._names = Naming("path")
        self.stamped: list[tuple[float, tuple[Series, ...], Sequence[Value]]] = []
        """What the last run yielded with times of its own."""
        self._raw: list[Series] = []
        self._shape: Shape | None = None
        self._shapes: OrderedDict[tuple[Series, ...], Shape] = OrderedDict()

    def gather(self) -> tuple[list[Series], list[Value]]:
        """Run the collector once and keep what it yields. Raises what the collector raises."""
        series: list[Series] = []
        values: list[Value] = []
        surplus = 0
        self.stamped = []
        for which, value in self.collector.collect():
            if which.__class__ is tuple:
                series += which
                values += value  # type: ignore[arg-type]
            elif which is SURPLUS:
                surplus += 1
            elif which.__class__ is Stamped:
                self.stamped.append((which.time, which.series, value))  # type: ignore[arg-type]
            else:
                series.append(which)  # type: ignore[arg-type]
                values.append(value)  # type: ignore[arg-type]
        if surplus:
            self._count("surplus", surplus)
        return series, values

    def publish(self, series: list[Series], values: list[Value], time: float, moment: float) -> Batch | None:
        """The batch of a run stamped `time` that read its source at `moment` (monotonic); None where nothing is left."""
        if self.last is not None and time <= self.last.time:
            if time == self.last.time:
                self._count("same_stamp", len(values))
                return None
            self.stamps_back += 1  # the clock was set back: what it says now is what the user wants to see
        if series != self._raw or self._shape is None:
            self._shape = self._find(tuple(series))
            self._raw = series
        shape = self._shape
        kept: Sequence[Value] = values
        if not _finite(kept):
            series, values = self._without_invalid(series, values)
            shape = self._shape = self._find(tuple(series))
            self._raw = series
            kept = values
        if shape.select is not None:
            kept = shape.select(kept)
            self._count_removed(shape, series)
        if not shape.series:
            if self.collector.catalog.full:
                self._sweep(())
            return None
        self.samples += len(kept)
        deltas, elapsed, missing = self.rates.update(shape, kept, moment) if shape.counters else ((), 1.0, 0)
        batch = self.last = Batch(time, shape, kept, deltas, elapsed, missing)
        if self.collector.catalog.full:
            self._sweep(shape.series)
        return batch

    def others(self) -> list[Batch]:
        """The batches of what the run yielded with times of its own; a counter has no increase in them."""
        batches = []
        for time, series, values in self.stamped:
            if not _finite(values):
                kept, values = self._without_invalid(list(series), list(values))
                series = tuple(kept)
            shape = self._find(series)
            if shape.select is not None:
                values = shape.select(values)
                self._count_removed(shape, series)
            if shape.series:
                self.samples += len(values)
                missing = len(shape.counters)
                batches.append(Batch(time, shape, values, [None] * missing, 1.0, missing))
        self.stamped = []
        return batches

    def _find(self, series: tuple[Series, ...]) -> Shape:
        shape = self._shapes.get(series)
        if shape is not None:
            self._shapes.move_to_end(series)
            return shape
        keep = self._choose(series)
        whole = len(keep) == len(series)
        chosen = series if whole else tuple([series[i] for i in keep])
        # A shape of the same series that was reached another way keeps its rates and plans.
        shape = Shape(chosen, None if whole else picker(keep))
        self._shapes[series] = shape
        if len(self._shapes) > SHAPES:
            self._shapes.popitem(last=False)
        return shape

    def _choose(self, series: tuple[Series, ...]) -> list[int]:
        last = {s: i for i, s in enumerate(series)}
        keep = [i for i, s in enumerate(series) if last[s] == i and s is not SURPLUS]
        if self.filter:
            keep = [i for i in keep if self._passes(series[i])]
        return keep

    def _passes(self, series: Series) -> bool:
        names = self._names.local(series)
        if series.source.only is None or not names:
            return self.filter.passes(names)
        return any(self.filter.passes((name,)) for name in names)  # the naming leaves out those that do not

    def _count(self, reason: str, count: int) -> None:
        self.removed[reason] = self.removed.get(reason, 0) + count

    def _count_removed(self, shape: Shape, series: Sequence[Series]) -> None:
        surplus = series.count(SURPLUS)
        repeated = len(series) - len(set(series)) - max(0, surplus - 1)
        filtered = len(series) - len(shape.series) - surplus - repeated
        for reason, count in (("surplus", surplus), ("repeated", repeated), ("filtered", filtered)):
            if count:
                self._count(reason, count)

    def _without_invalid(self, series: list[Series], values: list[Value]) -> tuple[list[Series], list[Value]]:
        good = [(s, v) for s, v in zip(series, values) if _number(v)]
        if len(good) < len(values):
            self._count("invalid", len(values) - len(good))
        return [s for s, _ in good], [v for _, v in good]

    def _sweep(self, keep: Sequence[Series]) -> None:
        """The catalog is full: forget the series that this run did not have, so that new ones find room in the next."""
        self.collector.sweep(keep)
        self._shapes.clear()
        self._raw, self._shape = [], None

    def status(self) -> dict[str, Any]:
        """What went through and what did not."""
        removed = dict(self.removed)
        if self.collector.catalog.refused:
            removed["surplus"] = removed.get("surplus", 0) + self.collector.catalog.refused
        return {
            "samples": self.samples,
            "series": len(self.last.shape.series) if self.last is not None else 0,
            "removed": removed,
            "stamps_back": self.stamps_back,
            "resets": self.rates.resets,
        }


def _finite(values: Sequence[Value]) -> bool:
    """Whether all are finite numbers; one sum says so for the usual run, a look at each for the rest."""
    try:
        total = sum(values)
        return total - total == 0 and abs(float(total)) >= 0
    except (TypeError, OverflowError, ValueError):
        return False


def _number(value: Value) -> bool:
    try:
        return isinstance(value, (int, float)) and abs(float(value)) < float("inf")
    except OverflowError:
        return False
