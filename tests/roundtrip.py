"""The same 10,000 samples for every output: on their way to a real server through the real sender, and what must come back.

A test takes a `Trip` to its server, asks the server for what it has, and compares that with `trip.points`: what the output says
that its points are, spelled as its page documents.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from agents import balanced

from adamas import Batch, Collector, Counter, Gauge, Sample
from adamas.host import Host
from adamas.naming import Naming, Point
from adamas.pipeline import Intake
from adamas.registry import Registry
from adamas.sender import Sender

SERIES, COUNTERS, TIMES, STEP = 1000, 50, 10, 10

HOSTILE = (
    "plain", "with space", "größe", "日本語", "emoji \U0001f600", "dot.ted", "sla/sh", "back\\slash", 'quo"te', "apos'trophe", "a=b,c",
    "semi;colon", "col:on", "per%cent %s %d", "{brace}", "new\nline", "carriage\rreturn", "tab\tbed", "nul\0byte", "..", "", "-", "#hash",
    "\u2028separator", "\u202eright to left", "pipe|d", "at@sign", "star*", "que?stion", "dol$lar", "amp&ersand", "<angle>", "[bracket]",
    "bad bytes \udcff", "x" * 300, "a b", "a_b", "trailing ", " leading", "plus+", "caret^", "back`tick", "til~de", "comma,", "UPPER",
)  # fmt: skip

NUMBERS: tuple[int | float, ...] = (
    0, 1, -1, 17, -123456, 2**31, 2**53 - 1, -(2**53) + 1, 2**62 + 12345, 0.5, -0.25, 1 / 3, -1e-9, 1.25e-9, 5e-300, 1.7e300, -2.5e15,
    1e20, 123456.789, 3.14159265358979,
)  # fmt: skip


class Mixed(Collector):
    """Numbers of every kind, under names of every kind."""

    name = "mixed"
    level = Gauge("{kind}.{item}", "A number", unit="By")
    total = Counter("total.{item}", "A total", unit="s")
    run = 0

    def collect(self) -> Iterator[Sample]:
        self.run += 1
        for i in range(SERIES - COUNTERS):
            text = HOSTILE[i % len(HOSTILE)]
            kind = str(i // len(HOSTILE))
            yield self.level(NUMBERS[(i + self.run) % len(NUMBERS)], kind, text)
        for i in range(COUNTERS):
            yield self.total(self.run * (i + 1) * 7, f"{HOSTILE[i % len(HOSTILE)]}{i}")


def batches(times: int = TIMES, step: float = STEP, end: float = 0.0) -> list[Batch]:
    """`times` runs of 1,000 samples, the last stamped `end` (default: about now)."""
    collector = Mixed(Host(), {}, "mixed")
    intake = Intake(collector)
    last = (end or time.time()) // step * step
    made = []
    for n in range(times):
        stamp = last - (times - 1 - n) * step
        batch = intake.publish(*intake.gather(), stamp, 1000.0 + n * step)
        assert batch is not None
        assert len(batch.values) == SERIES
        made.append(batch)
    return made


class Trip:
    """Samples on their way through one output, made of options as a configuration gives them."""

    def __init__(self, folder: Path, type_name: str, options: dict[str, Any] | None = None, labels: dict[str, str] | None = None):
        found = Registry().find("outputs", type_name)
        assert found is not None, type_name
        values = {name: found.cls.options[name].parse(value) for name, value in (options or {}).items()}  # type: ignore[attr-defined]
        self.output: Any = found.cls(values, "trip")
        assert self.output.check() == []
        naming = self.output.naming or found.cls.default_naming  # type: ignore[attr-defined]
        self.output.spell(Naming(naming, ("servers", "h") if naming in ("path", "diamond") else (), labels or {"host": "h"}))
        self.sender = Sender(self.output, str(folder / "spool"), str(folder / "letters.jsonl"))

    def go(self, sent: list[Batch], seconds: float = 60.0) -> dict[str, Any]:
        """Send them and wait until every point is delivered, or refused; returns the ledger."""
        self.sender.start()
        for batch in sent:
            self.sender.offer(batch)
        self.sender.ring()
        end = time.monotonic() + seconds
        while True:
            ledger = self.sender.ledger.snapshot()
            assert balanced(ledger), ledger
            if ledger["delivered"] + sum(ledger["dropped"].values()) == ledger["offered"]:
                break
            assert time.monotonic() < end, f"not within {seconds} s: {ledger} {self.sender.state} {self.sender.error}"
            time.sleep(0.02)
        self.sender.stop(time.monotonic() + 5)
        self.sender.join(time.monotonic() + 5)
        return ledger

    def points(self, sent: list[Batch]) -> dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, int | float]]:
        """What must be there now: (name, labels) -> time -> value."""
        made: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, int | float]] = {}
        for batch in sent:
            for point, value in self.pairs(batch):
                made.setdefault((point.name, point.labels), {})[batch.time] = value
        return made

    def pairs(self, batch: Batch) -> Iterator[tuple[Point, int | float]]:
        """Each point of a batch as the output has it, with its value."""
        return self.output.lines.plan(batch.shape).pairs(batch)  # type: ignore[no-any-return]
