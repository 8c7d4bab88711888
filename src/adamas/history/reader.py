"""Reading the file while it is written: samples of a range, names, buckets for a chart."""

from __future__ import annotations

import re
import sqlite3
from bisect import bisect_left, bisect_right
from math import ceil

from adamas.history.codec import GAPS, SLAB, Damaged, column_of, decode, stamps_of
from adamas.history.head import SPAN
from adamas.history.store import SERIES_BITS, SLAB_BITS, identity

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Sequence
    from typing import TypeAlias

    Part: TypeAlias = tuple[list[float], list[float]]
    """The times and values of a series."""

PATIENCE = 1.0

_BLOCKS = """
SELECT block.id, block.stamps, chunk.data FROM block JOIN chunk ON chunk.id = (block.id << ?) + ?
WHERE block.collector = ? AND block.first BETWEEN ? AND ? AND block.last >= ? AND block.id < ? ORDER BY block.first
"""
_NAMES = f"""
SELECT series.name, series.id, collector.name, unit, kind, help, increase, seen
FROM series JOIN collector ON collector.id = series.id >> {SERIES_BITS} ORDER BY series.name
"""


class Found:
    """A series in the file."""

    __slots__ = ("collector", "increase", "place")

    def __init__(self, id: int, increase: int) -> None:
        self.collector = id >> SERIES_BITS
        self.place = id & (1 << SERIES_BITS) - 1
        self.increase = bool(increase)


class Reader:
    """A connection that only reads, used by one thread at a time. Raises sqlite3.Error."""

    def __init__(self, path: str) -> None:
        name = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        self._path = path
        self._identity = identity(path)
        # Read-write to SQLite, because a reader of a WAL may have to begin its index; query_only keeps it from writing.
        self._db = sqlite3.connect(
            f"file:{name}?mode=rw", uri=True, timeout=PATIENCE, isolation_level=None, check_same_thread=False
        )
        self._db.execute("PRAGMA query_only = ON")
        self._db.execute("PRAGMA cache_size = -64")

    def current(self) -> bool:
        """Whether its file is still the one at its path."""
        return identity(self._path) == self._identity

    def close(self) -> None:
        """Hang up."""
        self._db.close()

    def find(self, name: str) -> list[Found]:
        """The series of this name: several where it moved to another collector, or became a counter."""
        return [Found(*row) for row in self._db.execute("SELECT id, increase FROM series WHERE name = ?", [name])]

    def names(self, fits: Callable[[str], bool], limit: int) -> list[tuple[str, int, str, str, str, str, int, int]]:
        """(name, id, collector, unit, kind, help, increase, seen) of the first so many series whose name fits, by name."""
        found: list[tuple[str, int, str, str, str, str, int, int]] = []
        for row in self._db.execute(_NAMES):
            if fits(row[0]):
                found.append(row)
                if len(found) >= limit:
                    break
        return found

    def samples(
        self, series: Found, first: int, last: int, before: int, but: Container[int], parts: list[Part], faults: list[Damaged]
    ) -> None:
        """Add the parts of every block that touches a range (milliseconds), but for some and those from `before` on."""
        what = (SLAB_BITS, series.place // SLAB, series.collector, first - SPAN, last, first, before)
        for id, stamps, chunk in self._db.execute(_BLOCKS, what):
            if id not in but:
                try:
                    parts.append(read(stamps, chunk, series.place % SLAB, series.increase))
                except Damaged as error:
                    faults.append(error)


def read(stamps: bytes, chunk: bytes, position: int, increase: bool) -> Part:
    """(times, values) of one series in a block. Raises Damaged."""
    column = column_of(chunk, position)
    if not column:
        return [], []
    times, elapsed = stamps_of(stamps, increase)
    values = decode(column, len(times))
    if increase:
        values = [v / e for v, e in zip(values, elapsed)]
    if column[0] == GAPS:
        there = [i for i, v in enumerate(values) if v == v]
        return [times[i] for i in there], [values[i] for i in there]
    return times, values


def join(parts: Iterable[Part], start: float, end: float) -> Part:
    """What lies in a range, sorted by time; samples of one moment keep their order."""
    times: list[float] = []
    values: list[float] = []
    ordered = True
    for more_times, more_values in parts:
        if times and more_times and more_times[0] < times[-1]:
            ordered = False
        times += more_times
        values += more_values
    if not ordered:
        order = sorted(range(len(times)), key=times.__getitem__)
        times = [times[i] for i in order]
        values = [values[i] for i in order]
    low, high = bisect_left(times, start), bisect_right(times, end)
    return times[low:high], values[low:high]


def buckets(
    times: Sequence[float], values: Sequence[float], start: float, end: float, points: int
) -> list[tuple[float, float, float, float]]:
    """(time, least, mean, most) of at most so many equal parts of a range, by the time where each begins.

    The parts lie on a grid of the clock, so that a range that moves with the time does not change what it shows.
    """
    if len(times) <= points:
        return [(t, v, v, v) for t, v in zip(times, values)]
    length = max(1, ceil((end - start) * 1000 / max(1, points - 1)))  # in milliseconds, as the times are
    if length > 1000:
        length = -(-length // 1000) * 1000
    found = []
    low = 0
    while low < len(times):
        number = round(times[low] * 1000) // length
        high = bisect_left(times, (number + 1) * length / 1000, low + 1) if points > 1 else len(times)
        part = values[low:high]
        least, most = min(part), max(part)
        # Rounding may put the mean of equal values beside them.
        found.append((number * length / 1000, least, min(max(sum(part) / len(part), least), most), most))
        low = high
    return found


def matcher(match: str) -> Callable[[str], bool]:
    """Whether a name fits. Plain text: it contains it. A pattern with dots: as in Graphite, `*` stays within a node.

    A pattern without dots may stand for several nodes.
    `*`, `?`, `[a-z]` and `{one,two}` make a pattern. Upper and lower case are the same.
    """
    text = match.strip().lower()
    if not any(letter in text for letter in "*?[{"):
        return lambda name: text in name.lower()
    try:
        compiled = re.compile(_regex(text, "[^.]" if "." in text else "."), re.DOTALL)
    except re.error:  # such as [z-a]
        return lambda name: False
    return lambda name: compiled.fullmatch(name.lower()) is not None


def _regex(pattern: str, any_letter: str) -> str:
    out: list[str] = []
    depth = 0
    i = 0
    while i < len(pattern):
        letter = pattern[i]
        i += 1
        if letter == "*":
            if out and out[-1] == f"{any_letter}*":
                continue
            out.append(f"{any_letter}*")
        elif letter == "?":
            out.append(any_letter)
        elif letter == "[" and (end := pattern.find("]", i + 1)) > 0:
            inside = pattern[i:end].replace("\\", r"\\").replace("[", r"\[").replace("&&", r"&\&").replace("||", r"|\|")
            inside = "^" + inside[1:] if inside[0] == "!" else inside.replace("^", r"\^", 1) if inside[0] == "^" else inside
            out.append(f"[{inside}]")
            i = end + 1
        elif letter == "{" and pattern.find("}", i) > 0:
            depth += 1
            out.append("(?:")
        elif letter == "}" and depth:
            depth -= 1
            out.append(")")
        elif letter == "," and depth:
            out.append("|")
        else:
            out.append(re.escape(letter))
    return "".join(out) + ")" * depth
