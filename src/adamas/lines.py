"""Batches as Graphite's plain text: one `name value time` line for each point.

One % template for each shape, with the time joined in: a tick formats whole batches, never single points.
"""

from __future__ import annotations

from adamas.metric import DELTA, RATE, RAW, picker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from adamas.metric import Batch, Shape, Value
    from adamas.naming import Naming, Point
    from adamas.pipeline import Filter


class Column:
    """The points of a shape that take one kind of value (raw, rate or delta), in order."""

    __slots__ = ("pick", "points", "positions", "scales")

    def __init__(self, chosen: Sequence[tuple[int, Point]], length: int) -> None:
        self.positions = [position for position, _ in chosen]
        self.points = [point for _, point in chosen]
        scales = [point.scale for point in self.points]
        self.scales = scales if any(scale != 1 for scale in scales) else None
        whole = self.positions == list(range(length))
        self.pick: Callable[[Sequence[Value]], Sequence[Value]] = tuple if whole else picker(self.positions)

    def take(self, values: Sequence[Value]) -> Sequence[Value]:
        """These points' values out of all; none may be missing."""
        found = self.pick(values)
        return found if self.scales is None else [v * s for v, s in zip(found, self.scales)]

    def sparse(self, values: Sequence[Value | None]) -> Iterator[tuple[Point, Value]]:
        """The points whose value is there, with it."""
        for position, point in zip(self.positions, self.points):
            value = values[position]
            if value is not None:
                yield point, value * point.scale


class Plan:
    """What a naming makes of a shape: its points by the kind of value that they take."""

    __slots__ = ("deltas", "form", "points", "rates", "raw")

    def __init__(self, shape: Shape, naming: Naming, only: Filter | None = None) -> None:
        columns: dict[str, list[tuple[int, Point]]] = {RAW: [], RATE: [], DELTA: []}
        order = {position: i for i, position in enumerate(shape.counters)}
        for position, series in enumerate(shape.series):
            front = naming.front(series.source)
            for point in naming.spell(series):
                if only and not only.passes([point.name.removeprefix(front + ".") if front else point.name]):
                    continue
                columns[point.conversion].append((position if point.conversion == RAW else order[position], point))
        self.raw = Column(columns[RAW], len(shape.series))
        self.rates = Column(columns[RATE], len(shape.counters))
        self.deltas = Column(columns[DELTA], len(shape.counters))
        self.points = [*self.raw.points, *self.rates.points, *self.deltas.points]
        self.form: tuple[list[type], list[str]] = ([], [])
        """The types of a row's values, and the template that fits them."""

    def count(self, batch: Batch) -> int:
        """How many points this batch has: those of counters without an increase yet are not there."""
        if not batch.missing:
            return len(self.points)
        deltas = batch.deltas
        away = sum(deltas[p] is None for p in self.rates.positions) + sum(deltas[p] is None for p in self.deltas.positions)
        return len(self.points) - away

    def pairs(self, batch: Batch) -> Iterator[tuple[Point, Value]]:
        """Each point that the batch has, with its value."""
        yield from self.raw.sparse(batch.values)
        if self.rates.points:
            yield from self.rates.sparse(batch.rates())
        if self.deltas.points:
            yield from self.deltas.sparse(batch.deltas)

    def row(self, batch: Batch) -> tuple[Value, ...]:
        """The values of `points`, in order; only for a batch that misses none."""
        row = self.raw.take(batch.values)
        if self.rates.points:
            row = (*row, *self.rates.take(batch.rates()))  # type: ignore[arg-type]
        if self.deltas.points:
            row = (*row, *self.deltas.take(batch.deltas))  # type: ignore[arg-type]
        return tuple(row)


class LineEncoder:
    """Graphite lines in one naming; it keeps its plans on the shapes."""

    def __init__(self, naming: Naming, only: Filter | None = None) -> None:
        self.naming = naming
        self.only = only

    def plan(self, shape: Shape) -> Plan:
        """What this naming makes of the shape, worked out once."""
        plan = shape.plans.get(self)
        if plan is None:
            plan = shape.plans[self] = Plan(shape, self.naming, self.only)
        return plan

    def points(self, batch: Batch) -> int:
        """How many lines this batch is."""
        return self.plan(batch.shape).count(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All of them, every line ended."""
        return "".join([self._lines(batch) for batch in batches]).encode("utf-8", "backslashreplace")

    def _lines(self, batch: Batch) -> str:
        plan = self.plan(batch.shape)
        stamp = str(int(batch.time))
        if batch.missing:
            out = [f"{point.name} {text(point, value)} {stamp}\n" for point, value in plan.pairs(batch)]
            return "".join(out)
        if not plan.points:
            return ""
        row = plan.row(batch)
        types = list(map(type, row))
        known, template = plan.form
        if types != known:
            template = _template(plan.points, types)
            plan.form = (types, template)  # at once: two threads may encode the same shape
        return stamp.join(template) % row


def text(point: Point, value: Value) -> str:
    """A value as a point's text."""
    if point.precision is None and isinstance(value, int):
        return str(int(value))
    return point.number(point.precision) % value


def _template(points: Sequence[Point], types: Sequence[type]) -> list[str]:
    """The pieces between which the time goes: `name %.12g `, `newline name2 %s `, ..., newline."""
    parts = []
    for point, kind in zip(points, types):
        if point.precision is None and issubclass(kind, int):
            form = "%d" if kind is bool else "%s"
        else:
            form = point.number(point.precision)
        parts.append(f"\n{point.name.replace('%', '%%')} {form} ")
    parts[0] = parts[0][1:]
    return [*parts, "\n"]
