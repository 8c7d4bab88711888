"""Delivering what waits in one output's queue: one thread that sends, confirms, retries and accounts, for every output alike.

A send is what one pass left in the queue. What was sent is in flight until its backend confirmed it; a failure puts all of
it back, in order, and the next try comes at a random moment of doubling slots, or after as long as the peer asked.

Where the output may use the disk (`buffer`), what cannot be sent goes to its spool (see `spill`). Once the backend is back,
old payloads from there and new batches take turns, so that what is shown is fresh again at once.
"""

from __future__ import annotations

import os
import threading
import time
from functools import partial

from adamas import log
from adamas.errors import DeliveryError, Rejected, Retry
from adamas.ledger import Ledger
from adamas.letters import DeadLetters
from adamas.naming import clean_node
from adamas.queue import Queue

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.metric import Batch
    from adamas.output import Output
    from adamas.queue import Entry
    from adamas.spill import Spill
    from adamas.spool import Record

SPOOLS, LETTERS = "spool", "dead-letters"
"""Where the spools are in the state directory, and the payloads that a backend refused."""
BASE, CAP, DOUBLINGS = 1.0, 30.0, 5
"""Seconds of the first slot in which it is tried again, of the longest, and how often they double until then."""
ASKED = 600.0
"""The most seconds that a peer is left alone because it asked for that: a wrong header must not silence a host for days."""
CONFIRM_SENDS, CONFIRM_SECONDS = 5, 10.0
CLOSING = 2.0
"""Seconds that the disk has at the end to take what could not be sent."""


