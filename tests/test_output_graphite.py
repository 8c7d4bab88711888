"""Graphite by every protocol that it has: what real carbon and VictoriaMetrics store, and what happens to it on the way."""

from __future__ import annotations

import itertools
import json
import random
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import RunningAgent, Sink, balanced
from roundtrip import TIMES, Trip, batches

from adamas import Batch, Rejected
from adamas.config import load
from adamas.lines import text
from adamas.naming import Naming
from adamas.outputs._carbon import clean_tags, series
from adamas.outputs.graphite import Graphite
from adamas.outputs.graphite_pickle import GraphitePickle
from adamas.outputs.graphite_udp import GraphiteUdp
from adamas.ring import Ring
from adamas.sender import Sender
from adamas.transport.stream import Stream

POINTS = 9_950
"""Of 10,000 samples; rates have no first one."""


def expected(trip: Trip, sent: list[Batch], digits: bool = True) -> dict[str, dict[int, float]]:
    """What Graphite must have: its name for each series, the whole second, and the value as the protocol carries it."""
    made: dict[str, dict[int, float]] = {}
    for batch in sent:
        for point, value in trip.pairs(batch):
            made.setdefault(series(point), {})[int(batch.time)] = float(text(point, value)) if digits else float(value)
    return made


def stored(carbon: servers.Carbon, wanted: dict[str, dict[int, float]], timeout: float = 30.0) -> dict[str, dict[int, float]]:
    """What carbon has on disk of these series, once it has as many points."""
    since = min(min(points) for points in wanted.values()) - 1
    count = sum(map(len, wanted.values()))

    def all_of_them() -> dict[str, dict[int, float]] | None:
        found = {name: dict(points) for name, points in carbon.points(wanted, since).items()}
        return found if sum(map(len, found.values())) >= count else None

    found: dict[str, dict[int, float]] = servers.wait_until(all_of_them, timeout, f"{count} points on carbon's disk")
    return found


def drained(port: int) -> bool:
    """Whether the receiver of a UDP port has read all that came."""
    rows = [line.split() for line in Path("/proc/net/udp").read_text().splitlines()[1:]]
    return all(int(row[4].split(":")[1], 16) == 0 for row in rows if int(row[1].split(":")[1], 16) == port)


