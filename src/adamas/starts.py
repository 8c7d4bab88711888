"""Since when counters count, as far as the agent saw it: for protocols that want to know.

What a counter counted before its first sample is not known, so it starts there. One that went down began anew: after the sample
before. The answer for a sample does not change when it is encoded late, or once more. Pure: it knows no clock.

Source: https://opentelemetry.io/docs/specs/otel/metrics/data-model/#resets-and-gaps and the section on unknown start times.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import lt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Batch, Series, Shape, Source, Value

FORGET = 3600.0
"""Seconds after which a series that is gone is forgotten."""
KEPT = 8
"""The last starts of each series that are kept, for what is encoded late."""


class _Watched:
    """The counters of one collector instance: what they were last, and when each began."""

    __slots__ = ("begun", "changes", "last", "lost", "shape", "source", "time", "values")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.shape: Shape | None = None
        self.values: Sequence[Value] = ()
        self.time = float("-inf")
        self.last: dict[Series, tuple[Value, float]] = {}
        """The last value of each series, and its time, before those of the shape that is current."""
        self.begun: dict[Series, list[tuple[float, float]]] = {}
        """(when that was seen, start) of each series, in order."""
        self.changes: list[float] = []
        """When any of that changed."""
        self.lost = 0
        """How many changes are kept no more."""

    def begin(self, series: Series, seen: float, start: float) -> None:
        known = self.begun.setdefault(series, [])
        known.append((seen, start))
        del known[:-KEPT]
        if not self.changes or self.changes[-1] != seen:
            self.changes.append(seen)
        if len(self.changes) > 64:
            self.changes.pop(0)
            self.lost += 1


class Starts:
    """What every collector's counters were last. Told of each batch once, in the order in which they were published."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}

    def note(self, batch: Batch) -> None:
        """Look at a new batch. A stamp that is not later than the last (the clock was set back) says nothing new."""
        shape = batch.shape
        if not shape.counters:
            return
        source = shape.series[0].source
        watched = self._watched.get(source.instance)
        if watched is None or watched.source is not source:
            watched = self._watched[source.instance] = _Watched(source)
        if batch.time <= watched.time:
            return
        now = shape.pick(batch.values)
        if shape is not watched.shape:
            self._changed(watched, shape, now, batch.time)
        elif any(map(lt, now, watched.values)):
            for position, value, before in zip(shape.counters, now, watched.values):
                if value < before:
                    watched.begin(shape.series[position], batch.time, watched.time)
        watched.values, watched.time = now, batch.time

    def _changed(self, watched: _Watched, shape: Shape, now: Sequence[Value], time: float) -> None:
        last = watched.last
        if watched.shape is not None:
            for position, value in zip(watched.shape.counters, watched.values):
                last[watched.shape.series[position]] = value, watched.time
        for position, value in zip(shape.counters, now):
            series = shape.series[position]
            before = last.pop(series, None)
            if before is None:
                watched.begin(series, time, time)
            elif value < before[0]:
                watched.begin(series, time, before[1])
        for series in [s for s, (_, when) in last.items() if time - when > FORGET]:
            del last[series]
            watched.begun.pop(series, None)
        watched.shape = shape

    def mark(self, shape: Shape, time: float) -> int:
        """What tells one set of starts from another: the same number, the same starts."""
        watched = self._watched.get(shape.series[0].source.instance) if shape.counters else None
        if watched is None:
            return -1
        return watched.lost + bisect_right(watched.changes, time)

    def of(self, series: Series, time: float) -> float:
        """When what the counter counted at this time began; the time itself where that is not known."""
        watched = self._watched.get(series.source.instance)
        for seen, start in reversed(watched.begun.get(series, ()) if watched is not None else ()):
            if seen <= time:
                return start
        return time
