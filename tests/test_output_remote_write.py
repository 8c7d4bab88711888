"""Remote write: all that was sent is at Prometheus and VictoriaMetrics, and the messages are what their definitions say."""

from __future__ import annotations

import base64
import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import cramjam
import pytest
import servers
from agents import RunningAgent, balanced
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from http_sink import UNPACK, HttpSink, Reply, Request
from roundtrip import Trip, batches

from adamas import Batch, Collector, Counter, Delta, Gauge, Rejected, Retry, Sample
from adamas.host import Host
from adamas.naming import Naming
from adamas.option import Secret
from adamas.outputs.remote_write import RemoteWrite, parts, snappy
from adamas.pipeline import Intake
from adamas.protobuf import fields, read_varint, varint

UNPACK["snappy"] = lambda raw: bytes(cramjam.snappy.decompress_raw(raw))

DOUBLE, INT64, UINT32, ENUM, STRING, MESSAGE = 1, 3, 13, 14, 9, 11

DEFINED: dict[str, dict[str, list[tuple[int, str, int, bool, str]]]] = {
    # prompb/remote.proto and types.proto
    "prometheus": {
        "WriteRequest": [(1, "timeseries", MESSAGE, True, "TimeSeries")],
        "TimeSeries": [(1, "labels", MESSAGE, True, "Label"), (2, "samples", MESSAGE, True, "Sample")],
        "Label": [(1, "name", STRING, False, ""), (2, "value", STRING, False, "")],
        "Sample": [(1, "value", DOUBLE, False, ""), (2, "timestamp", INT64, False, "")],
    },
    # prompb/io/prometheus/write/v2/types.proto, 2.0-rc.4
    "io.prometheus.write.v2": {
        "Request": [(4, "symbols", STRING, True, ""), (5, "timeseries", MESSAGE, True, "TimeSeries")],
        "TimeSeries": [
            (1, "labels_refs", UINT32, True, ""),
            (2, "samples", MESSAGE, True, "Sample"),
            (5, "metadata", MESSAGE, False, "Metadata"),
        ],
        "Sample": [(1, "value", DOUBLE, False, ""), (2, "timestamp", INT64, False, ""), (3, "start_timestamp", INT64, False, "")],
        "Metadata": [(1, "type", UINT32, False, ""), (3, "help_ref", UINT32, False, ""), (4, "unit_ref", UINT32, False, "")],
    },
}
"""The messages' definitions: (number, name, type, repeated, message)."""


def message(package: str, name: str) -> Any:
    """A class of the official library for a message of these definitions."""
    pool = descriptor_pool.DescriptorPool()
    file = descriptor_pb2.FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for kind, members in DEFINED[package].items():
        made = file.message_type.add(name=kind)
        for number, member, type_, repeated, other in members:
            field = made.field.add(name=member, number=number, type=type_, label=3 if repeated else 1)
            if other:
                field.type_name = f".{package}.{other}"
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}"))


WriteRequest = message("prometheus", "WriteRequest")
Request2 = message("io.prometheus.write.v2", "Request")

Points = dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]]


def spelled(trip: Trip, sent: list[Batch]) -> Points:
    """What must be there: values as doubles, labels in their order."""
    return {
        (name, tuple(sorted(labels))): {stamp: float(value) for stamp, value in values.items()}
        for (name, labels), values in trip.points(sent).items()
    }


def unpacked(payload: bytes) -> list[bytes]:
    """The messages of a payload's parts."""
    return [UNPACK["snappy"](snappy.block(part.length, [part.elements])) for part in parts(payload)]


def read1(message: bytes) -> Points:
    found: Points = {}
    for series in WriteRequest.FromString(message).timeseries:
        pairs = [(label.name, label.value) for label in series.labels]
        assert pairs == sorted(pairs) and all(value for _, value in pairs) and len(dict(pairs)) == len(pairs)
        name = dict(pairs).pop("__name__")
        key = (name, tuple(pair for pair in pairs if pair[0] != "__name__"))
        for sample in series.samples:
            found.setdefault(key, {})[sample.timestamp / 1000] = sample.value
    return found


