"""OpenTelemetry's protocol over HTTP, to a collector or whatever speaks it: protobuf or JSON, compressed with gzip.

Names and units are those of OpenTelemetry's semantic conventions where a metric has them; labels are attributes. The resource
is this host: `service.name` is adamas, `host.name` and `service.instance.id` are the host's name, and the agent's labels stand
beside them. Counters are monotonic, cumulative Sums that start when the agent first saw them, or saw them begin anew; all else
are Gauges. A value arrives exactly, as a 64-bit integer or a double. There are no histograms: the counter of each bucket is a Sum
with its bound as an attribute.

An answer confirms what it is for. Where the backend took a part (partial success), the number that it refused is counted. 429,
502, 503 and 504 are tried again, as the specification says; other errors are not. It says so of 401, 403, 404, 405 and 407, too:
those are tried again all the same, since what is wrong there is not the samples. 413: the request is divided.

Tested against Rotel 0.0.1a15 and the official messages (opentelemetry-proto 1.45).

Source: https://opentelemetry.io/docs/specs/otlp/#otlphttp.
"""

from __future__ import annotations

from adamas import Rejected, log, option
from adamas.otlp import Json, OtlpEncoder, Protobuf, halves, partial
from adamas.protobuf import fields
from adamas.transport.http import Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas import Batch
    from adamas.naming import Naming

RETRIED = (429, 502, 503, 504)


class Otlp(Http):
    """Sends every point to an OpenTelemetry collector over HTTP."""

    name = "otlp"
    default_naming = "otel"
    path = "/v1/metrics"

    url: str = option("http://127.0.0.1:4318", "Where the collector listens; the path is /v1/metrics, unless the address has one")
    encoding: str = option("protobuf", "How messages are written", choices=("protobuf", "json"))
    resource: dict[str, str] = option({}, "More attributes of the resource, or others for those that it has (service.name, say)")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self.form: Protobuf | Json = Json() if self.encoding == "json" else Protobuf()
        self.content_type = self.form.content_type
        self._encoder: OtlpEncoder

    @property
    def dialect(self) -> str:
        """The type, the encoding, and how it is compressed."""
        return f"{super().dialect}+{self.encoding}"

    def spell(self, naming: Naming) -> None:
        """Make ready for another naming."""
        super().spell(naming)
        self._encoder = OtlpEncoder(self.lines, naming, self.resource, self.form)

    def points(self, batch: Batch) -> int:
        """How many points a new batch is."""
        self._encoder.starts.note(batch)
        return self.lines.points(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """One request."""
        return self.pack(self._encoder.encode(batches))

    def passes(self, status: int) -> bool:
        """What OTLP says may be over later."""
        return status in RETRIED

    def divide(self, body: bytes) -> list[tuple[bytes, int]]:
        """A request in two."""
        return halves(body, self.form)

    def accepted(self, body: bytes) -> None:
        """Partial success: the backend says how many points it refused, and why."""
        refused, said = partial(body, self.form)
        if refused:
            raise Rejected(said or "the backend refused a part", refused)
        if said:
            log.warning(self.instance, f"the backend says: {said}")

    def words(self, status: int, body: bytes) -> str:
        """An error's message (google.rpc.Status), where it is one in protobuf."""
        if self.encoding == "protobuf":
            try:
                body = next((v for field, v in fields(body) if field == 2 and isinstance(v, bytes)), body)
            except ValueError:
                pass
        return super().words(status, body)
