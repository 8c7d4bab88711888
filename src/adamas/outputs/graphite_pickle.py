"""Graphite's pickle protocol over TCP or TLS: what carbon reads with less work than lines.

A frame is its length in four bytes (big-endian) and a pickle (protocol 2) of [(name, (time, value)), ...]. Pickles are only
written here, never read. Values are 64-bit floats, so that integers beyond 2**53 lose digits, as they do in carbon; nothing is
rounded to the decimals that a metric declares. Times are whole seconds. A frame has at most 256 KiB: carbon takes 1 MiB.

Names, tags, several addresses and arrival are as in `graphite`.

Tested against carbon 1.1.7.

Source: https://graphite.readthedocs.io/en/latest/feeding-carbon.html#the-pickle-protocol; the opcodes are those of Python's
Lib/pickletools.py.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from adamas import Batch, option
from adamas.outputs._carbon import Nodes, series

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from adamas.metric import Value
    from adamas.naming import Point

FRAME = 256 << 10
BEGIN, END = b"\x80\x02](", b"\x86\x86e."
"""PROTO 2, EMPTY_LIST, MARK; the last point's two tuples closed (TUPLE2), APPENDS, STOP."""
CLOSE = b"\x86\x86"
VALUE = 8


class Frame:
    """Some points' bytes but for their time and values: one `struct` puts all of them in."""

    __slots__ = ("form", "heads", "length")

    def __init__(self, names: Sequence[bytes], stamp: int) -> None:
        """`stamp`: how many bytes the time's opcodes and that before a value have."""
        self.heads = [CLOSE + name for name in names]
        self.heads[0] = BEGIN + names[0]
        whole = sum(map(len, self.heads)) + len(names) * (stamp + VALUE) + len(END)
        self.heads[0] = whole.to_bytes(4, "big") + self.heads[0]
        self.length = len(names)
        self.form = struct.Struct(">" + "".join([f"{len(head)}s{stamp}sd" for head in self.heads]) + f"{len(END)}s")

    def fill(self, stamp: bytes, values: Sequence[Value]) -> bytes:
        """The frame with these values."""
        parts: list[object] = [stamp] * (3 * self.length + 1)
        parts[0:-1:3] = self.heads
        parts[2:-1:3] = values
        parts[-1] = END
        return self.form.pack(*parts)


class GraphitePickle(Nodes):
    """Sends points as pickles over TCP and has their arrival confirmed."""

    name = "graphite_pickle"
    diamond = "GraphitePickleHandler"
    default_naming = "path"
    port = 2004

    address: list[str] = option(["127.0.0.1:2004"], "Where carbon takes pickles: host:port, or several of them (see `routing`)")

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """Each batch as a frame, or as several where it is long."""
        return b"".join([frame for batch in batches for frame in self._batch(batch)])

    def _batch(self, batch: Batch) -> Iterator[bytes]:
        plan = self.lines.plan(batch.shape)
        stamp = _stamp(int(batch.time))
        row: Sequence[Value]
        if batch.missing:
            pairs = list(plan.pairs(batch))
            row = [value for _, value in pairs]
            frames = _frames([point for point, _ in pairs], len(stamp))
        else:
            row = plan.row(batch)
            width, frames = batch.shape.plans.get(self, (0, []))
            if width != len(stamp):
                frames = _frames(plan.points, len(stamp))
                batch.shape.plans[self] = (len(stamp), frames)
        start = 0
        for frame in frames:
            yield frame.fill(stamp, row[start : start + frame.length])
            start += frame.length


def _frames(points: Sequence[Point], stamp: int) -> list[Frame]:
    frames: list[Frame] = []
    names: list[bytes] = []
    size = 0
    for point in points:
        text = series(point).encode("utf-8", "backslashreplace")
        if names and size + len(text) > FRAME:
            frames.append(Frame(names, stamp))
            names, size = [], 0
        names.append(b"X" + len(text).to_bytes(4, "little") + text)  # BINUNICODE
        size += len(text) + 5 + stamp + VALUE + len(CLOSE)
    return [*frames, Frame(names, stamp)] if names else frames


def _stamp(seconds: int) -> bytes:
    """The time, BININT or (from 2038) LONG1, and BINFLOAT for the value that follows."""
    if seconds < 1 << 31:
        return b"J" + seconds.to_bytes(4, "little") + b"G"
    return b"\x8a\x05" + seconds.to_bytes(5, "little") + b"G"