def read2(message: bytes) -> tuple[Points, dict[str, tuple[int, str, str, float]]]:
    """The points, and (type, help, unit, start) by name."""
    request = Request2.FromString(message)
    symbols = list(request.symbols)
    assert symbols[0] == "" and len(set(symbols)) == len(symbols)
    found: Points = {}
    about = {}
    for series in request.timeseries:
        words = [symbols[ref] for ref in series.labels_refs]
        pairs = list(zip(words[0::2], words[1::2]))
        assert pairs == sorted(pairs) and all(value for _, value in pairs) and len(dict(pairs)) == len(pairs)
        name = dict(pairs)["__name__"]
        key = (name, tuple(pair for pair in pairs if pair[0] != "__name__"))
        (sample,) = series.samples
        found.setdefault(key, {})[sample.timestamp / 1000] = sample.value
        data = series.metadata
        about[name] = (data.type, symbols[data.help_ref], symbols[data.unit_ref], sample.start_timestamp / 1000)
    return found, about


@pytest.fixture
def sink() -> Iterator[Callable[..., HttpSink]]:
    running: list[HttpSink] = []

    def begin(reply: Callable[[Request], Reply]) -> HttpSink:
        running.append(HttpSink(reply))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


def stored_at(prometheus: servers.Prometheus) -> Points:
    """Every sample that Prometheus has of the last hour."""
    found: Points = {}
    status, body = servers.get(prometheus.port, "/api/v1/query?query=" + quote('{__name__!=""}[1h]'), 30)
    assert status == 200, body
    for series in json.loads(body)["data"]["result"]:
        labels = dict(series["metric"])
        name = labels.pop("__name__")
        found[name, tuple(sorted(labels.items()))] = {stamp: float(text) for stamp, text in series["values"]}
    return found


def test_prometheus_has_what_was_sent(tmp_path: Path, prometheus: Callable[..., servers.Prometheus]) -> None:
    server = prometheus()
    trip = Trip(tmp_path, "remote_write", {"url": server.url})
    sent = batches()
    ledger = trip.go(sent)
    assert ledger["delivered"] == 10_000 and not ledger["dropped"]
    stored = stored_at(server)
    wanted = spelled(trip, sent)
    assert sum(map(len, stored.values())) == 10_000
    assert stored == wanted


def test_victoriametrics_has_what_was_sent(tmp_path: Path) -> None:
    servers.require("victoria-metrics")
    server = servers.Victoria(tmp_path / "victoria")
    try:
        trip = Trip(tmp_path, "remote_write", {"url": server.url, "buffer": "spill"})
        sent = batches()
        ledger = trip.go(sent)
        assert ledger["delivered"] == 10_000 and not ledger["dropped"]
        stored = server.export()
    finally:
        server.stop()
    wanted = spelled(trip, sent)
    assert sum(map(len, stored.values())) == 10_000
    assert stored.keys() == wanted.keys()
    for key, values in wanted.items():
        # It keeps a block's values as whole numbers of 64 bits and one power of ten: small ones beside huge ones lose digits.
        assert stored[key] == pytest.approx(values, rel=1e-12, abs=max(map(abs, values.values())) * 1e-15), key


