"""What the history holds of a collector: the runs that are in no block yet, and the blocks that are not yet in the file.

A collector's runs share a block whatever series they have: a block's columns are the series of all its runs, with gaps where a
run had none. So series that come and go cost gaps, never a block for each change.
"""

from __future__ import annotations

import struct
from array import array

from adamas.history.codec import NAN, SLAB, encode, pack_chunk, pack_stamps
from adamas.lines import Plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import TypeAlias

    from adamas.metric import Batch, Value

    Row: TypeAlias = tuple[int, str, str, str, str, int]
    """A series: place, name, unit, kind, help, and 1 where it keeps increases."""
    Work: TypeAlias = "list[tuple[Head, list[tuple[int, Run]], list[Block]]]"
    """What the file does not have of a collector: runs with their place in the block to be, and blocks."""

RUNS = 60
"""How many runs make a block."""
SPAN = 6 * 3600 * 1000
"""The longest time that a block covers, in milliseconds: where a reader of the file begins to look."""
DAY = 86_400_000

_DOUBLE = struct.Struct("=d")


class Layout:
    """Which series the values of a run belong to: the places of a collector's series, those of increases `first` to `last`."""

    __slots__ = ("first", "id", "last", "places", "saved")

    def __init__(self, id: int, places: array[int], first: int, last: int, saved: bool = False) -> None:
        self.id = id
        self.places = places
        self.first = first
        self.last = last
        self.saved = saved

    @property
    def key(self) -> tuple[bytes, int, int]:
        """What makes two layouts of a collector the same."""
        return (self.places.tobytes(), self.first, self.last)


class Run:
    """One run of a collector: its time in milliseconds, what its increases took, its values as doubles (NaN: none).

    saved: it is in the file; counted: it was, in the file of now or the one before, and is counted as written.
    """

    __slots__ = ("count", "counted", "data", "elapsed", "id", "layout", "saved", "time")

    def __init__(self, id: int, time: int, elapsed: float, layout: Layout, data: bytes, count: int) -> None:
        self.id = id
        self.time = time
        self.elapsed = elapsed
        self.layout = layout
        self.data = data
        self.count = count
        self.saved = self.counted = False


