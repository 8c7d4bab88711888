"""What is known right now: the last batch of every collector, by the names of the path spelling, without prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamas.lines import LineEncoder, Plan
from adamas.naming import Naming

if TYPE_CHECKING:
    from collections.abc import Iterator

    from adamas.metric import Batch, Series, Shape, Value
    from adamas.naming import Point
    from adamas.web.pattern import Pattern
    from adamas.web.view import View

SELECTIONS = 16


class Live:
    """The current points. Names are worked out once for each shape and kept on it."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._lines = LineEncoder(Naming("path"))
        self._selected: dict[tuple[str, ...], dict[Shape, frozenset[str]]] = {}

    def plan(self, batch: Batch) -> Plan:
        """The points of a batch's shape."""
        return self._lines.plan(batch.shape)

    def points(self) -> Iterator[tuple[Point, Series]]:
        """Every point that there is now, with its series."""
        for batch in self._view.latest():
            plan, shape = self.plan(batch), batch.shape
            for position, point in zip(plan.raw.positions, plan.raw.points):
                yield point, shape.series[position]
            for column in (plan.rates, plan.deltas):
                for position, point in zip(column.positions, column.points):
                    yield point, shape.series[shape.counters[position]]

    def value(self, name: str) -> tuple[float, Value] | None:
        """(time, value) of one point."""
        for batch in self._view.latest():
            plan = self.plan(batch)
            if any(point.name == name for point in plan.points):
                for point, value in plan.pairs(batch):
                    if point.name == name:
                        return batch.time, value
        return None

    def batches(self, patterns: list[Pattern]) -> Iterator[dict[str, Any]]:
        """The values of every batch whose names match one of the patterns (none given: all)."""
        for batch in self._view.latest():
            plan = self.plan(batch)
            wanted = self._select(batch.shape, plan, patterns) if patterns else None
            if wanted is not None and not wanted:
                continue
            values = {p.name: v for p, v in plan.pairs(batch) if wanted is None or p.name in wanted}
            if values:
                yield {"collector": batch.shape.series[0].source.instance, "time": batch.time, "values": values}

    def _select(self, shape: Shape, plan: Plan, patterns: list[Pattern]) -> frozenset[str]:
        key = tuple([pattern.text for pattern in patterns])
        if key not in self._selected and len(self._selected) >= SELECTIONS:
            self._selected.clear()
        known = self._selected.setdefault(key, {})
        found = known.get(shape)
        if found is None:
            if len(known) > 1000:
                known.clear()
            names = [(point.name, point.name.split(".")) for point in plan.points]
            found = known[shape] = frozenset([n for n, nodes in names if any(p.matches(nodes) for p in patterns)])
        return found
