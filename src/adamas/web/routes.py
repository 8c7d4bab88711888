"""Every address that there is, and what answers there."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from adamas.web.asgi import Refused, Request, Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from adamas.web.api import Api
    from adamas.web.graphite import Graphite
    from adamas.web.page import Page

    Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]


class Routes:
    """Finds the endpoint of a request."""

    def __init__(self, api: Api, graphite: Graphite, page: Page) -> None:
        self._read: dict[str, Endpoint] = {
            "/": page.index,
            "/metrics": api.metrics,
            "/health": api.health,
            "/api/status": api.status,
            "/api/series": api.series,
            "/api/query": api.query,
            "/api/latest": api.latest,
        }
        # Grafana and other clients of graphite-web write these with and without a slash at the end, and may post them.
        self._ask: dict[str, Endpoint] = {
            "/render": graphite.render,
            "/metrics/find": graphite.find,
            "/metrics/expand": graphite.expand,
            "/metrics/index.json": graphite.index,
            "/functions": graphite.functions,
            "/version": graphite.version,
            "/tags": graphite.nothing,
            "/tags/autoComplete/tags": graphite.nothing,
            "/tags/autoComplete/values": graphite.nothing,
            "/events/get_data": graphite.nothing,
        }
        self._below: dict[str, Endpoint] = {"/static/": page.file, "/functions/": graphite.function}

    async def __call__(self, request: Request) -> Response:
        """The answer of whatever is there."""
        path = request.path
        if endpoint := self._ask.get(path.removesuffix("/")):
            await request.read_form()
            return await endpoint(request)
        endpoint = self._read.get(path) or next((e for front, e in self._below.items() if path.startswith(front)), None)
        if endpoint is None:
            raise Refused(404, "there is nothing here; / is the page, /api/status, /api/series, /api/query and /metrics the data")
        if request.method == "POST":
            raise Refused(405, "GET or HEAD", {"allow": "GET, HEAD"})
        return await endpoint(request)
