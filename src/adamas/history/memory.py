"""What is not in the file yet: batches that wait, and the heads of all collectors. Bounded, counted, and never slow.

Two locks. The door's guards what is offered, and nobody keeps it. The other guards the heads, and is never held over the file.
The heads change in the writer's thread only, but for runs: those a reader may take in too, so that it sees what was just offered.

At every moment: offered = written + in memory + dropped. A sample is one value of one point of the naming.
"""

from __future__ import annotations

import threading
import time
from array import array
from collections import deque

from adamas import log
from adamas.history.head import RUNS, Block, Head, Layout, Run, Seen, ShapePlan
from adamas.lines import Plan
from adamas.metric import Shape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from adamas.history.head import Row, Work
    from adamas.metric import Batch
    from adamas.naming import Naming, Point

WAITING = 8 << 20
"""The most bytes of batches that wait to be taken in."""
BLOCKS = 4 << 20
"""The most bytes of blocks that wait for the file."""
IDLE = 3600.0
"""After so long without a run, what there is of a collector becomes a block."""


class Snapshot:
    """What memory has of one collector at one moment: blocks from `before` on were not in the file then."""

    __slots__ = ("before", "blocks", "runs")

    def __init__(self, runs: list[Run], blocks: list[Block], before: int) -> None:
        self.runs = runs
        self.blocks = blocks
        self.before = before


