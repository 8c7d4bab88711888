"""What the history costs: CPU a tick, bytes a sample, a day of one series, memory. Time runs as fast as the history takes it in.

    python bench/history.py                                            2,000 series every 10 s for a day
    python bench/history.py --series 700 --interval 1 --hours 6

Of 20 series 6 are constant, 3 are counters that are mostly idle, 4 are counters that are busy, 4 are gauges of whole numbers that
wander, and 3 wander with all their digits. Rates are what a counter grew by over an elapsed time that is never quite the
interval. The history writes as often as it would: after each tick, or every 5 seconds where they are shorter. CPU is that of all
threads (offering, and the writer) less what making up the data took. Memory is private, before the history was imported and
after the last tick; names and points that the naming keeps are in it.
"""

from __future__ import annotations

import argparse
import gc
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import ClassVar

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from adamas.metric import Batch, Counter, Gauge, Series, Shape, Source
from adamas.naming import Naming

NOISE = 997
WRITES = 5.0
"""How often the history writes, in seconds."""
START = 1_700_000_000


class Made:
    """A collector that makes up its values: 20 kinds of series over and over."""

    tables: ClassVar[dict[tuple[int, int], list[float]]] = {}

    def __init__(self, name: str, size: int, dice: random.Random) -> None:
        source = Source(name, name, name)
        gauge, counter = Gauge("{what}.level", "A level"), Counter("{what}.total", "A total", unit="By")
        gauge.name, counter.name = "level", "total"
        self.dice = dice
        self.counters = [i for i in range(size) if 6 <= i % 20 < 13]
        declared = [counter if 6 <= i % 20 < 13 else gauge for i in range(size)]
        self.shape = Shape(tuple(Series(source, d, (f"item{i:04}",)) for i, d in enumerate(declared)), None)
        self.values: list[float] = [self._first(i % 20) for i in range(size)]
        self.steps = [self._steps(i % 20, dice.randrange(8)) for i in range(size)]
        self.offsets = [dice.randrange(NOISE) for _ in range(size)]

    def _first(self, kind: int) -> float:
        dice = self.dice
        if kind < 6:
            return dice.choice([0, 0, 1, dice.randrange(10**9), round(dice.random(), 3), dice.random()])
        return dice.uniform(0, 100) if kind >= 17 else dice.randrange(10**6)

    def _steps(self, kind: int, which: int) -> list[float]:
        found = self.tables.get((kind, which))
        if found is None:
            found = self.tables[kind, which] = self._new_steps(kind)
        return found

    def _new_steps(self, kind: int) -> list[float]:
        dice = self.dice
        size = 10 ** dice.randrange(1, 6)
        if kind < 6:
            return [0] * NOISE
        if kind < 9:
            return [dice.choice([0] * 20 + [1, 2, 7]) for _ in range(NOISE)]
        if kind < 13:
            return [max(0, int(dice.gauss(size, size**0.5))) for _ in range(NOISE)]
        if kind < 17:
            steps: list[float] = [dice.randint(-50, 50) for _ in range(NOISE)]
            mean: float = round(sum(steps) / NOISE)
        else:
            steps = [dice.gauss(0, 1) for _ in range(NOISE)]
            mean = sum(steps) / NOISE
        return [s - mean for s in steps]

    def batch(self, tick: int, interval: float) -> Batch:
        before = self.values
        self.values = [v + steps[(tick + o) % NOISE] for v, steps, o in zip(before, self.steps, self.offsets)]
        deltas: list[float | None] = [self.values[i] - before[i] for i in self.counters]
        elapsed = interval + self.dice.gauss(0, 1e-4)
        return Batch(START + tick * interval, self.shape, self.values, deltas, elapsed, 0)


def private() -> float:
    """MiB that only this process has. Clean pages are left out: whether they are private is up to the other processes."""
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_Dirty")) / 1024


def written() -> int:
    """Bytes that this process has written so far."""
    with open("/proc/self/io") as file:
        return int(dict(line.split(": ") for line in file)["wchar"])


