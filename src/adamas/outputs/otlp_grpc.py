"""OpenTelemetry's protocol over gRPC, to a collector or whatever speaks it; what it says is as over HTTP (see the output otlp).

Names and units are those of OpenTelemetry's semantic conventions where a metric has them; labels are attributes. The resource
is this host: `service.name` is adamas, `host.name` and `service.instance.id` are the host's name, and the agent's labels stand
beside them. Counters are monotonic, cumulative Sums that start when the agent first saw them, or saw them begin anew; all else
are Gauges. A value arrives exactly, as a 64-bit integer or a double.

An answer confirms what it is for. Where the backend took a part (partial success), the number that it refused is counted.
CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE, DATA_LOSS, and RESOURCE_EXHAUSTED with a time to wait, are tried
again, as the specification says; other errors are not. It says so of UNAUTHENTICATED, PERMISSION_DENIED and UNIMPLEMENTED, too:
those are tried again all the same, since what is wrong there is not the samples. A request that is larger than the backend takes
(by default 4 MiB in most) is divided.

Tested against Rotel 0.0.1a15 and grpcio's own server with the official messages (opentelemetry-proto 1.45).

Source: https://opentelemetry.io/docs/specs/otlp/#otlpgrpc; google.rpc.Status and RetryInfo for the time to wait
(https://github.com/googleapis/googleapis/blob/master/google/rpc/error_details.proto).
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from adamas import Rejected, Retry, Secret, __version__, log, option
from adamas.otlp import OtlpEncoder, Protobuf, halves, partial
from adamas.protobuf import fields
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from adamas import Batch
    from adamas.naming import Naming

EXPORT = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
PORT = 4317
RETRIED = ("CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "UNAVAILABLE", "DATA_LOSS")
OURS = ("UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")
"""Codes that say that the call is set up wrongly, not that its samples are bad."""
EXHAUSTED = "RESOURCE_EXHAUSTED"
TOO_LARGE = ("larger than max", "length too large")
"""What servers say of a message that is too large, those of grpc and of tonic (which calls it OUT_OF_RANGE)."""
LONGEST = 3600.0
"""The most seconds that a peer can have us wait."""


class OtlpGrpc(Tls):
    """Sends every point to an OpenTelemetry collector over gRPC."""

    name = "otlp_grpc"
    default_naming = "otel"
    modules = ("grpc",)
    extra = "grpc"

    url: str = option(f"http://127.0.0.1:{PORT}", "Where the collector listens: http://, or https:// for TLS, host and port")
    headers: dict[str, str] = option({}, "Metadata added to each call")
    bearer_token: Secret = option("", "The token to log in with (in the metadata `authorization`)")
    compression: str = option("gzip", "How messages are compressed", choices=("none", "gzip"))
    resource: dict[str, str] = option({}, "More attributes of the resource, or others for those that it has (service.name, say)")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._form = Protobuf()
        self._encoder: OtlpEncoder
        self._channel: Any = None
        self._export: Any = None

    def check(self) -> list[str]:
        """The address must be one of http or https without a path; gRPC cannot but verify."""
        wrong = super().check()
        try:
            parts = urlsplit(self.url)
            good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.path in ("", "/") and parts.port != 0
            good = good and parts.username is None and parts.password is None
        except ValueError:
            good = False
        if not good:
            wrong.append('url: expected an address such as "https://collector.example.org:4317"')
        if not self.verify:
            wrong.append("verify: gRPC always checks the server's certificate; name its authority in ca_file")
        for name, value in (*self.headers.items(), ("bearer_token", self.bearer_token)):
            if not name.isascii() or not value.isascii() or not value.isprintable():
                wrong.append(f"{name}: has a line break or a character that is not ASCII")
        return wrong

    def spell(self, naming: Naming) -> None:
        """Make ready for another naming."""
        super().spell(naming)
        self._encoder = OtlpEncoder(self.lines, naming, self.resource, self._form)

    def points(self, batch: Batch) -> int:
        """How many points a new batch is."""
        self._encoder.starts.note(batch)
        return self.lines.points(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """One request; gRPC compresses it."""
        return self._encoder.encode(batches)

    def open(self) -> None:
        """Make the channel, where there is none; it connects when it is used."""
        if self._channel is not None:
            return
        import grpc  # type: ignore[import-untyped]

        parts = urlsplit(self.url)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        target = f"{host}:{parts.port or PORT}"
        options: list[tuple[str, Any]] = [("grpc.primary_user_agent", f"adamas/{__version__}"), ("grpc.enable_http_proxy", 0)]
        packed = grpc.Compression.Gzip if self.compression == "gzip" else grpc.Compression.NoCompression
        if parts.scheme == "https":
            if self.server_name:
                options.append(("grpc.ssl_target_name_override", self.server_name))
            chain = _content(self.cert_file)
            key = _content(self.key_file) or chain
            secure = grpc.ssl_channel_credentials(_content(self.ca_file or _authorities()), key, chain)
            self._channel = grpc.secure_channel(target, secure, options, packed)
        else:
            self._channel = grpc.insecure_channel(target, options, packed)
        self._export = self._channel.unary_unary(EXPORT)

    def send(self, payload: bytes) -> None:
        """One call, or as many as it takes. Retry or Rejected, as its status says."""
        import grpc

        metadata = [(name.lower(), value) for name, value in self.headers.items()]
        if self.bearer_token:
            metadata.append(("authorization", f"Bearer {self.bearer_token}"))
        try:
            answer = self._export(payload, timeout=self.timeout, metadata=metadata)
        except grpc.RpcError as error:
            details = error.details() or ""
            if not any(words in details for words in TOO_LARGE):
                raise self._failure(error.code().name, details, error.trailing_metadata() or ()) from None
            parts = halves(payload, self._form)
            if not parts:
                raise Rejected(details) from None
            self._send_all(parts)
            return
        refused, said = partial(answer, self._form)
        if refused:
            raise Rejected(said or "the backend refused a part", refused)
        if said:
            log.warning(self.instance, f"the backend says: {said}")

    def _send_all(self, parts: Iterable[tuple[bytes, int]]) -> None:
        """A call for each (payload, points); Rejected, with all that were refused, when the last is through."""
        points, words = 0, ""
        for payload, count in parts:
            try:
                self.send(payload)
            except Rejected as error:
                points += error.points or count
                words = words or str(error)
        if points:
            raise Rejected(words, points)

    def _failure(self, code: str, details: str, trailing: Iterable[tuple[str, str | bytes]]) -> Retry | Rejected:
        if self.bearer_token:
            details = details.replace(self.bearer_token, "***")
        words = f"{code}: {' '.join(details.split())[:300]}".rstrip(": ")
        wait = delay(next((v for k, v in trailing if k == "grpc-status-details-bin" and isinstance(v, bytes)), b""))
        if code in OURS:
            return Retry(f"{words}; see url and what logs in")
        if code in RETRIED or (code == EXHAUSTED and wait is not None):
            return Retry(words, wait or 0.0)
        return Rejected(words)

    def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = self._export = None


def delay(status: bytes) -> float | None:
    """The seconds to wait in a google.rpc.Status, an hour at most; None where it names none."""
    try:
        for field, detail in fields(status):
            if field != 3 or not isinstance(detail, bytes):
                continue
            kind, value = b"", b""
            for inner, what in fields(detail):
                if inner == 1 and isinstance(what, bytes):
                    kind = what
                elif inner == 2 and isinstance(what, bytes):
                    value = what
            if kind.endswith(b"google.rpc.RetryInfo"):
                duration = next((dict(fields(v)) for f, v in fields(value) if f == 1 and isinstance(v, bytes)), {})
                seconds, nanos = duration.get(1, 0), duration.get(2, 0)
                if isinstance(seconds, int) and isinstance(nanos, int) and seconds < 1 << 63 and nanos < 10**9:
                    return min(seconds + nanos / 1e9, LONGEST)
    except ValueError:
        pass
    return None


def _content(path: str) -> bytes | None:
    if not path:
        return None
    with open(os.path.expanduser(path), "rb") as file:
        return file.read()


def _authorities() -> str:
    """This machine's authorities in one file; "" where there is none, and gRPC takes its own."""
    import ssl

    known = ssl.get_default_verify_paths()
    for path in (known.cafile, os.path.join(known.capath or "", "ca-certificates.crt")):
        if path and os.path.isfile(path):
            return path
    return ""
