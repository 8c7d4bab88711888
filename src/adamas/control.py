"""The unix socket in the state directory on which `adamas status` asks a running agent: connect, read JSON, done.

Only the agent's own user may connect. It works without the page and costs no thread until someone asks.
"""

from __future__ import annotations

import os
import socket
import threading

from adamas import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAME = "control"
PATIENCE = 5.0


def listen(path: str) -> socket.socket | None:
    """The listening socket, or None (and a warning) where it cannot be: the agent goes on without it."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
    try:
        if os.path.exists(path):
            os.unlink(path)  # left by an agent that was killed: the state directory is locked by us
        before = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(before)
        sock.listen(8)
    except OSError as error:
        log.warning("adamas", f"`adamas status` will not work: {path}: {error}")
        sock.close()
        return None
    return sock


def answer(listener: socket.socket, status: Callable[[], dict[str, Any]]) -> None:
    """One status for whoever connected, on a thread of its own, so that a client that does not read holds up nothing."""
    try:
        client, _ = listener.accept()
    except OSError:
        return

    def tell() -> None:
        import json

        with client:
            client.settimeout(PATIENCE)
            try:
                client.sendall(json.dumps(status()).encode())
            except OSError:
                pass

    threading.Thread(target=tell, name="status", daemon=True).start()


def close(listener: socket.socket, path: str) -> None:
    """Stop listening."""
    listener.close()
    try:
        os.unlink(path)
    except OSError:
        pass


def ask(path: str) -> dict[str, Any]:
    """The status of the agent that listens there; OSError where none does, ValueError where the answer is cut short."""
    import json

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(path)
        status: dict[str, Any] = json.loads(b"".join(iter(lambda: sock.recv(65536), b"")))
        return status
