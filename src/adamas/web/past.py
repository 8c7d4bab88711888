"""What was measured before: the agent's history, asked from a thread of its own so that a long range delays nobody.

Where the history is off there is only the present: the last value of each series.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeAlias

from adamas.metric import RATE
from adamas.web.asgi import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from adamas.web.live import Live
    from adamas.web.view import View

    Bucket: TypeAlias = tuple[float, float, float, float]
    """When it begins, and the least, mean and most of what is in it; a single sample is all three."""

PATIENCE = 30.0
MOST_SERIES = 100_000
FRESH = 15.0
"""Seconds that a list of the history's names is good for; what is new is known from the last batches anyway."""
ABOUT = ("name", "collector", "kind", "unit", "help")


class Past:
    """The history as the API and Graphite's render API ask it."""

    def __init__(self, view: View, live: Live) -> None:
        self._view = view
        self._live = live
        self._thread = ThreadPoolExecutor(1, "web-history")
        self._names: list[str] = []
        self._listed = -FRESH

    def close(self) -> None:
        """Take no more questions."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _ask(self, question: Callable[[], Any], patience: float = 0.0) -> Any:
        """The answer of something slow, asked beside the loop; bounded in time."""
        asked = asyncio.get_running_loop().run_in_executor(self._thread, question)
        try:
            return await asyncio.wait_for(asked, patience or PATIENCE)
        except TimeoutError:
            raise Refused(503, f"the history took longer than {PATIENCE:.0f} s", {"retry-after": "5"}) from None

    async def read(self, names: Iterable[str], start: float, end: float, most: int) -> dict[str, Sequence[Bucket]]:
        """Every named series over a range, in at most so many buckets each."""
        history = self._view.history()
        if history is None:
            return {name: self._now(name, start, end) for name in names}
        found: dict[str, Sequence[Bucket]] = {}
        end_of_patience = time.monotonic() + PATIENCE
        for name in names:  # one by one, so that short questions of others come in between

            def ask(name: str = name) -> Sequence[Bucket]:
                return history.buckets(name, start, end, most)

            found[name] = await self._ask(ask, max(0.001, end_of_patience - time.monotonic()))
        return found

    def _now(self, name: str, start: float, end: float) -> list[Bucket]:
        found = self._live.value(name)
        if found is None or not start <= found[0] <= end:
            return []
        return [(found[0], found[1], found[1], found[1])]

    async def names(self) -> set[str]:
        """The name of every series that there is now or was."""
        history = self._view.history()
        if history is None:
            self._names = []
        elif time.monotonic() - self._listed > FRESH:
            self._names = await self._ask(lambda: [row["name"] for row in history.names("", MOST_SERIES)])
            self._listed = time.monotonic()
        return {*self._names, *[point.name for point, _ in self._live.points()]}

    async def series(self, part: str, fits: Callable[[str], bool]) -> dict[str, dict[str, Any]]:
        """Name, collector, kind, unit, help and labels of each series whose name fits; `part` is in all of their names."""
        history = self._view.history()
        found: dict[str, dict[str, Any]] = {}
        if history is not None:
            for row in await self._ask(lambda: history.names(part, MOST_SERIES)):
                if fits(row["name"]):
                    found[row["name"]] = {**{key: row[key] for key in ABOUT}, "labels": {}}
        for point, series in self._live.points():
            if fits(point.name):
                found[point.name] = {
                    "name": point.name,
                    "collector": series.source.instance,
                    "kind": point.kind,
                    "unit": f"{point.unit or '1'}/s" if point.conversion == RATE else point.unit,
                    "help": point.help,
                    "labels": series.label_pairs(),
                }
        return found
