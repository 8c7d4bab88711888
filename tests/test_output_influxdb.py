"""InfluxDB's line protocol: what a real InfluxDB 1 and a real VictoriaMetrics have afterwards; versions 2 and 3 as documented."""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from agents import RunningAgent
from http_sink import HttpSink, Reply, Request
from roundtrip import Trip, batches

from adamas import Rejected, Retry
from adamas.config import load
from adamas.metric import Batch
from adamas.outputs.influxdb import Influxdb

Stored = dict[tuple[str, str, tuple[tuple[str, str], ...]], dict[float, float]]


@pytest.fixture
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., servers.Influx]]:
    servers.require("influxd")
    running: list[servers.Influx] = []

    def begin(**how: Any) -> servers.Influx:
        running.append(servers.Influx(tmp_path_factory.mktemp("influxdb"), **how))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


@pytest.fixture
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Victoria]:
    servers.require("victoria-metrics")
    running = servers.Victoria(tmp_path_factory.mktemp("victoria"), "-influxSkipSingleField")
    yield running
    running.stop()


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    running = HttpSink()
    yield running
    running.stop()


def as_text(value: float) -> float:
    """A value as the protocol's text has it."""
    return float(value) if isinstance(value, int) else float(f"{value:.12g}")


def expected(trip: Trip, sent: list[Batch]) -> Stored:
    """What InfluxDB must have."""
    made: Stored = {}
    for (name, labels), points in trip.points(sent).items():
        tags = dict(labels)
        field = tags.pop("_field", "value")
        made[name, field, tuple(sorted(tags.items()))] = {stamp: as_text(value) for stamp, value in points.items()}
    return made


def points(stored: Stored) -> int:
    return sum(map(len, stored.values()))


