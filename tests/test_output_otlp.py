"""OTLP over HTTP and gRPC: all that was sent is at Rotel, and the messages are what OpenTelemetry's own library reads."""

from __future__ import annotations

import gzip
import importlib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
import servers
from agents import RunningAgent
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from http_sink import HttpSink, Reply, Request
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc
from opentelemetry.proto.metrics.v1 import metrics_pb2
from roundtrip import Trip, batches

from adamas import Batch, Collector, Counter, Delta, Gauge, Rejected, Retry, Sample, Spelled
from adamas.host import Host
from adamas.naming import Naming
from adamas.outputs.otlp import Otlp
from adamas.outputs.otlp_grpc import OtlpGrpc, delay
from adamas.pipeline import Intake
from adamas.protobuf import block, number, text

WAYS = ("protobuf", "json", "grpc")

Key = tuple[str, tuple[tuple[str, str], ...]]


class Rotel:
    """A real collector, which prints all that it gets. It keeps its ports over a restart."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for attempt in range(servers.TRIES):
            self.grpc_port, self.http_port = servers.free_port(), servers.free_port()
            try:
                self.start()
                return
            except servers.ServerDied:  # someone took a port in between
                if attempt == servers.TRIES - 1:
                    raise

    def start(self) -> None:
        """Start it, again on the same ports."""
        agent = Path(str(importlib.import_module("rotel").__file__)).parent / "rotel-agent"
        argv = [str(agent), "start", "--otlp-grpc-endpoint", f"127.0.0.1:{self.grpc_port}"]
        argv += ["--otlp-http-endpoint", f"127.0.0.1:{self.http_port}", "--exporter", "blackhole", "--debug-log", "metrics"]
        argv += [
            "--debug-log-verbosity",
            "detailed",
            "--pid-file",
            f"{self.directory}/pid",
            "--log-file",
            f"{self.directory}/log",
        ]
        both = lambda: servers.listens(self.http_port) and servers.listens(self.grpc_port)  # noqa: E731
        self.server = servers.start(argv, self.directory, both)

    def options(self, way: str) -> tuple[str, dict[str, str]]:
        """An output's type and options that bring samples here in this way."""
        if way == "grpc":
            return "otlp_grpc", {"url": f"http://127.0.0.1:{self.grpc_port}"}
        return "otlp", {"url": f"http://127.0.0.1:{self.http_port}", "encoding": way}

    def printed(self) -> str:
        """All that it printed."""
        return self.server.log.read_bytes().decode(errors="replace")

    def points(self, since: int = 0) -> dict[Key, dict[float, int | float]]:
        """The points that it printed after so many characters: (name, attributes) -> time -> value."""
        found: dict[Key, dict[float, int | float]] = {}
        for metric in re.split(r"^Metric #\d+\n", self.printed()[since:], flags=re.M)[1:]:
            name = re.search(r"^     -> Name: (.*)$", metric, re.M)
            assert name is not None
            for attributes, stamp, value in POINT.findall(metric):
                key = (name[1], tuple(sorted(ATTRIBUTE.findall(attributes))))
                number = int(value) if re.fullmatch(r"-?\d{1,19}", value) else float(value)
                assert int(stamp) / 1e9 not in found.setdefault(key, {})
                found[key][int(stamp) / 1e9] = number
        return found


POINT = re.compile(
    r"^NumberDataPoints #\d+\n(?:Data point attributes:\n(.*?))?^StartTimestamp: \d+\nTimestamp: (\d+)\nValue: (\S+)$",
    re.M | re.S,
)
ATTRIBUTE = re.compile(r"     -> (\w+): Str\((.*?)\)\n(?=     -> |\Z)", re.S)


@pytest.fixture(scope="module")
def rotel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rotel]:
    running = Rotel(tmp_path_factory.mktemp("rotel"))
    yield running
    running.server.stop()


