"""Real servers for tests: each in a folder of its own, on free loopback ports, ended with the test run.

A server is started in the foreground under `setpriv --pdeathsig KILL`, so that it dies with the test run whatever
happens, and in a session of its own, so that stopping it ends what it started and nothing else. It is ready when its
protocol answers; nothing here sleeps and hopes.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

POLL = 0.01
TRIES = 3
SYSTEM_PYTHON = "/usr/bin/python3"


def require(*programs: str) -> None:
    """Skip the test by the name of what is not installed; fail instead where REQUIRE_SERVERS=1."""
    missing = [p for p in programs if shutil.which(p, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None]
    if not missing:
        return
    message = f"not installed: {', '.join(missing)} (see tests/packages.txt)"
    if os.environ.get("REQUIRE_SERVERS") == "1":
        pytest.fail(message)
    pytest.skip(message)


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody uses now."""
    with socket.socket(socket.AF_INET, kind) as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(ask: Callable[[], Any], timeout: float = 10.0, what: str = "") -> Any:
    """The first true answer of `ask`, asked every 10 ms; what it raises counts as not yet."""
    end = time.monotonic() + timeout
    last: BaseException | None = None
    while True:
        try:
            if answer := ask():
                return answer
            last = None
        except Exception as error:
            last = error
        if time.monotonic() > end:
            raise TimeoutError(f"{what or 'it'} did not come within {timeout:g} s ({last!r})")
        time.sleep(POLL)


def listens(port: int) -> bool:
    """Whether something accepts connections on a loopback port."""
    with socket.create_connection(("127.0.0.1", port), 0.5):
        return True


def get(port: int, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """(status, body) of a GET on loopback."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


class ServerDied(RuntimeError):
    """A server ended before it was ready."""


class Server:
    """A running server: its process and the file with what it said."""

    def __init__(self, argv: Sequence[str], log: Path, process: subprocess.Popen[bytes]) -> None:
        self.argv = list(argv)
        self.log = log
        self.process = process

    @property
    def pid(self) -> int:
        """Its own process, which leads its group."""
        return self.process.pid

    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def output(self) -> str:
        """What it printed so far."""
        return self.log.read_text(errors="replace")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, to its whole group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self, grace: float = 5.0) -> int:
        """SIGTERM and wait; then SIGKILL for what is left of its group. Returns the exit code."""
        if self.alive():
            self.signal(signal.SIGCONT)
            self.signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(grace)
        self.kill()
        return int(self.process.returncode)


def start(
    argv: Sequence[str],
    directory: Path,
    ready: Callable[[], Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 20.0,
) -> Server:
    """Start `argv` with `directory` as its working directory and wait until `ready` gives something true."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{Path(argv[0]).name}.log"
    with log.open("ab") as out:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *argv],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            cwd=directory,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    server = Server(argv, log, process)
    if ready is None:
        return server

    def check() -> Any:
        if not server.alive():
            return True
        return ready()

    try:
        wait_until(check, timeout, argv[0])
    except TimeoutError as error:
        server.kill()
        raise TimeoutError(f"{error}\n{server.output()[-2000:]}") from None
    if not server.alive():
        raise ServerDied(f"{argv[0]} ended with {server.process.returncode}\n{server.output()[-2000:]}")
    return server


CARBON_CONF = """[cache]
STORAGE_DIR={dir}
CONF_DIR={dir}
LOG_DIR={dir}/log
PID_DIR={dir}
LOCAL_DATA_DIR={dir}/whisper
USER=
MAX_CACHE_SIZE=inf
MAX_UPDATES_PER_SECOND=5000
MAX_CREATES_PER_MINUTE=inf
LINE_RECEIVER_INTERFACE=127.0.0.1
LINE_RECEIVER_PORT={line}
ENABLE_UDP_LISTENER=True
UDP_RECEIVER_INTERFACE=127.0.0.1
UDP_RECEIVER_PORT={line}
PICKLE_RECEIVER_INTERFACE=127.0.0.1
PICKLE_RECEIVER_PORT={pickle}
CACHE_QUERY_INTERFACE=127.0.0.1
CACHE_QUERY_PORT={query}
USE_INSECURE_UNPICKLER=False
CACHE_WRITE_STRATEGY=naive
LOG_UPDATES=False
ENABLE_TAGS=False
CARBON_METRIC_INTERVAL=0
"""

READ_WHISPER = """
import json, sys, whisper
since, until = int(sys.argv[1]), int(sys.argv[2])
found = {}
for path in sys.argv[3:]:
    try:
        (start, end, step), values = whisper.fetch(path, since - 1, until)
    except (OSError, ValueError, whisper.WhisperException):
        found[path] = []
        continue
    found[path] = [(t, v) for t, v in zip(range(start, end, step), values) if v is not None]
print(json.dumps(found))
"""