def certificate(folder: Path, name: str = "localhost") -> tuple[str, str]:
    """(certificate, key): self-signed, for this name and 127.0.0.1."""
    servers.require("openssl")
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    names = f"subjectAltName=DNS:{name}" + (",IP:127.0.0.1" if name == "localhost" else "")
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    argv += ["-subj", f"/CN={name}", "-addext", names, "-out", str(cert), "-keyout", str(key)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    return str(cert), str(key)


class TlsProxy:
    """Ends TLS in front of a server that has none, as stunnel does: each side's end is passed on to the other.

    polite: whether it answers TLS' close_notify, or only closes the connection as some servers do.
    """

    def __init__(self, cert: str, key: str, to: int, polite: bool = True) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(cert, key)
        self.to, self.polite = to, polite
        self.connections = 0
        self.breaks_after = 0
        """Connections that are reset after this many bytes, unread ones among them (0: none is)."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            inner = self.context.wrap_socket(client, server_side=True)
        except OSError:
            client.close()
            return
        self.connections += 1
        with inner, socket.create_connection(("127.0.0.1", self.to)) as server:
            seen = 0
            while data := inner.recv(65536):
                seen += len(data)
                if self.breaks_after and seen > self.breaks_after:
                    self.breaks_after = 0
                    return  # with bytes unread: the kernel resets the connection
                server.sendall(data)
            server.shutdown(socket.SHUT_WR)
            while server.recv(65536):
                pass
            if self.polite:
                inner.unwrap()

    def close(self) -> None:
        """Accept nothing more."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


# what is stored


@pytest.mark.parametrize("protocol", ["graphite", "graphite_pickle"])
def test_all_that_was_sent_is_in_carbons_files(tmp_path: Path, carbon: servers.Carbon, protocol: str) -> None:
    port = carbon.port if protocol == "graphite" else carbon.pickle_port
    trip, sent = Trip(tmp_path, protocol, {"address": f"127.0.0.1:{port}", "batch": 1}), batches()
    ledger = trip.go(sent)
    assert ledger["delivered"] == POINTS, ledger
    wanted = expected(trip, sent, protocol == "graphite")
    assert stored(carbon, wanted) == wanted
    assert len(wanted) == 1000
    assert len(trip.output.spelling.collisions) == 42, "names that are alike once they are clean"
    assert trip.output.lines.unfit == {}
    long = [name for name in wanted if "xxx" in name]
    assert len({len(name.rpartition(".")[2]) for name in long}) <= 2
    assert max(len(node.encode()) for name in wanted for node in name.split(".")) == 251


def test_datagrams_are_in_carbons_files(tmp_path: Path, carbon: servers.Carbon) -> None:
    """No faster than carbon reads: nothing else would hold it up."""
    trip, sent = Trip(tmp_path, "graphite_udp", {"address": carbon.address}), batches()
    trip.sender.start()
    for number, batch in enumerate(sent, 1):
        trip.sender.offer(batch)
        trip.sender.ring()
        servers.wait_until(lambda count=number: trip.sender.ledger.snapshot()["delivered"] >= 1000 * count - 50)
        servers.wait_until(lambda: drained(carbon.port))
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    wanted = expected(trip, sent)
    assert stored(carbon, wanted) == wanted
    assert trip.sender.ledger.snapshot()["delivered"] == POINTS


@pytest.mark.parametrize(("naming", "collisions"), [("prometheus", 1), ("otel", 1)])
def test_labels_are_tags_at_victoria_metrics(tmp_path: Path, free_port: Callable[[], int], naming: str, collisions: int) -> None:
    servers.require("victoria-metrics")
    port = free_port()
    store = servers.Victoria(tmp_path / "store", f"-graphiteListenAddr=127.0.0.1:{port}")
    try:
        servers.wait_until(lambda: servers.listens(port))
        trip = Trip(tmp_path, "graphite", {"address": f"127.0.0.1:{port}", "tags": True, "naming": naming, "batch": 1})
        sent = batches()
        assert trip.go(sent)["delivered"] == 10_000
        wanted = {(name, labels): points for (name, labels), points in trip.points(sent).items()}
        found = store.export()
    finally:
        store.stop()
    assert set(found) == set(wanted)
    assert len(trip.output.spelling.collisions) == collisions
    assert trip.output.lines.unfit == {}
    for key, points in wanted.items():
        assert set(found[key]) == set(points), key
        # VictoriaMetrics keeps a block's values as decimals with one exponent: the small ones beside a huge one lose digits.
        largest = max(map(abs, points.values()))
        for stamp, value in points.items():
            assert found[key][stamp] == pytest.approx(value, rel=1e-11, abs=largest * 1e-15), (key, stamp)


def test_tags_are_as_carbon_wants_them() -> None:
    """By carbon's own reader: what it takes is what was meant, and in the order that it files it in."""
    hostile = ["", "~x", "a;b", "a b", "new\nline", 'say "{x"}', "a=b", "~", "größe", "\u2028", "tab\tbed", "x!^=y"]
    labels = [(f"{tag}{n}", value) for n, value in enumerate(hostile) for tag in ("t", "a=b", "c;d ", "!")]
    labels += [("name", "other"), ("name_", "third"), ("", "no name"), ("a b", "1"), ("a;b", "2")]
    lines = ["m" + "".join(f";{k}={v}" for k, v in clean_tags((pair,))) for pair in labels]
    lines.append("m" + "".join(f";{k}={v}" for k, v in clean_tags(tuple(labels))))
    code = (
        "import json, sys; from carbon.util import TaggedSeries\n"
        "for line in json.load(sys.stdin):\n"
        "    assert len(line.split()) == 1 and len(line.splitlines()) == 1, line\n"
        "    read = TaggedSeries.parse(line); assert read.path == line and read.tags['name'] == 'm', (line, read.path)\n"
        "    print(len(read.tags))"
    )
    servers.require("carbon-cache", servers.SYSTEM_PYTHON)
    argv = [servers.SYSTEM_PYTHON, "-c", code]
    done = subprocess.run(argv, input=json.dumps(lines).encode(), capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    counts = [int(line) for line in done.stdout.split()]
    assert counts[-1] == 1 + len(labels) - 4, "every tag but the four empty ones"
    assert counts[:4] == [1] * 4


def test_pickles_of_the_years_to_come(tmp_path: Path) -> None:
    """A time past 2038 needs another opcode; runs that miss values, whole ones and huge shapes give the same points."""
    import pickle
    import struct

    def read(payload: bytes) -> list[tuple[str, int, float]]:
        found, at = [], 0
        while at < len(payload):
            (length,) = struct.unpack(">I", payload[at : at + 4])
            assert length < 1 << 20
            found += [(name, stamp, value) for name, (stamp, value) in pickle.loads(payload[at + 4 : at + 4 + length])]
            at += 4 + length
        return found

    output = GraphitePickle()
    output.spell(Naming("path", ("a" * 240, "b" * 200)))
    sent = [*batches(2), *batches(3, end=2**31 + 100), *batches(2)]
    payload = output.encode(sent)
    assert len(payload) > 6 * (256 << 10), "several frames for each"
    points = [(point.name, int(b.time), float(value)) for b in sent for point, value in output.lines.plan(b.shape).pairs(b)]
    assert read(payload) == points
    assert max(stamp for _, stamp, _ in points) > 2**31


# several nodes


def test_series_go_where_carbons_relay_would_send_them() -> None:
    servers.require("carbon-cache", servers.SYSTEM_PYTHON)
    rings: list[list[tuple[str, str | None]]] = [
        [("127.0.0.1", None)],
        [("10.0.0.1", "a"), ("10.0.0.2", "b"), ("10.0.0.3", "c")],
        [("10.0.0.3", "c"), ("10.0.0.1", "a"), ("10.0.0.2", "b")],
        [("graphite", "1"), ("graphite", "2"), ("graphite", "3"), ("other.example.org", "1"), ("other.example.org", "2")],
        [("one", None), ("two", None), ("three", None), ("four", None)],
        [(f"node{n}", str(n % 3)) for n in range(25)],
        [("::1", "a"), ("fe80::1", "größe")],
    ]
    names = [f"servers.host{n % 97}.cpu.cpu{n % 13}.metric{n}" for n in range(9_900)]
    names += [f"name{n};host=h{n};tag=größe" for n in range(100)]
    factors = itertools.cycle([(1, True), (2, True), (3, False)])
    cases = [(ring, hash, *next(factors)) for hash in ("carbon_ch", "fnv1a_ch") for ring in range(len(rings))]
    code = (
        "import json, sys; from types import SimpleNamespace as S; from carbon.routers import ConsistentHashingRouter as R\n"
        "given = json.load(sys.stdin)\n"
        "for ring, hash, count, diverse in given['cases']:\n"
        "    nodes = [tuple(n) for n in given['rings'][ring]]\n"
        "    router = R(S(REPLICATION_FACTOR=count, DIVERSE_REPLICAS=diverse, ROUTER_HASH_TYPE=hash))\n"
        "    for n in nodes: router.addDestination((n[0], 2004, n[1]))\n"
        "    index = {n: i for i, n in enumerate(nodes)}\n"
        "    print(json.dumps([[index[s, i] for s, _, i in router.getDestinations(name)] for name in given['names']]))"
    )
    given = json.dumps({"rings": rings, "names": names, "cases": cases}).encode()
    done = subprocess.run([servers.SYSTEM_PYTHON, "-c", code], input=given, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr.decode()
    used = set()
    for (which, hash, count, diverse), line in zip(cases, done.stdout.splitlines(), strict=True):
        ring, nodes = Ring(rings[which], hash), rings[which]
        theirs = [list(dict.fromkeys(node)) for node in json.loads(line)]  # carbon sends twice to the only node
        ours = [[nodes.index(node) for node in ring.nodes(name, count, diverse)] for name in names]
        assert ours == theirs, (nodes, hash, count, diverse)
        used |= {(which, node) for found in ours for node in found}
    assert len(used) == sum(map(len, rings)), "every node of every ring got something"


NODES = """
[agent]
hostname = "h"
interval = "100ms"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
defaults = false
stop_timeout = "1s"
[web]
enabled = false
[history]
enabled = false
[collectors.count]
[outputs.carbon]
type = "graphite"
routing = "consistent"
timeout = "5s"
"""

COUNT = '''"""Consecutive numbers."""
from adamas import Collector, Gauge


class Count(Collector):
    """The run's number, under fifty names."""

    name = "count"
    value = Gauge("{slot}", "A number")
    run = 0

    def collect(self):
        self.run += 1
        for slot in range(50):
            yield self.value(self.run, slot)
'''


def numbers(sink: Sink) -> dict[str, set[int]]:
    """Series -> the numbers that came."""
    found: dict[str, set[int]] = {}
    for name, value, _ in list(sink.lines):
        found.setdefault(name, set()).add(int(value))
    return found


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[[str], RunningAgent]]:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "count.py").write_text(COUNT)
    running: list[RunningAgent] = []

    def begin(config: str) -> RunningAgent:
        running.append(RunningAgent(tmp_path, config))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def test_a_dead_node_holds_up_its_own_part_only(agent: Callable[[str], RunningAgent]) -> None:
    sinks = [Sink() for _ in range(3)]
    addresses = [f"127.0.0.1:{sink.port}:{'abc'[n]}" for n, sink in enumerate(sinks)]
    ring = Ring([("127.0.0.1", "a"), ("127.0.0.1", "b"), ("127.0.0.1", "c")])
    own = {f"servers.h.count.{slot}": ring.nodes(f"servers.h.count.{slot}", 2, False) for slot in range(50)}
    two = f"replication = 2\ndiverse = false\naddress = {json.dumps(addresses)}\n"
    running = agent(NODES + two)
    running.wait(lambda s: all(o["ledger"]["delivered"] for o in s["outputs"]), 15)
    assert [o["name"] for o in running.status()["outputs"]] == [f"carbon@{address}" for address in addresses]
    dead = f"carbon@{addresses[1]}"
    sinks[1].kill()
    running.wait(lambda s: next(o for o in s["outputs"] if o["name"] == dead)["ledger"]["spool"] > 300, 20)
    live = [o for o in running.status()["outputs"] if o["name"] != dead]
    assert all(o["state"] == "ok" and o["spool"] is None for o in live), "only the dead node's part goes to disk"
    # Reloaded without the first node: the ring is another, but what waits for the second is still the second's.
    waiting = running.output(dead)["ledger"]["spool"]
    running.write(NODES + f"address = {json.dumps(addresses[1:])}\n")
    running.hup()
    running.wait(lambda s: s["reload"]["ok"] and [o["name"] for o in s["outputs"]] == [f"carbon@{a}" for a in addresses[1:]], 10)
    after = running.wait(lambda s: s["outputs"][0]["spool"] and s["outputs"][0]["spool"]["open"], 10)
    assert after["outputs"][0]["ledger"]["spool"] >= waiting
    sinks[1].restart()
    running.wait(lambda s: s["outputs"][0]["state"] == "ok" and s["outputs"][0]["ledger"]["spool"] == 0, 30)
    assert all(balanced(o["ledger"]) and not o["ledger"]["dropped"] for o in running.status()["outputs"])
    assert running.stop()[0] == 0
    found = [numbers(sink) for sink in sinks]
    assert set(found[0]) == {name for name, nodes in own.items() if ("127.0.0.1", "a") in nodes}
    for name, nodes in own.items():
        several = [found["abc".index(instance or "")] for _, instance in nodes]
        assert all(name in node for node in several)
        whole = set().union(*[node.get(name, set()) for node in found])
        assert whole == set(range(1, max(whole) + 1)), name
        if ("127.0.0.1", "b") in nodes:
            # Two nodes remain, each with a part: until the reload every number of its own came to the second node.
            assert set(range(1, max(found[0].get(name, {1})) + 1)) <= found[1][name], name


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"address": ["a:1", "a:2"]}, "two nodes are alike"),
        ({"address": ["a:1:x", "a:2:y"], "replication": 2}, "no 2 nodes on different servers"),
        ({"address": ["a:1:x", "a:2:y"], "replication": 3, "diverse": False}, "no 3 nodes"),
        ({"address": ["a:1:x", "b:port"]}, "a port from 0 to 65535"),
        ({"address": ["a:1:x"], "routing": "failover"}, "a port from 0 to 65535"),
        ({"tags": True, "naming": "path"}, "has no labels"),
        ({"naming": "prometheus"}, "tags = true"),
        ({"key": "two words"}, "one word"),
    ],
)
def test_options_that_do_not_go_together(values: dict[str, Any], wrong: str) -> None:
    assert wrong in " ".join(Graphite({"routing": "consistent", **values}).check())


