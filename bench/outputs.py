"""What each output costs: CPU seconds of the whole agent for a million points that a backend took, beside others of its kind.

Each alone: an agent whose only collector gives 10,000 gauges a second, and one output to a backend on loopback: the real server
where its answers matter, else a listener that takes everything (the table says which). Counted is what the agent's own ledger
calls delivered or in flight. collectd, vmagent and statsd do the same work in the same run, as in compare.py.

Needs what `make test` installs: `.venv/bin/python bench/outputs.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import re
import shutil
import socket
import socketserver
import struct
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import servers
from compare import interpreter, moving
from databases import Maria, Postgres
from http_sink import HttpSink, Reply, Request
from meter import Tree
from peers import GAUGES, Collectd, Peer, Statsd, Vmagent
from test_output_amqp import LOGIN, Rabbit
from test_output_kafka import Cluster
from test_output_mqtt import Mosquitto

HEAD = """
[agent]
hostname = "bench"
interval = "1s"
state_dir = "{directory}/state"
defaults = false
plugins = ["plugins"]
[web]
enabled = false
[history]
enabled = false
[collectors.many]
[outputs.one]
"""

Backend = tuple[str, dict[str, Any]]
"""What it is, and the options of the output that sends there."""


@contextlib.contextmanager
def swallow(answer: Callable[[socket.socket], None] | None = None) -> Iterator[int]:
    """A TCP listener that reads to the end, or answers each connection as it is told; its port."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            with contextlib.suppress(OSError):
                if answer is not None:
                    answer(self.request)
                while self.request.recv(1 << 18):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@contextlib.contextmanager
