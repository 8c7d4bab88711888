"""The agent's own API, as JSON: health, status, the series, their past, their present; and /metrics."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from adamas.exposition import CONTENT_TYPE
from adamas.web import when
from adamas.web.asgi import Refused, as_json, content
from adamas.web.pattern import Pattern

if TYPE_CHECKING:
    from collections.abc import Callable

    from adamas.web.asgi import Request, Response
    from adamas.web.live import Live
    from adamas.web.past import Past
    from adamas.web.view import View

MOST_NAMES = 100
MOST_POINTS = 5_000
MOST_LISTED = 5_000
MOST_MATCH = 200
LATE = 3
"""After so many intervals without a run, a collector does not run."""

_CHANGING = re.compile(r"\{.*\}|\[.*\]|[*?\[\]{}]")
"""What of a pattern is not the same in every name that fits."""

TROUBLE = ("failed", "backoff", "stuck", "overrun")


def whole(text: str, name: str, least: int, most: int) -> int:
    """A whole number of a query, within bounds."""
    if not text.isascii() or not text.isdigit() or len(text) > 9 or not least <= int(text) <= most:
        raise Refused(400, f"{name}: a whole number from {least} to {most}")
    return int(text)


def moment(text: str, name: str, now: float) -> float:
    """A point in time of a query."""
    try:
        return when.seconds(text, now)
    except ValueError as error:
        raise Refused(400, f"{name}: {error}") from None


def span(request: Request, now: float, default: str) -> tuple[float, float]:
    """(from, until) of a query."""
    start = moment(request.get("from", default), "from", now)
    end = moment(request.get("until", "now"), "until", now)
    if start >= end:
        raise Refused(400, "from: earlier than until")
    return start, end


def patterns(texts: list[str]) -> list[Pattern]:
    """The patterns of a query."""
    if len(texts) > MOST_NAMES:
        raise Refused(400, f"at most {MOST_NAMES} patterns at once")
    try:
        return [Pattern(text) for text in texts]
    except ValueError as error:
        raise Refused(400, f"match: {error}") from None


def health(status: dict[str, Any]) -> dict[str, Any]:
    """ok; degraded, where a part is in trouble; failed, where nothing is measured any more."""
    collectors = status["collectors"]
    now = status["now"]
    problems = [f"{c['name']}: {c['state']}: {c['error']}" for c in collectors if c["state"] in TROUBLE]
    problems += [f"{o['name']}: {o['state']}: {o['error']}" for o in status["outputs"] if o["state"] == "retrying"]
    history = status["history"]
    if history and history.get("error"):
        problems.append(f"history: {history['error']}")
    if not status["reload"]["ok"]:
        problems.append(f"configuration: {status['reload']['message']}")
    wanted = [c for c in collectors if c["state"] != "no data"]
    moving = [
        c
        for c in wanted
        if c["state"] in ("ok", "starting", "overrun") and now - max(c["last_run"], status["started"]) < LATE * c["interval"] + 10
    ]
    state = "failed" if wanted and not moving else "degraded" if problems else "ok"
    return {"status": state, "collectors": len(collectors), "running": len(moving), "problems": problems}


class Api:
    """What the page and scripts ask."""

    def __init__(self, view: View, live: Live, past: Past) -> None:
        self._view = view
        self._live = live
        self._past = past

    async def health(self, request: Request) -> Response:
        """200 while it measures, 503 where it does not."""
        found = health(self._view.status())
        answer = as_json(request, found)
        answer.status = 503 if found["status"] == "failed" else 200
        return answer

    async def status(self, request: Request) -> Response:
        """All of the agent's status."""
        status = self._view.status()
        return as_json(request, {**status, "health": health(status)})

    async def metrics(self, request: Request) -> Response:
        """Every current value, for Prometheus."""
        text = self._view.prometheus().render(self._view.latest())
        return content(request, text.encode("utf-8", "backslashreplace"), CONTENT_TYPE)

    async def latest(self, request: Request) -> Response:
        """The current values whose names match one of the patterns."""
        wanted = patterns(request.fields.get("match", []))
        return as_json(request, {"now": time.time(), "batches": list(self._live.batches(wanted))})

    async def series(self, request: Request) -> Response:
        """The series whose name contains every word of `match`, or matches it as a pattern; with their value now."""
        match = request.get("match").strip()
        if len(match) > MOST_MATCH:
            raise Refused(400, f"match: at most {MOST_MATCH} characters")
        limit = whole(request.get("limit", "1000"), "limit", 1, MOST_LISTED)
        found = await self._past.series(*wanted(match))
        names = sorted(found)[:limit]
        listed = {name: {**found[name], "time": None, "value": None} for name in names}
        for batch in self._live.batches([]):
            for name, value in batch["values"].items():
                if name in listed:
                    listed[name].update(time=batch["time"], value=value)
        return as_json(request, {"now": time.time(), "count": len(found), "series": list(listed.values())})

    async def query(self, request: Request) -> Response:
        """The past of some series, in at most so many points."""
        names = request.fields.get("series", [])
        if not 1 <= len(names) <= MOST_NAMES:
            raise Refused(400, f"series: 1 to {MOST_NAMES} names")
        points = whole(request.get("points", "600"), "points", 1, MOST_POINTS)
        now = time.time()
        start, end = span(request, now, "-1h")
        if self._view.history() is None:
            raise Refused(503, "the history is off, so there is no past to show")
        found = await self._past.read(dict.fromkeys(names), start, end, points)
        answer = [
            {
                "name": name,
                "times": [row[0] for row in rows],
                "values": [row[2] for row in rows],
                "min": [row[1] for row in rows],
                "max": [row[3] for row in rows],
            }
            for name, rows in found.items()
        ]
        return as_json(request, {"now": now, "from": start, "until": end, "series": answer})


def wanted(match: str) -> tuple[str, Callable[[str], bool]]:
    """(a part that is in every name that fits, whether a name fits): all of its words, or a pattern."""
    if any(letter in match for letter in "*?[{"):
        pattern = patterns([match])[0]
        return max(_CHANGING.split(match), key=len), lambda name: pattern.matches(name.split("."))
    words = match.lower().split()

    def fits(name: str) -> bool:
        lower = name.lower()
        return all(word in lower for word in words)

    return max(words, key=len, default=""), fits
