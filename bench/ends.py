"""Where the metrics of those that are measured go: a Graphite listener that counts, a scraper that asks, a page that is asked."""

from __future__ import annotations

import http.client
import http.server
import selectors
import socket
import threading
import time


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class End(threading.Thread):
    """Counts the metrics that arrive. `first` is when the first one did (monotonic), 0 before."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.port = port
        self.count = 0
        self.first = 0.0
        self.stopping = False

    def _arrived(self, count: int) -> None:
        if count:
            self.first = self.first or time.monotonic()
            self.count += count

    def stop(self) -> None:
        """Count no more."""
        self.stopping = True
        self.join()


class Sink(End):
    """Accepts lines over TCP. Reads until the peer's end of file and then closes, as carbon does."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._listener = socket.create_server(("127.0.0.1", port))

    def run(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self.stopping:
                for key, _ in selector.select(0.1):
                    sock = key.fileobj
                    assert isinstance(sock, socket.socket)
                    if sock is self._listener:
                        selector.register(sock.accept()[0], selectors.EVENT_READ)
                        continue
                    try:
                        data = sock.recv(1 << 18)
                    except OSError:
                        data = b""
                    self._arrived(data.count(b"\n"))
                    if not data:
                        selector.unregister(sock)
                        sock.close()
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


class Scraper(End):
    """Asks for /metrics every second, over a connection that it keeps, as Prometheus does."""

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        due = time.monotonic()
        while not self.stopping:
            try:
                connection.request("GET", "/metrics")
                body = connection.getresponse().read()
            except OSError:
                connection.close()
                time.sleep(0.005)
                due = time.monotonic()
                continue
            self._arrived(sum(1 for line in body.splitlines() if line[:1] not in (b"", b"#")))
            due += 1
            while not self.stopping and (left := due - time.monotonic()) > 0:
                time.sleep(min(left, 0.1))
        connection.close()


class Page(End):
    """Shows `body` to one that scrapes, and takes what it writes elsewhere. Each reading counts as the page's samples."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.body = b""
        end = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(200, end.body)
                end._arrived(end.body.count(b"\n") - 1)

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._answer(204, b"")

            def _answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)

    def run(self) -> None:
        self._server.serve_forever(0.1)

    def stop(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        super().stop()
        self._server.server_close()
