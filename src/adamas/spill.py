"""One output's way to its spool and back, on a thread of its own: a disk that hangs holds up neither collecting nor sending.

In mode `spill` batches go to disk while the backend does not answer, or when they fill half of the memory they may have; in
mode `write_through` all of them do, before they are sent. What is read back waits in `ready`, a few payloads ahead, and is
only forgotten on disk after it was confirmed. Nothing is imported or started before there is something to spill.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from itertools import count

from adamas import log
from adamas.spool import SUFFIX, InUse, Record, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from adamas.ledger import Ledger
    from adamas.metric import Batch
    from adamas.queue import Queue

AHEAD = 4
DIALECT = "dialect"
"""The file beside the segments that says what they hold."""
BATCH = 5_000
"""The most points in one record."""
FLUSH = 1.0
"""Seconds after which a cursor that moved is made durable: what a kill may have sent twice."""
AGAIN = 1.0


class Spill:
    """The thread between one output's queue and its spool.

    `encode` makes a payload of batches, `dialect` says what kind of payload; `wanted` says whether what waits in memory should
    go to disk now; `wake` is called when something was read back.
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
        fullest: float = 0.95,
        free: int = 64 << 20,
    ) -> None:
        self.name = name
        self.dialect = dialect
        self.spool = Spool(directory, limit, fullest=fullest, free=free)
        self.ready: deque[Record] = deque()
        self.open = False
        self.error = ""
        self._queue = queue
        self._ledger = ledger
        self._encode = encode
        self._wanted = wanted
        self._wake = wake
        self._confirmed: deque[Record] = deque()
        self._returned: deque[Record] = deque()
        self._taken: dict[int, Record] = {}
        self._lock = threading.Lock()
        self._counted: dict[str, int] = {}
        self._bell = threading.Event()
        self._stopping = False
        self._pause_until = 0.0
        self._thread = threading.Thread(target=self._loop, name=f"spool {name}", daemon=True)
        self._thread.start()

    # called by the sender

    def ring(self) -> None:
        """Look whether there is something to do."""
        self._bell.set()

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
        """These did not arrive: they are read again, those that had to make room meanwhile are lost."""
        with self._lock:
            self._returned.extend(records)
        self.ring()

    def stop(self, deadline: float) -> None:
        """Put everything that waits in memory on disk and close, until the deadline (monotonic)."""
        self._stopping = True
        self.ring()
        self._thread.join(max(0.0, deadline - time.monotonic()))

    def status(self) -> dict[str, Any]:
        """How the spool stands."""
        return {**self.spool.status(), "error": self.error or self.spool.error, "open": self.open}

    @property
    def waiting(self) -> bool:
        """Whether anything is on disk that was not confirmed."""
        return self.open and (self.spool.points > 0 or bool(self.ready))

    # the thread

    def _loop(self) -> None:
        if not self._take_directory():
            return
        flushed = time.monotonic()
        while True:
            self._bell.wait(FLUSH if self.spool.points or self._wanted() else 60.0)
            self._bell.clear()
            stopping = self._stopping
            try:
                self._settle()
                self._put(stopping)
                if not stopping:
                    self._read_ahead()
                if stopping or time.monotonic() - flushed >= FLUSH:
                    self.spool.flush()
                    flushed = time.monotonic()
                self.error = ""
            except Exception as error:  # whatever the disk does, the way around it stays open
                self._troubled(error)
            if stopping:
                self.spool.close()
                return

    def _take_directory(self) -> bool:
        """Open the spool; another process, or the sender before us, may hold it for a while."""
        while True:
            try:
                self._set_aside()
                self.spool.open()
                self._mark()
                break
            except InUse as error:
                self.error = error.strerror or str(error)
            except Exception as error:
                self._troubled(error)
            if self._stopping:
                return False
            self._bell.wait(AGAIN)
            self._bell.clear()
        found = self.spool.points
        if found:
            # They were offered by the process that put them there; this one takes them into its own account.
            self._ledger.offer(found)
            self._ledger.move(found, "memory", "spool")
            log.info(self.name, f"{found} points wait in the spool from before")
        self._count_dropped()
        self.open = True
        return True

    def _set_aside(self) -> None:
        """What waits there in another dialect is not ours to send: it keeps its place beside, as a removed output's does."""
        directory = self.spool.directory
        try:
            with open(os.path.join(directory, DIALECT), encoding="utf-8") as file:
                before = file.read().strip()
        except OSError:
            return
        if before in (self.dialect, ""):
            return
        if any(name.endswith(SUFFIX) for name in os.listdir(directory)):
            aside = next(path for n in count(1) if not os.path.exists(path := f"{directory}.{before}.{n}"))
            os.rename(directory, aside)
            log.warning(self.name, f"what waits in the spool is {before}, not {self.dialect}: it is kept in {aside}")
        else:
            os.unlink(os.path.join(directory, DIALECT))

    def _mark(self) -> None:
        """Say what kind of payloads these are; where that cannot be written, they are taken for the output's own later."""
        path = os.path.join(self.spool.directory, DIALECT)
        try:
            if not os.path.exists(path) or os.path.getsize(path) == 0:
                with open(path, "w", encoding="utf-8") as file:
                    file.write(self.dialect + "\n")
        except OSError as error:
            log.debug(self.name, f"{path}: {error.strerror}")

    def _settle(self) -> None:
        """Acknowledge what arrived, take back what did not."""
        with self._lock:
            confirmed, self._confirmed = list(self._confirmed), deque()
            returned, self._returned = list(self._returned), deque()
            for record in (*confirmed, *returned):
                self._taken.pop(record.first, None)
        for record in confirmed:
            self.spool.ack(record)
        self._count_dropped()
        if returned:
            gone = sum(r.count for r in returned if r.end <= self.spool.acked)
            kept = sum(r.count for r in returned) - gone
            with self._lock:
                self._ledger.move(kept, "flight", "spool")
                self._ledger.drop(gone, "spool_full", "flight")
                self._again()

    def _again(self) -> None:
        """Read again from the cursor, past what is in flight."""
        self.ready.clear()
        self.spool.rewind(max((r.end for r in self._taken.values()), default=0))

    def _put(self, everything: bool) -> None:
        """From memory to disk."""
        while self._queue and (everything or self._wanted()):
            if time.monotonic() < self._pause_until and not everything:
                return
            entries = self._queue.take(BATCH, "memory")
            points = sum(e.points for e in entries)
            try:
                payload = self._encode([e.batch for e in entries])
            except Exception as error:
                log.error(self.name, f"cannot encode: {error!r}")
                self._ledger.drop(points, "encode_error", "memory")
                continue
            taken = self.spool.append(payload, points)
            self._count_evicted()
            if not taken:
                self._queue.restore(entries, "memory")
                self._troubled(OSError(self.spool.error))
                return
            self._ledger.move(points, "memory", "spool")

    def _count_evicted(self) -> None:
        """The oldest made room: what of it is in flight is not lost yet."""
        lost = self.spool.dropped.get("spool_full", 0) - self._counted.get("spool_full", 0)
        if not lost:
            return
        with self._lock:
            held = sum(r.count for r in self._taken.values() if r.end <= self.spool.acked and r.first >= self.spool.evicted_from)
            self._counted["spool_full"] = self.spool.dropped["spool_full"]
            self._ledger.drop(max(0, lost - held), "spool_full", "spool")
            self._again()

    def _count_dropped(self) -> None:
        lost = self.spool.dropped.get("corrupt", 0) - self._counted.get("corrupt", 0)
        if lost:
            self._counted["corrupt"] = self.spool.dropped["corrupt"]
            self._ledger.drop(lost, "corrupt", "spool")

    def _read_ahead(self) -> None:
        fresh = False
        while len(self.ready) < AHEAD:
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

    def _troubled(self, error: Exception) -> None:
        words = getattr(error, "strerror", None) or str(error)
        if not self.error:
            log.warning(self.name, f"the spool does not work: {words}; samples wait in memory")
        self.error = words
        self._pause_until = time.monotonic() + AGAIN
