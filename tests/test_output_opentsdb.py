"""OpenTSDB's telnet protocol and its HTTP API: what VictoriaMetrics and InfluxDB have afterwards, and refusals as documented."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from http_sink import HttpSink, Reply, Request
from roundtrip import Trip, batches

from adamas import Retry
from adamas.metric import Batch
from adamas.outputs._opentsdb import clean

Stored = dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float]]


@pytest.fixture
def victoria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Victoria]:
    servers.require("victoria-metrics")
    running = servers.Victoria(tmp_path_factory.mktemp("victoria"))
    yield running
    running.stop()


@pytest.fixture
def influx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Influx]:
    servers.require("influxd")
    running = servers.Influx(tmp_path_factory.mktemp("influxdb"))
    running.query("CREATE DATABASE opentsdb")
    yield running
    running.stop()


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    running = HttpSink()
    yield running
    running.stop()


class Telnet:
    """Takes lines and answers errors as OpenTSDB documents them; closes when the client has."""

    def __init__(self, answers: dict[str, str]) -> None:
        self.answers = answers
        self.lines: list[str] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as lines:
                for line in lines:
                    self.lines.append(line.decode().rstrip("\n"))
                    name = self.lines[-1].split(" ")[1]
                    if name in self.answers:
                        connection.sendall(self.answers[name].encode())

    def stop(self) -> None:
        """Stop listening."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def expected(trip: Trip, sent: list[Batch]) -> Stored:
    """What must be there, floats as their text has them."""
    made: Stored = {}
    for (name, labels), points in trip.points(sent).items():
        values = {t: float(v) if isinstance(v, int) else float(f"{v:.12g}") for t, v in points.items()}
        made[name, tuple(sorted(labels))] = values
    return made


def trips(server: Any, folder: Path, **options: Any) -> list[Trip]:
    """One through each of the two outputs."""
    http_port = getattr(server, "opentsdb_http_port", server.opentsdb_port)
    return [
        Trip(
            folder / "telnet",
            "opentsdb",
            {"address": [f"127.0.0.1:{server.opentsdb_port}"], **options},
            {"way": "telnet", "host": "h"},
        ),
        Trip(folder / "http", "opentsdb_http", {"url": f"http://127.0.0.1:{http_port}", **options}, {"way": "http", "host": "h"}),
    ]


def same(stored: Stored, want: Stored, loose: bool) -> None:
    """All of it, and nothing else; loose: what VictoriaMetrics' decimal blocks do to small values beside huge ones."""
    assert stored.keys() == want.keys()
    for key, values in want.items():
        least = max(map(abs, values.values())) * 1e-15 if loose else 0.0
        assert stored[key] == pytest.approx(values, rel=1e-12, abs=least), key


@pytest.mark.parametrize("naming", ["prometheus", "path"])
def test_victoriametrics_has_what_was_sent(naming: str, victoria: servers.Victoria, tmp_path: Path) -> None:
    sent, want, delivered, met = batches(), {}, 0, 0
    for trip in trips(victoria, tmp_path, naming=naming):
        if naming == "path":  # no labels: the two ways would meet
            trip.output.host_tag = trip.output.name
        delivered += trip.go(sent)["delivered"]
        want |= expected(trip, sent)
        met += len(trip.output.spelling.collisions)
        assert not trip.output.lines.unfit
    stored = victoria.export()
    print(
        f"{naming}: {len(stored)} series, {sum(map(len, stored.values()))} points in VictoriaMetrics; {met} names met, kept apart"
    )
    assert delivered == sum(map(len, stored.values())) == (20_000 if naming == "prometheus" else 19_900)
    same(stored, want, loose=True)


def test_influxdb_has_what_was_sent(influx: servers.Influx, tmp_path: Path) -> None:
    sent, want = batches(), {}
    for trip in trips(influx, tmp_path):
        assert trip.go(sent)["delivered"] == 10_000
        want |= expected(trip, sent)

    def stored() -> Stored:
        return {(name, tags): values for (name, _, tags), values in influx.points("opentsdb").items()}

    servers.wait_until(lambda: sum(map(len, stored().values())) == 20_000, 15, "20,000 points in InfluxDB")  # it stores by and by
    same(stored(), want, loose=False)


def test_names_as_opentsdb_allows_them(tmp_path: Path) -> None:
    assert clean("a b=c,d;e:f\\g\"h'i") == "a_b_c_d_e_f_g_h_i"
    assert clean("größe-日本_x./9") == "größe-日本_x./9"
    assert clean("emoji \U0001f600 \u2028 ² ٣") == "emoji_____" + "_" * (len("emoji \U0001f600 \u2028 ² ٣") - 10)
    labels = {f"l{i}": f"v {i}" for i in range(8)} | {"empty": ""}
    trip = Trip(tmp_path, "opentsdb", {"max_tags": 4, "host_tag": ""}, labels)
    line = trip.output.encode(batches(1)).decode().split("\n")[0]
    name, stamp, value, *tags = line.removeprefix("put ").split(" ")
    assert (name, len(stamp), value) == ("mixed_level_bytes", 10, "1")
    assert tags == ["kind=0", "item=plain", "l0=v_0", "more=l1.v_1/l2.v_2/l3.v_3/l4.v_4/l5.v_5/l6.v_6/l7.v_7"]
    assert trip.output.stamp(1700000000.0) == "1700000000"
    assert trip.output.stamp(1700000000.25) == "1700000000250"


def test_points_without_a_tag_cannot_go(tmp_path: Path) -> None:
    trip = Trip(tmp_path, "opentsdb", {"naming": "path", "host_tag": ""})
    trip.output.encode(batches(1))
    assert len(trip.output.lines.unfit) == 1000
    assert set(trip.output.lines.unfit.values()) == {"the backend cannot take it"}


