"""One output's way to its spool and back, on a thread of its own: a disk that hangs holds up neither collecting nor sending.

In mode `spill` batches go to disk while the backend does not answer, or when they fill half of the memory they may have; in
mode `write_through` all of them do, before they are sent, as long as the disk takes them. What is read back waits in `ready`, a
few payloads ahead, and is only forgotten on disk after it was confirmed. Nothing is imported or started before there is something
to spill.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from itertools import count

from adamas import log
from adamas.spool import FREE, FULLEST, InUse, Record, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from adamas.ledger import Ledger
    from adamas.metric import Batch
    from adamas.queue import Entry, Queue

AHEAD = 4
DIALECT = "dialect"
"""The file beside the segments that says what they hold."""
BATCH = 5_000
"""The most points in one record."""
FLUSH = 1.0
"""Seconds after which a cursor that moved is made durable: what a kill may have sent twice."""
AGAIN = 1.0
"""Seconds between two tries of a disk that does not work."""
HANGS = 5.0
"""Seconds after which a disk that has not answered is one that hangs."""
HELD = 10
"""Tries after which it is worth a word that another process has the directory: at a reload the old sender has it for a while."""


class Spill:
    """The thread between one output's queue and its spool.

    `encode` makes a payload of batches, `dialect` says what kind of payload; `wanted` says whether what waits in memory should
    go to disk now; `wake` is called when something was read back;
    `order` is held while batches are taken from the queue.
    """

    def __init__(
        self,
        name: str,
        directory: str,
        limit: int,
        queue: Queue,
        ledger: Ledger,
        encode: Callable[[Sequence[Batch]], bytes],
        wanted: Callable[[], bool],
        wake: Callable[[], None],
        dialect: str = "",
        fullest: float = FULLEST,
        free: int = FREE,
        order: threading.Lock | None = None,
    ) -> None:
        self.name = name
        self.dialect = dialect
        self._directory, self._limit, self._fullest, self._free = directory, limit, fullest, free
        self.spool = self._new()
        self.ready: deque[Record] = deque()
        self.open = False
        self.error = ""
        self._queue = queue
        self._ledger = ledger
        self._encode = encode
        self._wanted = wanted
        self._wake = wake
        self._confirmed: deque[Record] = deque()
        self._taken: dict[int, Record] = {}
        self._lock = threading.Lock()
        self._order = order or threading.Lock()
        self._putting = False
        self._counted: dict[str, int] = {}
        self._bell = threading.Event()
        self._stopping = False
        self._refused = ""
        """Why the spool took nothing when it was asked last."""
        self._pause_until = 0.0
        self._most = BATCH
        self._evicted_to = 0
        self._flushed = time.monotonic()
        self._since = 0.0
        """Since when (monotonic) the thread is at the disk; 0: it is not."""
        self._told = self._warned = False
        self._thread = threading.Thread(target=self._loop, name=f"spool {name}", daemon=True)
        self._thread.start()

    # called by the sender

    def ring(self) -> None:
        """Look whether there is something to do."""
        if self.hangs and not self._told:
            self._told = True
            log.error(self.name, f"{self.trouble}; samples wait in memory")
        self._bell.set()

    @property
    def hangs(self) -> bool:
        """Whether the disk has not answered for a while."""
        return self._unanswered() > HANGS

    @property
    def trouble(self) -> str:
        """What is wrong with the spool ("": nothing)."""
        if (seconds := self._unanswered()) > HANGS:
            return f"the spool's disk has not answered for {seconds:.0f} s"
        return self.error or self.spool.error

    def _unanswered(self) -> float:
        since = self._since
        return time.monotonic() - since if since else 0.0

    @property
    def blocked(self) -> bool:
        """Whether the disk takes nothing just now, so that even `write_through` does better to send from memory."""
        return self.hangs or (not self.open and bool(self.error)) or time.monotonic() < self._pause_until

    @property
    def holds(self) -> bool:
        """Whether there is, or may be, something older here than what waits in memory."""
        return not self.blocked and (self._putting or self.spool.points > 0 or not self.open)

    def take(self) -> Record | None:
        """The next payload from disk, in flight from now on; None where none is ready."""
        with self._lock:
            if not self.ready:
                return None
            record = self.ready.popleft()
            self._taken[record.first] = record
            self._ledger.move(record.count, "spool", "flight")
        if len(self.ready) < AHEAD // 2:
            self.ring()
        return record

    def confirm(self, records: Sequence[Record]) -> None:
        """These arrived; the ledger knows already."""
        with self._lock:
            self._confirmed.extend(records)
        self.ring()

    def restore(self, records: Sequence[Record]) -> None:
        """These did not arrive: they are next again, but for those that had to make room meanwhile."""
        with self._lock:
            for record in records:
                self._taken.pop(record.first, None)
            kept = [r for r in records if r.end > self._evicted_to]
            gone = sum(r.count for r in records if r.end <= self._evicted_to)
            self.ready.extendleft(reversed(kept))
            self._ledger.move(sum(r.count for r in kept), "flight", "spool")
            self._ledger.drop(gone, "spool_full", "flight")

    def stop(self, deadline: float) -> None:
        """Put everything that waits in memory on disk and close, until the deadline (monotonic)."""
        self._stopping = True
        self.ring()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def status(self) -> dict[str, Any]:
        """How the spool stands."""
        return {**self.spool.status(), "error": self.trouble, "open": self.open}

    # the thread

    def _loop(self) -> None:
        if not self._take_directory():
            return
        while True:
            self._bell.wait(FLUSH if self.spool.points or self._wanted() or self.error else 60.0)
            self._bell.clear()
            stopping = self._stopping
            self._since = time.monotonic()
            trouble = ""
            for step in (self._settle, self._put, self._read_ahead, self._flush):
                try:
                    step()
                except Exception as error:  # whatever the disk does, the way around it stays open
                    trouble = trouble or _words(error)
            if stopping:
                try:
                    self.spool.close()
                except Exception as error:
                    trouble = trouble or _words(error)
            self._since = 0.0
            if self._told:
                self._told = False
                log.info(self.name, "the spool's disk answers again")
            self._tell(trouble or self._refused)
            if stopping:
                return

    def _new(self) -> Spool:
        return Spool(self._directory, self._limit, fullest=self._fullest, free=self._free)

    def _take_directory(self) -> bool:
        """Open the spool; another process, or the sender before us, may hold it for a while."""
        tries = 0
        while True:
            tries += 1
            self._since = time.monotonic()
            try:
                self.spool.open()
                other = self._claim()
                if not other:
                    break
                self._set_aside(other)
                continue
            except InUse as error:
                self._tell(_words(error), tries >= HELD)
            except Exception as error:
                self._tell(_words(error))
            finally:
                self._since = 0.0
            if self._stopping:
                return False
            self._wake()
            self._bell.wait(AGAIN)
            self._bell.clear()
        self._tell("")
        found, corrupt = self.spool.points, self.spool.dropped.get("corrupt", 0)
        if found or corrupt:
            # They were offered by the process that put them there; this one takes them into its own account.
            self._ledger.offer(found + corrupt)
            self._ledger.move(found + corrupt, "memory", "spool")
            log.info(self.name, f"{found} points wait in the spool from before")
            self._bell.set()
        self._count_dropped()
        self.open = True
        return True

    def _claim(self) -> str:
        """Make the spool one of our dialect; returns the dialect of what waits there, where it is another."""
        path = os.path.join(self._directory, DIALECT)
        try:
            with open(path, encoding="utf-8") as file:
                before = file.read().strip()
        except OSError:
            before = ""
        if before == self.dialect:
            return ""
        if before and self.spool.points:
            return before
        try:
            with open(path, "w", encoding="utf-8") as file:
                file.write(self.dialect + "\n")
        except OSError as error:  # what is put there is taken for the output's own later
            log.debug(self.name, f"{path}: {error.strerror}")
        return ""

    def _set_aside(self, other: str) -> None:
        """What waits there in another dialect is not ours to send: it keeps its place beside, as a removed output's does."""
        aside = next(path for n in count(1) if not os.path.exists(path := f"{self._directory}.{other}.{n}"))
        try:
            os.rename(self._directory, aside)
            self.spool.directory = aside
        finally:
            self.spool.close()
            self.spool = self._new()
        log.warning(self.name, f"what waits in the spool is {other}, not {self.dialect}: it is kept in {aside}")

    def _settle(self) -> None:
        """Acknowledge what arrived."""
        with self._lock:
            confirmed, self._confirmed = list(self._confirmed), deque()
            for record in confirmed:
                self._taken.pop(record.first, None)
        for record in confirmed:
            self.spool.ack(record)
        self._count_dropped()
        if confirmed and not self.spool.points:
            self._wake()  # what is in memory may have waited for that

    def _put(self) -> None:
        """From memory to disk."""
        while self._queue and (self._stopping or self._wanted()):
            if time.monotonic() < self._pause_until and not self._stopping:
                return
            self._since = time.monotonic()
            with self._order:
                self._putting = True
                entries = self._queue.take(self._most, "memory")
            try:
                if not self._put_some(entries):
                    return
            finally:
                self._putting = False
        if self._refused and self.spool.room():
            self._refused = ""  # nothing is to be put there now, and it is not known to refuse

    def _put_some(self, entries: list[Entry]) -> bool:
        """These batches; False where the disk does not take them now."""
        payload = self._payload(entries)
        if payload is None:
            return True
        points = sum(e.points for e in entries)
        taken = self.spool.append(payload, points)
        self._count_evicted()
        if not taken:
            self._queue.restore(entries, "memory")
            self._refused = self.spool.error
            self._pause_until = time.monotonic() + AGAIN
            self._wake()
            return False
        self._ledger.move(points, "memory", "spool")
        self._refused = ""
        self._most = min(BATCH, 2 * self._most)
        return True

    def _payload(self, entries: list[Entry]) -> bytes | None:
        """The payload; None where there is none: of fewer batches there may be, a single one is given up."""
        points = sum(e.points for e in entries)
        try:
            payload = self._encode([e.batch for e in entries])
            if len(payload) <= self.spool.largest:
                return payload
            reason, words = "too_large", f"a batch of {len(payload)} bytes is too large for the spool"
        except Exception as error:
            reason, words = "encode_error", f"cannot encode: {error!r}"
        if len(entries) > 1:
            self._queue.restore(entries, "memory")
            self._most = max(1, points // 2)
        else:
            log.error(self.name, words)
            self._ledger.drop(points, reason, "memory")
        return None

    def _count_evicted(self) -> None:
        """The oldest made room: what of it is in flight is not lost yet."""
        lost = self.spool.dropped.get("spool_full", 0) - self._counted.get("spool_full", 0)
        if not lost:
            return
        with self._lock:
            self._evicted_to = self.spool.acked
            held = sum(r.count for r in self._taken.values() if self.spool.evicted_from <= r.first and r.end <= self._evicted_to)
            self._counted["spool_full"] = self.spool.dropped["spool_full"]
            self._ledger.drop(max(0, lost - held), "spool_full", "spool")
            while self.ready and self.ready[0].end <= self._evicted_to:
                self.ready.popleft()

    def _count_dropped(self) -> None:
        lost = self.spool.dropped.get("corrupt", 0) - self._counted.get("corrupt", 0)
        if lost:
            self._counted["corrupt"] = self.spool.dropped["corrupt"]
            self._ledger.drop(lost, "corrupt", "spool")

    def _read_ahead(self) -> None:
        fresh = False
        while len(self.ready) < AHEAD and not self._stopping:
            self._since = time.monotonic()
            record = self.spool.read()
            if record is None:
                if not self._taken and not self.ready:
                    self.spool.finish()
                    self._count_dropped()
                break
            with self._lock:
                self.ready.append(record)
            fresh = True
        if fresh:
            self._wake()

    def _flush(self) -> None:
        if self._stopping or time.monotonic() - self._flushed >= FLUSH:
            self.spool.flush()
            self._flushed = time.monotonic()

    def _tell(self, trouble: str, aloud: bool = True) -> None:
        """Keep what is wrong, and say in the log when that begins and when it is over."""
        self.error = trouble
        if trouble and aloud and not self._warned:
            self._warned = True
            log.warning(self.name, f"the spool does not work: {trouble}; samples wait in memory")
        elif self._warned and not trouble:
            self._warned = False
            log.info(self.name, "the spool works again")


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error) or type(error).__name__
