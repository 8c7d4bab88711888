"""A real collectd has every value that is sent to it, and refuses what is signed wrongly."""

from __future__ import annotations

import math
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

sys.path.insert(0, str(Path(__file__).parent))

from roundtrip import Trip, batches

from adamas.outputs.collectd import Collectd

CONFIG = """BaseDir "{dir}"
PIDFile "{dir}/pid"
PluginDir "/usr/lib/collectd"
TypesDB "/usr/share/collectd/types.db"
Interval 10
LoadPlugin network
LoadPlugin write_graphite
LoadPlugin unixsock
LoadPlugin logfile
<Plugin logfile>
  File "{dir}/log"
</Plugin>
<Plugin network>
  <Listen "127.0.0.1" "{port}">
    {security}
  </Listen>
</Plugin>
<Plugin write_graphite>
  <Node "sink">
    Host "127.0.0.1"
    Port "{graphite}"
    StoreRates false
    PreserveSeparator true
    LogSendErrors false
  </Node>
</Plugin>
<Plugin unixsock>
  SocketFile "{dir}/socket"
</Plugin>
"""


class Lines:
    """Takes lines on a loopback port."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.data: list[bytes] = []
        self.thread = threading.Thread(target=self._take, daemon=True)
        self.thread.start()

    def _take(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                while data := connection.recv(65536):
                    self.data.append(data)

    def whole(self) -> list[str]:
        """The lines that came to their end."""
        return b"".join(list(self.data)).decode().split("\r\n")[:-1]

    def close(self) -> None:
        """Take no more."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(10)