def test_nodes_by_name_and_number() -> None:
    made = Graphite.spread({"routing": "consistent", "address": ["[::1]:2103:a", "graphite.example.org", "10.0.0.1:2203:b:c"]})
    assert list(made) == ["@[::1]:2103:a", "@graphite.example.org", "@10.0.0.1:2203:b:c"]
    node = Graphite(made["@[::1]:2103:a"])
    assert node.place(node.address[0]) == ("::1", 2103)
    assert node.place("graphite.example.org") == ("graphite.example.org", 2003)
    assert list(Graphite.spread({"address": ["a:1", "b:2"]})) == [""]


class Quick(Graphite):
    """Home again at once, instead of after a minute."""

    name = "quick"
    home = 0.3


def sending(output: Graphite, folder: Path) -> Sender:
    """A sender with this output, running."""
    assert output.check() == []
    output.spell(Naming("path", ("servers", "h")))
    sender = Sender(output, str(folder / "spool"), str(folder / "letters.jsonl"))
    sender.start()
    return sender


def deliver(sender: Sender, sent: list[Batch], timeout: float = 30.0) -> None:
    """Hand these over and wait until they arrived."""
    before = sender.ledger.snapshot()["delivered"]
    for batch in sent:
        sender.offer(batch)
    sender.ring()
    wanted = before + sum(sender.output.points(batch) for batch in sent)
    servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == wanted, timeout, sender.error)


