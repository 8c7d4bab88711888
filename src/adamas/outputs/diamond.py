"""The handler's class is made in a child, with its settings as a diamond.conf would give them, and gets each point as a Metric.

A handler that blocks is killed at `timeout`, one that dies or fails is made anew; its samples wait in the queue meanwhile.
What it refuses (an error that is not of the operating system, for some of the points of a send) is counted as rejected. A
handler that keeps points for later sends them at the flush, which comes after each send.
"""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Sequence

from adamas import Batch, Output, Rejected, Retry, Size, log, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.naming import Point


class Diamond(Output):
    """Delivers through a handler that was written for Diamond, in a child of its own.

    `class` is the class's name, with the module before it or not. The points go out in the `diamond` spelling.
    """

    name = "diamond"
    default_naming = "diamond"
    isolation = "process"
    preload = ("diamond.hosting", "adamas.translate.dialect", "adamas.translate.meaning", "adamas.translate.syntax")

    class_: str = option(None, "The class, such as myhandlers.FifoHandler", required=True)
    file: str = option("", "The file that has the class")
    handlers_path: list[str] = option([], "Folders that are searched for the class, with those below them")
    config: dict[str, Any] = option({}, "Its settings, as in its section of a diamond.conf")
    memory_limit: Size = option("256MiB", "The most memory of its child", minimum=32 << 20)
    batch: int = option(1000, "The most points in one send", minimum=1)

    _hosted: Any = None

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """[path, value, raw value, time, precision, host, type] of each point: what a Metric is made of."""
        assert self.spelling is not None
        rows: list[list[Any]] = []
        for batch in batches:
            plan = self.lines.plan(batch.shape)
            stamp, host = int(batch.time), self.spelling.host or None
            for point, value in plan.raw.sparse(batch.values):
                rows.append([point.name, value, None, stamp, _decimals(point, value), host, "GAUGE"])
            for column in (plan.rates, plan.deltas):
                increases = batch.deltas if column is plan.deltas else batch.rates() if column.points else ()
                for position, point in zip(column.positions, column.points):
                    increase = increases[position]
                    if increase is not None:
                        raw = batch.values[batch.shape.counters[position]]
                        value = increase * point.scale
                        rows.append([point.name, value, raw, stamp, _decimals(point, value), host, "COUNTER"])
        return json.dumps(rows).encode()

    def open(self) -> None:
        """Make the handler, where there is none."""
        if self._hosted is not None:
            return
        try:
            hosting = importlib.import_module("diamond.hosting")
        except ImportError as error:
            if error.name != "configobj":
                raise
            raise RuntimeError("handlers of Diamond need configobj: pip install 'adamas[diamond]'") from None
        self._hosted = hosting.HostedHandler(
            getattr(self, "class"),
            file=os.path.expanduser(self.file),
            folders=[os.path.expanduser(folder) for folder in self.handlers_path],
            section=self.config,
            log=lambda level, words: log.say(level, self.instance, words),
        )

    def send(self, payload: bytes) -> None:
        """Have the handler process and flush them. Where it refuses all, it is the handler that is broken: they wait."""
        rows = json.loads(payload)
        refused = self._hosted.send(rows)
        if not refused:
            return
        words = f"{type(refused[0]).__name__}: {refused[0]}"
        if len(refused) == len(rows):
            raise Retry(words)
        raise Rejected(words, len(refused))


def _decimals(point: Point, value: int | float) -> int:
    """The decimals of a point's text."""
    if point.precision is not None or isinstance(value, int):
        return point.precision or 0
    mantissa, _, exponent = (point.number(None) % value).partition("e")
    return max(0, len(mantissa.partition(".")[2]) - int(exponent or 0))
