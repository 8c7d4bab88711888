"""Samples in a file, or on the terminal: Graphite lines, one JSON object a line, or CSV.

`lines` and `csv` have floats with 12 significant digits, or the decimals that the metric declares; `json` has the values as they
were measured, the kind and the unit. A CSV file (RFC 4180, lines end with a newline) begins with its header: time, name,
labels as a JSON object, value. Lines have no place for labels, so that they go with the dotted namings only.

A send is written whole or not at all: a part that was written before the disk was full is taken back. Delivered means written,
and survives the agent; the kernel brings it to the disk in its own time. An agent that is killed may leave half a line, which
gets an end, and a send that the next one writes again where it had been in the spool.

The file may be moved away at any time (logrotate): it is made anew. Or it is rotated here, by size, by time, or both: it is
renamed to `PATH.2026-11-22`, with hour, minute and second where it is rotated more often, and `.1`, `.2` where there is one
already. Time is the local clock's: days change at midnight, weeks on Mondays. `compress` makes a .gz of each rotated file, a
piece after every send, so that sending goes on meanwhile; the uncompressed file goes when its .gz is whole and on the disk.
"""

from __future__ import annotations

import json
import os
import stat
import sys
from collections.abc import Sequence

from adamas import Batch, Duration, Output, Size, option
from adamas.lines import TIME, VALUE, graphite_line, whole_seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.metric import Value
    from adamas.naming import Point
    from adamas.outputs._rotation import Rotation

HEADER = b"time,name,labels,value\n"
PIECE = 1 << 20
"""The least bytes that are compressed after a send."""


class File(Output):
    """Appends every point to a file, which it may rotate and compress."""

    name = "file"
    diamond = "ArchiveHandler"
    default_naming = "path"

    path: str = option("-", 'The file; "-" is the terminal (standard output)')
    format: str = option("lines", "One `name value time` line a point, one JSON object, or CSV", choices=("lines", "json", "csv"))
    rotate_size: Size = option(0, "Rotate the file before it gets larger than this (0: whatever its size)")
    rotate_every: Duration = option(0, "Rotate the file at the local clock's multiples of this (0: at no time)")
    keep: int = option(7, "How many rotated files are kept (0: all)", minimum=0)
    compress: bool = option(False, "Compress rotated files (gzip)")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.path = os.path.expanduser(self.path)
        self._file: int | None = None
        self._rotation: Rotation | None = None
        self._torn = False

    def check(self) -> list[str]:
        """Lines have no labels, and a terminal no size."""
        wrong = super().check()
        if self.format == "lines" and self.naming in ("prometheus", "otel"):
            wrong.append(f"format: lines have no labels, and the naming {self.naming!r} has: take json or csv")
        if self.path == "-" and (self.rotate_size or self.rotate_every):
            wrong.append("path: the terminal cannot be rotated")
        if 0 < self.rotate_every < 1:
            wrong.append("rotate_every: expected at least 1s")
        return wrong

    @property
    def dialect(self) -> str:
        """Each format is its own."""
        return self.name if self.format == "lines" else f"{self.name} {self.format}"

    def line(self, point: Point) -> str:
        """A point's line in this format."""
        labels = dict(point.labels)
        if self.format == "csv":
            return f"{TIME},{_field(point.name)},{_field(_json(labels)) if labels else ''},{VALUE}\n"
        if self.format == "json":
            about = f'"time":{TIME},"kind":{_json(point.kind)},"unit":{_json(point.unit)}'
            return f'{{"name":{_json(point.name)},"labels":{_json(labels)},"value":{VALUE},{about}}}\n'
        return graphite_line(point)

    def stamp(self, time: float) -> str:
        """A time in this format: seconds since 1970, with its fraction where there is room for one."""
        if self.format == "json":
            return repr(time)
        return whole_seconds(time) if self.format == "lines" or time == int(time) else f"{time:.3f}"

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All points of the batches as lines of text."""
        if self.format != "json":
            return self.lines.encode(batches)
        return "".join(map(self._objects, batches)).encode("utf-8", "backslashreplace")

    def _objects(self, batch: Batch) -> str:
        """A batch as JSON, values with all their digits."""
        plan = self.lines.plan(batch.shape)
        row: Sequence[Value]
        if batch.missing:
            pairs = list(plan.pairs(batch))
            row = [value for _, value in pairs]
            template = self._template([point for point, _ in pairs])
        else:
            row = plan.row(batch)
            template = batch.shape.plans.get(self) or self._template(plan.points)
            batch.shape.plans[self] = template
        if bool in map(type, row):
            row = [int(value) if type(value) is bool else value for value in row]
        return self.stamp(batch.time).join(template) % tuple(row)

    def _template(self, points: Sequence[Point]) -> list[str]:
        return "".join([self.line(point).replace("%", "%%").replace(VALUE, "%r") for point in points]).split(TIME)

    def open(self) -> None:
        """Open the file for appending, again where it was moved; OSError where that cannot be."""
        if self.path == "-":
            return
        if self._file is not None:
            try:
                there, here = os.stat(self.path), os.fstat(self._file)
                if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                    return
            except FileNotFoundError:
                pass
            os.close(self._file)
            self._file = None
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        found = os.fstat(self._file)
        self._torn = stat.S_ISREG(found.st_mode) and _torn(self.path, found.st_size)
        if (self.rotate_size or self.rotate_every) and stat.S_ISREG(found.st_mode):
            if self._rotation is None:
                from adamas.outputs._rotation import Rotation

                limits = (self.rotate_size, self.rotate_every, self.keep)
                self._rotation = Rotation(self.path, *limits, self.compress, self.instance)
            self._rotation.begins(found)

    def send(self, payload: bytes) -> None:
        """Write all of it, or nothing: a part that was written before the disk was full is taken back."""
        if self._file is None:
            sys.stdout.buffer.write(payload)
            sys.stdout.buffer.flush()
            return
        if self._rotation is not None and self._rotation.rotate(os.fstat(self._file), len(payload)):
            os.close(self._file)
            self._file = None
            self.open()
            assert self._file is not None
        size = os.fstat(self._file).st_size
        try:
            before = b"\n" if self._torn else HEADER if self.format == "csv" and not size else b""
            view = memoryview(before + payload)
            while view:
                view = view[os.write(self._file, view) :]
            self._torn = False
        except OSError:
            try:
                os.ftruncate(self._file, size)
            except OSError:
                pass  # a pipe or a terminal
            raise
        if self._rotation is not None:
            self._rotation.pack(max(PIECE, 2 * len(payload)))

    def close(self) -> None:
        """Close the file; what is half compressed is begun anew."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._rotation is not None:
            self._rotation.stop()


def _torn(path: str, size: int) -> bool:
    """Whether the last line has no end: who wrote it was killed."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, size - 1))
            return file.read(1) not in (b"", b"\n")
    except OSError:
        return False  # it may be ours to write only


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _field(text: str) -> str:
    """A field of CSV, in quotes where it needs them."""
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text