def test_a_wrong_password_loses_nothing(tmp_path: Path) -> None:
    """VictoriaMetrics wants a name and a password: with wrong ones samples wait, with the right ones they are there."""
    servers.require("victoria-metrics")
    server = servers.Victoria(tmp_path / "victoria", "-httpAuth.username=u", "-httpAuth.password=right")
    try:
        options = {"url": server.url, "username": "u", "password": "wr0ng-one"}
        wrong = Trip(tmp_path / "wrong", "remote_write", options).output
        wrong.open()
        sent = batches(1)
        with pytest.raises(Retry, match="HTTP 401") as refused:
            wrong.send(wrong.encode(sent))
        wrong.close()
        assert "wr0ng" not in str(refused.value)
        trip = Trip(tmp_path, "remote_write", {**options, "password": "right"})
        assert trip.go(sent)["delivered"] == 1000
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
        login = {"Authorization": "Basic " + base64.b64encode(b"u:right").decode()}
        counts = []
        for target in ("/internal/force_flush", "/api/v1/export?match[]=" + quote('{host="h"}')):
            connection.request("GET", target, headers=login)
            counts.append(connection.getresponse().read().count(b"\n"))
        connection.close()
        assert counts[1] == 1000
    finally:
        server.stop()


def test_prometheus_takes_again_what_it_may_have_and_what_is_new(
    tmp_path: Path, prometheus: Callable[..., servers.Prometheus]
) -> None:
    """A request of several times, of which Prometheus has some already: only those are refused, not the new ones with them."""
    server = prometheus()
    trip = Trip(tmp_path, "remote_write", {"url": server.url})
    sent = batches(6)
    output = trip.output
    output.open()
    output.send(output.encode(sent[:4]))  # it arrives, but say that its answer does not
    with pytest.raises(Rejected, match="out of order sample") as refused:
        output.send(output.encode(sent))
    assert refused.value.points == 3000  # the fourth is the newest that it has, and the same again is no mistake
    assert stored_at(server) == spelled(trip, sent)
    assert read1(UNPACK["snappy"](refused.value.refused)) == spelled(trip, sent[:3])
    output.close()


def test_an_outage_of_prometheus_loses_nothing(tmp_path: Path, prometheus: Callable[..., servers.Prometheus]) -> None:
    """Killed and started again in the middle: the samples arrive in the order of their time, as Prometheus insists on."""
    server = prometheus()
    trip = Trip(tmp_path, "remote_write", {"url": server.url})
    sent = batches(8)
    sender = trip.sender
    sender.start()
    for n, batch in enumerate(sent):
        sender.offer(batch)
        sender.ring()
        if n == 1:
            servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == 2000, 20)
            server.server.stop()
        elif n == 4:
            servers.wait_until(lambda: sender.failures, 20)
    again = servers.start(server.server.argv, server.directory, lambda: servers.get(server.port, "/-/ready")[0] == 200)
    try:
        servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == 8000, 70)
        ledger = sender.ledger.snapshot()
        assert balanced(ledger) and not ledger["dropped"]
        sender.stop(time.monotonic() + 5)
        sender.join(time.monotonic() + 5)
        assert stored_at(server) == spelled(trip, sent)
    finally:
        again.stop()


def test_an_agent_says_whose_samples_they_are(tmp_path: Path, prometheus: Callable[..., servers.Prometheus]) -> None:
    """In a real agent the host's name comes from its configuration, as `instance`."""
    server = prometheus()
    config = '[agent]\nhostname = "edge-7"\ninterval = "1s"\nstate_dir = "{state}"\ndefaults = false\nlabels = { env = "prod" }\n'
    config += "[web]\nenabled = false\n[history]\nenabled = false\n[collectors.loadavg]\n[collectors.cpu]\n"
    running = RunningAgent(tmp_path, config + f'[outputs.remote_write]\nurl = "{server.url}"\n')
    try:
        running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 60, 20)
        assert running.stop()[0] == 0
        (load,) = server.query("node_load1")
        assert load["metric"] == {"__name__": "node_load1", "instance": "edge-7", "env": "prod"}
        assert server.query('node_cpu_seconds_total{instance="edge-7", mode="user"}')
    finally:
        running.end()