def wanted(trip: Trip, sent: list[Batch]) -> dict[Key, dict[float, int | float]]:
    """What must be there: the agent's labels are the resource's."""
    return {
        (name, tuple(sorted(pair for pair in labels if pair[0] != "host"))): values
        for (name, labels), values in trip.points(sent).items()
    }


@pytest.mark.parametrize("way", WAYS)
def test_rotel_has_what_was_sent(tmp_path: Path, rotel: Rotel, way: str) -> None:
    trip = Trip(tmp_path, *rotel.options(way))
    sent = batches()
    before = len(rotel.printed())
    ledger = trip.go(sent)
    assert ledger["delivered"] == 10_000 and not ledger["dropped"]
    servers.wait_until(lambda: rotel.printed()[before:].count("\nValue: ") == 10_000, 20, "10,000 values")
    found = rotel.points(before)
    assert sum(map(len, found.values())) == 10_000
    assert found == wanted(trip, sent)
    said = rotel.printed()[before:]
    assert "     -> service.name: Str(adamas)\n     -> host: Str(h)\n" in said
    assert (
        "     -> Name: mixed.total\n     -> Description: A total\n     -> Unit: s\n     -> DataType: Sum\n     -> IsMonotonic: true\n"
        in said
    )


@pytest.mark.parametrize("way", WAYS)
def test_rotel_refuses_what_is_no_message(tmp_path: Path, rotel: Rotel, way: str) -> None:
    type_name, options = rotel.options(way)
    output = Trip(tmp_path, type_name, {**options, "compression": "none"}).output
    output.open()
    with pytest.raises(Rejected):
        output.send(b"\xff\xff{")
    output.send(output.encode(batches(1)))
    output.close()


@pytest.mark.parametrize("way", WAYS)
def test_an_outage_loses_nothing(tmp_path: Path, way: str) -> None:
    server = Rotel(tmp_path / "rotel")
    trip = Trip(tmp_path, *server.options(way))
    sent = batches(6)
    sender = trip.sender
    sender.start()
    try:
        for n, batch in enumerate(sent):
            sender.offer(batch)
            sender.ring()
            if n == 1:
                servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == 2000, 20)
                servers.wait_until(lambda: server.printed().count("\nValue: ") == 2000, 20)
                server.server.kill()
            elif n == 4:
                servers.wait_until(lambda: sender.failures, 30)
        server.start()
        servers.wait_until(lambda: sender.ledger.snapshot()["delivered"] == 6000, 70)
        sender.stop(time.monotonic() + 5)
        sender.join(time.monotonic() + 5)
        servers.wait_until(lambda: server.printed().count("\nValue: ") == 6000, 20)
        assert server.points() == wanted(trip, sent)
        assert not sender.ledger.snapshot()["dropped"]
    finally:
        server.server.stop()


class Odd(Collector):
    """Counters that start over, numbers of every size, an increase, and two metrics of one name."""

    name = "odd"
    total = Counter("total.{which}", "A total", unit="By", otel="odd.total")
    step = Counter("step", "A total as its increase", otel=Delta("odd.step"))
    flow = Counter("flow", "A total that is told as a level", otel=Spelled("odd.level", kind="gauge"))
    level = Gauge("level.{which}", "A number", unit="1", otel="odd.level")
    values: tuple[int | float, ...] = ()

    def collect(self) -> Iterator[Sample]:
        for n, value in enumerate(self.values):
            yield self.total(value, n)
            yield self.level(value, n)
        yield self.step(sum(self.values))
        yield self.flow(3)


def runs(*values: tuple[int | float, ...]) -> list[Batch]:
    collector = Odd(Host(), {}, "odd")
    intake = Intake(collector)
    made = []
    for n, each in enumerate(values):
        collector.values = each
        batch = intake.publish(*intake.gather(), 1000.5 + 10 * n, 100.0 + 10 * n)
        assert batch is not None
        made.append(batch)
    return made