@pytest.mark.parametrize("naming", ["prometheus", "otel", "path"])
def test_influxdb_has_what_was_sent(naming: str, influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx()
    trip = Trip(tmp_path, "influxdb", {"url": server.url, "database": 'a "new" d', "naming": naming})
    sent = batches()
    ledger = trip.go(sent)
    want, stored = expected(trip, sent), server.points('a "new" d')
    met = len(trip.output.spelling.collisions)
    print(f"{naming}: {len(stored)} series, {points(stored)} points in InfluxDB; {met} names met and were kept apart")
    assert ledger["delivered"] == points(stored) == (10_000 if naming != "path" else 9_950)  # a rate needs a run before
    assert stored == want
    assert not trip.output.lines.unfit


def test_what_the_protocol_cannot_write_is_written_as_documented(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx()
    trip = Trip(tmp_path, "influxdb", {"url": server.url}, {"host": "h", "time": "noon", "_field": "f", "none": ""})
    trip.go(batches(1))
    tags = [dict(tags) for _, _, tags in server.points("adamas")]
    assert all(t["host"] == "h" and t["time_"] == "noon" and t["_field_"] == "f" and "none" not in t for t in tags)
    items = {t.get("item") for t in tags if t.get("kind") == "0"}
    assert {
        "back\\slash",
        "new\\nline",
        "carriage\\rreturn",
        "tab\\tbed",
        "nul\\x00byte",
        "a=b,c",
        "trailing ",
        " leading",
        None,
    } <= items
    assert {'quo"te', "日本語", "\u2028separator", "bad bytes \\xff"} <= items


def test_victoriametrics_has_what_was_sent(victoria: servers.Victoria, tmp_path: Path) -> None:
    trip = Trip(tmp_path, "influxdb", {"url": victoria.url})
    sent = batches()
    ledger = trip.go(sent)
    want = {(name, tuple(sorted((*tags, ("db", "adamas"))))): values for (name, _, tags), values in expected(trip, sent).items()}
    stored = victoria.export()
    print(f"{len(stored)} series, {sum(map(len, stored.values()))} points in VictoriaMetrics")
    assert ledger["delivered"] == 10_000
    assert stored.keys() == want.keys()
    for key, values in want.items():
        # It keeps a block's values as whole numbers of 64 bits and one power of ten: small ones beside huge ones lose digits.
        assert stored[key] == pytest.approx(values, rel=1e-12, abs=max(map(abs, values.values())) * 1e-15), key


def test_as_diamonds_own_handler_sends_it(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    """Under the naming `diamond` the database has the same as after Diamond's InfluxdbHandler with its default settings."""
    server = influx()
    trip = Trip(tmp_path, "influxdb", {"url": server.url, "database": "ours", "naming": "diamond"})
    sent = batches()
    trip.go(sent)
    server.query('CREATE DATABASE "graphite"')
    handler = importlib.import_module("diamond.handler.influxdbHandler").InfluxdbHandler(
        {"hostname": "127.0.0.1", "port": str(server.port), "batch_size": "100000"}
    )
    metric = importlib.import_module("diamond.metric").Metric
    plain = Trip(tmp_path, "file", {"path": str(tmp_path / "lines"), "naming": "diamond"})
    plain.go(sent)
    for line in (tmp_path / "lines").read_text().split("\n")[:-1]:
        name, value, stamp = line.split(" ")
        handler._process(metric(name, float(value), timestamp=int(stamp), host="h"))
    handler._flush()
    ours, theirs = server.points("ours"), server.points("graphite")
    print(f"{points(ours)} points, {points(theirs)} by Diamond's handler")
    assert points(theirs) == 9_950
    assert ours == theirs


def test_diamonds_handler_becomes_this_output(tmp_path: Path) -> None:
    """With each of its settings as it was, those that the file does not name among them."""
    pytest.importorskip("configobj")
    conf = tmp_path / "diamond.conf"
    head = f"[server]\nhandlers = diamond.handler.influxdbHandler.InfluxdbHandler\ncollectors_config_path = {tmp_path}/none\n"
    head += f"handlers_config_path = {tmp_path}/none\n[handlers]\n[[InfluxdbHandler]]\n"

    def becomes(section: str) -> dict[str, Any]:
        conf.write_text(head + section + "[collectors]\n")
        config = load(str(conf))
        values = config.outputs["influxdb"].values
        assert Influxdb(values).check() == []
        assert config.warnings == []
        return values

    values = becomes("")
    told = {"naming": "diamond", "url": "http://localhost:8086", "username": "root", "password": "root", "database": "graphite"}
    assert {key: values[key] for key in told} == told
    assert values["timeout"] == 5
    values = becomes("hostname = ::1\nport = 443\nssl = True\nusername = me\ndatabase = d\nbatch_size = 100\ntimeout = 9\n")
    assert (values["url"], values["username"], values["database"], values["timeout"]) == ("https://[::1]:443", "me", "d", 9)


def test_points_that_influxdb_drops_are_counted(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    """A field that is an integer there already takes no floats: those are refused, and the others stored."""
    server = influx()
    server.query("CREATE DATABASE adamas")
    trip = Trip(tmp_path, "influxdb", {"url": server.url})
    sent = batches()
    trip.output.send(trip.output.pack(f"mixed_total_seconds value=1i {int(sent[0].time) * 1000}\n".encode()))
    ledger = trip.go(sent)
    assert ledger["dropped"] == {"rejected": 500}
    assert ledger["delivered"] == 9_500 == points(server.points("adamas")) - 1
    letters = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert sum(letter["points"] for letter in letters) == 500
    assert all("field type conflict" in letter["reason"] and "mixed_total_seconds" in letter["text"] for letter in letters)


def test_lines_that_influxdb_cannot_read_are_counted(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx()
    output = Trip(tmp_path, "influxdb", {"url": server.url}).output
    with pytest.raises(Rejected, match="partial write") as told:
        output.send(output.pack(b"good value=1 1000\nbad,, x\ngood value=2 2000\nworse line\n"))
    output.close()
    assert told.value.points == 2
    assert points(server.points("adamas")) == 2


def test_who_may_not_write_waits(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx(authentication=True)
    server.query("CREATE USER me WITH PASSWORD 'hocuspocus' WITH ALL PRIVILEGES")
    sent = batches(1)
    wrong = Trip(tmp_path / "wrong", "influxdb", {"url": server.url, "username": "me", "password": "abracadabra"})
    wrong.sender.start()
    for batch in sent:
        wrong.sender.offer(batch)
    wrong.sender.ring()
    servers.wait_until(lambda: wrong.sender.error, 10, "a refusal")
    status = wrong.sender.status()
    assert "401" in status["error"] and "abracadabra" not in json.dumps(status)
    assert status["ledger"]["dropped"] == {} and status["ledger"]["delivered"] == 0
    wrong.sender.stop(time.monotonic())
    wrong.sender.join(time.monotonic() + 5)
    right = Trip(tmp_path / "right", "influxdb", {"url": server.url, "username": "me", "password": "hocuspocus"})
    assert right.go(sent)["delivered"] == 1000
    assert server.query("SELECT count(value) FROM mixed_level_bytes", "adamas", "me", "hocuspocus")[0]["values"][0][1] == 950


def test_what_is_too_large_goes_in_halves(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    """An InfluxDB that takes 50 kB at most gets all of a payload that is many times that."""
    server = influx(most=50_000)
    trip = Trip(tmp_path, "influxdb", {"url": server.url, "compression": "none"})
    sent = batches()
    assert trip.go(sent)["delivered"] == 10_000
    assert server.points("adamas") == expected(trip, sent)


def test_a_restart_loses_nothing(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx()
    trip = Trip(tmp_path, "influxdb", {"url": server.url, "batch": 1000})
    sent = batches()
    trip.sender.start()
    for n, batch in enumerate(sent):
        trip.sender.offer(batch)
        trip.sender.ring()
        if n == 2:
            servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] >= 1000, 20, "the first points")
            server.stop()
            server.server.kill()
        if n == 5:
            servers.wait_until(lambda: trip.sender.error, 20, "a failure")
            server.start()
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == 10_000, 60, "all points")
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    assert server.points("adamas") == expected(trip, sent)


@pytest.mark.parametrize(
    ("version", "options", "path", "query", "login"),
    [
        ("2", {"org": "my org", "bucket": "b/c", "token": "s3cret"}, "/base/api/v2/write",
         {"org": "my org", "bucket": "b/c", "precision": "ms"}, "Token s3cret"),
        ("3", {"database": "d", "token": "s3cret"}, "/base/api/v3/write_lp",
         {"db": "d", "precision": "millisecond", "accept_partial": "true"}, "Bearer s3cret"),
        ("3", {"database": "d", "bearer_token": "s3cret"}, "/base/api/v3/write_lp",
         {"db": "d", "precision": "millisecond", "accept_partial": "true"}, "Bearer s3cret"),
        ("1", {"database": "d", "retention_policy": "week", "username": "u", "password": "p"}, "/base/write",
         {"db": "d", "rp": "week", "precision": "ms"}, "Basic dTpw"),
    ],
)  # fmt: skip
def test_requests_of_each_version(
    version: str, options: dict[str, Any], path: str, query: dict[str, str], login: str, sink: HttpSink, tmp_path: Path
) -> None:
    """As the API's documents say: path, query, login; the body is what version 1 takes."""
    trip = Trip(tmp_path, "influxdb", {"url": f"{sink.url}/base/", "version": version, **options})
    assert trip.go(batches(1))["delivered"] == 1000
    request = sink.requests[0]
    assert (request.method, request.path, request.query) == ("POST", path, query)
    assert request.headers["authorization"] == login
    assert request.headers["content-encoding"] == "gzip"
    assert request.body.count(b"\n") == 1000


def test_lines_that_version_3_refuses(sink: HttpSink, tmp_path: Path) -> None:
    """It names each line that it refused, and has stored the others."""

    def reply(request: Request) -> Reply:
        lines = request.body.decode().split("\n")
        data = [{"original_line": lines[n - 1][:20], "line_number": n, "error_message": "invalid column type"} for n in (2, 700)]
        return Reply(400, json.dumps({"error": "partial write of line protocol occurred", "data": data}).encode())

    sink.reply = reply
    trip = Trip(tmp_path, "influxdb", {"url": sink.url, "version": "3"})
    ledger = trip.go(batches(1))
    assert (ledger["delivered"], ledger["dropped"]) == (998, {"rejected": 2})
    letter = json.loads((tmp_path / "letters.jsonl").read_text())
    lines = sink.requests[0].body.decode().split("\n")
    assert letter["text"] == f"{lines[1]}\n{lines[699]}\n"
    assert len(sink.requests) == 1


def test_version_3_without_partial_writes_and_version_2_refuse_all(sink: HttpSink, tmp_path: Path) -> None:
    all_of_it = {
        "error": "parsing failed for write_lp endpoint",
        "data": {"original_line": "x", "line_number": 2, "error_message": "no"},
    }
    for version, options, body in (
        ("3", {}, all_of_it),
        ("2", {"org": "o", "bucket": "b"}, {"code": "invalid", "message": "unable to parse 'x': missing fields"}),
    ):
        said = json.dumps(body).encode()
        sink.reply = lambda request, said=said: Reply(400, said)  # type: ignore[misc]
        trip = Trip(tmp_path / version, "influxdb", {"url": sink.url, "version": version, **options})
        assert trip.go(batches(1))["dropped"] == {"rejected": 1000}
    partial = {
        "code": "unprocessable entity",
        "message": "failure writing points to database: partial write: points beyond retention policy dropped=7",
    }
    sink.reply = lambda request: Reply(422, json.dumps(partial).encode())
    trip = Trip(tmp_path / "422", "influxdb", {"url": sink.url, "version": "2", "org": "o", "bucket": "b"})
    assert trip.go(batches(1))["dropped"] == {"rejected": 7}


def test_a_database_that_cannot_be_created_waits(sink: HttpSink, tmp_path: Path) -> None:
    refused = Reply(200, b'{"results":[{"statement_id":0,"error":"not authorized"}]}')
    sink.reply = lambda request: refused if request.path == "/query" else Reply(404, b'{"error":"database not found: \\"d\\""}')
    output = Trip(tmp_path, "influxdb", {"url": sink.url, "database": "d"}).output
    with pytest.raises(Retry, match=r"cannot be created: HTTP 200.*not authorized"):
        output.send(output.pack(b"x value=1 1\n"))
    output.close()
    assert [r.path for r in sink.requests] == ["/write", "/query"]
    assert sink.requests[1].query == {"q": 'CREATE DATABASE "d"'}
    sink.requests.clear()
    output = Trip(tmp_path, "influxdb", {"url": sink.url, "database": "d", "create": False}).output
    with pytest.raises(Retry, match="database not found"):
        output.send(output.pack(b"x value=1 1\n"))
    output.close()
    assert [r.path for r in sink.requests] == ["/write"]


def test_options_that_do_not_go_together() -> None:
    assert Influxdb({"version": "2"}).check() == ["bucket: InfluxDB 2 needs it", "org: InfluxDB 2 needs it"]
    assert Influxdb({"database": ""}).check() == ["database: InfluxDB 1 needs it"]
    assert Influxdb({"token": "t", "username": "u"}).check() == ["token: log in with it, or with username and password"]
    assert "token" in Influxdb({"token": "t\n"}).check()[0]


def test_an_agent_names_its_host(influx: Callable[..., servers.Influx], tmp_path: Path) -> None:
    server = influx()
    config = f"""
        [agent]
        hostname = "web7"
        interval = "1s"
        state_dir = "{{state}}"
        defaults = false
        [web]
        enabled = false
        [history]
        enabled = false
        [collectors.loadavg]
        [outputs.influxdb]
        url = "{server.url}"
    """
    running = RunningAgent(tmp_path, config)
    try:
        running.wait(lambda s: s["outputs"][0]["ledger"]["delivered"] > 10, 20)
        assert running.stop()[0] == 0
    finally:
        running.end()
    stored = server.points("adamas")
    assert {dict(tags).get("host") for _, _, tags in stored} == {"web7"}
    assert any(name == "node_load1" for name, _, _ in stored)