def datagrams() -> Iterator[int]:
    """A UDP listener that takes everything; its port."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(0.2)
        over = threading.Event()

        def take() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    sock.recv(65536)

        thread = threading.Thread(target=take)
        thread.start()
        yield sock.getsockname()[1]
        over.set()
        thread.join()


def whole(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise OSError("the end")
        data += part
    return data


def zabbix(sock: socket.socket) -> None:
    """Says of each request that all of it was processed."""
    _, flags, length, size = struct.unpack("<4sBII", whole(sock, 13))
    body = whole(sock, length)
    total = len(json.loads(zlib.decompress(body, bufsize=size) if flags & 2 else body)["data"])
    said = f'{{"response":"success","info":"processed: {total}; failed: 0; total: {total}; seconds spent: 0.1"}}'.encode()
    sock.sendall(struct.pack("<4sBII", b"ZBXD", 1, len(said), 0) + said)


def riemann(sock: socket.socket) -> None:
    """Says ok to each message."""
    while True:
        whole(sock, struct.unpack(">I", whole(sock, 4))[0])
        sock.sendall(b"\0\0\0\2\x10\1")


def lines(**more: Any) -> Callable[[Path], contextlib.AbstractContextManager[Backend]]:
    """A listener that reads to the end."""

    @contextlib.contextmanager
    def begin(folder: Path) -> Iterator[Backend]:
        with swallow() as port:
            yield "a listener", {"address": f"127.0.0.1:{port}", **more}

    return begin


def answered(
    answer: Callable[[socket.socket], None], **more: Any
) -> Callable[[Path], contextlib.AbstractContextManager[Backend]]:
    """A listener that answers."""

    @contextlib.contextmanager
    def begin(folder: Path) -> Iterator[Backend]:
        with swallow(answer) as port:
            yield "a listener", {"address": f"127.0.0.1:{port}", **more}

    return begin


def udp(**more: Any) -> Callable[[Path], contextlib.AbstractContextManager[Backend]]:
    """A listener for datagrams."""

    @contextlib.contextmanager
    def begin(folder: Path) -> Iterator[Backend]:
        with datagrams() as port:
            yield "a listener", {"address": f"127.0.0.1:{port}", **more}

    return begin


def http(status: int = 204, body: bytes = b"", headers: dict[str, str] | None = None, **more: Any) -> Any:
    """An HTTP server that takes everything."""

    @contextlib.contextmanager
    def begin(folder: Path) -> Iterator[Backend]:
        sink = HttpSink()

        def reply(request: Request) -> Reply:
            sink.requests.clear()
            return Reply(status, body, headers)

        sink.reply = reply
        try:
            yield "a listener", {"url": sink.url, **more}
        finally:
            sink.stop()

    return begin


def server(name: str, argv: Callable[[Path, int], list[str]], options: Callable[[int], dict[str, Any]]) -> Any:
    """A real server that one command starts."""

    @contextlib.contextmanager
    def begin(folder: Path) -> Iterator[Backend]:
        port = servers.free_port()
        running = servers.start(argv(folder, port), folder / "server", lambda: servers.listens(port))
        try:
            yield name, options(port)
        finally:
            running.stop()

    return begin


@contextlib.contextmanager
def to_rrdcached(folder: Path) -> Iterator[Backend]:
    port = servers.free_port()
    (folder / "db").mkdir()
    argv = ["rrdcached", "-g", "-R", "-p", f"{folder}/pid", "-b", f"{folder}/db", "-B", "-l", f"127.0.0.1:{port}"]
    running = servers.start(argv, folder / "server", lambda: servers.listens(port))
    try:
        yield "rrdcached", {"address": f"127.0.0.1:{port}", "step": "1s", "folders": True}
    finally:
        running.stop()


@contextlib.contextmanager
def to_kafka(folder: Path) -> Iterator[Backend]:
    cluster = Cluster()
    cluster.topic("metrics")
    yield "librdkafka's mock cluster", {"address": cluster.address}
    cluster.end()


@contextlib.contextmanager
def to_amqp(folder: Path) -> Iterator[Backend]:
    (folder / "rabbit").mkdir()
    rabbit = Rabbit(folder / "rabbit")
    yield "RabbitMQ", {"address": rabbit.address, "queue": "all", **LOGIN}
    rabbit.server.kill()
    rabbit.epmd.kill()


@contextlib.contextmanager
def to_mqtt(folder: Path) -> Iterator[Backend]:
    broker = Mosquitto(folder / "mosquitto")
    yield "mosquitto", {"address": broker.address}
    broker.server.kill()


@contextlib.contextmanager
def to_database(made: Callable[[Path], Any], name: str) -> Iterator[Backend]:
    with tempfile.TemporaryDirectory() as folder:
        database = made(Path(folder))
        yield name, {"address": f"127.0.0.1:{database.port}", "password": "se'cret"}
        database.server.kill()


to_redis = server(
    "redis-server",
    lambda folder, port: ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""],
    lambda port: {"address": f"127.0.0.1:{port}"},
)

TARGETS: dict[str, tuple[str, Callable[[Path], contextlib.AbstractContextManager[Backend]]]] = {
    "graphite": ("graphite", lines()),
    "graphite, tags": ("graphite", lines(tags=True)),
    "graphite_pickle": ("graphite_pickle", lines()),
    "graphite_udp": ("graphite_udp", udp()),
    "remote_write 1": ("remote_write", http(version="1")),
    "remote_write 2": ("remote_write", http(204, headers={"X-Prometheus-Remote-Write-Samples-Written": "10000"}, version="2")),
    "otlp, protobuf": ("otlp", http(200)),
    "otlp, json": ("otlp", http(200, b"{}", {"Content-Type": "application/json"}, encoding="json")),
    "influxdb": ("influxdb", http(create=False)),
    "opentsdb": ("opentsdb", lines()),
    "opentsdb_http": ("opentsdb_http", http()),
    "http, json_lines": ("http", http()),
    "datadog": ("datadog", http(202, b"{}", api_key="0")),
    "statsd": ("statsd", udp()),
    "dogstatsd": ("dogstatsd", udp()),
    "collectd": ("collectd", udp()),
    "rrdcached": ("rrdcached", to_rrdcached),
    "riemann": ("riemann", answered(riemann)),
    "zabbix": ("zabbix", answered(zabbix)),
    "kafka": ("kafka", to_kafka),
    "nats": (
        "nats",
        server(
            "nats-server",
            lambda folder, port: ["nats-server", "-a", "127.0.0.1", "-p", str(port), "-js", "-sd", f"{folder}/js"],
            lambda port: {"address": f"127.0.0.1:{port}", "create": True},
        ),
    ),
    "mqtt, a message a batch": ("mqtt", lambda folder: batched(to_mqtt(folder))),
    "mqtt, a message a point": ("mqtt", to_mqtt),
    "amqp": ("amqp", to_amqp),
    "redis, a message a batch": ("redis", lambda folder: batched(to_redis(folder))),
    "redis, a message a point": ("redis", to_redis),
    "postgresql": ("postgresql", lambda folder: to_database(Postgres, "PostgreSQL")),
    "mysql": ("mysql", lambda folder: to_database(Maria, "MariaDB")),
    "sqlite": ("sqlite", lambda folder: contextlib.nullcontext(("SQLite", {"path": f"{folder}/samples.db"}))),
    "file": ("file", lambda folder: contextlib.nullcontext(("a file", {"path": f"{folder}/lines"}))),
}


@contextlib.contextmanager
def batched(target: contextlib.AbstractContextManager[Backend]) -> Iterator[Backend]:
    """The same with many points in a message."""
    with target as (name, options):
        yield name, {**options, "messages": "batch", **({"topic": "metrics"} if name == "mosquitto" else {})}


def value(option: Any) -> str:
    """An option as TOML has it."""
    return json.dumps(option)


def status(directory: Path) -> dict[str, Any]:
    """What the agent says of its output."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(10)
        sock.connect(str(directory / "state/control"))
        said = json.loads(b"".join(iter(lambda: sock.recv(65536), b"")))
        return dict(said["outputs"][0])


