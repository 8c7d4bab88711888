"""Batches as remote write's messages: prometheus.WriteRequest of version 1.0, io.prometheus.write.v2.Request of version 2.0.

A time series is the same bytes in every message, but for its sample's value and time: they are packed once for each shape.

Source: prompb/types.proto, prompb/remote.proto and prompb/io/prometheus/write/v2/types.proto (2.0-rc.4) in
https://github.com/prometheus/prometheus.
"""

from __future__ import annotations

from adamas.metric import COUNTER, GAUGE, RAW
from adamas.naming import UNIT_SUFFIX
from adamas.protobuf import block, doubles, number, text, varint, weave
from adamas.starts import Starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas import Batch
    from adamas.lines import LineEncoder, Plan
    from adamas.metric import Shape
    from adamas.naming import Point

TYPES = {COUNTER: 1, GAUGE: 2}
"""Metadata.MetricType."""
TABLES = 8
"""Symbol tables that are kept: one for each set of collectors whose runs go out together."""


class Writer:
    """Messages of one version."""

    version = ""
    content_type = ""

    def __init__(self, lines: LineEncoder) -> None:
        self.lines = lines

    def note(self, batch: Batch) -> None:
        """Look at a new batch."""

    def request(self, batches: Sequence[Batch]) -> bytes:
        """The message of these batches."""
        raise NotImplementedError


class Writer1(Writer):
    """prometheus.WriteRequest: every series with all its labels. Requests that follow each other are one."""

    version = "0.1.0"
    content_type = "application/x-protobuf"

    def request(self, batches: Sequence[Batch]) -> bytes:
        """The message of these batches."""
        return b"".join([self._series(batch) for batch in batches])

    def _series(self, batch: Batch) -> bytes:
        tail = sample_time(batch.time)
        plan = self.lines.plan(batch.shape)
        if partial(plan, batch):
            pairs = list(plan.pairs(batch))
            heads = self._heads([point for point, _ in pairs], tail)
            return weave(tail, heads, doubles([value for _, value in pairs]))
        kept: tuple[int, list[bytes]] | None = batch.shape.plans.get(self)
        if kept is None or kept[0] != len(tail):
            kept = batch.shape.plans[self] = (len(tail), self._heads(plan.points, tail))
        return weave(tail, kept[1], doubles(plan.row(batch)))

    def _heads(self, points: Sequence[Point], tail: bytes) -> list[bytes]:
        made = []
        for point in points:
            series = b"".join([block(1, text(1, name) + text(2, value)) for name, value in labels(point)])
            made.append(head(1, series, b"", tail))
        return made


class Table:
    """The symbols of one set of shapes, and what comes before each value in them."""

    __slots__ = ("heads", "packed", "symbols")

    def __init__(self) -> None:
        self.symbols: dict[str, int] = {"": 0}
        self.packed = b""
        self.heads: dict[Shape, tuple[tuple[int, int], list[bytes]]] = {}

    def of(self, symbol: str) -> int:
        """A symbol's number."""
        return self.symbols.setdefault(symbol, len(self.symbols))

    def series(self, point: Point) -> bytes:
        """A series' labels and metadata in symbols."""
        refs = b"".join([varint(self.of(word)) for pair in labels(point) for word in pair])
        unit = UNIT_SUFFIX.get(point.unit, "")
        if not point.name.removesuffix("_total").endswith(f"_{unit}"):
            unit = ""  # a unit is the end of the name (OpenMetrics), or there is none
        about = number(1, TYPES.get(point.kind, 0)) + number(3, self.of(point.help)) + number(4, self.of(unit))
        return block(1, refs) + block(5, about)


class Writer2(Writer):
    """io.prometheus.write.v2.Request: each text once, in a table, with types, units, help, and since when counters count."""

    version = "2.0.0"
    content_type = "application/x-protobuf;proto=io.prometheus.write.v2.Request"

    def __init__(self, lines: LineEncoder) -> None:
        super().__init__(lines)
        self._starts = Starts()
        self._tables: dict[frozenset[Shape], Table] = {}

    def note(self, batch: Batch) -> None:
        """Look whether a counter is new, or began anew."""
        self._starts.note(batch)

    def request(self, batches: Sequence[Batch]) -> bytes:
        """The message of these batches."""
        table = self._table(frozenset([batch.shape for batch in batches]))
        return table.packed + b"".join([self._series(batch, table) for batch in batches])

    def _table(self, shapes: frozenset[Shape]) -> Table:
        table = self._tables.get(shapes)
        if table is None:
            if len(self._tables) >= TABLES:
                self._tables.clear()
            table = Table()
            for shape in shapes:
                for point in self.lines.plan(shape).points:
                    table.series(point)
            table.packed = b"".join([block(4, symbol.encode("utf-8", "backslashreplace")) for symbol in table.symbols])
            self._tables[shapes] = table
        return table

    def _series(self, batch: Batch, table: Table) -> bytes:
        tail = sample_time(batch.time)
        plan = self.lines.plan(batch.shape)
        if partial(plan, batch):
            pairs = list(plan.pairs(batch))
            heads = self._heads(batch, plan, [point for point, _ in pairs], table, tail)
            return weave(tail, heads, doubles([value for _, value in pairs]))
        mark = (self._starts.mark(batch.shape, batch.time), len(tail))
        kept = table.heads.get(batch.shape)
        if kept is None or kept[0] != mark:
            kept = table.heads[batch.shape] = (mark, self._heads(batch, plan, plan.points, table, tail))
        return weave(tail, kept[1], doubles(plan.row(batch)))

    def _heads(self, batch: Batch, plan: Plan, points: Sequence[Point], table: Table, tail: bytes) -> list[bytes]:
        made = []
        for n, point in enumerate(points):
            start = b""
            if point.kind == COUNTER and point.conversion == RAW:
                series = batch.shape.series[plan.raw.positions[n]]
                start = number(3, milliseconds(self._starts.of(series, batch.time)))
            made.append(head(5, table.series(point), start, tail))
        return made


def partial(plan: Plan, batch: Batch) -> bool:
    """Whether the batch may not have all of the plan's points. Those that it misses are at the end: raw values come first."""
    return bool(batch.missing and (plan.rates.points or plan.deltas.points))


def labels(point: Point) -> list[tuple[str, str]]:
    """A series' labels, its name among them, in the order that the protocol wants."""
    return sorted([("__name__", point.name), *point.labels])


def head(field: int, series: bytes, start: bytes, tail: bytes) -> bytes:
    """A time series up to its only sample's value, which the tail follows."""
    sample = b"\x12" + varint(len(start) + 9 + len(tail)) + start + b"\x09"
    return varint(field << 3 | 2) + varint(len(series) + len(sample) + 8 + len(tail)) + series + sample


def milliseconds(time: float) -> int:
    """A time in seconds as the protocol has it."""
    return round(time * 1000)


def sample_time(time: float) -> bytes:
    """What ends a sample."""
    return number(2, milliseconds(time))
