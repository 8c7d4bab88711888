"""The queue in front of one output: bounded in bytes, oldest out first, every point in its ledger."""

from __future__ import annotations

import threading
from collections import deque

from adamas.ledger import Ledger

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.metric import Batch


class Entry:
    """A batch on its way, with what it counts and weighs for this output."""

    __slots__ = ("batch", "bytes", "points")

    def __init__(self, batch: Batch, points: int) -> None:
        self.batch = batch
        self.points = points
        self.bytes = batch.size


class Queue:
    """Batches that wait. `put` never blocks and never fails: when the bound is reached the oldest go, counted.

    The ledger moves under the queue's own lock, so that no reader sees a batch between two places.
    """

    def __init__(self, limit: int, ledger: Ledger) -> None:
        self.limit = limit
        self.ledger = ledger
        self.bytes = 0
        self._entries: deque[Entry] = deque()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, batch: Batch, points: int) -> None:
        """Take a new batch of so many points."""
        entry = Entry(batch, points)
        with self._lock:
            self.ledger.offer(points)
            self._entries.append(entry)
            self.bytes += entry.bytes
            self._trim()

    def take(self, most: int, place: str = "flight") -> list[Entry]:
        """The oldest batches, at least one and up to so many points; in the ledger they are in `place` from now on."""
        taken: list[Entry] = []
        points = 0
        with self._lock:
            while self._entries and (not taken or points + self._entries[0].points <= most):
                entry = self._entries.popleft()
                self.bytes -= entry.bytes
                points += entry.points
                taken.append(entry)
            self.ledger.move(points, "memory", place)
        return taken

    def restore(self, entries: list[Entry], place: str = "flight") -> None:
        """Put back what was taken and did not arrive, in its old order, ahead of what came since."""
        with self._lock:
            self._entries.extendleft(reversed(entries))
            self.bytes += sum(e.bytes for e in entries)
            self.ledger.move(sum(e.points for e in entries), place, "memory")
            self._trim()

    def discard(self, reason: str) -> int:
        """Give up all that waits; returns how many points."""
        with self._lock:
            points = sum(e.points for e in self._entries)
            self._entries.clear()
            self.bytes = 0
            self.ledger.drop(points, reason, "memory")
        return points

    def _trim(self) -> None:
        while self.bytes > self.limit and len(self._entries) > 1:
            oldest = self._entries.popleft()
            self.bytes -= oldest.bytes
            self.ledger.drop(oldest.points, "queue_full", "memory")
