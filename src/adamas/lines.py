"""Batches as the points of one output, and as text with a line for each point: `name value time`, or the output's own form.

One % template for each shape, with the time joined in: a tick formats whole batches, never single points.
"""

from __future__ import annotations

from adamas.metric import DELTA, RATE, RAW, picker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from adamas.metric import Batch, Series, Shape, Value
    from adamas.naming import Naming, Point

VALUE, TIME = "\0", "\1"
"""Where a line's value and its time go; no name contains them."""
NAMED = 1000
"""The most names that `LineEncoder.unfit` keeps."""
REMEMBERED = 200_000
"""Points whose fit is kept; past that it is worked out anew."""


def graphite_line(point: Point) -> str:
    """`name value time`."""
    return f"{point.name} {VALUE} {TIME}\n"


def whole_seconds(time: float) -> str:
    """A stamp in seconds since 1970."""
    return str(int(time))


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
    """What an output makes of a shape: its points by the kind of value that they take.

    delta: what the spelling carries as a growing total is carried as its increase since the run before.
    """

    __slots__ = ("deltas", "form", "lines", "points", "rates", "raw")

    def __init__(self, shape: Shape, spell: Callable[[Series], Iterable[Point]], delta: bool = False) -> None:
        columns: dict[str, list[tuple[int, Point]]] = {RAW: [], RATE: [], DELTA: []}
        order = {position: i for i, position in enumerate(shape.counters)}
        for position, series in enumerate(shape.series):
            for point in spell(series):
                conversion = point.conversion
                if delta and conversion == RAW and position in order:
                    conversion = point.conversion = DELTA  # its line may say so, too
                columns[conversion].append((position if conversion == RAW else order[position], point))
        self.raw = Column(columns[RAW], len(shape.series))
        self.rates = Column(columns[RATE], len(shape.counters))
        self.deltas = Column(columns[DELTA], len(shape.counters))
        self.points = [*self.raw.points, *self.rates.points, *self.deltas.points]
        self.form: tuple[list[type], list[str]] = ([], [])
        """The types of a row's values, and the template that fits them."""
        self.lines: list[str] | None = None
        """The points' lines, where types change and templates with them."""

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
    """An output's points, and their lines; it keeps its plans on the shapes.

    wants: whether a point goes to this output at all; fit: the point as its backend takes it, None where that cannot be;
    line: a point's text, with VALUE and TIME where they go; stamp: the time's text; delta: see `Plan`.
    unfit: names that the backend does not take, and why; collisions are the naming's.
    """

    def __init__(
        self,
        naming: Naming,
        wants: Callable[[Point, str], bool] | None = None,
        fit: Callable[[Point], Point | None] | None = None,
        line: Callable[[Point], str] = graphite_line,
        stamp: Callable[[float], str] = whole_seconds,
        delta: bool = False,
    ) -> None:
        self.naming = naming
        self.line = line
        self.stamp = stamp
        self.unfit: dict[str, str] = {}
        self._wants = wants
        self._fit = fit
        self._delta = delta
        self._fitted: dict[Point, Point | None] = {}
        self._taken: dict[object, object] = {}

    def plan(self, shape: Shape) -> Plan:
        """What becomes of the shape, worked out once."""
        plan = shape.plans.get(self)
        if plan is None:
            plan = shape.plans[self] = Plan(shape, self.spell, self._delta)
        return plan

    def spell(self, series: Series) -> Iterator[Point]:
        """The points of a series that this output carries."""
        front = self.naming.front(series.source)
        for point in self.naming.spell(series):
            if self._wants is not None and not self._wants(point, front):
                continue
            fitted = self._carried(point, series) if self._fit is not None else point
            if fitted is not None:
                yield fitted

    def _carried(self, point: Point, series: Series) -> Point | None:
        """The point as the backend takes it, apart from every other; worked out once, as shapes come and go."""
        if point in self._fitted:
            return self._fitted[point]
        assert self._fit is not None
        own = (point.name, point.labels)
        fitted = self._fit(point)
        if fitted is point and self._taken.setdefault(own, own) == own:
            return point  # as most are: nothing is kept but its name
        number = 1
        while fitted is not None and self._taken.setdefault((fitted.name, fitted.labels), own) != own:
            self.naming.collisions[fitted.name] = series.source.instance
            number += 1
            fitted = self._fit(point.named(f"{point.name}_{number}")) if number < 10 else None
        if fitted is None and len(self.unfit) < NAMED:
            self.unfit[point.name] = "its name meets another's" if number > 1 else "the backend cannot take it"
        if len(self._fitted) > REMEMBERED:
            self._fitted.clear()
        self._fitted[point] = fitted
        return fitted

    def points(self, batch: Batch) -> int:
        """How many lines this batch is."""
        return self.plan(batch.shape).count(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All of them, every line ended."""
        return "".join([self._lines(batch) for batch in batches]).encode("utf-8", "backslashreplace")

    def _lines(self, batch: Batch) -> str:
        plan = self.plan(batch.shape)
        stamp = self.stamp(batch.time)
        if batch.missing:
            pairs = [(self.line(point), text(point, value)) for point, value in plan.pairs(batch)]
            return "".join([line.replace(VALUE, value).replace(TIME, stamp) for line, value in pairs])
        if not plan.points:
            return ""
        row = plan.row(batch)
        types = list(map(type, row))
        known, template = plan.form
        if types != known:
            template = self._template(plan, types)
            plan.form = (types, template)  # at once: two threads may encode the same shape
        return stamp.join(template) % row

    def _template(self, plan: Plan, types: Sequence[type]) -> list[str]:
        """The pieces between which the time goes: `name %.12g `, `newline name2 %s `, ..., newline."""
        lines = plan.lines
        if lines is None:
            lines = [self.line(point).replace("%", "%%") for point in plan.points]
            if plan.form[0]:
                plan.lines = lines  # types that changed once may do it again, and a line can be costly
        parts = []
        for line, point, kind in zip(lines, plan.points, types):
            if point.precision is None and issubclass(kind, int):
                form = "%d" if kind is bool else "%s"
            else:
                form = point.number(point.precision)
            parts.append(line.replace(VALUE, form))
        return "".join(parts).split(TIME)


def text(point: Point, value: Value) -> str:
    """A value as a point's text."""
    if point.precision is None and isinstance(value, int):
        return str(int(value))
    return point.number(point.precision) % value
