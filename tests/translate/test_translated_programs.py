"""Python 2 programs do, translated, what Python 2.7 did: their output was recorded there, and is compared again where it is installed.

`programs/` print; `collectors/` are collectors in the style of those in the wild, which ask real servers, commands and files. To
record anew: ADAMAS_RECORD=1 with a python2.7 on the path (or in ~/.pyenv/versions, or named by ADAMAS_PYTHON2).
"""

from __future__ import annotations

import gzip
import http.server
import io
import os
import pickle
import shutil
import socket
import socketserver
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from adamas.translate import translate

HERE = Path(__file__).parent
SRC = HERE.parent.parent / "src"
PROGRAMS = sorted((HERE / "programs").glob("*.py2"))
COLLECTORS = [*sorted((HERE / "collectors").glob("*.py2")), HERE / "collectors/beside/http.py2"]
RECORD = bool(os.environ.get("ADAMAS_RECORD"))


@cache
def python2() -> str:
    """A Python 2.7 that runs, or "" where there is none."""
    named = os.environ.get("ADAMAS_PYTHON2") or shutil.which("python2.7")
    for path in [named, *map(str, Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))]:
        if (
            path
            and Path(path).is_file()
            and subprocess.run([path, "-c", "print 1"], capture_output=True, check=False, timeout=30).returncode == 0
        ):
            return path
    return ""


def run(argv: list[str], folder: Path, **more: str) -> str:
    environment = {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "PYTHONIOENCODING": "utf-8:surrogateescape",
        "PYTHONDONTWRITEBYTECODE": "1",
        **more,
    }
    done = subprocess.run(argv, capture_output=True, cwd=folder, env=environment, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "surrogateescape")


def recorded(path: Path, anew: str | None) -> str:
    """What Python 2.7 printed; `anew` is what it prints here, if it is here."""
    kept = path.with_suffix(".out")
    if anew is not None and RECORD:
        kept.write_bytes(anew.encode("utf-8", "surrogateescape"))
    expected = kept.read_bytes().decode("utf-8", "surrogateescape")
    assert anew in (None, expected), "Python 2.7 does not print what was recorded of it"
    return expected


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_a_program_prints_what_it_printed(path: Path, tmp_path: Path) -> None:
    source = path.read_bytes()
    text = translate(source, path.name)
    (tmp_path / "translated.py").write_text(text)
    old = run([python2(), str(path)], tmp_path) if python2() else None
    new = run([sys.executable, "translated.py"], tmp_path, PYTHONPATH=str(SRC))
    assert new == recorded(path, old)
    assert text.count("\n") == source.count(b"\n")


class _Text(socketserver.StreamRequestHandler):
    """Answers `stats`; takes a pickle with its length and gives it back; knows nothing else."""

    def handle(self) -> None:
        line = self.rfile.read(6)
        if line == b"PICKLE":
            (length,) = struct.unpack("!L", self.rfile.read(4))
            answer = pickle.dumps(pickle.loads(self.rfile.read(length), encoding="bytes"), 2)
            self.wfile.write(struct.pack("!L", len(answer)) + answer)
        elif line == b"stats\r":
            lines = ["version caf\u00e9", "get_hits 200", "get_misses 100", "bytes 12345678901234567890", "uptime 7 days"]
            self.wfile.write("".join(f"STAT {line}\r\n" for line in lines).encode() + b"END\r\n")


class _Datagram(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        data, sock = self.request
        assert data == b"\x1b" + bytes(15)
        answer = struct.pack("!BBHI8s", 1, 2, 0xC3A9, 3600000000, b"ntp\xe9")
        sock.sendto(answer + b"\x02\xc3\xa9" + b"\x03\x00\xff\x80" + b"\x04abcd", self.client_address)


class _Web(http.server.BaseHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        body = {
            "/json": b'{"count": 7, "share": 0.5, "name": "caf\xc3\xa9", "long": 12345678901234567890}',
            "/lines": b"Total: 5\nBusy: 2\ncaf\xe9: 1\n",
            "/gzip": gzip.compress(b"compressed \xc3\xa9", mtime=0),
            "/missing": b"nothing here",
        }[path]
        if path == "/json" and "user" in self.path:
            assert self.path.endswith("?q=x%2Fy&user=a+b"), self.path
            assert self.headers["Authorization"] == "Basic bWU6c8OpY3JldA=="
        self.send_response(404 if path == "/missing" else 200)
        self.answer(body, "application/json")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.answer(body, "text/plain")

    def answer(self, body: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where the servers that these collectors ask listen: TCP and UDP on one port, or HTTP."""
    servers: list[Any]
    if request.param == "web":
        servers = [http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Web)]
    else:
        stream = socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Text)
        servers = [stream, socketserver.ThreadingUDPServer(stream.server_address, _Datagram)]  # type: ignore[arg-type]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield servers[0].server_address[1]
    for server in servers:
        server.shutdown()
        server.server_close()


def kind(path: Path) -> str:
    return "web" if path.stem == "webstatus" else "plain"


def laid_out(path: Path, folder: Path) -> Path:
    """The collector in a folder of its own, with what is beside it, under the names that Python wants."""
    folder.mkdir()
    (folder / "work").mkdir()
    beside = [path] if path.parent.name == "collectors" else sorted(path.parent.rglob("*.py2"))
    for file in beside:
        target = folder / "code" / file.relative_to(path.parent).with_suffix(".py")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())
    return folder / "code" / path.with_suffix(".py").name


@pytest.mark.parametrize(
    ("path", "port"), [(p, kind(p)) for p in COLLECTORS], indirect=["port"], ids=lambda p: getattr(p, "stem", "")
)
def test_a_collector_publishes_what_it_published(path: Path, port: int, tmp_path: Path) -> None:
    def publish(python: str, name: str, *paths: Path) -> str:
        file = laid_out(path, tmp_path / name)
        argv = [
            python,
            str(HERE / "drive.py"),
            str(file),
            str(port),
            str(tmp_path / name / "cache"),
            str(tmp_path / name / "work"),
        ]
        return run(argv, tmp_path, PYTHONPATH=os.pathsep.join(map(str, [HERE / "fake", *paths])))

    old = publish(python2(), "old") if python2() else None
    assert publish(sys.executable, "new", SRC) == recorded(path, old)


def test_every_program_and_collector_is_run() -> None:
    outputs = {p.with_suffix(".py2") for p in HERE.rglob("*.out")}
    assert outputs == {*PROGRAMS, *COLLECTORS}


def test_streams_are_read_as_they_are() -> None:
    """The servers above are what they claim: a client without the translator reads their bytes."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Text) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        with socket.create_connection(server.server_address, 5) as client:  # type: ignore[arg-type]
            client.sendall(b"stats\r\n")
            got = io.BytesIO(b"".join(iter(lambda: client.recv(100), b""))).read()
        server.shutdown()
    assert got.startswith("STAT version caf\u00e9\r\n".encode()) and got.endswith(b"END\r\n")