def test_the_next_address_takes_over_until_the_first_is_back(tmp_path: Path) -> None:
    first, second = Sink(), Sink()
    output = Quick({"address": [f"127.0.0.1:{first.port}", f"127.0.0.1:{second.port}"], "timeout": 1.0, "batch": 1})
    sender = sending(output, tmp_path)
    deliver(sender, batches(5))
    assert len(first.lines) > 4900
    assert not second.lines
    first.kill()
    deliver(sender, batches(5))
    assert len(second.lines) > 4900
    first.restart()
    taken = len(first.lines)
    servers.wait_until(lambda: (deliver(sender, batches(5)), len(first.lines) > taken)[1], 20, "home again")
    sender.stop(time.monotonic() + 5)
    sender.join(time.monotonic() + 5)


def test_an_address_that_takes_and_forgets_is_left_for_the_next(tmp_path: Path) -> None:
    """It accepts connections and reads nothing, or resets them: only a confirmation tells it from one that works."""
    deaf = socket.create_server(("127.0.0.1", 0))
    second = Sink()
    addresses = [f"127.0.0.1:{deaf.getsockname()[1]}", f"127.0.0.1:{second.port}"]
    output = Graphite({"address": addresses, "timeout": 0.5, "batch": 1})
    sender = sending(output, tmp_path)
    deliver(sender, batches(5))
    assert len(second.lines) >= 4950
    assert sender.reconnects > 0
    deaf.close()
    sender.stop(time.monotonic() + 5)
    sender.join(time.monotonic() + 5)