def measure(adamas: str, type_name: str, backend: Backend, directory: Path, count: int, warmup: float, seconds: float) -> float:
    """CPU seconds for a million points."""
    (directory / "plugins").mkdir()
    (directory / "plugins/many.py").write_text(GAUGES.replace("COUNT", str(count)))
    conf = directory / "adamas.toml"
    options = "".join(f"{name} = {value(option)}\n" for name, option in backend[1].items())
    conf.write_text(HEAD.replace("{directory}", str(directory)) + f'type = "{type_name}"\n{options}')
    tree = Tree([adamas, "run", "-c", str(conf)], directory)
    try:
        time.sleep(warmup)
        if tree.process.poll() is not None:
            raise RuntimeError(tree.log.read_text(errors="replace")[-500:])
        before, cpu = status(directory)["ledger"], tree.cpu()
        time.sleep(seconds)
        said, cpu_now = status(directory), tree.cpu()
        # What waits for its confirmation is on the wire already; it is confirmed every few sends.
        delivered = sum(said["ledger"][place] - before[place] for place in ("delivered", "flight"))
        if delivered < 0.7 * count * seconds or said["ledger"]["dropped"]:
            raise RuntimeError(f"delivered {delivered} of {count * seconds:.0f}; {said['state']}: {said['error']}")
        return 1e6 * (cpu_now - cpu) / delivered
    finally:
        tree.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else "")
    parser.add_argument("--adamas", default=str(Path(sys.executable).parent / "adamas"), help="the command to measure")
    parser.add_argument("--seconds", type=float, default=15, help="how long each is measured (default: 15)")
    parser.add_argument("--warmup", type=float, default=5, help="how long each may settle before (default: 5)")
    parser.add_argument("--count", type=int, default=10_000, help="points a second (default: 10000)")
    parser.add_argument("--only", default="", help="a regular expression: the outputs to measure")
    asked = parser.parse_args()
    found: list[tuple[str, str, float]] = []
    failed = False
    work = Path(tempfile.mkdtemp(prefix="adamas-bench-"))
    try:
        for name, (type_name, target) in TARGETS.items():
            if not re.search(asked.only, name):
                continue
            directory = Path(tempfile.mkdtemp(dir=work))
            try:
                with target(directory) as backend:
                    cost = measure(asked.adamas, type_name, backend, directory, asked.count, asked.warmup, asked.seconds)
                    found.append((name, backend[0], cost))
                    print(f"{name}: {cost:.2f}", flush=True)
            except Exception as error:
                failed = True
                print(f"no figure for {name}: {error!r}", file=sys.stderr)
        peers: list[Peer] = [Collectd(), Vmagent(), Statsd()]
        for peer in peers:
            if peer.argv0 and re.search(asked.only, f"the program {peer.name}"):
                cost = moving(peer, work, asked.count, asked.warmup, asked.seconds)["CPU for a million metrics, s"]
                found.append((f"the program {peer.name}", "a listener", cost))
                print(f"{peer.name}: {cost:.2f}", flush=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}"
    print(
        f"\n{machine}; Adamas on {interpreter(asked.adamas)}\n\n| output | backend | CPU s for a million |\n| --- | --- | --- |"
    )
    for name, backend_name, cost in found:
        print(f"| {name} | {backend_name} | {cost:.2f} |")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