def test_what_is_refused_is_kept(tmp_path: Path, prometheus: Callable[..., servers.Prometheus]) -> None:
    """Samples of last week, where there are some of today."""
    server = prometheus()
    trip = Trip(tmp_path, "remote_write", {"url": server.url})
    ledger = trip.go(batches(2))
    assert ledger["delivered"] == 2000
    late = Trip(tmp_path / "late", "remote_write", {"url": server.url})
    old = batches(1, end=time.time() - 7 * 86400)
    ledger = late.go(old)
    assert ledger["dropped"] == {"rejected": 1000}
    (letter,) = [json.loads(line) for line in (tmp_path / "late" / "letters.jsonl").read_text().splitlines()]
    assert letter["points"] == 1000 and "HTTP 400: out of bounds" in letter["reason"]
    assert read1(UNPACK["snappy"](base64.b64decode(letter["base64"]))) == spelled(late, old)


@pytest.mark.parametrize("version", ["1", "2"])
def test_messages_are_as_defined(version: str) -> None:
    output = RemoteWrite({"version": version})
    output.spell(Naming("prometheus", (), {"env": "prod", "empty": ""}, "box"))
    sent = batches(3)
    for batch in sent:
        assert output.points(batch) == 1000
    found: Points = {}
    if version == "1":
        messages = unpacked(output.encode(sent))
        assert len(messages) == 3
        for one in messages:
            for key, values in read1(one).items():
                found.setdefault(key, {}).update(values)
    else:
        (one,) = unpacked(output.encode(sent))
        found, about = read2(one)
        start = sent[0].time
        assert about == {
            "mixed_level_bytes": (2, "A number", "bytes", 0),
            "mixed_total_seconds": (1, "A total", "seconds", start),
        }
    wanted = {
        (point.name, tuple(sorted(point.labels))): {b.time: float(v) for b, (_, v) in zip(sent, values)}
        for point, values in [(rows[0][0], rows) for rows in zip(*[list(output.lines.plan(b.shape).pairs(b)) for b in sent])]
    }
    assert sum(map(len, found.values())) == 3000
    assert found == wanted
    assert all(
        dict(labels)["instance"] == "box" and dict(labels)["env"] == "prod" and "empty" not in dict(labels) for _, labels in found
    )


class Odd(Collector):
    """A counter that starts over, one that comes later, an increase, and a label that Prometheus does not take."""

    name = "odd"
    total = Counter("total.{which}", "A total", unit="By")
    step = Counter("step", "A total as its increase", prometheus=Delta("odd_step"))
    gauge = Gauge("gauge", "A number")
    values: tuple[int, ...] = ()

    def collect(self) -> Iterator[Sample]:
        for n, value in enumerate(self.values):
            yield self.total(value, n)
        yield self.step(sum(self.values))
        yield self.gauge(1)


def runs(*values: tuple[int, ...]) -> list[Batch]:
    collector = Odd(Host(), {}, "odd")
    intake = Intake(collector)
    made = []
    for n, each in enumerate(values):
        collector.values = each
        batch = intake.publish(*intake.gather(), 1000.0 + 10 * n, 100.0 + 10 * n)
        assert batch is not None
        made.append(batch)
    return made


def test_starts_follow_resets_however_late_a_batch_is_encoded() -> None:
    output = RemoteWrite({"version": "2"})
    output.spell(Naming("prometheus"))
    made = runs((5,), (9,), (2,), (3, 100), (4, 90), (1, 91), (2,), (3, 95), (4,), (5, 10))
    for batch in made:
        output.points(batch)

    def starts(batch: Batch) -> dict[str, float]:
        (one,) = unpacked(output.encode([batch]))
        request = Request2.FromString(one)
        found = {}
        for series in request.timeseries:
            words = [request.symbols[ref] for ref in series.labels_refs]
            pairs = dict(zip(words[0::2], words[1::2]))
            if pairs["__name__"] == "odd_total_bytes":
                found[pairs["which"]] = series.samples[0].start_timestamp / 1000
        return found

    first = [1000, 1000, 1010, 1010, 1010, 1040, 1040, 1040, 1040, 1040]
    second = [0, 0, 0, 1030, 1030, 1030, 0, 1030, 0, 1070]  # once it began anew after 1030, once after 1070; 0: it was away
    wanted = [{"0": one, **({"1": other} if other else {})} for one, other in zip(first, second)]
    order = list(range(len(made)))
    random.Random(7).shuffle(order)
    assert [starts(batch) for batch in made] == wanted
    assert [starts(made[n]) for n in order] == [wanted[n] for n in order]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_first_increase_is_not_there(version: str) -> None:
    output = RemoteWrite({"version": version})
    output.spell(Naming("prometheus"))
    made = runs((5,), (9,), (20,))
    counts = [output.points(batch) for batch in made]
    assert counts == [2, 3, 3]
    for batch, step in zip(made, (None, 4.0, 11.0)):
        (one,) = unpacked(output.encode([batch]))
        found = read1(one) if version == "1" else read2(one)[0]
        values = {name: values[batch.time] for (name, _), values in found.items()}
        assert values.get("odd_step") == step
        assert len(values) == (2 if step is None else 3)