class Memory:
    """Batches in, blocks and runs for the file out."""

    def __init__(self, naming: Naming) -> None:
        self.naming = naming
        self.heads: dict[str, Head] = {}
        self.next = {"collector": 1, "layout": 1, "run": 1, "block": 1}
        self.series = 0
        self.written = 0
        self.idle = IDLE
        self.room = BLOCKS
        self.fault = ""
        """The last thing that could not be kept for its own fault."""
        self._key = object()  # what hangs on shapes must not keep all of this alive
        self._door = threading.Lock()
        self._waiting: deque[Batch] = deque()
        self._weight = 0
        self._refused = 0
        self._dropped: dict[str, int] = {}
        self._lock = threading.Lock()
        self._taken = 0
        self._epoch = 0

    # in

    def offer(self, batch: Batch, trouble: str) -> bool:
        """Let a batch wait; whether the writer should look now. What finds no room goes, and the trouble is the reason."""
        with self._door:
            self._waiting.append(batch)
            self._weight += batch.size
            while self._weight > WAITING and len(self._waiting) > 1:
                oldest = self._waiting.popleft()
                self._weight -= oldest.size
                self._refuse(oldest, trouble or "queue_full")
            return self._weight > WAITING // 2 or self._key not in batch.shape.plans

    def refuse(self, batch: Batch, reason: str) -> None:
        """Count a batch that does not get in."""
        with self._door:
            self._refuse(batch, reason)

    def _refuse(self, batch: Batch, reason: str) -> None:
        count = self._count(batch)
        self._refused += count
        self._dropped[reason] = self._dropped.get(reason, 0) + count

    def _count(self, batch: Batch) -> int:
        plan = batch.shape.plans.get(self._key)
        return plan.plan.count(batch) if plan is not None else len(batch.values) - batch.missing

    def _drop(self, reason: str, samples: int) -> None:
        if samples:
            with self._door:
                self._dropped[reason] = self._dropped.get(reason, 0) + samples

    def unknown(self) -> list[Batch]:
        """A waiting batch of each shape that is not worked out."""
        with self._door:
            first = {id(b.shape): b for b in reversed(self._waiting) if b.shape.series}
        return [b for b in first.values() if (plan := b.shape.plans.get(self._key)) is None or plan.epoch != self._epoch]

    def learn(self, batch: Batch, ask: Callable[[int, Sequence[str]], Sequence[Row]]) -> None:
        """Work out what becomes of batches of this shape; `ask` has the rows of series that the file knows."""
        shape = batch.shape
        name = shape.series[0].source.instance
        try:
            plan = Plan(shape, self.naming.spell)
        except Exception as error:  # what has no name is not kept, all else is
            self.fault = f"what {name} gives cannot be named: {error!r}"
            log.error("history", self.fault)
            plan = Plan(Shape((), None), self.naming.spell)
        head = self.heads.get(name)
        if head is None:
            head = Head(self.next["collector"], name)
            self.next["collector"] += 1
        first = len(plan.raw.points)
        last = first + len(plan.rates.points)
        wanted = [(point, int(first <= i < last)) for i, point in enumerate(plan.points)]
        places = self._places(head, wanted, round(batch.time * 1000), ask)
        layout = Layout(self.next["layout"], places, first, last)
        with self._lock:
            self.heads[name] = head
            known = head.layouts.setdefault(layout.key, layout)
            if known is layout:
                self.next["layout"] += 1
            shape.plans[self._key] = ShapePlan(plan, known, self._epoch)

    def _places(
        self, head: Head, wanted: list[tuple[Point, int]], seen: int, ask: Callable[[int, Sequence[str]], Sequence[Row]]
    ) -> array[int]:
        new = [p.name for p, increase in wanted if head.known.get(p.name, -2) & 1 != increase or p.name not in head.known]
        rows: dict[tuple[str, int], Row] = {}
        if new:
            rows = {
                (row[1], row[5]): row for row in [*(ask(head.id, new) if head.saved else ()), *[row for row, _ in head.fresh]]
            }
        places = array("I")
        for point, increase in wanted:
            known = head.known.get(point.name)
            if known is None or known & 1 != increase:
                row = rows.get((point.name, increase))
                if row is None:
                    place = head.next
                    head.next += 1
                    self.series += 1
                else:
                    place = row[0]
                about = (f"{point.unit or '1'}/s" if increase else point.unit, point.kind, point.help)
                if row is None or row[2:5] != about:
                    head.fresh.append(((place, point.name, *about, increase), seen))
                known = head.known[point.name] = place << 1 | increase
            places.append(known >> 1)
        return places

    def take_in(self) -> None:
        """What waits becomes runs, as far as its shape is known."""
        with self._lock:
            self._take_in()

    def _take_in(self) -> None:
        with self._door:
            batches, self._waiting, self._weight = self._waiting, deque(), 0
        left: list[Batch] = []
        blocked: set[str] = set()
        now = time.monotonic()
        for batch in batches:
            if not batch.shape.series:
                continue
            plan: ShapePlan | None = batch.shape.plans.get(self._key)
            instance = batch.shape.series[0].source.instance
            if plan is None or plan.epoch != self._epoch or instance in blocked:
                blocked.add(instance)  # its later runs wait too, so that they stay in order
                left.append(batch)
                continue
            count = plan.plan.count(batch)
            if not count:
                continue
            self._taken += count
            try:
                run = plan.run(batch, self.next["run"])
            except Exception as error:
                self.fault = f"a batch of {instance} cannot be kept: {error!r}"
                self._drop("invalid", count)
                continue
            self._drop("invalid", count - run.count)
            self.next["run"] += 1
            head = self.heads[instance]
            head.add(run)
            head.touched = now
        if left:
            with self._door:
                self._waiting.extendleft(reversed(left))
                self._weight += sum(b.size for b in left)

    # out

    def seal(self, now: float, trouble: str) -> None:
        """Make blocks of what is full. While the file cannot be written, the oldest make room for new ones."""
        heads = list(self.heads.values())
        with self._lock:
            # Those that are half full go along, so that all of one interval keep step: what is written together is side by side.
            ripe = RUNS // 2 if any(head.full for head in heads) else RUNS
            for head in heads:
                head.touched = head.touched or now
                if (len(head.runs) >= ripe and not head.full) or now - head.touched > self.idle:
                    head.close()
        for head in heads:
            while head.full:
                self._make_block(head, head.full[0])
        size = sum(b.size for head in heads for b in head.blocks)
        while size > self.room:
            # Blocks of runs that are in the file stay: they are few, and nothing that was written is lost.
            spare = [(b.id, b, head) for head in heads for b in head.blocks if b.uncounted == b.samples]
            if not spare:
                break
            _, block, head = min(spare)
            with self._lock:
                head.blocks.remove(block)
            self._drop(trouble or "queue_full", block.samples)
            size -= block.size

    def _make_block(self, head: Head, runs: list[Run]) -> None:
        try:
            block = Block(self.next["block"], runs)
            block.seen = head.seen.update(block)
        except Exception as error:
            self.fault = f"{len(runs)} runs of {head.name} cannot be kept: {error!r}"
            log.error("history", self.fault)
            with self._lock:
                del head.full[0]
            self._drop("invalid", sum(r.count for r in runs if not r.counted))
            return
        with self._lock:
            del head.full[0]
            head.blocks.append(block)
            head.sealed = runs[-1].id
            self.next["block"] += 1
        head.prune(block)

    def work(self) -> Work:
        """What the file does not have yet."""
        with self._lock:
            work = [(h, [(i, r) for i, r in enumerate(h.runs) if not r.saved], list(h.blocks)) for h in self.heads.values()]
        return [(head, runs, blocks) for head, runs, blocks in work if runs or blocks or head.fresh or not head.saved]

    def saved(self, work: Work) -> None:
        """The file has it now."""
        with self._lock:
            for head, runs, blocks in work:
                head.fresh.clear()
                del head.blocks[: len(blocks)]
                self.written += sum(r.count for _, r in runs if not r.counted) + sum(b.uncounted for b in blocks)
                for _, run in runs:
                    run.counted = True

    def forget(self, series: set[tuple[int, int]], collectors: set[int]) -> None:
        """What was deleted from the file gets new places when it comes again."""
        with self._lock:
            self.heads = {name: head for name, head in self.heads.items() if head.id not in collectors}
            for head in self.heads.values():
                head.known = {name: place for name, place in head.known.items() if (head.id, place >> 1) not in series}
            self.series -= len(series)
            self._epoch += 1

    def renew(self) -> None:
        """The file is new and empty: what is in memory goes there, with the names that belong to it."""
        with self._lock:
            for head in self.heads.values():
                head.saved = False
                head.seen = Seen()
                at = head.latest.time if head.latest is not None else 0
                head.fresh = [((place >> 1, name, "", "", "", place & 1), at) for name, place in head.known.items()]
                head.known = {}  # so that unit, kind and help are learned again
                for layout in head.layouts.values():
                    layout.saved = False
                for run in head.held():
                    run.saved = False
            self.series = sum(len(head.fresh) for head in self.heads.values())
            self._epoch += 1

    def reset(self, heads: Sequence[Head], next: dict[str, int], reason: str) -> None:
        """Another file: its collectors take the place of those in memory; what the old file did not get is dropped."""
        with self._lock:
            for head in self.heads.values():
                self._drop(reason, self._uncounted(head))
            self.heads = {head.name: head for head in heads}
            self.next = next
            self._epoch += 1

    # looks

    def snapshot(self, collector: int) -> Snapshot:
        """A collector's runs and blocks; none where it is not known."""
        with self._lock:
            self._take_in()
            for head in self.heads.values():
                if head.id == collector:
                    return Snapshot(head.held(), list(head.blocks), self.next["block"])
            return Snapshot([], [], self.next["block"])

    def places(self, name: str) -> list[tuple[int, int, bool]]:
        """(collector, place, increase) of the series of this name."""
        with self._lock:
            self._take_in()
            known = [(head.id, head.known.get(name)) for head in self.heads.values()]
        return [(collector, place >> 1, bool(place & 1)) for collector, place in known if place is not None]

    def latest(self) -> dict[int, dict[int, tuple[float, float]]]:
        """The newest (value, time) of every series in memory, by collector and place."""
        with self._lock:
            self._take_in()
            return {head.id: head.newest() for head in self.heads.values()}

    def live(self) -> set[tuple[int, int]]:
        """(collector, place) of every series that has a run in memory."""
        with self._lock:
            layouts = {id(r.layout): (head.id, r.layout) for head in self.heads.values() for r in head.held()}
        return {(collector, place) for collector, layout in layouts.values() for place in layout.places}

    @staticmethod
    def _uncounted(head: Head) -> int:
        return sum(r.count for r in head.held() if not r.counted) + sum(b.uncounted for b in head.blocks)

    def account(self) -> dict[str, object]:
        """Where every sample is that was offered since the start, and how many of the file's are in no block."""
        with self._lock:
            self._take_in()
            heads = self.heads.values()
            with self._door:
                waiting = sum(self._count(b) for b in self._waiting)
                dropped = dict(self._dropped)
                offered = self._taken + self._refused + waiting
            return {
                "offered": offered,
                "written": self.written,
                "memory": waiting + sum(self._uncounted(head) for head in heads),
                "dropped": dropped,
                "held": sum(r.count for head in heads for r in head.held()) + sum(b.samples for h in heads for b in h.blocks),
                "oldest": min([head.held()[0].time for head in heads if head.held()], default=None),
            }