def encoder(encoding: str, naming: Naming | None = None, **options: Any) -> Otlp:
    output = Otlp({"encoding": encoding, "compression": "none", **options})
    assert output.check() == []
    output.spell(naming or Naming("otel", (), {"env": "prod"}, "box"))
    return output


def test_an_agent_says_whose_samples_they_are(tmp_path: Path, rotel: Rotel) -> None:
    """In a real agent the host's name comes from its configuration."""
    before = len(rotel.printed())
    _, options = rotel.options("json")
    config = '[agent]\nhostname = "edge-7"\ninterval = "1s"\nstate_dir = "{state}"\ndefaults = false\nlabels = { env = "prod" }\n'
    config += "[web]\nenabled = false\n[history]\nenabled = false\n[collectors.uptime]\n[collectors.network]\n"
    config += f'[outputs.otlp]\nurl = "{options["url"]}"\n[outputs.otlp_grpc]\nurl = "http://127.0.0.1:{rotel.grpc_port}"\n'
    running = RunningAgent(tmp_path, config)
    try:
        running.wait(lambda s: len(s["outputs"]) == 2 and all(o["ledger"]["delivered"] > 30 for o in s["outputs"]), 20)
        assert running.stop()[0] == 0
    finally:
        running.end()
    head = "     -> host.name: Str(edge-7)\n     -> service.instance.id: Str(edge-7)\n     -> service.name: Str(adamas)\n     -> env: Str(prod)\n"
    servers.wait_until(lambda: rotel.printed()[before:].count(head) >= 2, 10, "both outputs' samples")
    assert "Name: system.uptime" in rotel.printed()[before:]


def message(encoding: str, payload: bytes) -> service.ExportMetricsServiceRequest:
    """A payload as the official library reads it."""
    request = service.ExportMetricsServiceRequest()
    if encoding == "json":
        json_format.Parse(payload, request)
        for key in re.findall(rb'"(\w+_\w+)":', payload):
            raise AssertionError(f"{key!r} is not a name of the JSON encoding")
    else:
        request.ParseFromString(payload)
    return request


