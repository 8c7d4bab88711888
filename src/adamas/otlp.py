"""Batches as OTLP's ExportMetricsServiceRequest, in protobuf or JSON: what is known of a shape is packed once, values go between.

One resource (this host), one scope (the agent). A counter is a monotonic, cumulative Sum, with the time since which the agent has
seen it count; everything else is a Gauge. Whole numbers are `as_int` as long as 64 bits hold them, all others `as_double`: every
value arrives as it is.

Source: https://opentelemetry.io/docs/specs/otlp/ and opentelemetry-proto's metrics.proto, common.proto and metrics_service.proto.
"""

from __future__ import annotations

import json
import struct

from adamas import __version__
from adamas.metric import COUNTER, RAW, picker
from adamas.protobuf import block, fields, number, tag, text, varint, weave
from adamas.starts import Starts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any, TypeAlias

    from adamas.lines import LineEncoder, Plan
    from adamas.metric import Batch, Value
    from adamas.naming import Naming, Point

    Metric: TypeAlias = tuple[Callable[[list[Any]], Any], list[Any]]
    """How to make it again with some points, and its points."""

CUMULATIVE = 2
GAUGE, SUM = 5, 7
"""The fields of a Metric that have its points."""
LEAST, MOST = -(1 << 63), (1 << 63) - 1
"""What `as_int` holds."""
_STAMP = struct.Struct("<Q")


def nanoseconds(time: float) -> int:
    """A time in seconds as OTLP has it; whole microseconds, as a double has no more of today's seconds."""
    return max(0, round(time * 1e6)) * 1000


class Protobuf:
    """The binary encoding."""

    content_type = "application/x-protobuf"
    whole, double = b"\x31", b"\x21"
    """What comes before a value of either kind (`as_int`, `as_double`)."""

    def attribute(self, key: str, value: str) -> bytes:
        """A KeyValue's body."""
        return text(1, key) + block(2, block(1, value.encode("utf-8", "backslashreplace")))

    def tail(self, time: float) -> bytes:
        """What ends a point."""
        return b"\x19" + _STAMP.pack(nanoseconds(time))

    def heads(self, groups: Sequence[Group]) -> list[bytes]:
        """What comes before each point's value: its attributes, its start, and its metric before the first of it."""
        heads = []
        for group in groups:
            points = []
            length = 0
            for attributes, start in group.points:
                body = b"".join([block(7, self.attribute(k, v)) for k, v in attributes])
                if start is not None:
                    body += b"\x11" + _STAMP.pack(nanoseconds(start))
                point = b"\x0a" + varint(len(body) + 18) + body
                points.append(point)
                length += len(point) + 18
            about = number(2, CUMULATIVE) + number(3, 1) if group.sum else b""
            data = tag(SUM if group.sum else GAUGE, 2) + varint(len(about) + length) + about
            named = text(1, group.name) + text(2, group.help) + text(3, group.unit)
            points[0] = b"\x12" + varint(len(named) + len(data) + length) + named + data + points[0]
            heads += points
        return heads

    def values(self, row: Sequence[Value], form: str) -> Sequence[bytes]:
        """Each value, as the form says; struct.error where 64 bits do not hold one."""
        return struct.unpack("8s" * len(row), struct.pack(form, *row))

    def metrics(self, woven: bytes) -> bytes:
        """The metrics of a batch."""
        return woven

    def request(self, resource: Mapping[str, str], bodies: Iterable[bytes]) -> bytes:
        """The whole message."""
        about = b"".join([block(1, self.attribute(k, v)) for k, v in resource.items()])
        scope = block(1, text(1, "adamas") + text(2, __version__)) + b"".join(bodies)
        return block(1, block(1, about) + block(2, scope))

    def apart(self, message: bytes) -> tuple[Callable[[list[Any]], bytes], list[Metric]]:
        """How to make a message of other metrics, and its metrics."""
        whole = _blocks(dict(_blocks(message))[1])
        scope = _blocks(dict(whole)[2])

        def again(metrics: list[Any]) -> bytes:
            return block(1, block(1, whole[0][1]) + block(2, block(1, scope[0][1]) + b"".join([block(2, m) for m in metrics])))

        return again, [self._metric(metric) for field, metric in scope if field == 2]

    def _metric(self, metric: bytes) -> Metric:
        parts = _blocks(metric)
        field, data = parts.pop()
        named = b"".join([block(number, value) for number, value in parts])
        about = number(2, CUMULATIVE) + number(3, 1) if field == SUM else b""
        points = [point for _, point in _blocks(data)]
        return lambda some: named + block(field, about + b"".join([block(1, point) for point in some])), points


