"""Graphite's HTTP API over the agent's history, so that Grafana can use the agent as a Graphite data source.

/render and /metrics/find as graphite-web 1.1 answers them (format json), and what Grafana's data source asks besides:
/version, /functions, /metrics/expand, /metrics/index.json, and empty answers for tags and events, which there are none of.
Names are those of the path spelling; the prefix and host in front, as Graphite's own server has them, may be given or not.
Source: https://graphite.readthedocs.io/en/latest/render_api.html, metrics_api.html
"""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from adamas.web import when
from adamas.web.asgi import Refused, as_json
from adamas.web.pattern import Pattern
from adamas.web.target import FUNCTIONS, Call, Line, Parser, Path, evaluate, paths

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

    from adamas.web.asgi import Request, Response
    from adamas.web.past import Bucket, Past
    from adamas.web.view import View

VERSION = "1.1.10"
"""The version of graphite-web whose answers these are."""
MOST_TARGETS = 50
MOST_SERIES = 500
MOST_POINTS = 500_000
FINEST = 20_000
DEFAULT_POINTS = 2_000


class Grid:
    """The slots of an answer: multiples of a step after `start` up to `end`, as Graphite has them."""

    __slots__ = ("first", "slots", "step")

    def __init__(self, start: float, end: float, step: int) -> None:
        self.step = step
        self.first = math.floor(start / step) * step + step
        self.slots = max(0, math.floor(end / step) - math.floor(start / step))

    def fill(self, rows: Sequence[Bucket]) -> list[float | None]:
        """The mean of what lies in each slot."""
        sums: list[float] = [0.0] * self.slots
        counts = [0] * self.slots
        for moment, _, mean, _ in rows:
            at = math.floor((moment - self.first) / self.step)
            if 0 <= at < self.slots:
                sums[at] += mean
                counts[at] += 1
        return [total / count if count else None for total, count in zip(sums, counts)]

    def points(self, values: Sequence[float | None]) -> list[tuple[float | None, int]]:
        """[value, time] pairs; what is no finite number is none."""
        finite = [value if value is not None and math.isfinite(value) else None for value in values]
        return [(value, self.first + i * self.step) for i, value in enumerate(finite)]