class Sender:
    """Queue, ledger and thread of one output."""

    def __init__(self, output: Output, spool: str = "", letters: str = "") -> None:
        """`spool`: the directory of its spool ("": there is none); `letters`: its dead-letter file (likewise)."""
        self.output = output
        self._directory = spool if output.buffer != "memory" else ""
        self._spill: Spill | None = None
        self._spill_once = threading.Lock()
        self.name = output.instance
        self.ledger = Ledger()
        self.queue = Queue(output.memory, self.ledger)
        self.letters = DeadLetters(self.name, letters, output.dead_letters)
        self.state = "starting"
        self.error = ""
        self.failures = 0
        self.reconnects = 0
        self.last_send = 0.0
        self._window: list[Entry] = []
        self._records: list[Record] = []
        self._refused = 0
        self._heir: Sender | None = None
        self._sends = 0
        self._confirm_by = 0.0
        self._retry_at = 0.0
        self._slot_end = 0.0
        self._caution = 0
        """How often the slots doubled; confirmations take it down again, a step each."""
        self._resume_at = 0.0
        """When what waits may go on to be sent, after the backend was away."""
        self._ended = False
        self._mine = threading.Lock()
        """Held to take or to settle what is in flight: at the end `join` settles it while the thread may hang in a send."""
        self._order = threading.Lock()
        """Held to take from the queue: what the spool's thread is putting on disk is not overtaken unseen."""
        self._bell = threading.Lock()
        self._bell.acquire()
        self._stop_by: float | None = None
        self._thread = threading.Thread(target=self._loop, name=f"send {self.name}", daemon=True)

    def start(self) -> None:
        """Begin to deliver, with what is in the spool from before."""
        if self._directory and (self.output.buffer == "write_through" or left_behind(self._directory)):
            self._begin_spill()
        self._thread.start()

    def _begin_spill(self) -> Spill | None:
        """The way to the disk, made when it is wanted first: an output that delivers needs none of it.

        Several threads may want it first at the same time, and two of them would be two owners of one directory. None where it
        cannot be made now: the code itself comes from a disk, and needs a descriptor and a thread.
        """
        if self._spill is None and self._directory:
            with self._spill_once:
                try:
                    if self._spill is None:
                        from adamas.spill import Spill

                        self._spill = Spill(
                            self.name,
                            self._directory,
                            self.output.spool,
                            self.queue,
                            self.ledger,
                            self.output.encode,
                            self._to_disk,
                            self._wake,
                            dialect=self.output.dialect,
                            fullest=self.output.disk_ratio,
                            free=self.output.disk_free,
                            order=self._order,
                        )
                except Exception as error:
                    log.warning(self.name, f"no spool: {error}; samples wait in memory")
        return self._spill

    def _to_disk(self) -> bool:
        """Whether what waits in memory should go to disk now."""
        if not self._directory or not self.queue:
            return False
        if self.output.buffer == "write_through" or self.failures > 0 or self._behind():
            return True
        return self.queue.bytes > self.queue.limit // 2

    def _behind(self) -> bool:
        """Whether what waits in memory has to wait for what is on disk: the backend wants times to ascend."""
        return self.output.ordered and self._spill is not None and self._spill.holds

    def offer(self, batch: Batch) -> None:
        """Take a batch; `ring` when the pass is over. Never blocks."""
        if self._heir is not None:
            self._heir.offer(batch)
            return
        points = self.output.points(batch)
        if points:
            self.queue.put(batch, points)

    def ring(self) -> None:
        """Something waits: wake the thread, unless the backend is away and it is not yet time to try again."""
        if self._to_disk() and (spill := self._begin_spill()) is not None:
            spill.ring()
        if self.queue and time.monotonic() >= self._retry_at:
            self._wake()

    def _wake(self) -> None:
        try:
            self._bell.release()
        except RuntimeError:
            pass  # it was rung before and the thread has not looked yet

    def stop(self, deadline: float) -> None:
        """Flush until the deadline (monotonic); what is left then goes to the spool, or is dropped as `shutdown`."""
        self._stop_by = deadline
        self._wake()

    def join(self, deadline: float, heir: Sender | None = None) -> None:
        """Wait for the thread, then put away what it could not send and account for the rest.

        An heir, the same output with other options, takes over what waits in memory where there is no disk for it.
        """
        self._thread.join(max(0.0, deadline - time.monotonic()))
        with self._mine:
            self._ended = True
        self._put_back()
        if self.queue and self._directory:
            self._begin_spill()
        if self._spill is not None:
            self._spill.stop(time.monotonic() + CLOSING)
        self._heir = heir
        if heir is not None:
            for entry in self.queue.take(1 << 62):
                heir.offer(entry.batch)
            self.ledger.move(self.ledger.flight, "flight", "memory")
            self.ledger.drop(self.ledger.memory, "handed_over", "memory")
            heir.ring()
        left = self.ledger.snapshot()
        self.ledger.drop(left["memory"], "shutdown", "memory")
        self.ledger.drop(left["flight"], "shutdown", "flight")
        if left["memory"] + left["flight"]:
            log.warning(self.name, f"stopped with {left['memory'] + left['flight']} points that could not be delivered")
        if left["spool"]:
            log.info(self.name, f"{left['spool']} points wait in the spool for the next start")

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
            "buffer": self.output.buffer if self._directory else "memory",
            "spool": self._spill.status() if self._spill is not None else None,
            "collisions": dict(self.output.spelling.collisions) if self.output.spelling is not None else {},
            "unfit": dict(self.output.lines.unfit) if self.output.spelling is not None else {},
            "dead_letters": {"count": self.letters.count, "path": self.letters.path},
        }

    def _loop(self) -> None:
        while True:
            stopping = self._stop_by is not None
            wait = self._wait()
            if wait > 0:
                self._bell.acquire(timeout=min(wait, threading.TIMEOUT_MAX))
            if not stopping and self._stop_by is not None:
                self._retry_at = self._resume_at = 0.0  # the last chance is taken at once
                stopping = True
            try:
                self._work()
            except Exception as error:  # nothing that an output does may end its thread
                self._broken(error)
            if stopping and (not self._pending() or time.monotonic() >= (self._stop_by or 0)):
                self._close()
                return

    def _pending(self) -> bool:
        """Whether there is something that trying longer can deliver; what the disk takes need not be tried for."""
        if self.failures and self._directory:
            return False
        return bool(self.queue or self._window or self._records)

    def _live(self) -> bool:
        """Whether batches are sent from memory."""
        if self._spill is not None and self.output.buffer == "write_through" and not self._spill.blocked:
            return False
        if self._behind() or (not self._directory and time.monotonic() < self._resume_at):
            return False  # what waits is in memory, new batches behind it
        return bool(self.queue)

    def _wait(self) -> float:
        """Seconds until there is something to do without being rung."""
        now = time.monotonic()
        if self._retry_at > now:
            wait = self._retry_at - now
        elif self._live() or (self._spill is not None and self._spill.ready and now >= self._resume_at):
            wait = 0.0
        elif self._window or self._records:
            wait = max(0.0, self._confirm_by - now)
        else:
            wait = threading.TIMEOUT_MAX
        if self._resume_at > now:
            wait = min(wait, self._resume_at - now)
        if self._stop_by is not None:
            wait = min(wait, max(0.0, self._stop_by - now), 0.05)
        return wait

    def _work(self) -> None:
        if time.monotonic() < self._retry_at:
            return
        more = True
        while more:
            more = False
            if self._live() and (entries := self._take_batches()):
                more = True
                if not self._try(partial(self._send, entries)):
                    return
            if (record := self._take_record()) is not None:
                more = True
                if not self._try(partial(self._hand_over, record.payload, record.count)):
                    return
            if self._stop_by is not None and time.monotonic() >= self._stop_by:
                return
        last = self._stop_by is not None
        due = last or self._sends >= CONFIRM_SENDS or time.monotonic() >= self._confirm_by
        if (self._window or self._records) and due:
            self._try(self._confirm)

    def _take_batches(self) -> list[Entry]:
        with self._mine, self._order:
            entries = [] if self._ended or self._behind() else self.queue.take(self.output.batch)
            self._window += entries
        return entries

    def _take_record(self) -> Record | None:
        if self._spill is None or time.monotonic() < self._resume_at:
            return None
        with self._mine:
            record = None if self._ended else self._spill.take()
            if record is not None:
                self._records.append(record)
        return record

    def _send(self, entries: list[Entry]) -> None:
        payload = self._encode(entries)
        if payload is not None:
            self._hand_over(payload, sum(e.points for e in entries))

    def _hand_over(self, payload: Any, points: int) -> None:
        self.output.open()
        if not self._sends:
            self._confirm_by = time.monotonic() + CONFIRM_SECONDS
        try:
            self.output.send(payload)
        except Rejected as error:
            self._reject(error, payload, points)
        self.last_send = time.time()
        self._sends += 1
        if not self.output.confirms_later:
            self._confirmed()
        elif self._caution or self._sends >= CONFIRM_SENDS:
            self._confirm()

    def _encode(self, entries: list[Entry]) -> Any:
        """The payload; batches that cannot be encoded are taken out of `entries`, counted. None where none is left."""
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
                with self._mine:
                    if entry in self._window:
                        self._window.remove(entry)
                        self.ledger.drop(entry.points, "encode_error", "flight")
        entries[:] = good
        return self.output.encode([e.batch for e in good]) if good else None

    def _confirm(self) -> None:
        self.output.confirm()
        self._confirmed()

    def _reject(self, error: Rejected, payload: Any, points: int) -> None:
        """Some or all of what was just handed over is refused: it is settled with the rest of its window."""
        refused = min(error.points or points, points)
        self._refused += refused
        self.error = str(error)
        log.error(self.name, f"refused: {refused} points: {error}")
        if isinstance(payload, bytes):
            self.letters.put(str(error), refused, error.refused or payload)

    def _confirmed(self) -> None:
        """What was sent is settled: delivered, but for what was refused."""
        entries, records, refused = self._release()
        points = sum(e.points for e in entries) + sum(r.count for r in records)
        if self._spill is not None and records:
            self._spill.confirm(records)
        self.ledger.drop(refused, "rejected", "flight")
        self.ledger.deliver(points - refused)
        self._trust()
        if not refused:
            self.error = ""
        if self.state != "ok":
            if self.failures:
                log.info(self.name, "delivers again")
            self.state, self.failures = "ok", 0

    def _release(self) -> tuple[list[Entry], list[Record], int]:
        """All that is in flight, for whoever settles it: batches, payloads from disk, and how many of the points were refused."""
        with self._mine:
            held = self._window, self._records, self._refused
            self._window, self._records = [], []
            self._sends = self._refused = 0
        return held

    def _put_back(self) -> None:
        """What was sent did not arrive: batches go back to the queue, payloads to the spool."""
        entries, records, _ = self._release()
        self.queue.restore(entries)
        if self._spill is not None and records:
            self._spill.restore(records)

    def _try(self, step: Any) -> bool:
        """Do it; False where it failed and a pause is due."""
        try:
            step()
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
        if self._ended:
            return
        self._put_back()
        if self._to_disk() and (spill := self._begin_spill()) is not None:
            spill.ring()
        self._wait_for_slot(min(after, ASKED))

    def _wait_for_slot(self, after: float) -> None:
        """The next try comes at a random moment of a slot that follows the last one and is twice as long.

        So a fleet whose backend went away comes back evenly, whenever in a slot it can. (A random wait from the last try on,
        "full jitter", brings twice the mean rate in the first moment.) A peer's own wish comes before the slot.
        """
        now = time.monotonic()
        width = self._width()
        begin = max(now + after, self._slot_end)
        self._slot_end = begin + width
        self._retry_at = max(now + 0.05, begin + _some() * width)
        self._caution = min(DOUBLINGS + 1, self._caution + 1)

    def _trust(self) -> None:
        """One step back to full speed: after a long outage a fleet that is let in does not send all that waited at once.

        Until then each send is confirmed by itself, and what waited pauses for a random part of slots that grow shorter.
        """
        now = time.monotonic()
        self._slot_end = 0.0
        if self._caution and now >= self._resume_at:
            self._caution -= 1
            self._resume_at = now + _some() * self._width() / 2 if self._caution else 0.0

    def _width(self) -> float:
        """Seconds of a slot."""
        return min(CAP, BASE * (1 << self._caution))

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


def places(state_dir: str, name: str) -> tuple[str, str]:
    """The directory of an output's spool, and its dead-letter file."""
    clean = clean_node(name)
    return os.path.join(state_dir, SPOOLS, clean), os.path.join(state_dir, LETTERS, f"{clean}.jsonl")


def left_behind(directory: str) -> bool:
    """Whether a spool has something from before."""
    try:
        return any(name.endswith(".seg") for name in os.listdir(directory))
    except OSError:
        return False


def _some() -> float:
    """A random part of 1. (The module random would cost an agent half a megabyte.)"""
    return int.from_bytes(os.urandom(4), "big") / 2**32


def _words(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
