"""OpenTSDB's HTTP API: a JSON array of points to /api/put, to OpenTSDB and what else takes it, such as VictoriaMetrics.

Names and tags are letters, digits, `-`, `_`, `.` and `/`; anything else becomes `_`, and what meets then is kept apart. A
point has 1 to 8 tags (`max_tags`): this machine's name is one of them (`host_tag`), and those past the last are put together
in the tag `more`. With a dotted `naming` the name begins behind the host. Empty labels are left out. Times are in seconds, or
in milliseconds where a time is not whole. Floats have 12 significant digits; OpenTSDB itself keeps some with single precision.

The answer is asked to come when the points are stored, and to name those that were refused: they are counted and kept as dead
letters, the others are delivered. What OpenTSDB could not store is sent again; writing a point twice changes nothing. A
request that is too large for it (its `tsd.http.request.enable_chunked` is off, or `max_chunk` small) goes in halves; `batch`
spares that.

Tested against VictoriaMetrics 1.79.5 and the listener of InfluxDB 1.6.7; refusals are tested as documented, and OpenTSDB
itself is not tested.

Source: http://opentsdb.net/docs/build/html/api_http/put.html, http://opentsdb.net/docs/build/html/user_guide/writing.html.
"""

from __future__ import annotations

import json
from urllib.parse import urlsplit

from adamas import Rejected, Retry, option
from adamas.lines import TIME, VALUE
from adamas.outputs import _opentsdb
from adamas.transport.http import Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.naming import Point

LATER = ("torage exception", "hrottle", "imed out", "imeout")
"""Words of errors that say that the storage is the trouble, and not the point."""


class OpentsdbHttp(Http):
    """Puts points by OpenTSDB's HTTP API."""

    name = "opentsdb_http"
    default_naming = "prometheus"
    content_type = "application/json"
    frame = (b"[", b",\n", b"]")

    url: str = option("http://127.0.0.1:4242", "Where it listens; a path in it goes before the API's own")
    batch: int = option(1000, "The most points in one request", minimum=1)
    host_tag: str = option("host", 'The tag that names this machine, where no label does ("": none)')
    max_tags: int = option(8, "The most tags of a point: OpenTSDB's tsd.storage.max_tags", minimum=1)
    sync: bool = option(True, "Have the answer wait until the points are stored")

    def target(self) -> str:
        """/api/put, with words on every point that is refused."""
        parts = urlsplit(self.url)
        sync = f"&sync&sync_timeout={int(self.timeout * 800)}" if self.sync else ""
        return f"{parts.path.rstrip('/')}/api/put?{parts.query + '&' if parts.query else ''}details{sync}"

    def fit(self, point: Point) -> Point | None:
        """The point with a name and tags that OpenTSDB allows."""
        assert self.spelling is not None
        return _opentsdb.fitted(point, self.spelling, self.host_tag, self.max_tags)

    def line(self, point: Point) -> str:
        """An element of the array; what is allowed in names needs no escapes."""
        tags = ",".join([f'"{tag}":"{text}"' for tag, text in point.labels])
        return f'{{"metric":"{point.name}","timestamp":{TIME},"value":{VALUE},"tags":{{{tags}}}}},\n'

    def stamp(self, time: float) -> str:
        """Seconds, or milliseconds."""
        return _opentsdb.stamp(time)

    def too_large(self, status: int, body: bytes) -> bool:
        """OpenTSDB calls what is too large for it a chunked request that it does not support."""
        return super().too_large(status, body) or (status == 400 and b"hunked request" in body)

    def accepted(self, body: bytes) -> None:
        """A part may be refused in a 200, too."""
        if (refusal := self._refusal("", body)) is not None:
            raise refusal

    def rejected(self, status: int, words: str, body: bytes, plain: bytes) -> Rejected:
        """The points that `errors` names; all, where it names none."""
        return self._refusal(words, body) or super().rejected(status, words, body, plain)

    def _refusal(self, words: str, body: bytes) -> Rejected | None:
        try:
            said = json.loads(body)
            errors, failed = said["errors"], int(said["failed"])
        except (ValueError, KeyError, TypeError):
            return None
        if not failed:
            return None
        reasons = [str(error.get("error", "")) for error in errors]
        if any(word in reason for reason in reasons for word in LATER):
            raise Retry(words or reasons[0][:300])
        refused = json.dumps([error.get("datapoint") for error in errors]).encode()
        return Rejected(f"{failed} points: {reasons[0][:300] if reasons else words}", failed, refused)