class Block:
    """Up to 60 runs, written as the file has them."""

    __slots__ = ("chunks", "count", "first", "id", "last", "places", "samples", "seen", "stamps", "uncounted")

    def __init__(self, number: int, runs: Sequence[Run]) -> None:
        self.id = number
        self.count = len(runs)
        self.first = runs[0].time
        self.last = runs[-1].time
        self.samples = sum([r.count for r in runs])
        self.uncounted = sum([r.count for r in runs if not r.counted])
        self.seen: list[tuple[int, int]] = []
        places, columns, gaps = _columns(runs)
        increases = frozenset([p for layout in {id(r.layout): r.layout for r in runs}.values() for p in _increases(layout)])
        took = array("d", [r.elapsed for r in runs]) if increases else None
        self.stamps = pack_stamps(array("d", [r.time / 1000 for r in runs]), took)
        slabs: dict[int, list[bytes]] = {}
        there = array("I")
        for place, column in zip(places, columns):
            data = encode(column, place in increases, gaps)
            if data:
                there.append(place)
                slab = slabs.get(place // SLAB)
                if slab is None:
                    slab = slabs[place // SLAB] = [b""] * SLAB
                slab[place % SLAB] = data
        self.places = there
        self.chunks = [(number, pack_chunk(slab)) for number, slab in slabs.items()]

    @property
    def size(self) -> int:
        """About how many bytes it keeps."""
        return len(self.stamps) + sum([len(data) + 100 for _, data in self.chunks]) + 4 * len(self.places)


def _increases(layout: Layout) -> array[int]:
    return layout.places[layout.first : layout.last]


def _columns(runs: Sequence[Run]) -> tuple[Sequence[int], Iterator[array[float]], bool]:
    """(places, their columns, whether values may be missing)."""
    layout = runs[0].layout
    gaps = any(r.count < len(r.layout.places) for r in runs)
    if all(r.layout is layout for r in runs):
        whole = array("d", b"".join([r.data for r in runs]))
        width = len(layout.places)
        return layout.places, (whole[i::width] for i in range(width)), gaps
    places = sorted({place for r in runs for place in r.layout.places})
    column = {place: i for i, place in enumerate(places)}
    width = len(places)
    none = array("d", [NAN]) * width
    flat = array("d")
    before, spots = None, []
    for run in runs:
        if run.layout is not before:
            before = run.layout
            spots = [column[place] for place in before.places]
        row = none[:]
        for spot, value in zip(spots, array("d", run.data)):
            row[spot] = value
        flat += row
    return places, (flat[i::width] for i in range(width)), True


class ShapePlan:
    """What becomes of a shape's batches: its points, and the layout of their values. Void in another epoch."""

    __slots__ = ("epoch", "layout", "plan")

    def __init__(self, plan: Plan, layout: Layout, epoch: int) -> None:
        self.plan = plan
        self.layout = layout
        self.epoch = epoch

    def run(self, batch: Batch, id: int) -> Run:
        """The batch as a run; what is no finite number is missing in it."""
        plan = self.plan
        elapsed = 1.0
        if batch.missing or (plan.rates.points and not isinstance(batch.elapsed, (int, float))):
            values, elapsed = self._sparse(batch)
        else:
            try:
                row = plan.raw.take(batch.values)
                if plan.rates.points:
                    row = (*row, *plan.rates.take(batch.deltas))  # type: ignore[arg-type]
                    elapsed = batch.elapsed  # type: ignore[assignment]
                if plan.deltas.points:
                    row = (*row, *plan.deltas.take(batch.deltas))  # type: ignore[arg-type]
                values = array("d", row)
            except (TypeError, OverflowError):
                values, elapsed = self._sparse(batch)
        count = len(values)
        total = sum(values)
        if total - total != 0:
            for i, value in enumerate(values):
                if value - value != 0:
                    values[i] = NAN
                    count -= 1
        return Run(id, round(batch.time * 1000), elapsed, self.layout, values.tobytes(), count)

    def _sparse(self, batch: Batch) -> tuple[array[float], float]:
        """The values where some are missing, or the increases took different times."""
        plan = self.plan
        deltas: Sequence[Value | None] = batch.deltas
        elapsed: float = 1.0
        if isinstance(batch.elapsed, (int, float)):
            elapsed = batch.elapsed
            rates = deltas
        else:
            took = {e for d, e in zip(deltas, batch.elapsed) if d is not None}
            if len(took) == 1:
                elapsed = took.pop()
                rates = deltas
            else:
                rates = batch.rates()
        values = array("d")
        for column, given in ((plan.raw, batch.values), (plan.rates, rates), (plan.deltas, deltas)):
            scales: Iterable[float] = column.scales or [1] * len(column.positions)
            values.extend([_double(given[p], scale) for p, scale in zip(column.positions, scales)])
        return values, elapsed


def _double(value: Value | None, scale: float) -> float:
    try:
        return NAN if value is None else float(value * scale)
    except (TypeError, ValueError, OverflowError):
        return NAN


class Seen:
    """When each series was last seen, as the file has it: exact once a series is gone, at most a day old before."""

    __slots__ = ("day", "last", "marked", "places")

    def __init__(self) -> None:
        self.day = 0
        self.marked = bytearray()
        self.places: array[int] = array("I")
        self.last = 0

    def update(self, block: Block) -> list[tuple[int, int]]:
        """(time, place) of what this block changes."""
        gone = []
        if self.places and self.places != block.places:
            gone = [(self.last, place) for place in set(self.places).difference(block.places)]
        day = block.last // DAY
        if day != self.day:
            self.day, self.marked = day, bytearray()
        most = max(block.places, default=-1) + 1
        self.marked.extend(bytes(max(0, most - len(self.marked))))
        marked = self.marked
        short = block.count < RUNS  # perhaps the last one
        fresh = [place for place in block.places if short or not marked[place]]
        for place in fresh:
            marked[place] = 1
        self.places, self.last = block.places, block.last
        return gone + [(block.last, place) for place in fresh]


class Head:
    """One collector: its series, its runs since the last block, and blocks on their way to the file.

    known: place of a series by name, doubled, plus 1 where it keeps increases; fresh: series that the file does not know so, and
    about when they were seen; full: runs that are to become blocks; sealed: the last run that did; latest: the newest run of
    all; touched: when it came (monotonic).
    """

    __slots__ = (
        "blocks",
        "fresh",
        "full",
        "id",
        "known",
        "latest",
        "layouts",
        "name",
        "next",
        "runs",
        "saved",
        "sealed",
        "seen",
        "touched",
    )

    def __init__(self, id: int, name: str, sealed: int | None = None) -> None:
        self.id = id
        self.name = name
        self.saved = sealed is not None
        self.sealed = sealed or 0
        self.next = 0
        self.known: dict[str, int] = {}
        self.layouts: dict[tuple[bytes, int, int], Layout] = {}
        self.runs: list[Run] = []
        self.full: list[list[Run]] = []
        self.blocks: list[Block] = []
        self.fresh: list[tuple[Row, int]] = []
        self.seen = Seen()
        self.latest: Run | None = None
        self.touched = 0.0

    def add(self, run: Run) -> None:
        """Take the newest run. A block's times never go back, nor far: a clock that was set begins another."""
        runs = self.runs
        if runs and (len(runs) >= RUNS or run.time < runs[-1].time or run.time - runs[0].time > SPAN):
            self.close()
        if self.latest is None or run.layout is not self.latest.layout:
            run.layout = self.layouts.setdefault(run.layout.key, run.layout)
        self.runs.append(run)
        self.latest = run
        if len(self.runs) >= RUNS:
            self.close()

    def close(self) -> None:
        """What there is becomes a block."""
        if self.runs:
            self.full.append(self.runs)
            self.runs = []

    def held(self) -> list[Run]:
        """The runs that are not in a block, oldest first."""
        return [r for part in [*self.full, self.runs] for r in part]

    def newest(self) -> dict[int, tuple[float, float]]:
        """The newest (value, time) of each series in memory, by place."""
        found: dict[int, tuple[float, float]] = {}
        done: set[int] = set()
        for run in [*([self.latest] if self.latest is not None else []), *reversed(self.held())]:
            layout = run.layout
            if id(layout) in done:
                continue
            if run.count == len(layout.places):
                done.add(id(layout))
            for i, (place, value) in enumerate(zip(layout.places, array("d", run.data))):
                if value == value and place not in found:
                    found[place] = (value / run.elapsed if layout.first <= i < layout.last else value, run.time / 1000)
        return found

    def stale(self) -> list[Layout]:
        """Layouts that no run has any more."""
        used = {id(r.layout) for r in self.held()}
        if self.latest is not None:
            used.add(id(self.latest.layout))
        return [layout for layout in self.layouts.values() if id(layout) not in used]

    def prune(self, block: Block) -> None:
        """Let go of layouts and names that are not used any more."""
        for layout in self.stale():
            if not layout.saved:
                del self.layouts[layout.key]
        if len(self.known) > 2 * len(block.places) + 64:
            places = {*block.places, *[p for layout in self.layouts.values() for p in layout.places]}
            self.known = {name: place for name, place in self.known.items() if place >> 1 in places}


def values_of(runs: Iterable[Run], place: int, increase: bool) -> tuple[list[float], list[float]]:
    """(times, values) of one series in these runs."""
    times, values = [], []
    layout, column = None, -1
    for run in runs:
        if run.layout is not layout:
            layout = run.layout
            try:
                column = layout.places.index(place)
            except ValueError:
                column = -1
        if column < 0:
            continue
        (value,) = _DOUBLE.unpack_from(run.data, 8 * column)
        if value == value:
            times.append(run.time / 1000)
            values.append(value / run.elapsed if increase else value)
    return times, values
