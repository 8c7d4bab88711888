"""What a disk does to the spool, and what the spool makes of it: killed at every call, full, failing, frozen, forbidden."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

from adamas.metric import Batch, Gauge, Series, Shape, Source
from adamas.output import Output
from adamas.sender import Sender


class Nowhere(Output):
    """A backend that is away."""

    name = "nowhere"

    def points(self, batch: Batch) -> int:
        return len(batch.values)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return "".join(f"{batch.time} {value}\n" for batch in batches for value in batch.values).encode()

    def open(self) -> None:
        raise ConnectionRefusedError(111, "Connection refused")


def batch(time: float, count: int = 10) -> Batch:
    declared = Gauge("n{number}")
    declared.name = "n"
    source = Source("t", "t", "t")
    return Batch(
        time, Shape(tuple(Series(source, declared, (str(n),)) for n in range(count)), None), list(range(count)), (), 1.0, 0
    )


def test_many_ask_for_the_spool_at_once_and_one_is_made(tmp_path: Path) -> None:
    """Each lane rings at the end of its pass, beside the sender's own thread: two spools would share one directory."""
    for turn in range(8):
        sender = Sender(Nowhere({}, f"turn{turn}"), str(tmp_path / str(turn)))
        sender.failures = 1
        sender.offer(batch(turn))
        gate = threading.Barrier(8)

        def lane(sender: Sender = sender, gate: threading.Barrier = gate) -> None:
            gate.wait()
            sender.ring()

        lanes = [threading.Thread(target=lane) for _ in range(8)]
        for one in lanes:
            one.start()
        for one in lanes:
            one.join()
        spools = [t for t in threading.enumerate() if t.name == f"spool turn{turn}"]
        assert len(spools) == 1
        sender.start()
        sender.stop(0.0)
        sender.join(10.0)
        spools[0].join(5)
        assert not spools[0].is_alive()
        assert sender.ledger.snapshot()["spool"] == 10
