"""Samples in a file, or on the terminal: Graphite lines, or one JSON object a line."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence

from adamas import Batch, Output, option


class File(Output):
    """Appends every point to a file. A file that was moved away is made anew."""

    name = "file"
    diamond = "ArchiveHandler"
    default_naming = "path"

    path: str = option("-", 'The file; "-" is the terminal (standard output)')
    format: str = option("lines", "One `name value time` line a point, or one JSON object", choices=("lines", "json"))

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._file: int | None = None

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All points of the batches as lines of text."""
        if self.format == "lines":
            return self.lines.encode(batches)
        out = []
        for batch in batches:
            for point, value in self.lines.plan(batch.shape).pairs(batch):
                fields = {"name": point.name, "labels": dict(point.labels), "value": value, "time": batch.time}
                out.append(json.dumps({**fields, "kind": point.kind, "unit": point.unit}, separators=(",", ":")))
        return "".join([line + "\n" for line in out]).encode()

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
            self.close()
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def send(self, payload: bytes) -> None:
        """Write all of it, or nothing: a part that was written before the disk was full is taken back."""
        if self._file is None:
            sys.stdout.buffer.write(payload)
            sys.stdout.buffer.flush()
            return
        before = os.fstat(self._file).st_size
        try:
            view = memoryview(payload)
            while view:
                view = view[os.write(self._file, view) :]
        except OSError:
            try:
                os.ftruncate(self._file, before)
            except OSError:
                pass  # a pipe or a terminal
            raise

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
