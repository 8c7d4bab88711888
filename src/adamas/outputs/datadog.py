"""Datadog's API for metrics, version 2: JSON to /api/v2/series.

Names are ASCII letters, digits, `_` and `.`, begin with a letter (`m_` goes before anything else) and have 200 characters at
most: longer ones end in a hash. Labels become tags, `key:value` in lower case, of letters, digits, `_-:./` and 200 characters
at most; anything else becomes `_`, and series that meet then are kept apart. Empty labels are left out. This machine is the
resource `host`; a label `host` goes before it. Growing totals go out as counts: their increase since the run before, with the
seconds between as the interval. Everything else is a gauge. Floats have 12 significant digits; times are in seconds.

Datadog takes 512,000 bytes compressed and 5 MiB uncompressed in a request: what is larger goes in several. It takes no points
that are older than an hour (unless that is turned on there) and does not say so: what waited longer in the spool is lost
there. Delivery is confirmed by the answer; where there is none, it is sent again.

Not tested against a real server: there is none to be had. It is tested against what the API's description says.

Source: https://docs.datadoghq.com/api/latest/metrics/submit-metrics/, https://docs.datadoghq.com/metrics/custom_metrics/,
https://docs.datadoghq.com/getting_started/tagging/.
"""

from __future__ import annotations

import json
import re
import struct

from adamas import Secret, log, option
from adamas.lines import TIME, VALUE
from adamas.metric import DELTA
from adamas.transport.http import Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adamas.metric import Batch
    from adamas.naming import Point

MOST, MOST_PACKED = 5_242_880, 512_000
LONGEST = 200
COUNT, GAUGE = 1, 3
SECONDS, INTERVAL = TIME + "s", TIME + "i"
HOST = "host"
"""The label of a fitted point that names its host."""
UNITS = {"s": "second", "ms": "millisecond", "By": "byte", "bit": "bit", "%": "percent", "1": "fraction", "Hz": "hertz"}
UNITS |= {"Cel": "degree celsius", "V": "volt", "A": "ampere", "W": "watt", "J": "joule"}
_NOT_NAME = re.compile(r"[^A-Za-z0-9_.]")
_NOT_TAG = re.compile(r"[^\w\-:./]")
_SIZES = struct.Struct(">II")
"""Before each request's body in a payload: how many points it has, and how many bytes."""


class Datadog(Http):
    """Submits points to Datadog's API."""

    name = "datadog"
    default_naming = "otel"
    counters = DELTA
    path = "/api/v2/series"
    content_type = "application/json"
    frame = (b'{"series":[', b",\n", b"]}")

    api_key: Secret = option(None, "The API key of the organization", required=True)
    site: str = option("datadoghq.com", "The organization's site, such as datadoghq.eu or us5.datadoghq.com")
    url: str = option("", "Where the API is, in place of the site's https://api.SITE: a proxy, say")
    compression: str = option("gzip", "How payloads are compressed", choices=("none", "gzip", "deflate"))

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.url = self.url or f"https://api.{self.site}"

    def login(self) -> dict[str, str]:
        """The key."""
        return {"DD-API-KEY": self.api_key}

    def fit(self, point: Point) -> Point | None:
        """Name and tags as Datadog keeps them; the host among them."""
        assert self.spelling is not None
        name = _NOT_NAME.sub("_", point.name)
        if not (name[:1].isascii() and name[:1].isalpha()):
            name = "m_" + name
        tags = {HOST: self.spelling.host}
        for label, value in point.labels:
            if label == HOST:
                tags[HOST] = value
            elif value:
                tag = _tag(label.replace(":", "_"), LONGEST // 2)
                while tag in tags:
                    tag += "_"
                tags[tag] = _tag(value, LONGEST - len(tag) - 1)
        return point.named(_short(name, LONGEST, point.name), tuple(tags.items()))

    def line(self, point: Point) -> str:
        """A series of one point."""
        tags = dict(point.labels)
        host = tags.pop(HOST, "")
        kind = f'{COUNT},"interval":{INTERVAL}' if point.conversion == DELTA else str(GAUGE)
        about = f'"unit":"{UNITS[point.unit]}",' if point.unit in UNITS else ""
        if host:
            about += f'"resources":[{{"type":"host","name":{json.dumps(host)}}}],'
        pairs = json.dumps([f"{tag}:{value}" for tag, value in tags.items()])
        points = f'[{{"timestamp":{SECONDS},"value":{VALUE}}}]'
        return f'{{"metric":"{point.name}","type":{kind},{about}"tags":{pairs},"points":{points}}},\n'

    def stamp(self, time: float) -> str:
        """Times and intervals are put in later."""
        return TIME

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The bodies of as many requests as it takes, each behind its sizes."""
        assert self.frame is not None
        before, between, behind = self.frame
        texts = []
        for batch in batches:
            text = self.lines.encode([batch]).replace(SECONDS.encode(), b"%d" % batch.time)
            texts.append(text.replace(INTERVAL.encode(), b"%d" % _interval(batch)))
        points = b"".join(texts)[: -len(between)]
        return b"".join(self._requests(before + points + behind, points.count(between) + 1))

    def _requests(self, body: bytes, points: int) -> Iterator[bytes]:
        packed = self.pack(body) if len(body) <= MOST else b""
        if not packed or len(packed) > MOST_PACKED:
            if parts := self.divide(body):
                for part, count in parts:
                    yield from self._requests(part, count)
                return
            packed = packed or self.pack(body)
        yield _SIZES.pack(points, len(packed)) + packed

    def send(self, payload: bytes) -> None:
        """All the requests of a payload."""
        self.post_all(_parts(payload))

    def accepted(self, body: bytes) -> None:
        """It may have taken them with words: those are for the log."""
        try:
            errors = json.loads(body).get("errors")
        except (ValueError, AttributeError):
            return
        if errors:
            log.warning(self.instance, f"Datadog took the points, and says: {self.words(202, str(errors[0]).encode())}")


def _parts(payload: bytes) -> Iterator[tuple[bytes, int]]:
    """Each request's body in a payload, and how many points it has."""
    at = 0
    while at < len(payload):
        points, size = _SIZES.unpack_from(payload, at)
        at += _SIZES.size
        yield payload[at : at + size], points
        at += size


def _interval(batch: Batch) -> int:
    """The whole seconds that a batch's increases took, 1 at least."""
    elapsed = batch.elapsed if isinstance(batch.elapsed, (int, float)) else max(batch.elapsed, default=0)
    return max(1, round(elapsed))


def _tag(text: str, most: int) -> str:
    return _short(_NOT_TAG.sub("_", text).lower() or "_", most, text)


def _short(text: str, most: int, whole: str) -> str:
    """A text of that many characters at most; what was longer ends in a hash of what it was made of."""
    if len(text) <= most:
        return text
    import zlib

    return f"{text[: most - 9]}_{zlib.crc32(whole.encode()):08x}"