def milliseconds(what: object, times: int = 5) -> float:
    """The median of some calls."""
    took = []
    for _ in range(times):
        began = time.perf_counter()
        what()  # type: ignore[operator]
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--interval", type=float, default=10)
    parser.add_argument("--hours", type=float, default=24)
    parser.add_argument("--collectors", type=int, default=30)
    parser.add_argument("--directory", help="where the file goes (default: a temporary place)")
    args = parser.parse_args()
    directory = tempfile.mkdtemp(prefix="history-", dir=args.directory)
    try:
        measure(args.series, args.interval, args.hours, args.collectors, os.path.join(directory, "history.db"))
    finally:
        shutil.rmtree(directory)


def measure(count: int, interval: float, hours: float, collectors: int, path: str) -> None:
    dice = random.Random(1)
    sizes = [count // collectors + (i < count % collectors) for i in range(collectors)]
    made = [Made(f"source{i:02}", size, dice) for i, size in enumerate(sizes)]
    ticks = int(hours * 3600 / interval)
    for tick in range(-20, 0):
        for one in made:
            one.batch(tick, interval)
    gc.collect()
    gc.freeze()
    memory = private()
    from adamas.history import History

    imports = private() - memory
    wrote, cpu, wall = written(), time.process_time(), time.perf_counter()
    history = History(path, Naming("path"), 10 * 365 * 86400)
    history.start()
    making = 0.0
    unwritten = 0.0
    slowest = 0.0
    for tick in range(ticks):
        began = time.thread_time()
        batches = [one.batch(tick, interval) for one in made]
        making += time.thread_time() - began
        for batch in batches:
            history.offer(batch)
        unwritten += interval
        if unwritten >= WRITES:
            unwritten = 0.0
            flushing = time.perf_counter()
            history.flush()
            slowest = max(slowest, time.perf_counter() - flushing)
    cpu = time.process_time() - cpu - making
    wall = time.perf_counter() - wall
    del batches
    grown = private() - memory
    status = history.status()
    end = START + ticks * interval
    day = {}
    for kind, label in ((0, "constant"), (6, "idle counter"), (9, "busy counter"), (13, "whole numbers"), (17, "all digits")):
        name = f"source03.item{kind:04}.{'total' if 6 <= kind < 13 else 'level'}"
        day[label] = milliseconds(lambda name=name: history.query(name, end - 86400, end))
        points = len(history.query(name, end - 86400, end))
    chart = milliseconds(lambda: history.query("source03.item0017.level", end - 86400, end, 300))
    hour = milliseconds(lambda: [history.query(f"source{i % collectors:02}.item0009.total", end - 3600, end) for i in range(50)])
    listed = milliseconds(lambda: history.names("", 10_000))
    after = private() - memory
    history.stop(time.monotonic() + 60)
    wrote = written() - wrote
    size = os.path.getsize(path)
    samples = status["offered"]
    assert status["dropped"] == {} and status["written"] == samples == count * ticks, status
    worst = max(day.values())
    print(f"{count} series in {collectors} collectors every {interval:g} s for {hours:g} h: {samples:,} samples, {wall:.0f} s")
    rows = [
        ("CPU a tick", f"{cpu / ticks * 1000:.2f} ms", f"{cpu / samples * 1e9:.0f} ns a sample"),
        ("disk", f"{size / samples:.2f} B a sample", f"{size / 1e6:.1f} MB, {wrote / samples:.1f} B a sample written"),
        ("a day of one series", f"{worst:.1f} ms", f"{points} samples; " + ", ".join(f"{k} {v:.1f}" for k, v in day.items())),
        ("the same in 300 points", f"{chart:.1f} ms", ""),
        ("an hour of 50 series", f"{hour:.1f} ms", ""),
        ("all names", f"{listed:.1f} ms", ""),
        ("memory", f"{grown:+.1f} MiB", f"{imports:.1f} of it imports; {after:+.1f} MiB after the questions"),
        ("longest write", f"{slowest * 1000:.0f} ms", "wall clock, of the writer's thread"),
    ]
    for what, figure, more in rows:
        print(f"  {what:24}{figure:>16}   {more}")


if __name__ == "__main__":
    main()
