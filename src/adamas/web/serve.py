"""uvicorn without its clock: a loop that sleeps until somebody asks, and connections that cannot be held for ever.

uvicorn's own main loop wakes ten times a second to renew a date header and to look for its end. This one has no date
header and is told of its end, so that an idle server costs nothing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from adamas import log
from adamas.web.api import Api
from adamas.web.asgi import encode
from adamas.web.graphite import Graphite
from adamas.web.guard import HEADERS, MOST_HEADERS, Guard
from adamas.web.live import Live
from adamas.web.page import STATIC, Page
from adamas.web.past import Past
from adamas.web.routes import Routes

if TYPE_CHECKING:
    import socket
    import threading
    from collections.abc import Sequence

    from adamas.web.view import View

MOST_CONNECTIONS = 128
KEEP_ALIVE = 30
REQUEST = 20.0
"""Seconds in which a request must arrive whole, and in which an answer must be taken."""


class Connection(H11Protocol):
    """A connection that is hung up on where a request or the taking of an answer lasts too long, or there are too many."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Somebody is there."""
        super().connection_made(transport)
        if len(self.connections) > MOST_CONNECTIONS:
            transport.abort()
        else:
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody is there any more."""
        self._relax()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """A part of a request; once it is whole, the answer has all the time that it needs."""
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete and not self.cycle.more_body:
            self._relax()
        elif self._patience is None:
            self._expect()

    def on_response_complete(self) -> None:
        """The answer is written; until it is taken, and the next request there, the clock runs."""
        self._relax()
        self._patience = self.loop.call_later(REQUEST + KEEP_ALIVE, self._hang_up)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Not HTTP, or too much of it: one line of JSON, as every other error."""
        headers = [(b"content-type", b"application/json"), (b"connection", b"close"), *HEADERS]
        out = self.conn.send(h11.Response(status_code=400, headers=headers, reason=b"Bad Request"))
        out += self.conn.send(h11.Data(data=encode({"error": f"{msg} (its headers have at most {MOST_HEADERS} bytes)"})))
        out += self.conn.send(h11.EndOfMessage())
        self.transport.write(out)
        self.transport.close()

    def _expect(self) -> None:
        self._relax()
        self._patience = self.loop.call_later(REQUEST, self._hang_up)

    def _relax(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _hang_up(self) -> None:
        self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn's server, asleep between requests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ended = asyncio.Event()

    async def main_loop(self) -> None:
        """Wait for the end."""
        await self.ended.wait()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let what is under way end, as long as there is time; hang up on the rest."""
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()


class _Words(logging.Handler):
    """What uvicorn and asyncio have to say, in the agent's log, where a flood is cut."""

    def emit(self, record: logging.LogRecord) -> None:
        log.warning("web", record.getMessage())


class Serving:
    """The routes, behind the guard, on a socket. `run` is the life of the server's thread."""

    def __init__(self, sock: socket.socket, host: str, token: str, view: View, names: Sequence[str]) -> None:
        self._socket = sock
        live = Live(view)
        self._past = Past(view, live)
        routes = Routes(Api(view, live, self._past), Graphite(view, self._past), Page())
        login = (STATIC / "token.html").read_text()
        self._app = Guard(routes, host, token, login, names)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: Server | None = None

    def run(self, ready: threading.Event) -> None:
        """Serve until `stop`."""
        for name in ("uvicorn.error", "asyncio"):
            logger = logging.getLogger(name)
            logger.handlers, logger.propagate = [_Words(logging.WARNING)], False
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: threading.Event) -> None:
        config = uvicorn.Config(
            self._app,
            http=Connection,
            loop="asyncio",
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE,
            h11_max_incomplete_event_size=MOST_HEADERS,
        )
        self._loop = asyncio.get_running_loop()
        self._server = Server(config)
        ready.set()
        try:
            await self._server.serve(sockets=[self._socket])
        finally:
            self._past.close()

    def stop(self, deadline: float) -> None:
        """From another thread: end by then (monotonic)."""
        if self._loop is None or self._server is None:
            return
        self._server.config.timeout_graceful_shutdown = max(0.0, deadline - time.monotonic() - 0.1)  # type: ignore[assignment]
        try:
            self._loop.call_soon_threadsafe(self._server.ended.set)
        except RuntimeError:
            pass  # it has ended by itself