class Carbon:
    """Graphite's own carbon-cache, one second a point for an hour, in a folder of its own.

    It keeps its ports when it is stopped and started again: what was delivered before is still on its disk.
    """

    def __init__(self, directory: Path, retention: str = "1s:1h") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "storage-schemas.conf").write_text(f"[all]\npattern=.*\nretentions={retention}\n")
        self.server: Server | None = None
        for attempt in range(TRIES):
            self.port, self.pickle_port, self.query_port = (free_port() for _ in range(3))
            try:
                self.start()
                return
            except ServerDied:  # someone took a port in between
                if attempt == TRIES - 1:
                    raise

    @property
    def address(self) -> str:
        """Where lines go."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again on the same ports."""
        conf = self.directory / "carbon.conf"
        conf.write_text(CARBON_CONF.format(dir=self.directory, line=self.port, pickle=self.pickle_port, query=self.query_port))
        (self.directory / "carbon-cache-a.pid").unlink(missing_ok=True)
        self.server = start(
            ["carbon-cache", f"--config={conf}", "--nodaemon", "start"],
            self.directory,
            lambda: listens(self.port) and listens(self.query_port),
            env={"GRAPHITE_ROOT": str(self.directory)},
        )

    def stop(self) -> None:
        """Stop it in peace: it writes what it holds."""
        if self.server is not None:
            self.server.stop()

    def kill(self) -> None:
        """SIGKILL: what it had not written is lost."""
        if self.server is not None:
            self.server.kill()

    def names(self) -> list[str]:
        """Every series that it has on disk, sorted."""
        root = self.directory / "whisper"
        return sorted(str(p.relative_to(root).with_suffix("")).replace("/", ".") for p in root.rglob("*.wsp"))

    def points(self, names: Iterable[str], since: float = 0, until: float = 0) -> dict[str, list[tuple[int, float]]]:
        """The (time, value) points on disk of each of these series, by Graphite's own library; [] where it has none."""
        root = self.directory / "whisper"
        files = {name: str(root / (name.replace(".", "/") + ".wsp")) for name in names}
        last = int(until or time.time())
        out = subprocess.run(
            [SYSTEM_PYTHON, "-c", READ_WHISPER, str(int(since) or last - 3600), str(last), *files.values()],
            check=True,
            capture_output=True,
            timeout=30,
        ).stdout
        found = json.loads(out)
        return {name: [(int(t), float(v)) for t, v in found[path]] for name, path in files.items()}

    def wait_for(self, name: str, count: int = 1, since: float = 0, timeout: float = 15.0) -> list[tuple[int, float]]:
        """The points of one series once there are so many on disk."""

        def enough() -> list[tuple[int, float]] | None:
            points = self.points([name], since)[name]
            return points if len(points) >= count else None

        found: list[tuple[int, float]] = wait_until(enough, timeout, f"{count} points of {name}")
        return found


