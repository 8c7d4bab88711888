"""The account of one output: where every point that was offered to it is now.

At every moment, and in every `snapshot`:

    offered = delivered + memory + flight + spool + sum(dropped.values())

A point is one value in the output's spelling: what goes on the wire once.
"""

from __future__ import annotations

import threading

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLACES = ("memory", "flight", "spool")


class Ledger:
    """Counts of points, moved between places under one lock."""

    __slots__ = ("_lock", "delivered", "dropped", "flight", "memory", "offered", "spool")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.offered = self.delivered = self.memory = self.flight = self.spool = 0
        self.dropped: dict[str, int] = {}

    def offer(self, points: int) -> None:
        """New points, into memory."""
        with self._lock:
            self.offered += points
            self.memory += points

    def move(self, points: int, source: str, target: str) -> None:
        """Points from one place to another."""
        with self._lock:
            setattr(self, source, getattr(self, source) - points)
            setattr(self, target, getattr(self, target) + points)

    def deliver(self, points: int, source: str = "flight") -> None:
        """Points that the peer confirmed."""
        with self._lock:
            setattr(self, source, getattr(self, source) - points)
            self.delivered += points

    def drop(self, points: int, reason: str, source: str) -> None:
        """Points that are given up, and why."""
        if points:
            with self._lock:
                setattr(self, source, getattr(self, source) - points)
                self.dropped[reason] = self.dropped.get(reason, 0) + points

    def snapshot(self) -> dict[str, Any]:
        """All counts of one moment."""
        with self._lock:
            return {
                "offered": self.offered,
                "delivered": self.delivered,
                "memory": self.memory,
                "flight": self.flight,
                "spool": self.spool,
                "dropped": dict(self.dropped),
            }