class Json:
    """The JSON encoding: times are text, enumerations numbers.

    A value that is an integer is a number, too. Protobuf's mapping would have it as text, and has receivers take both; those made
    with Rust's opentelemetry-proto silently drop a value that is text.
    """

    content_type = "application/json"
    whole, double = b'"asInt":', b'"asDouble":'
    """What comes before a value of either kind."""

    def attributes(self, pairs: Iterable[tuple[str, str]]) -> str:
        """A list of KeyValues."""
        return _json([{"key": k, "value": {"stringValue": v}} for k, v in pairs])

    def tail(self, time: float) -> bytes:
        """What ends a point."""
        return b',"timeUnixNano":"%d"}' % nanoseconds(time)

    def heads(self, groups: Sequence[Group]) -> list[bytes]:
        """What comes before each point's value; before the first of a metric also the end of the metric before."""
        heads = []
        for n, group in enumerate(groups):
            about = {"name": group.name, "description": group.help, "unit": group.unit}
            before = ("]}}," if n else "") + _json({k: v for k, v in about.items() if v})[:-1]
            before += ',"sum":{"aggregationTemporality":2,"isMonotonic":true,' if group.sum else ',"gauge":{'
            before += '"dataPoints":['
            for attributes, start in group.points:
                head = before + "{" + (f'"attributes":{self.attributes(attributes)},' if attributes else "")
                if start is not None:
                    head += f'"startTimeUnixNano":"{nanoseconds(start)}",'
                heads.append(head.encode())
                before = ","
        return heads

    def values(self, row: Sequence[Value], form: str) -> Sequence[bytes]:
        """Each value, as the form says; struct.error where 64 bits do not hold one."""
        return [_integer(v) if kind == "q" else repr(float(v)).encode() for v, kind in zip(row, form[1:])]

    def metrics(self, woven: bytes) -> bytes:
        """The metrics of a batch."""
        return woven + b"]}}"

    def request(self, resource: Mapping[str, str], bodies: Iterable[bytes]) -> bytes:
        """The whole message."""
        scope = f'{{"scope":{_json({"name": "adamas", "version": __version__})},"metrics":['.encode()
        head = f'{{"resourceMetrics":[{{"resource":{{"attributes":{self.attributes(resource.items())}}},"scopeMetrics":['.encode()
        return head + scope + b",".join(bodies) + b"]}]}]}"

    def apart(self, message: bytes) -> tuple[Callable[[list[Any]], bytes], list[Metric]]:
        """How to make a message of other metrics, and its metrics."""
        whole = json.loads(message)
        scope = whole["resourceMetrics"][0]["scopeMetrics"][0]

        def again(metrics: list[Any]) -> bytes:
            resource = {**whole["resourceMetrics"][0], "scopeMetrics": [{**scope, "metrics": metrics}]}
            return _json({"resourceMetrics": [resource]}).encode()

        return again, [self._metric(metric) for metric in scope["metrics"]]

    def _metric(self, metric: dict[str, Any]) -> Metric:
        kind = "sum" if "sum" in metric else "gauge"
        return lambda some: {**metric, kind: {**metric[kind], "dataPoints": some}}, metric[kind]["dataPoints"]


class Group:
    """The points of one metric: (attributes, start or None) of each."""

    __slots__ = ("help", "name", "points", "sum", "unit")

    def __init__(self, name: str, help: str, unit: str, sum: bool) -> None:
        self.name = name
        self.help = help
        self.unit = unit
        self.sum = sum
        self.points: list[tuple[Sequence[tuple[str, str]], float | None]] = []


class _Layout:
    """What is known of a row of points before their values: their metrics, and the bytes between the values.

    mark: which starts these are (see `Starts.mark`).
    """

    __slots__ = ("_encoding", "_heads", "_pick", "_typed", "mark")

    def __init__(self, encoding: Protobuf | Json, groups: Sequence[Group], order: list[int], mark: int) -> None:
        self.mark = mark
        self._encoding = encoding
        self._heads = encoding.heads(groups)
        self._pick: Callable[[Sequence[Value]], Sequence[Value]]
        self._pick = tuple if order == list(range(len(order))) else picker(order)
        self._typed: tuple[list[type], str, list[bytes]] = ([], "", [])

    def fill(self, row: Sequence[Value], time: float) -> bytes:
        """The metrics with these values."""
        encoding = self._encoding
        row = self._pick(row)
        types = list(map(type, row))
        typed = self._typed
        if typed[0] != types:
            typed = self._typed = (types, *self._kinds([issubclass(kind, int) for kind in types]))
        _, form, kinds = typed
        try:
            values = encoding.values(row, form)
        except struct.error:  # a whole number that 64 bits do not hold
            form, kinds = self._kinds([isinstance(v, int) and LEAST <= v <= MOST for v in row])
            values = encoding.values(row, form)
        return encoding.metrics(weave(encoding.tail(time), self._heads, kinds, values))

    def _kinds(self, whole: Sequence[bool]) -> tuple[str, list[bytes]]:
        """The form of a row of which these are whole numbers, and what comes before each value."""
        encoding = self._encoding
        return "<" + "".join(["q" if w else "d" for w in whole]), [encoding.whole if w else encoding.double for w in whole]