def official(made: list[tuple[Batch, list[tuple[Any, int | float, float | None]]]]) -> service.ExportMetricsServiceRequest:
    """The message that must come out, built with the official library: of each batch (point, value, start of a total)."""
    request = service.ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    host = (("host.name", "box"), ("service.instance.id", "box"), ("service.name", "adamas"), ("env", "prod"))
    for key, value in host:
        resource.resource.attributes.add(key=key).value.string_value = value
    scope = resource.scope_metrics.add()
    scope.scope.name = "adamas"
    scope.scope.version = importlib.import_module("adamas").__version__
    for batch, points in made:
        metrics: dict[tuple[Any, ...], Any] = {}
        for point, value, start in points:
            key = (point.name, point.help, point.unit, start is not None)
            if key not in metrics:
                metric = metrics[key] = scope.metrics.add(name=point.name, description=point.help, unit=point.unit)
                if start is None:
                    metric.gauge.SetInParent()
                else:
                    metric.sum.is_monotonic = True
                    metric.sum.aggregation_temporality = metrics_pb2.AGGREGATION_TEMPORALITY_CUMULATIVE
            data = (metrics[key].gauge if start is None else metrics[key].sum).data_points.add(
                time_unix_nano=round(batch.time * 1e9)
            )
            for name, text_value in point.labels:
                if name != "env":
                    data.attributes.add(key=name).value.string_value = text_value
            if start is not None:
                data.start_time_unix_nano = round(start * 1e9)
            if isinstance(value, int) and -(2**63) <= value < 2**63:
                data.as_int = value
            else:
                data.as_double = value
    return request


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_messages_are_what_the_official_library_makes(encoding: str) -> None:
    output = encoder(encoding)
    sent = batches(3, end=1_700_000_000)
    for batch in sent:
        assert output.points(batch) == 1000
    start = sent[0].time
    pairs = [(b, [(p, v, start if p.kind == "counter" else None) for p, v in output.lines.plan(b.shape).pairs(b)]) for b in sent]
    assert message(encoding, output.encode(sent)) == official(pairs)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_odd_values_and_metrics(encoding: str) -> None:
    """Types that change, whole numbers past 64 bits, truth, an increase that is not there at first, names that several share."""
    output = encoder(encoding)
    made = runs((1, 2.5), (2**63 - 1, 2**63), (-(2**63), 2**70), (0.0, -0.0), (True, 5e-324), (1, 2.5))
    counts = [output.points(batch) for batch in made]
    assert counts == [5, 6, 6, 5, 6, 6]
    for batch in made:
        pairs = list(output.lines.plan(batch.shape).pairs(batch))
        starts = output._encoder.starts
        series = {id(p): s for p, s in zip(output.lines.plan(batch.shape).raw.points, batch.shape.series)}
        rows = []
        for point, value in pairs:
            total = point.kind == "counter" and point.conversion == "raw"
            rows.append((point, value, starts.of(series[id(point)], batch.time) if total else None))
        assert message(encoding, output.encode([batch])) == official([(batch, rows)])


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_a_total_starts_where_it_began(encoding: str) -> None:
    output = encoder(encoding)
    made = runs((5,), (9,), (2,), (3, 100), (4, 90))
    for batch in made:
        output.points(batch)
    found = []
    for batch in reversed(made):
        (resource,) = message(encoding, output.encode([batch])).resource_metrics
        (metric,) = [m for m in resource.scope_metrics[0].metrics if m.name == "odd.total"]
        found.append([p.start_time_unix_nano / 1e9 for p in metric.sum.data_points])
    assert found[::-1] == [[1000.5], [1000.5], [1010.5], [1010.5, 1030.5], [1010.5, 1030.5]]


def test_the_resource_is_the_host_and_what_the_user_says() -> None:
    output = encoder("json", resource={"service.name": "edge", "deployment.environment.name": "test"})
    (resource,) = message("json", output.encode(batches(1))).resource_metrics
    found = {a.key: a.value.string_value for a in resource.resource.attributes}
    assert found == {
        "service.name": "edge",
        "host.name": "box",
        "service.instance.id": "box",
        "env": "prod",
        "deployment.environment.name": "test",
    }


@pytest.fixture
def sink() -> Iterator[Callable[..., HttpSink]]:
    running: list[HttpSink] = []

    def begin(reply: Callable[[Request], Reply]) -> HttpSink:
        running.append(HttpSink(reply))
        return running[-1]

    yield begin
    for one in running:
        one.stop()