def test_names_of_other_namings_are_made_fit() -> None:
    output = RemoteWrite()
    output.spell(Naming("path", ("servers", "h"), {}, "h"))
    (batch,) = runs((1,))
    output.points(batch)
    (one,) = unpacked(output.encode([batch]))
    assert {name for name, _ in read1(one)} == {"servers_h_odd_gauge"}  # rates have none yet


def test_version_2_counts_what_was_written(tmp_path: Path, sink: Callable[..., HttpSink]) -> None:
    def reply(request: Request) -> Reply:
        found, _ = read2(request.body)
        return Reply(204, headers={"X-Prometheus-Remote-Write-Samples-Written": str(len(found) - 7)})

    backend = sink(reply)
    trip = Trip(
        tmp_path,
        "remote_write",
        {"url": backend.url, "version": 2, "headers": {"X-Scope-OrgID": "one"}, "bearer_token": "s3cret"},
    )
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 993 and ledger["dropped"] == {"rejected": 7}
    (request,) = backend.requests
    assert request.path == "/api/v1/write"
    headers = {name: request.headers[name] for name in ("content-type", "content-encoding", "x-scope-orgid", "authorization")}
    assert headers == {
        "content-type": "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        "content-encoding": "snappy",
        "x-scope-orgid": "one",
        "authorization": "Bearer s3cret",
    }
    assert request.headers["x-prometheus-remote-write-version"] == "2.0.0"
    assert request.headers["user-agent"].startswith("adamas/")


def test_version_2_refused_in_part(tmp_path: Path, sink: Callable[..., HttpSink]) -> None:
    answer = Reply(400, b"too many labels", {"X-Prometheus-Remote-Write-Samples-Written": "600"})
    trip = Trip(tmp_path, "remote_write", {"url": sink(lambda request: answer).url, "version": "2"})
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 600 and ledger["dropped"] == {"rejected": 400}


@pytest.mark.parametrize("answer", [Reply(415, b"unsupported"), Reply(204)], ids=["says so", "takes it for an empty message"])
def test_a_backend_of_version_1_loses_nothing_of_version_2(tmp_path: Path, sink: Callable[..., HttpSink], answer: Reply) -> None:
    output = Trip(tmp_path, "remote_write", {"url": sink(lambda request: answer).url, "version": "2"}).output
    output.open()
    with pytest.raises(Retry, match="set version = 1"):
        output.send(output.encode(batches(1)))
    output.close()


def test_busy_backends_are_asked_again_when_they_say(tmp_path: Path, sink: Callable[..., HttpSink]) -> None:
    answers = iter([Reply(429, b"", {"Retry-After": "1"})])
    backend = sink(lambda request: next(answers, Reply(204)))
    trip = Trip(tmp_path, "remote_write", {"url": backend.url, "buffer": "memory"})
    began = time.monotonic()
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 1000 and len(backend.requests) == 2
    assert time.monotonic() - began >= 1


