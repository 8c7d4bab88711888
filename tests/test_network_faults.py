"""The network as it fails: peers that vanish, read slowly or all come back at once, and names that nobody resolves."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import RunningAgent, Sink, balanced
from network import Net

HEAD = """
[agent]
hostname = "h"
interval = "{interval}"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
defaults = false
[web]
enabled = false
[history]
enabled = false
[collectors.count]
[outputs.sink]
type = "graphite"
address = "{address}"
"""

COUNT = '''"""Consecutive numbers."""
from adamas import Collector, Gauge


class Count(Collector):
    """The number of the run, in each of many slots."""

    name = "count"
    value = Gauge("{slot}", "A number")
    run = 0

    def collect(self):
        self.run += 1
        for slot in range(SLOTS):
            yield self.value(self.run, slot)
'''


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    (tmp_path / "plugins").mkdir()
    running: list[RunningAgent] = []

    def begin(
        address: str, more: str = "", slots: int = 20, interval: str = "200ms", under: tuple[str, ...] = ()
    ) -> RunningAgent:
        (tmp_path / "plugins" / "count.py").write_text(COUNT.replace("SLOTS", str(slots)))
        config = HEAD.replace("{interval}", interval).replace("{address}", address) + more
        running.append(RunningAgent(tmp_path, config, under=under))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def ledger(running: RunningAgent) -> dict[str, Any]:
    found = running.output("sink")["ledger"]
    assert balanced(found), found
    return dict(found)


def delivered(more: int) -> Callable[[dict[str, Any]], bool]:
    return lambda status: bool(status["outputs"][0]["ledger"]["delivered"] >= more)


def settled(status: dict[str, Any]) -> bool:
    """Whether the backend takes all again, and nothing waits on disk."""
    output = status["outputs"][0]
    return bool(output["state"] == "ok" and not output["ledger"]["spool"])


def gaps(lines: list[tuple[str, str, int]], slot: int = 0) -> int:
    """How often numbers from 1 to the last are missing."""
    seen = sorted({int(value) for name, value, _ in list(lines) if name == f"servers.h.count.{slot}"})
    return sum(b - a > 1 for a, b in itertools.pairwise([0, *seen]))


@pytest.fixture
def net(require: Callable[..., None]) -> Iterator[Net]:
    require("ip", "nft")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    try:
        made = Net()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.decode().strip()}")
    yield made
    made.end()


# half-open


IDLE = """
import select, time
from adamas.outputs.graphite import Graphite
output = Graphite({"address": ["10.91.0.2:2003"]})
output.open()
output.send(b"servers.other.idle 1 1\\n")
poll = select.poll()
poll.register(output.socket, 0)
print(poll.poll(30_000) and time.monotonic(), flush=True)
"""
"""A connection that is used once, and when the kernel gives it up."""


def test_a_peer_that_vanishes_is_noticed_within_ten_seconds(net: Net, agent: Callable[..., RunningAgent]) -> None:
    """Its packets are swallowed, no one is told. A connection that is written to and one that is idle, at the default timeout."""
    sink = net.sink("10.91.0.2")
    near = ("ip", "netns", "exec", net.near)
    running = agent("10.91.0.2:2003", under=near)
    running.wait(delivered(40))
    with subprocess.Popen([*near, sys.executable, "-c", IDLE], stdout=subprocess.PIPE, text=True) as idle:
        servers.wait_until(lambda: any(name == "servers.other.idle" for name, _, _ in sink.lines))
        time.sleep(3.3)  # an answered probe of the idle connection is just past, the next is seconds away
        net.drop()
        began = time.monotonic()
        status = running.wait(lambda s: s["outputs"][0]["state"] == "retrying", 20)
        busy_for = time.monotonic() - began
        idle_for = float(idle.communicate(timeout=30)[0]) - began
    running.wait(lambda s: s["outputs"][0]["ledger"]["spool"] > 100, 15)
    net.heal()
    running.wait(settled, 60)
    print(
        f"noticed after {busy_for:.1f} s while it is written to, after {idle_for:.1f} s while idle; {status['outputs'][0]['error']}"
    )
    assert 0 < busy_for <= 10
    assert 0 < idle_for <= 10
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    assert gaps(sink.lines) == gaps(sink.lines, 19) == 0


# slow


class Slow:
    """A way to a sink that lets so many bytes a second through."""

    def __init__(self, port: int, rate: float) -> None:
        self.rate = rate
        self._to = port
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)  # what the kernel takes meanwhile is not slow
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        self.port = listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._pass_on, args=(connection,), daemon=True).start()

    def _pass_on(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self._to)) as sink:
            try:
                while data := connection.recv(4096):
                    sink.sendall(data)
                    time.sleep(len(data) / self.rate)
                sink.shutdown(socket.SHUT_WR)
                sink.recv(1)
            except OSError:
                pass  # the agent gave up


@pytest.mark.parametrize("seconds", [5, pytest.param(600, marks=pytest.mark.soak)])
def test_a_slow_backend_fills_the_disk_and_not_the_memory(agent: Callable[..., RunningAgent], seconds: int) -> None:
    sink = Sink()
    slow = Slow(sink.port, 20e3)
    running = agent(f"127.0.0.1:{slow.port}", 'memory = "256KiB"\n', slots=500, interval="100ms")
    running.wait(lambda s: s["outputs"][0]["ledger"]["offered"] > 0)
    before = running.status()["memory"]
    end = time.monotonic() + seconds
    most = queued = looks = 0
    found = ledger(running)
    while time.monotonic() < end or found["spool"] < 10_000 or not found["delivered"]:  # what it can read, it gets
        assert time.monotonic() < end + 60, found
        found = ledger(running)
        status = running.status()
        output = status["outputs"][0]
        assert balanced(output["ledger"]), output["ledger"]
        assert not output["ledger"]["dropped"]
        most, queued, looks = max(most, status["memory"]), max(queued, output["queue"]["bytes"]), looks + 1
        assert output["queue"]["bytes"] <= output["queue"]["limit"]
        time.sleep(0.02)
    slow.rate = 1e9
    running.wait(settled, 90)
    print(
        f"{seconds} s at 20 kB/s: {found['offered']} offered, {found['delivered']} delivered, {found['spool']} in the spool; queue "
        f"{queued >> 10} KiB at most, memory +{(most - before) / 1e6:.1f} MB; balanced at each of {looks} looks"
    )
    assert most < before + 20e6
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    assert gaps(sink.lines) == gaps(sink.lines, 499) == 0


# names


def test_names_that_hang_fail_and_change(
    net: Net, agent: Callable[..., RunningAgent], require: Callable[..., None], tmp_path: Path
) -> None:
    """A resolver that is silent holds up no window; a new address is used at the next connection."""
    require("dnsmasq")
    places = Path("/etc/netns") / net.near
    places.mkdir(parents=True)
    (places / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:2\n")
    names = tmp_path / "names"
    names.write_text("10.91.0.2 sink.test\n")
    argv = [
        "ip",
        "netns",
        "exec",
        net.near,
        shutil.which("dnsmasq") or "/usr/sbin/dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
    ]
    argv += ["--no-hosts", "--no-resolv", "--user=root", "--pid-file=", f"--addn-hosts={names}", "--listen-address=127.0.0.1"]

    def resolver() -> servers.Server:
        return servers.start(argv, tmp_path / "resolver")

    first, second = net.sink("10.91.0.2"), net.sink("10.91.0.3")
    running, dns = agent("sink.test:2003", under=("ip", "netns", "exec", net.near)), resolver()
    try:
        running.wait(delivered(100), 30)
        names.write_text("10.91.0.3 sink.test\n")
        dns.signal(signal.SIGHUP)
        changed = time.monotonic()
        servers.wait_until(lambda: second.lines, 60, "the new address")
        took = time.monotonic() - changed

        before = running.collector("count")["runs"]
        hung = time.monotonic()
        dns.signal(signal.SIGSTOP)
        late = []
        running.wait(lambda s: late.append(s["collectors"][0]["late"]) or s["outputs"][0]["state"] == "retrying", 30)
        words = running.output("sink")["error"]
        noticed = time.monotonic() - hung
        running.wait(lambda s: late.append(s["collectors"][0]["late"]) or s["collectors"][0]["runs"] >= before + 25, 30)
        dns.signal(signal.SIGCONT)
        running.wait(settled, 60)

        dns.stop()
        running.wait(lambda s: s["outputs"][0]["state"] == "retrying", 30)
        dns = resolver()
        running.wait(settled, 60)
        status = running.status()
        late.sort()
        print(
            f"a new address after {took:.1f} s; a silent resolver noticed after {noticed:.1f} s ({words}), windows meanwhile late by "
            f"{late[len(late) // 2] * 1000:.1f} ms (p50), {late[int(len(late) * 0.99)] * 1000:.1f} ms (p99), missed {status['collectors'][0]['missed']}"
        )
        assert status["collectors"][0]["missed"] == 0
        assert "resol" in words or "Name" in words
        assert not ledger(running)["dropped"]
        dns.signal(signal.SIGSTOP)
        time.sleep(1.5)  # so that the output is in the resolver
        code, seconds = running.stop()
        print(f"stopped in {seconds:.1f} s while the resolver was silent")
        assert code == 0
        assert seconds < 8
        left = running.log.read_text()
        assert "could not be delivered" not in left
    finally:
        dns.stop()
    last = max(int(value) for _, value, _ in second.lines)
    together = [line for line in first.lines + second.lines if int(line[1]) <= last]
    assert gaps(together) == gaps(together, 19) == 0