def test_nobody_answers_is_said_of_each(tmp_path: Path, free_port: Callable[[], int]) -> None:
    ports = [free_port(), free_port()]
    sender = sending(Graphite({"address": [f"127.0.0.1:{port}" for port in ports]}), tmp_path)
    sender.offer(batches(1)[0])
    sender.ring()
    servers.wait_until(lambda: sender.error)
    assert sender.error == "none of 2 addresses answers: " + "; ".join(f"127.0.0.1:{port}: Connection refused" for port in ports)
    sender.stop(time.monotonic())
    sender.join(time.monotonic() + 2)


def test_each_address_in_its_turn(tmp_path: Path) -> None:
    sinks = [Sink() for _ in range(3)]
    output = Graphite({"address": [f"127.0.0.1:{sink.port}" for sink in sinks], "routing": "round_robin", "batch": 1})
    sender = sending(output, tmp_path)
    deliver(sender, batches(15))
    assert sorted(len(sink.lines) for sink in sinks) == [4950, 5000, 5000]
    sinks[0].kill()
    deliver(sender, batches(15))
    assert sum(len(sink.lines) for sink in sinks) >= 2 * 14950
    sinks[0].restart()
    sender.stop(time.monotonic() + 5)
    sender.join(time.monotonic() + 5)


