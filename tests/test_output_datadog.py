"""Datadog's API: requests as it documents them, and its answers. The peer is a stub: there is no server to be had."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import servers
from http_sink import HttpSink, Reply, Request
from roundtrip import Trip, batches

from adamas import Batch, Collector, Gauge, Sample
from adamas.host import Host
from adamas.outputs.datadog import MOST, MOST_PACKED, Datadog
from adamas.pipeline import Intake

ACCEPTED = Reply(202, b'{"errors":[]}')


def documented(request: Request) -> Reply:
    """Take what the API's description allows, and refuse anything else with what is wrong with it."""
    assert (request.method, request.path, request.headers["content-type"]) == ("POST", "/api/v2/series", "application/json")
    if request.headers.get("dd-api-key") != "k" * 32:
        return Reply(403, b'{"errors":["Forbidden"]}')
    if len(request.raw) > MOST_PACKED or len(request.body) > MOST:
        return Reply(413, b'{"errors":["Payload too large"]}')
    for series in json.loads(request.body)["series"]:
        try:
            assert set(series) <= {
                "metric",
                "type",
                "interval",
                "unit",
                "resources",
                "tags",
                "points",
                "source_type_name",
                "metadata",
            }
            assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_.]{0,199}", series["metric"])
            assert series["type"] in (1, 3)
            assert ("interval" in series) == (series["type"] == 1)
            assert all(isinstance(tag, str) and len(tag) <= 200 and re.fullmatch(r"[\w\-:./]+", tag) for tag in series["tags"])
            assert [(type(p["timestamp"]), type(p["value"]) in (int, float)) for p in series["points"]] == [(int, True)]
            assert series["resources"] == [{"type": "host", "name": "h"}]
        except AssertionError as error:
            return Reply(400, json.dumps({"errors": [f"{series}: {error}"]}).encode())
    return ACCEPTED


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    running = HttpSink(documented)
    yield running
    running.stop()


def datadog(sink: HttpSink, folder: Path, **options: Any) -> Trip:
    return Trip(folder, "datadog", {"url": sink.url, "api_key": "k" * 32, **options})


def taken(sink: HttpSink) -> list[dict[str, Any]]:
    """Every series of the requests that were taken."""
    return [series for request in sink.requests for series in json.loads(request.body)["series"]]


@pytest.mark.parametrize("compression", ["gzip", "deflate", "none"])
def test_datadog_is_sent_what_it_documents(compression: str, sink: HttpSink, tmp_path: Path) -> None:
    trip = datadog(sink, tmp_path, compression=compression)
    sent = batches()
    ledger = trip.go(sent)
    assert (ledger["delivered"], ledger["dropped"]) == (9_950, {}), "a count needs a run before"
    assert {r.headers.get("content-encoding", "none") for r in sink.requests} == {compression}
    found: dict[Any, dict[float, float]] = {}
    for series in taken(sink):
        tags = tuple(sorted(series["tags"]))
        for point in series["points"]:
            assert found.setdefault((series["metric"], tags), {}).setdefault(point["timestamp"], point["value"]) == point["value"]
        counts = series["metric"].startswith("mixed.total")
        assert series["type"] == (1 if counts else 3)
        assert series.get("interval") == (10 if counts else None)
        assert series.get("unit") == ("second" if counts else "byte")
    want: dict[Any, dict[float, float]] = {}
    for (name, labels), values in trip.points(sent).items():
        assert dict(labels)["host"] == "h"
        tags = tuple(sorted(f"{tag}:{value}" for tag, value in labels if tag != "host"))
        want[name, tags] = {t: v if isinstance(v, int) else float(f"{v:.12g}") for t, v in values.items()}
    met = trip.output.spelling.collisions
    print(f"{compression}: {len(found)} series, {sum(map(len, found.values()))} points, {len(met)} names met and were kept apart")
    assert found == want
    assert set(found["mixed.total", ("item:plain0",)].values()) == {7}, "the increase, not the total"