def usual_step(rows: Sequence[Bucket]) -> float:
    """The usual distance of a series' samples; 0 where it has too few to tell."""
    steps = sorted(b[0] - a[0] for a, b in pairwise(rows))
    return steps[len(steps) // 2] if steps else 0.0


def time_zone(name: str) -> tzinfo | None:
    """A time zone by its name; that of this machine without one."""
    if not name:
        return None
    from zoneinfo import ZoneInfo  # a third of a megabyte that few ask for

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        raise Refused(400, "tz: the name of a time zone") from None


class Graphite:
    """The routes."""

    def __init__(self, view: View, past: Past) -> None:
        self._view = view
        self._past = past

    async def render(self, request: Request) -> Response:
        """The series of every target."""
        targets = request.fields.get("target", [])
        if len(targets) > MOST_TARGETS:
            raise Refused(400, f"at most {MOST_TARGETS} targets")
        if request.get("format", "json") != "json":
            raise Refused(400, "format=json is what there is")
        start, end = self._span(request)
        most = self._points(request)
        names = Names(await self._past.names(), self._prefix())
        answer: list[dict[str, Any]] = []
        budget = MOST_POINTS
        for target in targets:
            try:
                lines, grid = await self._lines(Parser(target).parse(), names, start, end, most)
            except ValueError as error:
                raise Refused(400, f"target: {error}") from None
            budget -= grid.slots * len(lines)
            if budget < 0:
                raise Refused(400, f"more than {MOST_POINTS} points; ask for a shorter time or fewer maxDataPoints")
            answer += [{"target": o.target, "tags": {"name": o.path}, "datapoints": grid.points(o.values)} for o in lines]
        return as_json(request, answer)

    async def find(self, request: Request) -> Response:
        """The nodes of the tree of names that match a pattern."""
        query = self._query(request)
        nodes = Names(await self._past.names(), self._prefix()).nodes(query)
        shape = request.get("format", "treejson")
        if shape == "completer":
            metrics = [{"path": p if leaf else p + ".", "name": p.split(".")[-1], "is_leaf": str(int(leaf))} for p, leaf in nodes]
            return as_json(request, {"metrics": metrics})
        if shape not in ("treejson", "json"):
            raise Refused(400, "format: treejson or completer")
        tree = []
        for path, leaf in nodes:
            branch = int(not leaf)
            text = path.split(".")[-1]
            tree.append(
                {"text": text, "id": path, "leaf": int(leaf), "expandable": branch, "allowChildren": branch, "context": {}}
            )
        return as_json(request, tree)

    async def expand(self, request: Request) -> Response:
        """The paths that match a pattern."""
        names = Names(await self._past.names(), self._prefix())
        leaves = request.get("leavesOnly") == "1"
        found = {
            path
            for query in request.fields.get("query", [])
            for path, leaf in names.nodes(self._pattern(query))
            if leaf or not leaves
        }
        return as_json(request, {"results": sorted(found)})

    async def index(self, request: Request) -> Response:
        """Every name."""
        return as_json(request, sorted(await self._past.names()))

    async def functions(self, request: Request) -> Response:
        """What may be written around a pattern."""
        return as_json(request, {f.name: f.described() for f in FUNCTIONS.values()})

    async def function(self, request: Request) -> Response:
        """One of them."""
        name = request.path.removeprefix("/functions/").removesuffix("/")
        if name not in FUNCTIONS:
            raise Refused(404, f"there is no function {name}")
        return as_json(request, FUNCTIONS[name].described())

    async def version(self, request: Request) -> Response:
        """Which graphite-web this answers like."""
        return as_json(request, VERSION)

    async def nothing(self, request: Request) -> Response:
        """Tags and events: there are none."""
        return as_json(request, [])

    def _prefix(self) -> str:
        status = self._view.status()
        return str(status.get("prefix") or f"servers.{status['hostname'].replace('.', '_')}")

    def _span(self, request: Request) -> tuple[float, float]:
        now = time.time()
        zone = time_zone(request.get("tz"))
        moments = []
        for key, default in (("from", "-24h"), ("until", "now")):
            try:
                moments.append(when.seconds(request.get(key) or default, now, zone))
            except ValueError as error:
                raise Refused(400, f"{key}: {error}") from None
        if moments[0] >= moments[1]:
            raise Refused(400, "from: earlier than until")
        return moments[0], moments[1]

    def _points(self, request: Request) -> int:
        text = request.get("maxDataPoints")
        if not text:
            return DEFAULT_POINTS
        try:
            wanted = float(text)
        except ValueError:
            wanted = 0.0
        if not 1 <= wanted < 1e9:
            raise Refused(400, "maxDataPoints: a number from 1")
        return min(int(wanted), FINEST)

    def _query(self, request: Request) -> Pattern:
        texts = request.fields.get("query", [])
        if len(texts) != 1 or not texts[0]:
            raise Refused(400, "query: one pattern")
        return self._pattern(texts[0])

    def _pattern(self, text: str) -> Pattern:
        try:
            return Pattern(text)
        except ValueError as error:
            raise Refused(400, f"query: {error}") from None

    async def _lines(self, expression: Call | Path, names: Names, start: float, end: float, most: int) -> tuple[list[Line], Grid]:
        """The lines of a target, on one grid."""
        found = {text: names.matching(Pattern(text)) for text in paths(expression)}
        wanted = {name for pairs in found.values() for _, name in pairs}
        if len(wanted) > MOST_SERIES:
            raise Refused(400, f"target: {len(wanted)} series match; at most {MOST_SERIES}")
        rows = await self._past.read(sorted(wanted), start, end, FINEST) if wanted else {}
        usual = max((usual_step(one) for one in rows.values()), default=0.0)
        grid = Grid(start, end, max(1, round(usual), math.ceil((end - start) / most)))
        columns = {name: grid.fill(one) for name, one in rows.items()}

        def find(text: str) -> list[Line]:
            return [Line(path, path, columns[name]) for path, name in found[text]]

        return evaluate(expression, find, grid.slots), grid


class Names:
    """Every name as a tree, as it is and below the prefix that Graphite's server has it under."""

    def __init__(self, names: Iterable[str], prefix: str) -> None:
        self._prefix = [node for node in prefix.split(".") if node]
        self._names = [(name.split("."), name) for name in sorted(names)]
        self._roots = {nodes[0] for nodes, _ in self._names}

    def matching(self, pattern: Pattern) -> list[tuple[str, str]]:
        """(path as asked for, name) of every series that matches; with the prefix only where nothing matches without."""
        found = [(name, name) for nodes, name in self._names if pattern.matches(nodes)]
        if found or not self._prefix:
            return found
        front = ".".join(self._prefix)
        return [(f"{front}.{name}", name) for nodes, name in self._names if pattern.matches([*self._prefix, *nodes])]

    def nodes(self, pattern: Pattern) -> list[tuple[str, bool]]:
        """(path, whether it is a series) of every node that matches, branches first."""
        found = self._level(pattern, [])
        if not found and self._prefix:
            found = self._level(pattern, self._prefix)
        return sorted(found.items(), key=lambda item: (item[1], item[0]))

    def _level(self, pattern: Pattern, front: list[str]) -> dict[str, bool]:
        found: dict[str, bool] = {}
        depth = len(pattern)
        for nodes, _ in self._names:
            path = [*front, *nodes]
            if pattern.begins(path):
                text = ".".join(path[:depth])
                leaf = len(path) == depth
                found[text] = leaf and found.get(text, True)
        return found