class Asked(Stream):
    """A protocol that answers each send; home, or the next address' turn, comes after a second."""

    name = "asked"
    confirms_later = False
    home = turn = 1.0

    def send(self, payload: bytes) -> None:
        super().send(payload)
        assert self.receive(len(payload)) == payload


@pytest.mark.parametrize("routing", ["failover", "round_robin"])
def test_connections_that_stay_change_their_address_too(routing: str) -> None:
    heard: list[int] = []

    def answer(number: int, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                while data := client.recv(100):
                    heard.append(number)
                    client.sendall(data)

    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    threads = [threading.Thread(target=answer, args=(n, one), daemon=True) for n, one in enumerate(listeners)]
    output = Asked({"address": [f"127.0.0.1:{one.getsockname()[1]}" for one in listeners], "routing": routing, "timeout": 5.0})
    for thread in threads:
        thread.start()

    def ask() -> int:
        output.open()
        output.send(b"x")
        return heard[-1]

    assert [ask() for _ in range(3)] == [0, 0, 0]
    if routing == "failover":
        output.close()  # as after a failure
        assert ask() == 1
    servers.wait_until(lambda: ask() == (0 if routing == "failover" else 1))
    output.close()
    for one in listeners:
        one.shutdown(socket.SHUT_RDWR)
        one.close()


# TLS


@pytest.mark.parametrize("polite", [True, False])
def test_through_tls_all_is_in_carbons_files(tmp_path: Path, carbon: servers.Carbon, polite: bool) -> None:
    """Confirmed over TLS, also by a peer that only closes the connection; a connection that breaks costs nothing."""
    cert, key = certificate(tmp_path)
    proxy = TlsProxy(cert, key, carbon.port, polite)
    proxy.breaks_after = 100_000
    options = {"address": f"localhost:{proxy.port}", "tls": True, "ca_file": cert, "batch": 1, "buffer": "memory"}
    trip, sent = Trip(tmp_path, "graphite", options), batches()
    trip.sender.start()
    for batch in sent:
        trip.sender.offer(batch)
    trip.sender.stop(time.monotonic() + 20)
    trip.sender.join(time.monotonic() + 20)
    assert trip.sender.ledger.snapshot()["delivered"] == POINTS
    wanted = expected(trip, sent)
    assert stored(carbon, wanted) == wanted
    assert trip.sender.reconnects == 1, "the connection that broke"
    assert proxy.connections > TIMES // 5
    proxy.close()


def test_a_wrong_certificate_is_refused_in_clear_words(tmp_path: Path) -> None:
    sink = Sink()
    cert, key = certificate(tmp_path)
    stranger, _ = certificate(tmp_path, "stranger.example.org")
    proxy = TlsProxy(cert, key, sink.port)

    def error(**options: Any) -> str:
        values = {"address": [f"localhost:{proxy.port}"], "tls": True, "timeout": 5.0, "buffer": "memory", **options}
        sender = sending(Graphite(values), tmp_path)
        sender.offer(batches(1)[0])
        sender.ring()
        servers.wait_until(lambda: sender.error or sender.last_send)
        sender.stop(time.monotonic() + (0 if sender.error else 5))
        sender.join(time.monotonic() + 5)
        assert sender.ledger.snapshot()["delivered"] == (0 if sender.error else 950)
        return sender.error

    refused = "the server's certificate is not accepted: "
    assert error() == refused + "self-signed certificate"
    assert error(ca_file=stranger) == refused + "self-signed certificate"
    assert error(ca_file=cert, server_name="carbon.example.org").startswith(refused + "Hostname mismatch")
    assert not sink.lines
    assert error(ca_file=cert) == ""
    assert error(verify=False) == ""
    assert len(sink.lines) == 2 * 950
    proxy.close()


# other peers


def test_handlers_of_a_diamond_conf(tmp_path: Path) -> None:
    """Which output takes the place of each of Diamond's handlers for Graphite, and with what settings."""

    def outputs(name: str, settings: str) -> list[tuple[str, dict[str, Any]]]:
        path = tmp_path / "diamond.conf"
        head = f"[server]\nhandlers = diamond.handler.{name.lower()}.{name}Handler\n[handlers]\n[[{name}Handler]]\n{settings}"
        path.write_text(f"{head}\n[collectors]\n[[default]]\nhostname = h\n")
        found = load(str(path)).outputs.values()
        assert all(output.values.pop("naming") == "diamond" for output in found)
        return [(output.cls.name, output.values) for output in found]  # type: ignore[attr-defined]

    assert outputs("Graphite", "host = a\nproto = tcp") == [("graphite", {"address": ["a:2003"]})]
    assert outputs("Graphite", "host = a\nproto = UDP4") == [("graphite_udp", {"address": "a:2003"})]
    assert outputs("GraphitePickle", "host = a\nbatch = 5") == [("graphite_pickle", {"address": ["a:2004"]})]
    several = [("graphite_pickle", {"address": ["a:1"]}), ("graphite_pickle", {"address": ["b:1"]})]
    assert outputs("MultiGraphitePickle", "host = a, b\nport = 1") == several
    hosted = {"address": ["carbon.hostedgraphite.com:2003"], "key": "abc-def"}
    assert outputs("HostedGraphite", "apikey = ' ABC-def '") == [("graphite", hosted)]
    hosted = {"address": "carbon.hostedgraphite.com:2004", "key": "k"}
    assert outputs("HostedGraphite", "apikey = k\nproto = udp\nport = 2004") == [("graphite_udp", hosted)]


def test_a_restart_in_the_middle_of_pickles_loses_nothing(tmp_path: Path, carbon: servers.Carbon) -> None:
    trip, sent = Trip(tmp_path, "graphite_pickle", {"address": f"127.0.0.1:{carbon.pickle_port}", "batch": 1}), batches()
    trip.sender.start()
    deliver(trip.sender, sent[:5])
    wanted = expected(trip, sent[:5], digits=False)
    assert stored(carbon, wanted) == wanted  # what carbon read and did not write yet would be its own loss
    carbon.stop()
    for batch in sent[5:]:
        trip.sender.offer(batch)
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures)
    carbon.start()
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == POINTS, 30)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    wanted = expected(trip, sent, digits=False)
    assert stored(carbon, wanted) == wanted


