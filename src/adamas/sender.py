"""Delivering what waits in one output's queue: one thread that sends, confirms, retries and accounts, for every output alike.

A send is what one pass left in the queue. What was sent is in flight until its backend confirmed it; a failure puts all of
it back, in order, and the next try waits a random part of a doubling time ("full jitter"), or as long as the peer asked.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial

from adamas import log
from adamas.errors import DeliveryError, Rejected, Retry
from adamas.ledger import Ledger
from adamas.queue import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.metric import Batch
    from adamas.output import Output
    from adamas.queue import Entry

BASE, CAP = 1.0, 60.0
CONFIRM_SENDS, CONFIRM_SECONDS = 5, 10.0


class Sender:
    """Queue, ledger and thread of one output."""

    def __init__(self, output: Output) -> None:
        self.output = output
        self.name = output.instance
        self.ledger = Ledger()
        self.queue = Queue(output.memory, self.ledger)
        self.state = "starting"
        self.error = ""
        self.failures = 0
        self.reconnects = 0
        self.last_send = 0.0
        self._window: list[Entry] = []
        self._sends = 0
        self._confirm_by = 0.0
        self._retry_at = 0.0
        self._bell = threading.Lock()
        self._bell.acquire()
        self._stop_by: float | None = None
        self._thread = threading.Thread(target=self._loop, name=f"send {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    def offer(self, batch: Batch) -> None:
        """Take a batch; `ring` when the pass is over. Never blocks."""
        points = self.output.points(batch)
        if points:
            self.queue.put(batch, points)

    def ring(self) -> None:
        """Something waits: wake the thread, unless the backend is away and it is not yet time to try again."""
        if self.queue and time.monotonic() >= self._retry_at:
            self._wake()

    def _wake(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it was rung before and the thread has not looked yet

    def stop(self, deadline: float) -> None:
        """Flush until the deadline (monotonic); what is left then is dropped, counted as `shutdown`."""
        self._stop_by = deadline
        self._wake()

    def join(self, deadline: float) -> None:
        """Wait for the thread, then account for what it could not send."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        left = self.ledger.snapshot()
        self.ledger.drop(left["memory"], "shutdown", "memory")
        self.ledger.drop(left["flight"], "shutdown", "flight")
        if left["memory"] + left["flight"]:
            log.warning(self.name, f"stopped with {left['memory'] + left['flight']} points that could not be delivered")

    def status(self) -> dict[str, Any]:
        """How the delivery goes."""
        ledger = self.ledger.snapshot()
        queue = {"bytes": self.queue.bytes, "limit": self.queue.limit, "batches": len(self.queue)}
        return {
            "name": self.name,
            "type": type(self.output).name,
            "naming": self.output.spelling.name if self.output.spelling is not None else "",
            "state": self.state,
            "error": self.error,
            "queue": queue,
            "ledger": ledger,
            "last_send": self.last_send,
            "reconnects": self.reconnects,
            "collisions": dict(self.output.spelling.collisions) if self.output.spelling is not None else {},
        }

    def _loop(self) -> None:
        while True:
            stopping = self._stop_by is not None
            wait = self._wait()
            if wait > 0:
                self._bell.acquire(timeout=min(wait, threading.TIMEOUT_MAX))
            if not stopping and self._stop_by is not None:
                self._retry_at = 0.0  # the last chance is taken at once
                stopping = True
            try:
                self._work()
            except Exception as error:  # nothing that an output does may end its thread
                self._broken(error)
            if stopping and (not (self.queue or self._window) or time.monotonic() >= (self._stop_by or 0)):
                self._close()
                return

    def _wait(self) -> float:
        """Seconds until there is something to do without being rung."""
        now = time.monotonic()
        if self._retry_at > now:
            wait = self._retry_at - now
        elif self.queue:
            wait = 0.0
        elif self._window:
            wait = max(0.0, self._confirm_by - now)
        else:
            wait = threading.TIMEOUT_MAX
        if self._stop_by is not None:
            wait = min(wait, max(0.0, self._stop_by - now), 0.05)
        return wait

    def _work(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        while self.queue:
            entries = self.queue.take(self.output.batch)
            self._window += entries
            if not self._try(partial(self._send, entries)):
                return
        last = self._stop_by is not None
        if self._window and (last or self._sends >= CONFIRM_SENDS or time.monotonic() >= self._confirm_by):
            self._try(self._confirm)

    def _send(self, entries: list[Entry]) -> None:
        payload = self._encode(entries)
        if payload is None:
            return
        self.output.open()
        if not self._sends:
            self._confirm_by = time.monotonic() + CONFIRM_SECONDS
        self.output.send(payload)
        self.last_send = time.time()
        self._sends += 1
        if not self.output.confirms_later:
            self._confirmed()
        elif self._sends >= CONFIRM_SENDS:
            self._confirm()

    def _encode(self, entries: list[Entry]) -> Any:
        """The payload, without the batches that cannot be encoded (counted as `encode_error`); None where none is left."""
        try:
            return self.output.encode([e.batch for e in entries])
        except Exception as error:
            log.error(self.name, f"cannot encode: {error!r}")
            self.error = f"cannot encode: {error!r}"
        good = []
        for entry in entries:
            try:
                self.output.encode([entry.batch])
                good.append(entry)
            except Exception:
                self._window.remove(entry)
                self.ledger.drop(entry.points, "encode_error", "flight")
        return self.output.encode([e.batch for e in good]) if good else None

    def _confirm(self) -> None:
        self.output.confirm()
        self._confirmed()

    def _confirmed(self) -> None:
        points = sum(e.points for e in self._window)
        self._window.clear()
        self._sends = 0
        self.ledger.deliver(points)
        if self.state != "ok":
            if self.failures:
                log.info(self.name, "delivers again")
            self.state, self.error, self.failures = "ok", "", 0

    def _try(self, step: Any) -> bool:
        """Do it; False where it failed and a pause is due."""
        try:
            step()
            return True
        except Rejected as error:
            points = sum(e.points for e in self._window)
            self._window.clear()
            self._sends = 0
            refused = min(error.points or points, points)
            self.ledger.drop(refused, "rejected", "flight")
            self.ledger.deliver(points - refused)
            self.error = str(error)
            log.error(self.name, f"refused: {refused} points: {error}")
            return True
        except (OSError, DeliveryError) as error:
            self._failed(error, getattr(error, "after", 0.0) if isinstance(error, Retry) else 0.0)
            return False

    def _failed(self, error: Exception, after: float = 0.0) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning(self.name, f"does not deliver: {_words(error)}; trying again")
        self.state, self.error = "retrying", _words(error)
        self._close()
        self.reconnects += 1
        self.queue.restore(self._window)
        self._window = []
        self._sends = 0
        pause = after or _some() * min(CAP, BASE * 2 ** min(self.failures - 1, 10))
        self._retry_at = time.monotonic() + max(0.05, pause)

    def _broken(self, error: Exception) -> None:
        """The output itself is at fault: as a failed delivery, with the fault's own words."""
        log.error(self.name, f"fault in the output: {error!r}")
        self._failed(error)
        self.error = f"fault in the output: {error!r}"

    def _close(self) -> None:
        try:
            self.output.close()
        except Exception as error:
            log.debug(self.name, f"closing: {error!r}")


def _some() -> float:
    """A random part of 1. (The module random would cost an agent half a megabyte.)"""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
