"""An HTTP server that answers as a test tells it to, for APIs whose real server cannot be had, and for what real ones do rarely."""

from __future__ import annotations

import gzip
import ssl
import subprocess
import threading
import zlib
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

UNPACK: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "deflate": zlib.decompress, "identity": bytes}
UNPACK |= {"snappy": bytes, "zstd": bytes}  # a test that wants to look unpacks them itself


class Request:
    """What came: `body` is unpacked, `headers` have lower case names."""

    def __init__(self, method: str, target: str, headers: dict[str, str], raw: bytes) -> None:
        self.method = method
        self.path = urlsplit(target).path
        self.query = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
        self.headers = headers
        self.raw = raw
        self.body = UNPACK[headers.get("content-encoding", "identity")](raw)


class Reply:
    """What the sink answers. hangs_up: it closes the connection after it, and does not say so."""

    def __init__(
        self, status: int = 204, body: bytes = b"", headers: dict[str, str] | None = None, hangs_up: bool = False
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers or {}
        self.hangs_up = hangs_up


class HttpSink:
    """Keeps every request; `reply` says what is answered to each."""

    def __init__(self, reply: Callable[[Request], Reply] = lambda request: Reply(), certificate: Path | None = None) -> None:
        self.requests: list[Request] = []
        self.connections = 0
        self.reply = reply
        sink = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 30

            def setup(self) -> None:
                super().setup()
                sink.connections += 1

            def answer(self) -> None:
                raw = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, raw)
                sink.requests.append(request)
                reply = sink.reply(request)
                self.send_response(reply.status)
                for name, value in reply.headers.items():
                    self.send_header(name, value)
                if reply.status != 204:
                    self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)
                self.close_connection = self.close_connection or reply.hangs_up

            do_GET = do_POST = do_PUT = answer  # noqa: N815 (the library's names)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                pass  # a client that hangs up in a handshake is a test's own doing

        self.server = Server(("127.0.0.1", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.port = int(self.server.server_address[1])
        self.url = f"http{'s' if certificate else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def stop(self) -> None:
        """Stop it."""
        self.server.shutdown()
        self.server.server_close()


def self_made_certificate(folder: Path) -> Path:
    """Certificate and key of 127.0.0.1 in one PEM file."""
    path = folder / "server.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    argv += [
        "-subj",
        "/CN=127.0.0.1",
        "-addext",
        "subjectAltName=IP:127.0.0.1",
        "-keyout",
        str(path),
        "-out",
        str(folder / "only.pem"),
    ]
    subprocess.run(argv, check=True, capture_output=True, timeout=20)
    path.write_bytes(path.read_bytes() + (folder / "only.pem").read_bytes())
    return path