class RunningCollectd:
    """collectd with its network server; what it takes, it writes as Graphite lines with 15 digits, and `,` and `:` as `_`."""

    def __init__(self, directory: Path, security: str = "") -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.port = servers.free_port(socket.SOCK_DGRAM)
        self.sink = Lines()
        (directory / "users").write_text("agent: secret\n")
        security = security and f'SecurityLevel "{security}"\n    AuthFile "{directory}/users"'
        config = directory / "collectd.conf"
        config.write_text(CONFIG.format(dir=directory, port=self.port, graphite=self.sink.port, security=security))
        self.server = servers.start(["collectd", "-f", "-C", str(config)], directory, lambda: "Value" in self.ask("LISTVAL"))

    def ask(self, command: str) -> str:
        """The answer to a command, as its status line says how long it is."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.directory / "socket"))
            sock.sendall(command.encode() + b"\n")
            with sock.makefile(encoding="utf-8", errors="surrogateescape") as answer:
                first = answer.readline()
                return first + "".join([answer.readline() for _ in range(int(first.split(" ", 1)[0]))])

    def names(self) -> set[str]:
        """The series of this host that it knows: host/plugin/type-instance."""
        return {line.split(" ", 1)[1] for line in self.ask("LISTVAL").split("\n")[1:-1]}

    def values(self) -> dict[str, dict[float, float]]:
        """Everything that it wrote so far: host.plugin.type-instance -> time -> value."""
        self.ask("FLUSH")
        found: dict[str, dict[float, float]] = {}
        for line in self.sink.whole():
            name, value, stamp = line.split(" ")
            found.setdefault(name, {})[int(stamp)] = float(value)
        return found


@pytest.fixture
def collectd(tmp_path: Path) -> Iterator[Callable[..., RunningCollectd]]:
    """`collectd()`: a running one; `collectd("Sign")`: one that wants signatures."""
    servers.require("collectd")
    running: list[RunningCollectd] = []

    def begin(security: str = "") -> RunningCollectd:
        running.append(RunningCollectd(tmp_path / f"collectd{len(running)}", security))
        return running[-1]

    yield begin
    for one in running:
        one.server.stop()
        one.sink.close()


def identity(point: Any, totals: str) -> str:
    """The name under which collectd has a point."""
    plugin, _, instance = point.name.partition("/")
    return f"h/{plugin}/{'derive' if totals == 'derive' and point.kind == 'counter' else 'gauge'}-{instance}"


@pytest.mark.parametrize(("totals", "security"), [("gauge", ""), ("derive", "Sign")])
def test_collectd_has_every_value_with_its_time(
    collectd: Callable[..., RunningCollectd], tmp_path: Path, totals: str, security: str
) -> None:
    server = collectd(security)
    options = {"address": f"127.0.0.1:{server.port}", "totals": totals}
    if security:
        options |= {"username": "agent", "password": "secret"}
    trip = Trip(tmp_path, "collectd", options)
    sent = batches()
    trip.sender.start()
    expected: dict[str, dict[float, float]] = {}
    for batch in sent:  # one at a time: a burst of all of them may be more than the receiver's buffer
        for point, value in trip.pairs(batch):
            expected.setdefault(identity(point, totals), {})[batch.time] = value
        trip.sender.offer(batch)
        trip.sender.ring()
        wait_for(server, expected)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    count = sum(map(len, expected.values()))
    ledger = trip.sender.ledger.snapshot()
    assert ledger["delivered"] == count == (10_000 if totals == "derive" else 9950)  # a first run has no rates
    names = server.names()
    assert names == expected.keys()
    assert max(len(part.encode()) for name in names for part in name.partition("e-")) == 127
    expected = {re.sub("[/,:]", lambda m: "." if m[0] == "/" else "_", name): values for name, values in expected.items()}
    found = server.values()
    assert found.keys() == expected.keys()
    wrong = [
        (name, stamp, value, found[name].get(stamp))
        for name, values in expected.items()
        for stamp, value in values.items()
        if not math.isclose(found[name].get(stamp, math.inf), value, rel_tol=1e-12)
    ]
    print(f"{len(found)} series, {count} values, {len(trip.output.spelling.collisions)} collisions, {len(wrong)} different")
    assert not wrong
    name = f"h/mixed/{'derive' if totals == 'derive' else 'gauge'}-total.plain0"
    assert "0.7" in server.ask(f'GETVAL "{name}"') or "7.0" in server.ask(f'GETVAL "{name}"')


def wait_for(server: RunningCollectd, expected: dict[str, dict[float, float]]) -> None:
    """Wait until it wrote so many values."""
    count = sum(map(len, expected.values()))
    servers.wait_until(lambda: sum(map(len, server.values().values())) >= count, 20, f"{count} values")


def test_what_is_not_signed_or_signed_wrongly_is_not_taken(collectd: Callable[..., RunningCollectd], tmp_path: Path) -> None:
    server = collectd("Sign")
    batch = batches(1)[0]
    for options in ({}, {"username": "agent", "password": "wrong"}, {"username": "nobody", "password": "secret"}):
        trip = Trip(tmp_path, "collectd", {"address": f"127.0.0.1:{server.port}", "host": "bad", **options})
        trip.output.open()
        trip.output.send(trip.output.encode([batch]))
        trip.output.close()
    good = Trip(
        tmp_path, "collectd", {"address": f"127.0.0.1:{server.port}", "username": "agent", "password": "secret", "host": "good"}
    )
    good.output.open()
    good.output.send(good.output.encode([batch]))
    good.output.close()
    servers.wait_until(lambda: len(server.values()) >= 950)
    assert {name.split(".")[0] for name in server.values()} == {"good"}


@pytest.mark.parametrize("packet", [1024, 1452, 9000])
def test_each_datagram_stands_for_itself(packet: int, tmp_path: Path) -> None:
    """None is longer than it may be, signed or not; each begins with host, time, interval, plugin and type."""
    for options in ({}, {"username": "agent", "password": "secret"}):
        trip = Trip(tmp_path, "collectd", {"packet": packet, **options})
        payload = trip.output.encode(batches(3))
        datagrams = list(trip.output.packets(payload))
        assert max(map(len, datagrams)) <= packet
        assert max(map(len, datagrams)) > packet - 200
        for one in datagrams:
            parts = list(parse(one))
            assert parts[: 5 + bool(options)] == [*([0x200] if options else []), 0, 8, 9, 2, 4]
        assert sum(kind == 6 for one in datagrams for kind in parse(one)) == sum(map(trip.output.points, batches(3)))


def parse(datagram: bytes) -> Iterator[int]:
    """The kinds of its parts."""
    at = 0
    while at < len(datagram):
        kind, size = int.from_bytes(datagram[at : at + 2], "big"), int.from_bytes(datagram[at + 2 : at + 4], "big")
        assert size >= 4
        yield kind
        at += size
    assert at == len(datagram)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"naming": "otel"}, "naming"),
        ({"username": "a"}, "password"),
        ({"password": "a"}, "username"),
        ({"address": "h:x"}, "address"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(options: dict[str, Any], word: str) -> None:
    (wrong,) = Collectd(options).check()
    assert word in wrong
