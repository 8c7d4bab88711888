"""Increases of counters, from one run to the next. Pure: it knows no clock, the caller says how late it is.

A counter that went down was reset: nothing is known of the time in between, so it gives no increase once. One that
declares where it wraps and was near that place gives the increase across it. A series that missed runs gets the
increase since its own last sample, over its own time.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Series, Shape, Value

NEAR_WRAP = 0.75
FORGET = 3600.0


class Rates:
    """The last values of one collector's counters.

    A time shorter than `shortest` gives no increase: what a source counts in steps of 10 ms is only noise over 30. The next
    run's increase covers that time too.
    """

    __slots__ = ("_absent", "_moment", "_shape", "_values", "resets", "shortest")

    def __init__(self, shortest: float = 0.0) -> None:
        self.shortest = shortest
        self._shape: Shape | None = None
        self._values: Sequence[Value] = ()
        self._moment = 0.0
        self._absent: dict[Series, tuple[Value, float]] = {}
        self.resets = 0

    def forget(self) -> None:
        """Start anew: the next sample of each counter is its first (after a suspend, or in a new process)."""
        self._shape = None
        self._absent.clear()

    def update(
        self, shape: Shape, values: Sequence[Value], moment: float
    ) -> tuple[Sequence[Value | None], float | Sequence[float], int]:
        """(deltas, elapsed, missing) of this run's counters, as `Batch` wants them; `moment` is monotonic seconds."""
        now = shape.pick(values)
        before, earlier = self._values, self._moment
        same = shape is self._shape
        if not same:
            return self._changed(shape, now, moment)
        elapsed = moment - earlier
        if elapsed <= self.shortest:
            return [None] * len(now), 1.0, len(now)
        self._values, self._moment = now, moment
        deltas: Sequence[Value | None] = [n - b for n, b in zip(now, before)]
        if deltas and min(deltas) < 0:  # type: ignore[type-var, operator]
            deltas = self._resets(shape, now, before, deltas)
            return deltas, elapsed, deltas.count(None)
        return deltas, elapsed, 0

    def _changed(
        self, shape: Shape, now: Sequence[Value], moment: float
    ) -> tuple[Sequence[Value | None], float | Sequence[float], int]:
        """The slow way, when the run has other series than the one before."""
        known = self._absent
        if self._shape is not None:
            for position, value in zip(self._shape.counters, self._values):
                known[self._shape.series[position]] = (value, self._moment)
        deltas: list[Value | None] = []
        elapsed: list[float] = []
        for position, value in zip(shape.counters, now):
            series = shape.series[position]
            before, earlier = known.pop(series, (None, 0.0))
            took = moment - earlier
            if before is None or took <= self.shortest:
                deltas.append(None)
                elapsed.append(1.0)
            else:
                deltas.append(value - before)
                elapsed.append(took)
                if value < before:
                    deltas[-1] = self._one_reset(series, value, before)
        for series in [s for s, (_, when) in known.items() if moment - when > FORGET]:
            del known[series]
        self._shape, self._values, self._moment = shape, now, moment
        return deltas, elapsed, deltas.count(None)

    def _resets(
        self, shape: Shape, now: Sequence[Value], before: Sequence[Value], deltas: Sequence[Value | None]
    ) -> list[Value | None]:
        return [
            self._one_reset(shape.series[position], n, b) if n < b else d
            for position, n, b, d in zip(shape.counters, now, before, deltas)
        ]

    def _one_reset(self, series: Series, now: Value, before: Value) -> Value | None:
        wrap = series.declaration.wrap
        if wrap and NEAR_WRAP * wrap <= before < wrap and now < (1 - NEAR_WRAP) * wrap:
            return now + wrap - before
        self.resets += 1
        return None