def test_names_tags_and_hosts(tmp_path: Path) -> None:
    class Odd(Collector):
        name = "1odd"
        long = Gauge("x." + "long" * 60, "A long name", otel="x." + "long" * 60)
        unicode = Gauge("ü.{Label}", "Not ASCII", otel="2ü")

        def collect(self) -> Iterator[Sample]:
            yield self.long(1)
            yield self.unicode(2, "A b,c" * 60)
            yield self.unicode(3, "a b;c" * 60)
            yield self.unicode(4, "")

    intake = Intake(Odd(Host(), {}, "odd"))
    batch = intake.publish(*intake.gather(), 1000.0, 1000.0)
    assert batch is not None
    trip = Trip(tmp_path, "datadog", {"api_key": "k", "compression": "none"}, {"env": "Prod", "host": "other"})
    series = json.loads(trip.output.encode([batch])[8:])["series"]
    first, second, third, fourth = series
    assert len(first["metric"]) == 200
    assert re.fullmatch(r"x\.(long)+lo?n?g?_[0-9a-f]{8}", first["metric"])
    assert second["metric"] == "m_2_"
    assert len(second["tags"][0]) == 200
    assert second["tags"][0].startswith("label:a_b_ca_b_c")
    assert third["tags"][0] != second["tags"][0]  # its hash is of what it was
    assert fourth["tags"] == ["env:prod", "collector:odd"]
    assert all(one["resources"] == [{"type": "host", "name": "other"}] for one in series)


def test_a_payload_goes_in_as_many_requests_as_the_limits_want(sink: HttpSink, tmp_path: Path) -> None:
    """Series whose names do not compress, more than 512,000 bytes of them, and 5 MiB of those that do."""

    class Noise(Collector):
        name = "noise"
        value = Gauge("{a}", "A number")

        def collect(self) -> Iterator[Sample]:
            for _ in range(8000):
                yield self.value(int.from_bytes(os.urandom(6), "big"), os.urandom(80).hex())

    intake = Intake(Noise(Host(), {}, "noise"))
    batch = intake.publish(*intake.gather(), time.time() // 1, 1000.0)
    assert batch is not None
    trip = datadog(sink, tmp_path)
    ledger = trip.go([batch])
    assert ledger["delivered"] == len(batch.values) == len({s["tags"][0] for s in taken(sink)})
    print(
        f"{len(batch.values)} points in {len(sink.requests)} requests of at most {max(len(r.raw) for r in sink.requests)} bytes"
    )
    assert len(sink.requests) > 1
    sink.requests.clear()
    many: list[Batch] = batches(40)
    again = datadog(sink, tmp_path / "again", batch=100_000)
    assert again.go(many)["delivered"] == 40_000 - 50
    assert len(sink.requests) > 1
    assert max(len(r.body) for r in sink.requests) > MOST / 4
    assert len(taken(sink)) == 40_000 - 50


def test_one_request_of_several_may_be_refused(sink: HttpSink, tmp_path: Path) -> None:
    sink.reply = lambda request: (
        Reply(413) if len(request.body) > 30_000 else Reply(400, b"no") if b"total" in request.body else ACCEPTED
    )
    trip = datadog(sink, tmp_path)
    ledger = trip.go(batches(2))
    refused = sum(r.body.count(b'"metric"') for r in sink.requests if len(r.body) <= 30_000 and b"total" in r.body)
    assert 50 <= refused < 500
    assert (ledger["delivered"], ledger["dropped"]) == (1950 - refused, {"rejected": refused})
    assert len(sink.requests) > 10


@pytest.mark.parametrize(
    ("status", "said"), [(403, b'{"errors":["Forbidden ' + b"k" * 32 + b'"]}'), (408, b"slow"), (429, b"wait")]
)
def test_answers_that_are_no_refusal(status: int, said: bytes, sink: HttpSink, tmp_path: Path) -> None:
    sink.reply = lambda request: Reply(status, said, {"Retry-After": "1"}) if len(sink.requests) < 2 else documented(request)
    trip = datadog(sink, tmp_path)
    trip.sender.start()
    trip.sender.offer(batches(2)[1])
    trip.sender.ring()
    servers.wait_until(lambda: trip.sender.error, 10, "a failure")
    told = trip.sender.status()["error"]
    assert str(status) in told
    assert "k" * 32 not in told
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == 1000, 20, "all points")
    assert trip.sender.ledger.snapshot()["dropped"] == {}
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)


def test_where_it_goes() -> None:
    assert Datadog({"api_key": "k"}).url == "https://api.datadoghq.com"
    eu = Datadog({"api_key": "k", "site": "datadoghq.eu"})
    assert eu.url + eu.target() == "https://api.datadoghq.eu/api/v2/series"
    assert eu.check() == []
    assert Datadog({"api_key": "k", "site": "datadog hq"}).check() != []
    assert Datadog({"api_key": "k\n"}).check() == ["api_key: has a line break, or a character that is not ASCII"]
    assert Datadog({"api_key": "k", "url": "http://proxy:3128/dd/api/v2/series"}).target() == "/dd/api/v2/series"
