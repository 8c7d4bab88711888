"""The history as the agent and the page use it: batches in, samples out, and a thread of its own for the file.

What is offered waits in memory until the writer takes it in, and every 5 seconds puts it into the file. Whatever is wrong with
the file (full disk, damage, no permission, another process that locks it), collecting goes on: runs stay in memory as long as
there is room, then the oldest go, counted by reason, and it resumes by itself. A damaged file is moved aside, never deleted.
"""

from __future__ import annotations

import errno
import math
import sqlite3
import threading
import time
from collections import deque

from adamas import log
from adamas.history.codec import SLAB, Damaged
from adamas.history.head import values_of
from adamas.history.memory import Memory
from adamas.history.reader import Found, Reader, buckets, join, matcher, read
from adamas.history.store import SERIES_BITS, Foreign, Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container
    from typing import Any, TypeVar

    from adamas.history.reader import Part
    from adamas.metric import Batch
    from adamas.naming import Naming

    T = TypeVar("T")

PERIOD = 5.0
"""Seconds between two writes: what a kill costs at most."""
SWEEP = 60.0
SETTLE = 600.0
"""So long the clock must have run on without a jump before anything expires by it."""
JUMP = 60.0
STEP = 64
"""How many blocks, series or pages a sweep removes at a time."""
DAY = 86_400_000
READERS = 2
"""How many connections are kept for the next questions."""
NEVER = 1 << 53