def test_lines_that_opentsdb_refuses_are_counted(tmp_path: Path) -> None:
    peer = Telnet({"mixed_total_seconds": "put: unknown metric: No such name for 'metrics': 'mixed_total_seconds'\n"})
    trip = Trip(tmp_path, "opentsdb", {"address": [f"127.0.0.1:{peer.port}"]})
    ledger = trip.go(batches(4))
    peer.stop()
    assert (ledger["delivered"], ledger["dropped"]) == (3800, {"rejected": 200})
    assert len(peer.lines) == 4000
    letter = json.loads((tmp_path / "letters.jsonl").read_text())
    assert "unknown metric" in letter["reason"] and letter["points"] == 200


@pytest.mark.parametrize(
    "answer", ["put: HBase error: 3 RPCs failed\n", "put: Please throttle writes: 9 waiting\n", "HTTP/1.1 400 Bad\n"]
)
def test_a_storage_in_trouble_is_no_refusal(answer: str, tmp_path: Path) -> None:
    peer = Telnet({"mixed_total_seconds": answer})
    trip = Trip(tmp_path, "opentsdb", {"address": [f"127.0.0.1:{peer.port}"]})
    trip.sender.start()
    trip.sender.offer(batches(1)[0])
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.error, 10, "a failure")
    assert answer.strip().split(":")[0] in trip.sender.status()["error"]
    assert trip.sender.ledger.snapshot()["dropped"] == {}
    peer.answers.clear()
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == 1000, 20, "all points")
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    peer.stop()


def test_a_restart_loses_nothing(victoria: servers.Victoria, tmp_path: Path) -> None:
    telnet, http = trips(victoria, tmp_path, batch=1000)
    sent = batches()
    for trip in (telnet, http):
        trip.sender.start()
    for n, batch in enumerate(sent):
        for trip in (telnet, http):
            trip.sender.offer(batch)
            trip.sender.ring()
        if n == 2:
            servers.wait_until(
                lambda: all(t.sender.ledger.snapshot()["delivered"] for t in (telnet, http)), 20, "the first points"
            )
            victoria.stop()
        if n == 5:
            servers.wait_until(lambda: telnet.sender.failures and http.sender.failures, 20, "failures")
            victoria.start()
    for trip in (telnet, http):
        servers.wait_until(lambda trip=trip: trip.sender.ledger.snapshot()["delivered"] == 10_000, 60, "all points")
        trip.sender.stop(time.monotonic() + 5)
        trip.sender.join(time.monotonic() + 5)
    same(victoria.export(), expected(telnet, sent) | expected(http, sent), loose=True)


def test_points_that_the_api_refuses_are_counted(sink: HttpSink, tmp_path: Path) -> None:
    """With `details` it names each one and why; the others are stored."""

    def reply(request: Request) -> Reply:
        assert (request.path, request.query) == ("/api/put", {"details": "", "sync": "", "sync_timeout": "8000"})
        points = json.loads(request.body)
        bad = [
            {"datapoint": p, "error": "Unable to parse value to a number"} for p in points if p["metric"] == "mixed_total_seconds"
        ]
        said = {"failed": len(bad), "success": len(points) - len(bad), "errors": bad}
        return Reply(400 if bad else 200, json.dumps(said).encode())

    sink.reply = reply
    trip = Trip(tmp_path, "opentsdb_http", {"url": sink.url})
    ledger = trip.go(batches(2))
    assert (ledger["delivered"], ledger["dropped"]) == (1900, {"rejected": 100})
    letters = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert sum(len(json.loads(letter["text"])) for letter in letters) == 100
    assert all("Unable to parse value" in letter["reason"] for letter in letters)


def test_what_the_api_could_not_store_is_sent_again(sink: HttpSink, tmp_path: Path) -> None:
    said = {"failed": 1, "success": 999, "errors": [{"datapoint": {}, "error": "Storage exception: RPC failed"}]}
    sink.reply = lambda request: Reply(400, json.dumps(said).encode()) if len(sink.requests) == 1 else Reply()
    trip = Trip(tmp_path, "opentsdb_http", {"url": sink.url})
    ledger = trip.go(batches(1))
    assert (ledger["delivered"], ledger["dropped"]) == (1000, {})
    assert [len(json.loads(request.body)) for request in sink.requests] == [1000, 1000]
    with pytest.raises(Retry, match="Storage exception"):
        trip.output.accepted(json.dumps(said).encode())


@pytest.mark.parametrize(
    "refusal", [(413, b"too large"), (400, b'{"error":{"code":400,"message":"Chunked request not supported."}}')]
)
def test_a_request_that_is_too_large_goes_in_halves(refusal: tuple[int, bytes], sink: HttpSink, tmp_path: Path) -> None:
    sink.reply = lambda request: Reply(*refusal) if len(request.raw) > 20_000 else Reply()
    trip = Trip(tmp_path, "opentsdb_http", {"url": sink.url, "compression": "none"})
    sent = batches(1)
    assert trip.go(sent)["delivered"] == 1000
    taken = [point for request in sink.requests if len(request.raw) <= 20_000 for point in json.loads(request.body)]
    assert len(taken) == 1000
    assert {(p["metric"], tuple(p["tags"].items())): {p["timestamp"]: p["value"]} for p in taken} == {
        key: {int(stamp): value if isinstance(value, int) else float(f"{value:.12g}") for stamp, value in values.items()}
        for key, values in trip.points(sent).items()
    }