def partial(refused: int, said: str) -> service.ExportMetricsServiceResponse:
    made = service.ExportMetricsServiceResponse()
    made.partial_success.rejected_data_points = refused
    made.partial_success.error_message = said
    return made


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_partial_success_is_counted(tmp_path: Path, sink: Callable[..., HttpSink], encoding: str) -> None:
    answer = partial(17, "too old")
    body = json_format.MessageToJson(answer).encode() if encoding == "json" else answer.SerializeToString()
    backend = sink(lambda request: Reply(200, body))
    trip = Trip(
        tmp_path, "otlp", {"url": backend.url, "encoding": encoding, "headers": {"x-tenant": "one"}, "bearer_token": "s3cret"}
    )
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 983 and ledger["dropped"] == {"rejected": 17}
    (request,) = backend.requests
    assert request.path == "/v1/metrics" and request.headers["content-encoding"] == "gzip"
    assert request.headers["content-type"] == ("application/json" if encoding == "json" else "application/x-protobuf")
    assert request.headers["x-tenant"] == "one" and request.headers["authorization"] == "Bearer s3cret"
    assert message(encoding, request.body).resource_metrics
    assert json.loads((tmp_path / "letters.jsonl").read_text())["reason"] == "too old"


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[1]", b'{"partialSuccess":{}}', b'{"partialSuccess":{"errorMessage":"slow down"}}', b"<html>"]
)
@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_answers_that_say_nothing_are_success(tmp_path: Path, sink: Callable[..., HttpSink], encoding: str, body: bytes) -> None:
    trip = Trip(tmp_path, "otlp", {"url": sink(lambda request: Reply(200, body)).url, "encoding": encoding})
    assert trip.go(batches(1))["delivered"] == 1000


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (429, Retry),
        (502, Retry),
        (503, Retry),
        (504, Retry),
        (401, Retry),
        (404, Retry),
        (400, Rejected),
        (500, Rejected),
        (408, Rejected),
    ],
)
def test_statuses_mean_what_the_specification_says(sink: Callable[..., HttpSink], status: int, answer: type[Exception]) -> None:
    body = text(2, "the backend's words") + block(3, text(1, "type.googleapis.com/x") + block(2, b"\xff\xfe"))
    output = encoder("protobuf", url=sink(lambda request: Reply(status, body, {"Retry-After": "7"})).url)
    output.open()
    with pytest.raises(answer, match="the backend's words") as raised:
        output.send(output.encode(batches(1)))
    output.close()
    if isinstance(raised.value, Retry):
        assert raised.value.after == (7 if status in (429, 502, 503, 504) else 0)


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_what_is_too_large_is_divided(tmp_path: Path, sink: Callable[..., HttpSink], encoding: str) -> None:
    backend = sink(lambda request: Reply(413 if len(request.body) > 30_000 else 200, b"too large"))
    trip = Trip(tmp_path, "otlp", {"url": backend.url, "encoding": encoding})
    sent = batches(2)
    assert trip.go(sent)["delivered"] == 2000
    whole = service.ExportMetricsServiceRequest()
    for request in backend.requests:
        if len(request.body) <= 30_000:
            whole.MergeFrom(message(encoding, request.body))
    assert len(whole.resource_metrics) > 4
    assert numbers(whole) == numbers(message(encoding, trip.output.unpack(trip.output.encode(sent))))


@pytest.mark.parametrize("encoding", ["protobuf", "json"])
def test_what_cannot_be_divided_is_refused(tmp_path: Path, sink: Callable[..., HttpSink], encoding: str) -> None:
    trip = Trip(tmp_path, "otlp", {"url": sink(lambda request: Reply(413)).url, "encoding": encoding})
    (sent,) = runs((1, 2))
    assert trip.go([sent])["dropped"] == {"rejected": 5}


def numbers(request: service.ExportMetricsServiceRequest, attributes: int = 2) -> list[bytes]:
    """Every point of a request with its metric's head, in any order."""
    found = []
    for resource in request.resource_metrics:
        assert len(resource.resource.attributes) == attributes and resource.scope_metrics[0].scope.name == "adamas"
        for metric in resource.scope_metrics[0].metrics:
            for point in (metric.sum if metric.HasField("sum") else metric.gauge).data_points:
                one = metrics_pb2.Metric(name=metric.name, description=metric.description, unit=metric.unit)
                if metric.HasField("sum"):
                    one.sum.is_monotonic = metric.sum.is_monotonic
                    one.sum.aggregation_temporality = metric.sum.aggregation_temporality
                    one.sum.data_points.append(point)
                else:
                    one.gauge.data_points.append(point)
                found.append(one.SerializeToString(deterministic=True))
    return sorted(found)