class Prometheus:
    """A real Prometheus that scrapes `targets` and takes remote write, in a folder of its own.

    The first scrape comes about 6 s after the start: target discovery waits for 5.
    """

    def __init__(self, directory: Path, targets: Sequence[str] = (), interval: str = "1s") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        conf = directory / "prometheus.yml"
        listed = ", ".join(f'"{target}"' for target in targets)
        scrape = f"scrape_configs:\n- job_name: test\n  static_configs:\n  - targets: [{listed}]\n" if targets else ""
        conf.write_text(f"global:\n  scrape_interval: {interval}\n  scrape_timeout: {interval}\n{scrape}")
        for attempt in range(TRIES):
            self.port = free_port()
            try:
                self.server = start(
                    [
                        "prometheus",
                        f"--config.file={conf}",
                        f"--storage.tsdb.path={directory}/data",
                        f"--web.listen-address=127.0.0.1:{self.port}",
                        "--web.enable-remote-write-receiver",
                        "--storage.tsdb.retention.time=1d",
                        "--log.level=warn",
                    ],
                    directory,
                    lambda: get(self.port, "/-/ready")[0] == 200,
                )
                return
            except ServerDied:  # someone took the port in between
                if attempt == TRIES - 1:
                    raise

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The result vector of an instant query: [{"metric": labels, "value": [time, text]}]."""
        from urllib.parse import quote

        status, body = get(self.port, f"/api/v1/query?query={quote(expression)}")
        assert status == 200, body
        result: list[dict[str, Any]] = json.loads(body)["data"]["result"]
        return result

    def wait_for(self, expression: str, timeout: float = 20.0) -> list[dict[str, Any]]:
        """The result of a query once it has one."""
        found: list[dict[str, Any]] = wait_until(lambda: self.query(expression), timeout, expression)
        return found

    def stop(self) -> None:
        """Stop it."""
        self.server.stop()


def promtool_check(exposition: str) -> str:
    """What `promtool check metrics` says about an exposition page: nothing where it is clean."""
    done = subprocess.run(["promtool", "check", "metrics"], input=exposition.encode(), capture_output=True, timeout=30)
    return (done.stdout + done.stderr).decode()


class Victoria:
    """A real VictoriaMetrics: what came in by any protocol goes out by `export`. It keeps its ports and data over a restart."""

    def __init__(self, directory: Path, *more: str) -> None:
        self.directory = directory
        self.more = more
        for attempt in range(TRIES):
            self.port, self.opentsdb_port, self.opentsdb_http_port = (free_port() for _ in range(3))
            try:
                self.start()
                return
            except ServerDied:  # someone took a port in between
                if attempt == TRIES - 1:
                    raise

    def start(self) -> None:
        """Start it, again on the same ports."""
        self.server = start(
            [
                "victoria-metrics",
                f"-storageDataPath={self.directory}/data",
                f"-httpListenAddr=127.0.0.1:{self.port}",
                f"-opentsdbListenAddr=127.0.0.1:{self.opentsdb_port}",
                f"-opentsdbHTTPListenAddr=127.0.0.1:{self.opentsdb_http_port}",
                "-search.latencyOffset=0s",
                "-retentionPeriod=1",
                "-memory.allowedBytes=64MB",
                "-search.disableCache",
                *self.more,
            ],
            self.directory,
            lambda: get(self.port, "/health")[0] == 200,
        )

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def export(self, match: str = '{__name__!=""}') -> dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]]:
        """Everything that it has: (name, sorted labels) -> time in seconds -> value."""
        from urllib.parse import quote

        get(self.port, "/internal/force_flush", 20)
        status, body = get(self.port, f"/api/v1/export?match[]={quote(match)}", 20)
        assert status == 200, body
        found: dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]] = {}
        for line in body.splitlines():
            series = json.loads(line)
            labels = series["metric"]
            key = (labels.pop("__name__"), tuple(sorted(labels.items())))
            points = zip(series["timestamps"], series["values"])
            found.setdefault(key, {}).update({stamp / 1000: float(value) for stamp, value in points})
        return found

    def stop(self) -> None:
        """Stop it in peace: it writes what it holds."""
        self.server.stop()


class Influx:
    """A real InfluxDB 1, with an OpenTSDB listener that writes to the database `opentsdb`. It keeps its ports over a restart."""

    def __init__(self, directory: Path, authentication: bool = False, most: int = 25_000_000) -> None:
        self.directory = directory
        self.authentication = authentication
        self.most = most
        for attempt in range(TRIES):
            self.port, self.opentsdb_port, self._inner_port = (free_port() for _ in range(3))
            try:
                self.start()
                return
            except ServerDied:  # someone took a port in between
                if attempt == TRIES - 1:
                    raise

    def start(self) -> None:
        """Start it, again on the same ports."""
        where = self.directory
        where.mkdir(parents=True, exist_ok=True)
        (where / "influxdb.conf").write_text(
            f'reporting-disabled = true\nbind-address = "127.0.0.1:{self._inner_port}"\n[meta]\n dir = "{where}/meta"\n'
            f'[data]\n dir = "{where}/data"\n wal-dir = "{where}/wal"\n[http]\n bind-address = "127.0.0.1:{self.port}"\n'
            f" log-enabled = false\n max-body-size = {self.most}\n auth-enabled = {str(self.authentication).lower()}\n"
            f'[[opentsdb]]\n enabled = true\n bind-address = "127.0.0.1:{self.opentsdb_port}"\n batch-timeout = "20ms"\n'
        )
        argv = ["influxd", "-config", f"{where}/influxdb.conf"]
        self.server = start(argv, where, lambda: get(self.port, "/ping")[0] == 204)

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    def query(self, text: str, database: str = "", user: str = "", password: str = "") -> list[dict[str, Any]]:
        """The series of a query's result; times in milliseconds."""
        from urllib.parse import urlencode

        asked = {"q": text, "db": database, "epoch": "ms", "u": user, "p": password}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", "/query?" + urlencode({key: value for key, value in asked.items() if value}))
            answer = connection.getresponse()
            body = json.loads(answer.read())
        finally:
            connection.close()
        assert answer.status == 200, body
        assert "error" not in body["results"][0], body
        found: list[dict[str, Any]] = body["results"][0].get("series", [])
        return found

    def points(self, database: str) -> dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[float, float]]:
        """Everything in a database: (measurement, field, sorted tags) -> time in seconds -> value."""
        found: dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[float, float]] = {}
        for series in self.query("SELECT *::field FROM /.*/ GROUP BY *", database):
            tags = tuple(sorted((key, value) for key, value in series.get("tags", {}).items() if value))
            for stamp, *values in series["values"]:
                for field, value in zip(series["columns"][1:], values):
                    if value is not None:
                        found.setdefault((series["name"], field, tags), {})[stamp / 1000] = float(value)
        return found

    def stop(self) -> None:
        """Stop it in peace: it writes what it holds."""
        self.server.stop()
