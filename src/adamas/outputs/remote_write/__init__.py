"""Prometheus' remote write, versions 1.0 and 2.0: to Prometheus, VictoriaMetrics, Mimir, Thanos, Cortex and others that take it.

Names are Prometheus names, values doubles (a whole number past 2**53 is rounded), times milliseconds. The host's name is the
label `instance`, unless a series has one or `host_label` says otherwise; the agent's labels stand on every series. Counters go
out as they count. An empty label is no label in Prometheus, and is not sent. Version 2.0 also tells each series' type, unit and
help, and since when a counter counts, as far as the agent saw it. There are no stale markers: a series that ends is
shown for five minutes more.

An answer confirms what it is for, and what was not confirmed is sent again. Prometheus takes the samples of a series only in the
order of their time, unless `out_of_order_time_window` is set there. So what waits on disk is sent before anything new, and the
window that began before the agent's start is left out. Prometheus gives up a whole request for one sample that it does not take.
So a refused request of version 1.0 is sent again in pieces, one for each time in it, and only those are given up that are refused
on their own. Samples that were stored although the answer got lost may be refused when they are sent again: they count as
rejected, as nobody can tell them from others.

Payloads are compressed about eight times by cramjam, where it is installed (the extra `remote-write`), else not at all.

Version 1.0 is tested against Prometheus 2.42 and VictoriaMetrics 1.79.5. Version 2.0 is tested with its message definition, and
not against a real server.

Source: https://prometheus.io/docs/specs/prw/remote_write_spec/ and https://prometheus.io/docs/specs/prw/remote_write_spec_2_0/.
"""

from __future__ import annotations

from itertools import groupby
from operator import attrgetter

from adamas import Rejected, Retry, option
from adamas.naming import label_name, metric_name
from adamas.outputs.remote_write import snappy
from adamas.outputs.remote_write.messages import Writer, Writer1, Writer2
from adamas.protobuf import block, fields, number
from adamas.transport.http import Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from adamas import Batch
    from adamas.naming import Naming, Point

WRITERS: dict[str, type[Writer]] = {"1": Writer1, "2": Writer2}
RESERVED = ("content-encoding", "content-type", "user-agent", "x-prometheus-remote-write-version")
WRITTEN = "x-prometheus-remote-write-samples-written"


class Part:
    """What may be a request of its own: how many points, how many bytes, and these compressed."""

    __slots__ = ("elements", "length", "points")

    def __init__(self, points: int, length: int, elements: bytes) -> None:
        self.points = points
        self.length = length
        self.elements = elements


class RemoteWrite(Http):
    """Sends every point to Prometheus, or whatever takes its remote write."""

    name = "remote_write"
    default_naming = "prometheus"
    replaces = False
    ordered = True
    path = "/api/v1/write"

    url: str = option("http://127.0.0.1:9090", "Where the backend listens; the path is /api/v1/write, unless the address has one")
    version: str = option("1", "The version of the protocol: 2 tells types and units, but is younger", choices=tuple(WRITERS))
    host_label: str = option("instance", 'The label that has the host\'s name ("": none)')
    compression: str = option("snappy", "How payloads are compressed: the protocol knows no other way", choices=("snappy",))

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.content_type = WRITERS[self.version].content_type
        self._writer: Writer
        self._asked = 0
        self._written = 0

    def check(self) -> list[str]:
        """The protocol's own headers are not to be changed."""
        reserved = [name for name in self.headers if name.lower() in RESERVED]
        return super().check() + [f"headers: {name} is the protocol's own" for name in reserved]

    @property
    def dialect(self) -> str:
        """The type, and the version."""
        return f"{type(self).name}{self.version}"

    def spell(self, naming: Naming) -> None:
        """Make ready for another naming."""
        super().spell(naming)
        self._writer = WRITERS[self.version](self.lines)

    def fit(self, point: Point) -> Point:
        """With the host's label, without empty ones, under names that Prometheus takes whatever the naming."""
        labels: dict[str, str] = {}
        for name, value in point.labels:
            if value and name != "__name__":
                labels.setdefault(label_name(name), value)
        assert self.spelling is not None
        if self.host_label and self.spelling.host:
            labels.setdefault(label_name(self.host_label), self.spelling.host)
        return point.named(metric_name(point.name), tuple(labels.items()))

    def points(self, batch: Batch) -> int:
        """How many points a new batch is."""
        self._writer.note(batch)
        return self.lines.points(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The parts of a request, each compressed: one for each time, or all in one where they share symbols."""
        if self.version == "2":
            return payload([self._part(batches)])
        return payload([self._part(list(together)) for _, together in groupby(batches, attrgetter("time"))])

    def _part(self, batches: Sequence[Batch]) -> Part:
        body = self._writer.request(batches)
        return Part(sum([self.lines.points(batch) for batch in batches]), len(body), snappy.elements(body))

    def encode_headers(self) -> dict[str, str]:
        """The protocol's own among them."""
        return {**super().encode_headers(), "X-Prometheus-Remote-Write-Version": self._writer.version}

    def unpack(self, payload: bytes) -> bytes:
        """A request as it was sent: what is kept of a refused one."""
        return payload

    def send(self, payload: bytes) -> None:
        """One request; where it is refused and has several parts, one for each."""
        whole = parts(payload)
        try:
            self._post(whole)
        except Rejected:
            if len(whole) < 2:
                raise
        else:
            return
        refused: list[Part] = []
        words = ""
        for part in whole:
            try:
                self._post([part])
            except Rejected as error:
                refused.append(part)
                words = words or str(error)
        if refused:
            raise Rejected(words, sum([part.points for part in refused]), request(refused))

    def _post(self, whole: Sequence[Part]) -> None:
        self._asked = sum([part.points for part in whole])
        self.post(request(whole))

    def ask(self, method: str, target: str, payload: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
        """One request. A backend that does not know version 2.0 says so, or takes the message for an empty one of 1.0."""
        status, headers, body = super().ask(method, target, payload)
        if self.version == "2":
            said = headers.get(WRITTEN, "")
            self._written = int(said) if said.isascii() and said.isdigit() else 0
            if status == 415 or (200 <= status < 300 and not any(name.endswith("-written") for name in headers)):
                raise Retry(f"{self.words(status, body)}: the backend does not take remote write 2.0; set version = 1")
        return status, headers, body

    def accepted(self, body: bytes) -> None:
        """In version 2.0 the backend says how many samples it wrote."""
        if self.version == "2" and self._written < self._asked:
            raise Rejected(f"the backend wrote {self._written} of {self._asked} samples", self._asked - self._written)

    def rejected(self, status: int, words: str, body: bytes, plain: bytes) -> Rejected:
        """All of it, or in version 2.0 what the backend does not say that it wrote."""
        return Rejected(words, max(1, self._asked - self._written), plain)


def request(whole: Sequence[Part]) -> bytes:
    """What is posted: one message of all parts, compressed."""
    return snappy.block(sum([part.length for part in whole]), [part.elements for part in whole])


def payload(whole: Iterable[Part]) -> bytes:
    """Parts as they wait, in memory or on disk."""
    return b"".join([block(1, number(1, p.points) + number(2, p.length) + block(3, p.elements)) for p in whole])


def parts(payload: bytes) -> list[Part]:
    """What `payload` put together."""
    made = []
    for _, part in fields(payload):
        assert isinstance(part, bytes)
        values = dict(fields(part))
        made.append(Part(values[1], values[2], values[3]))  # type: ignore[arg-type]
    return made
