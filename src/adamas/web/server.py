"""The web server: a socket, a thread with a loop of its own, and the routes.

The address is bound at once, in the caller's thread, so that a mistake is seen at once; what costs memory and time to
import (asyncio, uvicorn) is imported in the server's own thread while the collectors already run.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING

from adamas import log
from adamas.host import split_address
from adamas.web.address import bind, is_loopback

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.web.serve import Serving
    from adamas.web.view import View


class WebServer:
    """Serves the page, the API and /metrics. `names` are further host names by which it may be asked."""

    def __init__(self, listen: str, token: str, view: View, names: Sequence[str] = ()) -> None:
        self._host, self._port = split_address(listen)
        if self._host == "*":
            self._host = ""
        if not token and not is_loopback(self._host):
            raise ValueError(f'a token is needed where others can ask: "{listen}" is not a loopback address')
        self._token = token
        self._view = view
        self._names = names
        self._socket: socket.socket | None = None
        self._serving: Serving | None = None
        self._ready = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        """Bind and serve; returns the address. OSError where it cannot be bound."""
        self._socket = bind(self._host, self._port)
        if not self._token and not is_loopback(self._socket.getsockname()[0]):
            self._socket.close()
            raise ValueError(f'a token is needed: "{self._host}" is not a loopback address')
        host, port = self._socket.getsockname()[:2]
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._thread.start()
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def stop(self, deadline: float) -> None:
        """Answer what is under way until `deadline` (monotonic), then hang up."""
        if self._thread is None:
            return
        self._ready.wait(max(0.0, deadline - time.monotonic()))
        if self._serving is not None:
            self._serving.stop(deadline)
        self._thread.join(max(0.0, deadline - time.monotonic()) + 0.5)
        self._thread = None

    def _run(self) -> None:
        try:
            from adamas.web.serve import Serving

            assert self._socket is not None
            self._serving = Serving(self._socket, self._host, self._token, self._view, self._names)
            self._serving.run(self._ready)
        except Exception as error:
            log.error("web", f"has stopped: {type(error).__name__}: {error}")
        finally:
            self._ready.set()
            if self._socket is not None:
                self._socket.close()