def test_the_accounts_key_is_before_each_name_and_on_no_disk(tmp_path: Path, free_port: Callable[[], int]) -> None:
    sink = Sink()
    sink.kill()
    options = {"address": f"127.0.0.1:{sink.port}", "key": "s3cret-key", "buffer": "write_through"}
    trip, sent = Trip(tmp_path, "graphite", options), batches(3)
    trip.sender.start()
    for batch in sent:
        trip.sender.offer(batch)
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["spool"] == 2950)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"servers.h.mixed" in kept
    assert b"s3cret" not in kept
    sink.restart()
    servers.wait_until(lambda: trip.sender.last_send, 20)
    servers.wait_until(lambda: len(sink.lines) == 2950, 20)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    assert trip.sender.ledger.snapshot()["delivered"] == 2950
    assert {name for name, _, _ in sink.lines} == {f"s3cret-key.{name}" for name in expected(trip, sent)}
    assert not sink.bad


def test_datagrams_wait_while_nobody_listens(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    trip = Trip(tmp_path, "graphite_udp", {"address": f"localhost:{port}", "key": "k"})
    trip.sender.start()
    sent = batches(2)
    trip.sender.offer(sent[0])
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures)
    assert trip.sender.error == "Connection refused"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        listener.bind(("127.0.0.1", port))
        listener.settimeout(20)
        lines: list[bytes] = []
        while len(lines) < 950:
            packet = listener.recv(65536)
            assert len(packet) <= 1432
            assert packet.endswith(b"\n")
            lines += packet.splitlines()
    assert {line.split(b" ")[0].decode() for line in lines} == {f"k.{name}" for name in expected(trip, sent[:1])}
    trip.sender.stop(time.monotonic() + 1)
    trip.sender.join(time.monotonic() + 2)


