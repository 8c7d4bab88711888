"""Events for Riemann over TCP or TLS: protocol buffers, each message after its length, and each answered.

An answer of `ok` confirms a message; one with an error says that Riemann could not read it or that a stream of its configuration
failed on it, and the message is given up.

Not tested against a real server: there is none to be had here; the messages are checked against Riemann's own definition. Source:
https://github.com/riemann/riemann-java-client/blob/main/riemann-java-client/src/main/proto/riemann/proto.proto and
https://riemann.io/howto.html#talk-to-riemann-with-protocol-buffers.
"""

from __future__ import annotations

import json
from struct import Struct

from adamas import Duration, Rejected, Retry, option
from adamas.protobuf import FIXED32, FIXED64, LENGTH, block, fields, number, tag, text, varint
from adamas.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adamas.metric import Batch, Value
    from adamas.naming import Point

_SIZE = Struct("!I")
_DOUBLE = Struct("<d")
_FLOAT = Struct("<f")
_EVENT = tag(6, LENGTH)
_METRIC_D = tag(14, FIXED64)
METRIC_SINT64 = 13
LARGEST = 2**63
MOST_ANSWER = 16 << 20
HOST = ("host", "host.name")
"""Labels that say what the event's host says."""


class Riemann(Stream):
    """Sends every point as an event: whole numbers as `metric_sint64`, others as `metric_d`.

    The service is the name without prefix and host, which the event has for itself; in a naming with labels it is written as
    `name{label="value"}`, because Riemann tells events apart by host and service only. Labels are attributes, too.
    """

    name = "riemann"
    default_naming = "path"
    confirms_later = False
    port = 5555

    address: list[str] = option(["127.0.0.1:5555"], "Where Riemann listens: host:port, or several of them (see `routing`)")
    host: str = option("", "The host of the events (default: this agent's name)")
    ttl: Duration = option("0s", "How long an event is valid (0: Riemann's default, a minute)")
    tags: list[str] = option([], "Tags of every event")

    def fit(self, point: Point) -> Point:
        """The service."""
        assert self.spelling is not None
        front = self.spelling.prefix
        if not point.labels:
            return point.named(point.name.removeprefix(front + ".") if front else point.name)
        labels = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(point.labels) if key not in HOST]
        return point.named(f"{point.name}{{{','.join(labels)}}}" if labels else point.name)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """A message with all events."""
        out: list[bytes] = []
        for batch in batches:
            plan = self.lines.plan(batch.shape)
            known = batch.shape.plans.get(self)
            if known is None:
                known = batch.shape.plans[self] = {point: self._event(point) for point in plan.points}
            pairs: Iterable[tuple[Point, Value]] = plan.pairs(batch) if batch.missing else zip(plan.points, plan.row(batch))
            whole = int(batch.time)
            time = number(1, whole)
            if batch.time != whole:
                time += number(10, round(batch.time * 1e6))
            for point, value in pairs:
                if isinstance(value, int) and -LARGEST <= value < LARGEST:
                    metric = number(METRIC_SINT64, value << 1 ^ value >> 63)
                else:
                    metric = _METRIC_D + _DOUBLE.pack(value)
                event = known[point]
                out += (_EVENT, varint(len(event) + len(metric) + len(time)), event, metric, time)
        return b"".join(out)

    def _event(self, point: Point) -> bytes:
        """What every event of a point has in common."""
        assert self.spelling is not None
        labels = dict(point.labels or self.spelling.labels)
        host = self.host or self.spelling.host or labels.get("host") or labels.get("host.name") or "localhost"
        parts = [text(3, point.name), text(4, host), *[text(7, one) for one in self.tags]]
        if self.ttl:
            parts.append(tag(8, FIXED32) + _FLOAT.pack(self.ttl))
        parts += [block(9, text(1, key) + text(2, value)) for key, value in labels.items() if key not in HOST]
        return b"".join(parts)

    def send(self, payload: bytes) -> None:
        """One message and its answer; Rejected where that is an error."""
        assert self.socket is not None
        self.socket.sendall(_SIZE.pack(len(payload)) + payload)
        (size,) = _SIZE.unpack(self.receive(_SIZE.size))
        if size > MOST_ANSWER:
            raise Retry(f"not an answer of Riemann's: it would have {size} bytes")
        try:
            answer = dict(fields(self.receive(size)))
        except ValueError as error:
            raise Retry(f"not an answer of Riemann's: {error}") from None
        if answer.get(2) != 1:
            words = answer.get(3, b"")
            raise Rejected(f"Riemann: {words.decode(errors='replace') if isinstance(words, bytes) and words else 'not ok'}")