class Receiver(metrics_service_pb2_grpc.MetricsServiceServicer):  # type: ignore[misc]
    """grpcio's own server with the official messages; it fails as the test says."""

    def __init__(self, most: int = 4 << 20) -> None:
        self.got: list[service.ExportMetricsServiceRequest] = []
        self.metadata: list[dict[str, str]] = []
        self.words = "the backend's words"
        self.failures: list[tuple[grpc.StatusCode, float | None]] = []
        self.answer = service.ExportMetricsServiceResponse()
        self._pool = ThreadPoolExecutor(2)
        self.server = grpc.server(self._pool, options=[("grpc.max_receive_message_length", most)])
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self, self.server)
        self.port = 0

    def Export(self, request: service.ExportMetricsServiceRequest, context: Any) -> service.ExportMetricsServiceResponse:
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        if self.failures:
            code, wait = self.failures.pop(0)
            if wait is not None:
                delay = Duration(seconds=int(wait), nanos=round(wait % 1 * 1e9)).SerializeToString()
                detail = text(1, "type.googleapis.com/google.rpc.RetryInfo") + block(2, block(1, delay))
                status = (
                    number(1, code.value[0]) + text(2, "no") + block(3, text(1, "type.googleapis.com/other")) + block(3, detail)
                )
                context.set_trailing_metadata((("grpc-status-details-bin", status),))
            context.abort(code, self.words)
        self.got.append(request)
        return self.answer

    def start(self, credentials: Any = None) -> str:
        if credentials is None:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        else:
            self.port = self.server.add_secure_port("127.0.0.1:0", credentials)
        self.server.start()
        return f"http{'' if credentials is None else 's'}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self.server.stop(0).wait(5)
        self._pool.shutdown()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    running = Receiver()
    yield running
    running.stop()


def test_grpc_is_read_by_the_official_library(tmp_path: Path, receiver: Receiver) -> None:
    url = receiver.start()
    trip = Trip(tmp_path, "otlp_grpc", {"url": url, "headers": {"X-Tenant": "one"}, "bearer_token": "s3cret"})
    sent = batches(2)
    assert trip.go(sent)["delivered"] == 2000
    assert (
        sum(
            len(m.gauge.data_points) + len(m.sum.data_points)
            for r in receiver.got
            for m in r.resource_metrics[0].scope_metrics[0].metrics
        )
        == 2000
    )
    metadata = receiver.metadata[0]
    assert metadata["x-tenant"] == "one" and metadata["authorization"] == "Bearer s3cret"
    assert metadata["user-agent"].startswith("adamas/")


def test_grpc_divides_what_is_too_large(tmp_path: Path) -> None:
    small = Receiver(30_000)
    try:
        trip = Trip(tmp_path, "otlp_grpc", {"url": small.start()})
        sent = batches(2)
        assert trip.go(sent)["delivered"] == 2000
        whole = service.ExportMetricsServiceRequest()
        for request in small.got:
            whole.MergeFrom(request)
        assert len(whole.resource_metrics) > 4
        assert numbers(whole) == numbers(message("protobuf", trip.output.encode(sent)))
    finally:
        small.stop()


def test_grpc_partial_success(tmp_path: Path, receiver: Receiver) -> None:
    receiver.answer = partial(17, "too old")
    trip = Trip(tmp_path, "otlp_grpc", {"url": receiver.start()})
    ledger = trip.go(batches(1))
    assert ledger["delivered"] == 983 and ledger["dropped"] == {"rejected": 17}


CODES = {"CANCELLED": Retry, "UNKNOWN": Rejected, "INVALID_ARGUMENT": Rejected, "DEADLINE_EXCEEDED": Retry, "NOT_FOUND": Rejected}
CODES |= {"ALREADY_EXISTS": Rejected, "PERMISSION_DENIED": Retry, "UNAUTHENTICATED": Retry, "RESOURCE_EXHAUSTED": Rejected}
CODES |= {"FAILED_PRECONDITION": Rejected, "ABORTED": Retry, "OUT_OF_RANGE": Retry, "UNIMPLEMENTED": Retry, "INTERNAL": Rejected}
CODES |= {"UNAVAILABLE": Retry, "DATA_LOSS": Retry}