class Moving(GraphiteUdp):
    """The receiver's name is resolved before each send."""

    name = "moving"
    fresh = 0.0


def test_a_receivers_name_is_resolved_anew() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        senders = []
        for kind in (Moving, GraphiteUdp):
            output = kind({"address": f"127.0.0.1:{listener.getsockname()[1]}"})
            for n in range(3):
                output.open()
                output.send(b"a %d 1\n" % n)
                packet, sender = listener.recvfrom(100)
                assert packet == b"a %d 1\n" % n
                senders.append(sender)
            output.address = "no.such.host.invalid:2003"
            output.open()
            output.send(b"the old address will do\n")
            assert listener.recvfrom(100)[0] == b"the old address will do\n"
            output.close()
            with pytest.raises(OSError, match=r"(?i)name|resolution"):
                output.open()
    assert len(set(senders[:3])) == 3
    assert len(set(senders[3:])) == 1


def test_what_fits_in_no_datagram_is_given_up_and_the_rest_goes(tmp_path: Path) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(10)
        output = GraphiteUdp({"address": f"127.0.0.1:{listener.getsockname()[1]}"})
        output.open()
        long = b"x" * 70_000 + b" 1 2\n"
        with pytest.raises(Rejected) as refused:
            output.send(b"a 1 2\n" + long + b"b 1 2\n")
        assert (refused.value.points, refused.value.refused) == (1, long)
        assert listener.recv(100) + listener.recv(100) == b"a 1 2\nb 1 2\n"
        output.close()


def test_datagrams_hold_whole_lines_up_to_their_limit() -> None:
    output = Trip(Path("/nowhere"), "graphite_udp", {"packet": 64}).output
    payload = b"".join(b"%s 1 2\n" % (b"x" * length) for length in random.Random(1).choices(range(1, 80), k=2000))
    packets = list(output.packets(payload))
    assert b"".join(packets) == payload
    assert all(packet.endswith(b"\n") for packet in packets)
    assert all(len(packet) <= 64 or packet.count(b"\n") == 1 for packet in packets)
    assert all(len(a) + len(b) > 64 or b"\n" not in b for a, b in zip(packets, (p.splitlines(True)[0] for p in packets[1:])))