def test_a_backend_that_fails_between_the_pieces_of_a_request_gets_all_again(
    tmp_path: Path, sink: Callable[..., HttpSink]
) -> None:
    """Three times in one request, refused: then one by one, and the second of those is not answered."""
    stored: set[float] = set()
    hiccup = iter([503])

    def reply(request: Request) -> Reply:
        stamps = {stamp for values in read1(request.body).values() for stamp in values}
        if stamps & stored:
            return Reply(400, b"out of order sample")
        if len(stamps) > 1 and not stored:
            return Reply(400, b"one of them is bad")
        if stored and next(hiccup, None):
            return Reply(503)
        stored.update(stamps)
        return Reply(204)

    trip = Trip(tmp_path, "remote_write", {"url": sink(reply).url, "buffer": "memory"})
    sent = batches(3)
    ledger = trip.go(sent)
    assert stored == {batch.time for batch in sent}
    assert ledger["delivered"] == 2000 and ledger["dropped"] == {"rejected": 1000}  # the first was stored, but nobody can know


def test_the_protocols_headers_are_its_own() -> None:
    output = RemoteWrite(
        {"headers": {"Content-Type": "text/plain"}, "bearer_token": Secret("t"), "username": "u", "password": Secret("p")}
    )
    assert output.check() == [
        "bearer_token: log in with a token or with a name and password, not with both",
        "headers: Content-Type is the protocol's own",
    ]


@pytest.mark.parametrize("size", [0, 1, 59, 60, 61, 255, 256, 257, 65535, 65536, 65537, 200_000])
def test_snappy_of_literals(size: int) -> None:
    data = random.Random(size).randbytes(size)
    whole = snappy.block(len(data), [snappy.literals(data)])
    assert bytes(cramjam.snappy.decompress_raw(whole)) == data


def test_pieces_that_were_compressed_apart_are_one_block() -> None:
    pieces = [b"abcd" * 5000, b"", b"abcdefgh" * 20_000, bytes(range(256)) * 300]
    elements = [snappy.elements(pieces[0]), snappy.literals(pieces[1]), snappy.elements(pieces[2]), snappy.literals(pieces[3])]
    whole = snappy.block(sum(map(len, pieces)), elements)
    assert bytes(cramjam.snappy.decompress_raw(whole)) == b"".join(pieces)
    assert len(whole) < len(b"".join(pieces)) / 2


def test_without_the_library_payloads_are_longer_and_valid() -> None:
    code = "import sys; sys.modules['cramjam'] = None; sys.path[:0] = sys.argv[1:]; from roundtrip import batches;"
    code += "from adamas.naming import Naming; from adamas.outputs.remote_write import RemoteWrite;"
    code += "o = RemoteWrite(); o.spell(Naming('prometheus')); sys.stdout.buffer.write(o.encode(batches(2, end=1_700_000_000)))"
    argv = [sys.executable, "-c", code, str(Path(__file__).parent), str(Path(__file__).parent.parent / "src")]
    longer = subprocess.run(argv, check=True, capture_output=True, timeout=30).stdout
    output = RemoteWrite()
    output.spell(Naming("prometheus"))
    shorter = output.encode(batches(2, end=1_700_000_000))
    assert unpacked(longer) == unpacked(shorter)
    assert len(longer) > 3 * len(shorter)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 300, 2**32, 2**63 - 1, -1, -(2**63)])
def test_numbers_of_the_wire_format(number: int) -> None:
    packed = varint(number)
    assert read_varint(packed, 0) == (number & (1 << 64) - 1, len(packed))
    sample = message("prometheus", "Sample")(timestamp=number)
    assert [value for _, value in fields(sample.SerializeToString())] == ([number & (1 << 64) - 1] if number else [])


@pytest.mark.parametrize("bad", [b"\xff", b"\xff" * 11, b"\x0a\x05ab", b"\x09\x01", b"\x0b"])
def test_what_is_no_message(bad: bytes) -> None:
    with pytest.raises(ValueError):
        list(fields(bad))
