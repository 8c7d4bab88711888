"""The fixtures for real servers do what the tests that use them rely on."""

from __future__ import annotations

import http.server
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import servers

FORKS = "import os, sys, time; os.fork(); print(os.getpid(), flush=True); time.sleep(60)"
ABANDON = """
import os, pathlib, sys
sys.path.insert(0, sys.argv[1])
import servers
server = servers.start(["sleep", "60"], pathlib.Path(sys.argv[2]))
servers.wait_until(lambda: pathlib.Path(f"/proc/{server.pid}/comm").read_text() == "sleep\\n")
print(server.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def _gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def test_a_server_ends_with_all_that_it_started(tmp_path: Path) -> None:
    server = servers.start([sys.executable, "-c", FORKS], tmp_path)
    servers.wait_until(lambda: len(server.output().split()) == 2)
    pids = [int(pid) for pid in server.output().split()]
    server.stop()
    servers.wait_until(lambda: all(map(_gone, pids)), 2)


def test_a_server_dies_with_the_test_run(tmp_path: Path) -> None:
    out = subprocess.run(
        [sys.executable, "-c", ABANDON, str(Path(__file__).parent), str(tmp_path)], stdout=subprocess.PIPE, timeout=20
    ).stdout
    servers.wait_until(lambda: _gone(int(out)), 2)


def test_a_server_that_ends_early_says_why(tmp_path: Path) -> None:
    with pytest.raises(servers.ServerDied, match="no such option"):
        servers.start(
            [sys.executable, "-c", "raise SystemExit('no such option')"], tmp_path, lambda: servers.listens(servers.free_port())
        )


def test_a_server_that_never_answers_is_killed(tmp_path: Path) -> None:
    before = time.monotonic()
    with pytest.raises(TimeoutError, match=r"sleep did not come within 0\.3 s"):
        servers.start(["sleep", "60"], tmp_path, lambda: False, timeout=0.3)
    assert time.monotonic() - before < 3


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_SERVERS", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-server"):
        servers.require("sh", "no-such-server")
    monkeypatch.setenv("REQUIRE_SERVERS", "1")
    with pytest.raises(pytest.fail.Exception, match="no-such-server"):
        servers.require("no-such-server")
    servers.require("sh")


def test_carbon_keeps_what_it_is_told(carbon: servers.Carbon) -> None:
    now = int(time.time())
    with socket.create_connection(("127.0.0.1", carbon.port), 5) as sock:
        sock.sendall(f"servers.h.a 1.5 {now - 2}\nservers.h.a 2.5 {now - 1}\nservers.h.b 7 {now - 1}\n".encode())
    assert carbon.wait_for("servers.h.a", 2) == [(now - 2, 1.5), (now - 1, 2.5)]
    carbon.wait_for("servers.h.b")
    assert carbon.names() == ["servers.h.a", "servers.h.b"]
    assert carbon.points(["servers.h.b", "servers.h.c"]) == {"servers.h.b": [(now - 1, 7.0)], "servers.h.c": []}
    carbon.stop()
    with pytest.raises(OSError):
        servers.listens(carbon.port)
    carbon.start()
    assert carbon.points(["servers.h.b"])["servers.h.b"] == [(now - 1, 7.0)]


def test_prometheus_scrapes(prometheus: Callable[..., servers.Prometheus]) -> None:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'# TYPE x gauge\nx{host="h"} 42\n')

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as page:
        threading.Thread(target=page.serve_forever, daemon=True).start()
        found = prometheus([f"127.0.0.1:{page.server_port}"]).wait_for('x{job="test"}')
        page.shutdown()
    assert [(r["metric"]["host"], float(r["value"][1])) for r in found] == [("h", 42.0)]


def test_promtool_finds_a_fault() -> None:
    servers.require("promtool")
    assert servers.promtool_check("# HELP a_total All.\n# TYPE a_total counter\na_total 1\n") == ""
    assert "counter" in servers.promtool_check("# HELP a All.\n# TYPE a counter\na 1\n")


def test_a_folder_of_its_own(start: Callable[..., servers.Server]) -> None:
    first, second = start(["pwd"]), start(["pwd"])
    servers.wait_until(lambda: first.output() and second.output())
    assert first.output() != second.output()
    assert os.path.isdir(first.output().strip())


def test_without_root_missing_packages_are_named_not_installed() -> None:
    servers.require("dpkg-query", "setpriv")
    script = (Path(__file__).parent / "packages.sh").read_text()
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"] if os.getuid() == 0 else []
    done = subprocess.run(
        [*nobody, "sh", "-c", script, "packages.sh", "-"],
        input="# A list.\nlibc6\nno-such-package\n",
        cwd="/",
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "skipped: no-such-package\n" in done.stdout and "libc6" not in done.stdout