_REASONS = {
    sqlite3.SQLITE_FULL: "disk_full",
    sqlite3.SQLITE_IOERR: "io_error",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
    sqlite3.SQLITE_READONLY: "unwritable",
    sqlite3.SQLITE_CANTOPEN: "unwritable",
    sqlite3.SQLITE_PERM: "unwritable",
}
_DAMAGE = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class History:
    """Keeps every batch that it is offered. Any thread may call anything."""

    def __init__(self, path: str, naming: Naming, retention: float) -> None:
        """`naming`: names and conversions of what is kept; `retention`: seconds that it is kept."""
        self.path = path
        self.retention = retention
        self.period = PERIOD
        self.settle = SETTLE
        self.sweep = SWEEP
        self._memory = Memory(naming)
        self._store = Store(path)
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)
        self._wake = threading.Event()
        self._opened = threading.Event()
        self._stopping = False
        self._turned = threading.Condition()
        self._asked = self._answered = 0
        self._due = self._swept = 0.0
        self._sweeps = 0
        self._readers: deque[Reader] = deque()
        self._loaded = False
        self._samples = 0
        self._oldest: int | None = None
        self._clock = (0.0, 0.0)
        self._trouble = self._error = self._aside = self._unreadable = ""

    # life

    def start(self) -> None:
        """Begin. The file is opened by the writer: what is wrong with it is said in `status`, and never here."""
        self._thread.start()

    def offer(self, batch: Batch) -> None:
        """Keep this batch. Never blocks, never raises; what finds no room is counted."""
        if self._stopping:
            self._memory.refuse(batch, "stopped")
        elif self._memory.offer(batch, self._trouble) and not self._trouble:
            self._wake.set()

    def flush(self) -> None:
        """Write what was offered so far; returns when that is done or has failed, after 10 seconds at the latest."""
        with self._turned:
            self._asked += 1
            mine = self._asked
            self._wake.set()
            self._turned.wait_for(lambda: self._answered >= mine or not self._thread.is_alive(), 10)

    def stop(self, deadline: float) -> None:
        """Write everything and close the file, until the deadline (monotonic)."""
        self._stopping = True
        self._wake.set()
        if self._thread.ident is not None:
            self._thread.join(max(0.0, deadline - time.monotonic()))

    # the writer's thread

    def _work(self) -> None:
        self._clock = (time.time() - time.monotonic(), time.monotonic())
        while not self._stopping:
            self._try(self._turn)
            self._opened.set()
            self._wake.wait(max(0.0, self._due - time.monotonic()))
            self._wake.clear()
        self._try(self._turn)
        while self._readers:
            self._readers.pop().close()
        self._store.close()

    def _turn(self) -> None:
        with self._turned:
            asked = self._asked
        due = time.monotonic() >= self._due or asked > self._answered or self._stopping
        try:
            self._keep(due)
        finally:
            with self._turned:
                self._answered = asked
                self._turned.notify_all()

    def _keep(self, due: bool) -> None:
        """Take in what was offered and write it, if it is time or a block is full."""
        now = time.monotonic()
        memory = self._memory
        ready = (due or not self._trouble) and self._try(self._prepare)
        memory.take_in()
        memory.seal(now, self._trouble)
        if ready and (due or any(head.blocks for head in memory.heads.values())) and self._try(self._write):
            self._due = now + self.period
            if self._trouble:
                log.info("history", "is written again")
            self._trouble = self._error = ""
            self._try(self._sweep)

    def _try(self, step: Callable[[], None]) -> bool:
        """Whether it went well; what went wrong is noted, and tried again after a while."""
        try:
            step()
        except Exception as error:
            self._due = time.monotonic() + self.period
            self._failed(error)
            return False
        return True

    def _prepare(self) -> None:
        store = self._store
        if store.db is None or store.replaced():
            store.close()
            if store.open():
                self._memory.renew()
                self._samples, self._oldest, self._loaded = 0, None, True
            elif store.other or not self._loaded:
                self._load()
        for batch in self._memory.unknown():
            self._memory.learn(batch, store.series)

    def _load(self) -> None:
        self._loaded = False
        heads = self._store.load()
        counts = self._store.counts()
        self._samples = counts.pop("samples")
        self._memory.series = counts.pop("series")
        self._memory.reset(heads, counts, "removed")
        self._oldest = self._store.oldest([head.id for head in heads])
        self._loaded = True

    def _write(self) -> None:
        memory = self._memory
        work = memory.work()
        if not work:
            return
        self._store.save(work)
        memory.saved(work)
        blocks = [b for _, _, blocks in work for b in blocks]
        self._samples += sum(b.samples for b in blocks)
        if blocks and self._oldest is None:
            self._oldest = min(b.first for b in blocks)

    def _sweep(self) -> None:
        """Let go of what is too old, a little at a time."""
        now, wall = time.monotonic(), time.time()
        if abs(wall - now - self._clock[0]) > JUMP:
            self._clock = (wall - now, now)
        if now < self._swept or now - self._clock[1] < self.settle:
            return
        self._swept = now + self.sweep
        store, memory = self._store, self._memory
        before = int((wall - self.retention) * 1000)
        collectors = [head.id for head in memory.heads.values()]
        blocks, samples = store.expire(collectors, before, STEP)
        if blocks:
            self._samples -= samples
            self._oldest = store.oldest(collectors)
        store.shrink(STEP)
        if blocks == STEP:
            self._swept = 0.0  # there is more
            return
        if self._sweeps % 60 == 0:
            # `seen` is up to a day behind, and nothing that has a sample may lose its name.
            series, empty = store.forget(before - 2 * DAY, STEP, memory.live())
            if series:
                memory.forget(series, empty)
        self._sweeps += 1

    def _failed(self, error: Exception) -> None:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        before = self._trouble
        self._error = f"{self.path}: {error}" if isinstance(error, (sqlite3.Error, Foreign)) else str(error) or repr(error)
        if code in _DAMAGE or isinstance(error, Foreign):
            self._set_aside()
            return
        self._store.close()
        if isinstance(error, OSError):
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            self._trouble = "disk_full" if full else "io_error" if error.errno == errno.EIO else "unwritable"
        else:
            self._trouble = _REASONS.get(code, "failed")
        if self._trouble != before:
            log.error("history", f"cannot be written ({self._trouble}): {self._error}")

    def _set_aside(self) -> None:
        before, self._trouble = self._trouble, "damaged"
        try:
            name = self._store.set_aside()
        except OSError as problem:
            self._error = f"{self._error}; and it cannot be moved aside: {problem}"
            if before != "damaged":
                log.error("history", self._error)
            return
        self._due = 0.0
        self._wake.set()
        self._aside = f"{self._error}; it is kept as {name}, and a new one was begun"
        log.error("history", self._aside)

    # questions

    def query(self, name: str, start: float, end: float, points: int = 0) -> list[tuple[float, float]]:
        """(time, value) of a series in a range, by time; with `points`, at most so many: means of equal parts of the range."""
        times, values = self._samples_of(name, start, end)
        if 0 < points < len(times):
            return [(t, mean) for t, _, mean, _ in buckets(times, values, start, end, points)]
        return list(zip(times, values))

    def buckets(self, name: str, start: float, end: float, points: int) -> list[tuple[float, float, float, float]]:
        """(time, least, mean, most) of at most so many equal parts of a range, by the time where each begins."""
        times, values = self._samples_of(name, start, end)
        return buckets(times, values, start, end, max(1, points))

    def _samples_of(self, name: str, start: float, end: float) -> tuple[list[float], list[float]]:
        self._opened.wait(1)
        self._opened.wait(1)
        series = [Found(c << SERIES_BITS | place, increase) for c, place, increase in self._memory.places(name)]
        known = {(s.collector, s.place) for s in series}
        series += [s for s in self._ask(lambda reader: reader.find(name)) or () if (s.collector, s.place) not in known]
        parts: list[Part] = []
        first, last = math.floor(max(start, 0) * 1000), math.ceil(min(end, 1e12) * 1000)
        for one in series:
            # Memory first: what moves to the file in between is left out there, because it is here.
            here = self._memory.snapshot(one.collector)
            self._read(one, first, last, here.before, {b.id for b in here.blocks}, parts)
            for block in here.blocks:
                chunks = [chunk for slab, chunk in block.chunks if slab == one.place // SLAB]
                parts += [read(block.stamps, chunk, one.place % SLAB, one.increase) for chunk in chunks]
            parts.append(values_of(here.runs, one.place, one.increase))
        return join(parts, start, end)

    def _read(self, one: Found, first: int, last: int, before: int, but: Container[int], parts: list[Part]) -> None:
        faults: list[Damaged] = []
        self._ask(lambda reader: reader.samples(one, first, last, before, but, parts, faults))
        if faults:
            self._unreadable = f"{self.path}: {len(faults)} blocks cannot be read: {faults[0]}"

    def _ask(self, question: Callable[[Reader], T]) -> T | None:
        """The answer of a reader, None where the file cannot be read. Connections are used again."""
        reader = None
        try:
            while self._readers and reader is None:
                reader = self._readers.pop()
                if not reader.current():
                    reader.close()
                    reader = None
            reader = reader or Reader(self.path)
            answer = question(reader)
        except (sqlite3.Error, IndexError) as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                self._unreadable = f"{self.path}: not all of it can be read: {error}"
            if reader is not None:
                reader.close()
            return None
        if self._stopping or len(self._readers) >= READERS:
            reader.close()
        else:
            self._readers.append(reader)
        return answer

    def names(self, match: str = "", limit: int = 1000) -> list[dict[str, Any]]:
        """The series whose name fits, by name: name, collector, unit, kind, help, and last: (value, time) or None.

        `match` is a part of the name, or a pattern: see `reader.matcher`.
        """
        self._opened.wait(1)
        fits = matcher(match)
        latest = self._memory.latest()
        found: dict[str, dict[str, Any]] = {}
        rows = self._ask(lambda reader: reader.names(fits, limit))
        for name, key, collector, unit, kind, help, increase, seen in rows or ():
            series = Found(key, increase)
            last = latest.get(series.collector, {}).get(series.place)
            if last is None:
                parts: list[Part] = []
                self._read(series, seen, seen, NEVER, (), parts)
                times, values = join(parts, 0, NEVER)
                last = (values[-1], times[-1]) if times else None
            before = found[name]["last"] if name in found else None
            if before is None or (last is not None and last[1] > before[1]):  # of two with one name the newer
                found[name] = {"name": name, "collector": collector, "unit": unit, "kind": kind, "help": help, "last": last}
        return list(found.values())

    def status(self) -> dict[str, Any]:
        """How much there is, where what was offered since the start is now, and what is wrong."""
        account: dict[str, Any] = self._memory.account()
        held, oldest = account.pop("held"), account.pop("oldest")
        oldest = min([t for t in (oldest, self._oldest) if t is not None], default=None)
        return {
            "path": self.path,
            "retention": self.retention,
            "series": self._memory.series,
            "samples": self._samples + held,
            "bytes": self._store.bytes(),
            "oldest": None if oldest is None else oldest / 1000,
            **account,
            "error": self._error or self._aside or self._unreadable or self._memory.fault,
        }