class OtlpEncoder:
    """An output's batches in OTLP; it keeps its layouts on the shapes.

    resource: what the resource is besides this host; the naming's labels are attributes of the resource, and not of each point.
    """

    def __init__(self, lines: LineEncoder, naming: Naming, resource: Mapping[str, str], encoding: Protobuf | Json) -> None:
        self.lines = lines
        self.encoding = encoding
        self.starts = Starts()
        self._common = naming.labels
        host = {"host.name": naming.host, "service.instance.id": naming.host} if naming.host else {}
        self.resource = {**host, "service.name": "adamas", **naming.labels, **resource}

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """All of them as one request."""
        return self.encoding.request(self.resource, [body for batch in batches if (body := self._metrics(batch))])

    def _metrics(self, batch: Batch) -> bytes:
        plan = self.lines.plan(batch.shape)
        if batch.missing and (plan.rates.points or plan.deltas.points):
            pairs = list(plan.pairs(batch))  # what is missing is at the end: raw values come first, and are all there
            layout = self._layout(batch, plan, [point for point, _ in pairs], 0)
            return layout.fill([value for _, value in pairs], batch.time) if pairs else b""
        if not plan.points:
            return b""
        mark = self.starts.mark(batch.shape, batch.time)
        known: _Layout | None = batch.shape.plans.get(self)
        if known is None or known.mark != mark:
            known = batch.shape.plans[self] = self._layout(batch, plan, plan.points, mark)
        return known.fill(plan.row(batch), batch.time)

    def _layout(self, batch: Batch, plan: Plan, points: Sequence[Point], mark: int) -> _Layout:
        groups: dict[tuple[str, str, str, bool], tuple[Group, list[int]]] = {}
        for n, point in enumerate(points):
            total = point.kind == COUNTER and point.conversion == RAW
            key = (point.name, point.help, point.unit, total)
            group, places = groups.setdefault(key, (Group(*key), []))
            start = self.starts.of(batch.shape.series[plan.raw.positions[n]], batch.time) if total else None
            group.points.append(([pair for pair in point.labels if self._common.get(pair[0]) != pair[1]], start))
            places.append(n)
        order = [n for _, places in groups.values() for n in places]
        return _Layout(self.encoding, [group for group, _ in groups.values()], order, mark)


def halves(message: bytes, encoding: Protobuf | Json) -> list[tuple[bytes, int]]:
    """A request in two, with how many points each has; nothing where it has but one."""
    again, metrics = encoding.apart(message)
    total = sum([len(points) for _, points in metrics])
    room = total // 2
    first, second = [], []
    for metric, points in metrics:
        if room > 0:
            first.append(metric(points[:room]))
        if len(points) > room:
            second.append(metric(points[max(0, room) :]))
        room -= len(points)
    return [(again(first), total // 2), (again(second), total - total // 2)] if total > 1 else []


def partial(body: bytes, encoding: Protobuf | Json) -> tuple[int, str]:
    """(points that were refused, the words) of an ExportMetricsServiceResponse; (0, "") where nothing was, or it says nothing."""
    refused, said = 0, ""
    try:
        if isinstance(encoding, Json):
            answer = (json.loads(body or b"{}") or {}).get("partialSuccess") or {}
            return max(0, int(answer.get("rejectedDataPoints") or 0)), str(answer.get("errorMessage") or "")
        for field, value in fields(body):
            if field == 1 and isinstance(value, bytes):
                for inner, what in fields(value):
                    if inner == 1 and isinstance(what, int):
                        refused = what if what <= MOST else 0
                    elif inner == 2 and isinstance(what, bytes):
                        said = what.decode(errors="replace")
    except (ValueError, AttributeError, TypeError):
        return 0, ""
    return refused, said


def _blocks(body: bytes) -> list[tuple[int, bytes]]:
    """The fields that are messages or text."""
    return [(field, value) for field, value in fields(body) if isinstance(value, bytes)]


def _integer(value: Value) -> bytes:
    if not LEAST <= value <= MOST:
        raise struct.error("not within 64 bits")
    return b"%d" % value


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
