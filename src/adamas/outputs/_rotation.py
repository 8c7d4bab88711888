"""Rotating a file: by size, by the local clock's time, or both; how many are kept, and compressing them piece by piece.

A rotated file is called PATH.2026-11-22, with hour, minute and second where it is rotated more often, and .1, .2 where there is
one already; these are the names that Python's TimedRotatingFileHandler gives, which Diamond's ArchiveHandler used.

A .gz is written beside the file under another name, brought to the disk, and renamed; only then the file goes. Whatever stops
that in between: a file that is still there is compressed again by the next life.
"""

from __future__ import annotations

import os
import re
import time

from adamas import log

DAY, WEEK = 86400, 604800
MONDAY = 3 * DAY
"""1970 began on a Thursday."""
ROTATED = re.compile(r"\.(\d{4}-\d\d-\d\d(?:_\d\d(?:-\d\d){0,2})?)(?:\.(\d+))?(\.gz)?")
PART = ".part"
AGAIN = 60.0
"""Seconds after which what the file system refused is tried again."""


class Rotation:
    """When one file is due, what it is called then, and what becomes of those before it."""

    def __init__(self, path: str, size: int, every: float, keep: int, compress: bool, name: str) -> None:
        """`size`, `every` (seconds), `keep`: 0 where there is no such limit; `name`: the output's, for the log."""
        self.path = path
        self.size = size
        self.every = every
        self.keep = keep
        self.compress = compress
        self.name = name
        self._period = 0
        self._again = 0.0
        self._packing: Packing | None = None
        self._waiting: list[str] | None = None
        """Files that wait to be compressed (None: not yet looked)."""

    def begins(self, found: os.stat_result) -> None:
        """The file was opened: what is in it is from its period."""
        self._period = self.period(found.st_mtime if found.st_size else time.time())

    def rotate(self, found: os.stat_result, more: int) -> bool:
        """Whether the file was moved away, because so many more bytes would be too many, or because it is time."""
        now = time.time()
        period = self.period(now)
        if not found.st_size:
            self._period = period
            return False
        late = period > self._period
        large = self.size and found.st_size + more > self.size
        if not (late or large) or time.monotonic() < self._again:
            return False
        try:
            target = self._free(self.stamp(found.st_mtime if late else now))
            os.rename(self.path, target)
        except OSError as error:
            self._again = time.monotonic() + AGAIN
            log.warning(self.name, f"cannot rotate {self.path}: {error.strerror}; it grows on")
            return False
        if self.compress and self._waiting is not None:
            self._waiting.append(target)
        try:
            self._prune()
        except OSError as error:
            log.warning(self.name, f"cannot delete what was rotated of {self.path}: {error.strerror}")
        return True

    def period(self, moment: float) -> int:
        """The number of the period in which a moment is, on the local clock."""
        if not self.every:
            return 0
        local = moment + time.localtime(moment).tm_gmtoff
        return int((local + MONDAY if self.every % WEEK == 0 else local) // self.every)

    def stamp(self, moment: float) -> str:
        """What a file with samples up to that moment is called: when its period began, or that moment where it has none."""
        if not self.every:
            return time.strftime("%Y-%m-%d_%H-%M-%S", time.localtime(moment))
        began = self.period(moment) * self.every - (MONDAY if self.every % WEEK == 0 else 0)
        fine = next((n for n, unit in enumerate((DAY, 3600, 60), 1) if self.every % unit == 0), 4)
        return time.strftime("".join(("%Y-%m-%d", "_%H", "-%M", "-%S")[:fine]), time.gmtime(began))

    def _free(self, stamp: str) -> str:
        """The next name of that stamp: after those that are there."""
        numbers = [number for (taken, number), _ in self.rotated() if taken == stamp]
        return f"{self.path}.{stamp}" + (f".{max(numbers) + 1}" if numbers else "")

    def rotated(self) -> list[tuple[tuple[str, int], str]]:
        """((stamp, number), path) of each rotated file, the oldest first."""
        folder, base = os.path.split(self.path)
        found = []
        for name in os.listdir(folder or "."):
            match = ROTATED.fullmatch(name.removeprefix(base)) if name.startswith(base) else None
            if match:
                found.append(((match[1], int(match[2] or 0)), os.path.join(folder, name)))
        return sorted(found)

    def _prune(self) -> None:
        if not self.keep:
            return
        found = self.rotated()
        kept = sorted({number for number, _ in found})[-self.keep :]
        for number, path in found:
            if number not in kept:
                if self._packing is not None and self._packing.path == path:
                    self._packing.abandon()
                    self._packing = None
                _remove(path)

    def pack(self, most: int) -> None:
        """Compress at most so many bytes of what was rotated. What the file system refuses is tried again later."""
        if not self.compress or time.monotonic() < self._again:
            return
        try:
            if self._waiting is None:
                self._waiting = self._left()
            if self._packing is None and self._waiting:
                path = self._waiting.pop(0)
                if os.path.exists(path):  # else it is too old, or someone took it away
                    self._packing = Packing(path)
            if self._packing is not None and self._packing.step(most):
                self._packing = None
        except OSError as error:
            self._again = time.monotonic() + AGAIN
            log.warning(self.name, f"cannot compress what was rotated of {self.path}: {error.strerror}")
            self.stop()

    def stop(self) -> None:
        """Give up what is half compressed; it is begun anew."""
        if self._packing is not None:
            self._packing.abandon()
            self._packing = None
        self._waiting = None

    def _left(self) -> list[str]:
        """The files that are still there uncompressed, whatever there is of their .gz: it is made anew."""
        return [path for _, path in self.rotated() if not path.endswith(".gz")]


class Packing:
    """One file on its way into its .gz."""

    def __init__(self, path: str) -> None:
        import zlib

        self.path = path
        self._part = f"{path}.gz{PART}"
        self._from = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._to = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        except OSError:
            os.close(self._from)
            raise
        self._gzip = zlib.compressobj(wbits=31)

    def step(self, most: int) -> bool:
        """Compress at most so many bytes more; whether that was all."""
        piece = os.read(self._from, most)
        whole = len(piece) < most
        view = memoryview(self._gzip.compress(piece) + (self._gzip.flush() if whole else b""))
        while view:
            view = view[os.write(self._to, view) :]
        if not whole:
            return False
        found = os.fstat(self._from)
        os.utime(self._to, ns=(found.st_atime_ns, found.st_mtime_ns))
        os.fsync(self._to)
        os.rename(self._part, f"{self.path}.gz")
        self._close()
        _remove(self.path)
        return True

    def abandon(self) -> None:
        """Forget it: the file stays as it is."""
        self._close()
        _remove(self._part)

    def _close(self) -> None:
        os.close(self._from)
        os.close(self._to)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
