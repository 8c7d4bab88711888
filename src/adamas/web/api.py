"""The agent's own API, as JSON: health, status, the series, their past, their present; and /metrics."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from adamas.exposition import CONTENT_TYPE
from adamas.web import when
from adamas.web.answer import Refused, as_json, body, encode
from adamas.web.pattern import Pattern

if TYPE_CHECKING:
    from starlette.datastructures import QueryParams
    from starlette.requests import Request
    from starlette.responses import Response

    from adamas.web.live import Live
    from adamas.web.past import Past
    from adamas.web.view import View

MOST_NAMES = 100
MOST_POINTS = 5_000
MOST_LISTED = 5_000
MOST_MATCH = 200
LATE = 3
"""After so many intervals without a run, a collector does not run."""

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


def span(query: QueryParams, now: float, default: str) -> tuple[float, float]:
    """(from, until) of a query."""
    start = moment(query.get("from", default), "from", now)
    end = moment(query.get("until", "now"), "until", now)
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
        answer.status_code = 503 if found["status"] == "failed" else 200
        return answer

    async def status(self, request: Request) -> Response:
        """All of the agent's status."""
        status = self._view.status()
        return as_json(request, {**status, "health": health(status)})

    async def metrics(self, request: Request) -> Response:
        """Every current value, for Prometheus."""
        text = self._view.prometheus().render(self._view.latest())
        return body(request, text.encode("utf-8", "backslashreplace"), CONTENT_TYPE)

    async def latest(self, request: Request) -> Response:
        """The current values whose names match one of the patterns."""
        wanted = patterns(request.query_params.getlist("match"))
        return as_json(request, {"now": time.time(), "batches": list(self._live.batches(wanted))})

    async def series(self, request: Request) -> Response:
        """The series whose name contains every word of `match`, or matches it as a pattern; with their value now."""
        match = request.query_params.get("match", "").strip()
        if len(match) > MOST_MATCH:
            raise Refused(400, f"match: at most {MOST_MATCH} characters")
        limit = whole(request.query_params.get("limit", "1000"), "limit", 1, MOST_LISTED)
        every = await self._past.series()
        found = sorted(name for name in every if _fits(name, match))
        values = {n: (b["time"], v) for b in self._live.batches([]) for n, v in b["values"].items()}
        listed = []
        for name in found[:limit]:
            at, value = values.get(name, (None, None))
            listed.append({**every[name], "time": at, "value": value})
        return as_json(request, {"now": time.time(), "count": len(found), "series": listed})

    async def query(self, request: Request) -> Response:
        """The past of some series, in at most so many points."""
        query = request.query_params
        names = query.getlist("series")
        if not 1 <= len(names) <= MOST_NAMES:
            raise Refused(400, f"series: 1 to {MOST_NAMES} names")
        points = whole(query.get("points", "600"), "points", 1, MOST_POINTS)
        now = time.time()
        start, end = span(query, now, "-1h")
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
        return body(request, encode({"now": now, "from": start, "until": end, "series": answer}), "application/json")


def _fits(name: str, match: str) -> bool:
    if any(letter in match for letter in "*?[{"):
        return patterns([match])[0].matches(name.split("."))
    lower = name.lower()
    return all(word in lower for word in match.lower().split())