def test_grpc_codes_mean_what_the_specification_says(receiver: Receiver) -> None:
    output = OtlpGrpc({"url": receiver.start()})
    output.spell(Naming("otel"))
    payload = output.encode(batches(1))
    output.open()
    for name, answer in CODES.items():
        receiver.failures = [(grpc.StatusCode[name], None)]
        with pytest.raises(answer, match=f"^{name}: the backend's words"):
            output.send(payload)
    for name in ("RESOURCE_EXHAUSTED", "UNAVAILABLE"):
        receiver.failures = [(grpc.StatusCode[name], 7.5)]
        with pytest.raises(Retry) as raised:
            output.send(payload)
        assert raised.value.after == 7.5
    output.send(payload)
    assert len(receiver.got) == 1
    receiver.words = "Error, decoded message length too large: found 9 bytes, the limit is: 8 bytes"  # as tonic says it
    receiver.failures = [(grpc.StatusCode.OUT_OF_RANGE, None)]
    output.send(payload)
    output.close()
    assert [len(numbers(request, 1)) for request in receiver.got] == [1000, 500, 500]


def test_grpc_over_tls(tmp_path: Path, receiver: Receiver) -> None:
    """The server's certificate is checked against the authority that the options name, and so is its name."""
    made = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=h -addext subjectAltName=DNS:h"
    where = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run(["openssl", *made.split(), *where], check=True, capture_output=True, timeout=30)
    pair = ((tmp_path / "key").read_bytes(), (tmp_path / "cert").read_bytes())
    url = receiver.start(grpc.ssl_server_credentials([pair]))
    trip = Trip(tmp_path, "otlp_grpc", {"url": url, "ca_file": str(tmp_path / "cert"), "server_name": "h"})
    assert trip.go(batches(1))["delivered"] == 1000
    for options in ({"url": url, "server_name": "h"}, {"url": url, "ca_file": str(tmp_path / "cert")}):
        output = OtlpGrpc(options)
        output.spell(Naming("otel"))
        output.open()
        with pytest.raises(Retry, match="UNAVAILABLE"):
            output.send(output.encode(batches(1)))
        output.close()
    assert len(receiver.got) == 1


def test_grpc_needs_an_address_that_it_can_use() -> None:
    assert OtlpGrpc({"url": "127.0.0.1:4317"}).check() == [
        'url: expected an address such as "https://collector.example.org:4317"'
    ]
    assert OtlpGrpc({"url": "https://c:4317/v1/metrics"}).check()
    assert OtlpGrpc({"url": "https://c:4317"}).check() == []
    (wrong,) = OtlpGrpc({"url": "https://c", "verify": False}).check()
    assert "gRPC always checks" in wrong


@pytest.mark.parametrize(
    "status", [b"", b"\xff", block(3, b"\xff\xff"), block(3, text(1, "google.rpc.RetryInfo") + block(2, b"\x0a\x05"))]
)
def test_a_status_that_names_no_time(status: bytes) -> None:
    assert delay(status) is None


def test_what_is_spooled_is_compressed_as_it_says() -> None:
    plain, packed = encoder("protobuf"), Otlp({"encoding": "protobuf"})
    packed.spell(Naming("otel", (), {"env": "prod"}, "box"))
    sent = batches(1)
    assert gzip.decompress(packed.encode(sent)) == plain.encode(sent)
    assert len({Otlp({"encoding": e, "compression": c}).dialect for e in ("protobuf", "json") for c in ("none", "gzip")}) == 4


def test_threads_encode_the_same_shape_alike() -> None:
    """The sender and the spool's thread may encode at the same time, and types change from run to run."""
    output = encoder("protobuf")
    sent = batches(6)
    for batch in sent:
        output.points(batch)
    right = [output.encode([batch]) for batch in sent]
    wrong: list[int] = []

    def work(first: int) -> None:
        for n in range(60):
            at = (first + n) % len(sent)
            if output.encode([sent[at]]) != right[at]:
                wrong.append(at)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert wrong == []
