"""statsd's lines over UDP: `name:value|g`, `name:increase|c`.

statsd knows no times: it files a value under the moment when it comes. It keeps the last value of a gauge, and sums up the
increases of a count until its next flush. A gauge with a sign is a change there, so a negative one is set to 0 first, in the
same datagram.

Nobody confirms a datagram: what a slow or absent receiver misses is counted as delivered, unless the machine itself says that
nobody listens. Then the whole send is repeated, and a count of it may be added twice.

Source: https://github.com/statsd/statsd/blob/master/docs/metric_types.md. Tested against statsd 0.9.0.
"""

from __future__ import annotations

import re

from adamas import option
from adamas.lines import VALUE
from adamas.metric import COUNTER, DELTA
from adamas.transport.datagram import Datagram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adamas.metric import Batch
    from adamas.naming import Point

_NOT_NAME = re.compile(r"[^A-Za-z0-9_.\-]+")
_NEGATIVE = re.compile(rb"^([^:\n]+):(-[^|\n]*\|g(.*))$", re.M)


class Statsd(Datagram):
    """Sends gauges as gauges and growing totals as counts.

    Names hold ASCII letters, digits and `_.-`; anything else becomes `_`, because statsd strips what it does not take, and
    names would meet there. In a naming with labels, those go as tags, which statsd turns into Graphite's (since 0.9). Floats
    have 12 significant digits.
    """

    name = "statsd"
    default_naming = "path"
    slotted = False
    port = 8125

    address: str = option("127.0.0.1:8125", "Where statsd listens: host:port, or unix:/path of a datagram socket")
    totals: str = option(
        "count",
        "What a growing total goes out as: a count of its increase, or a gauge, as its naming has it",
        choices=("count", "gauge"),
    )

    def fit(self, point: Point) -> Point:
        """Names that statsd leaves as they are; totals as increases."""
        labels = tuple([(_NOT_NAME.sub("_", key) or "_", _NOT_NAME.sub("_", value) or "_") for key, value in point.labels])
        fitted = point.named(_NOT_NAME.sub("_", point.name), labels)
        if self._counted(point):
            fitted.conversion = DELTA
        return fitted

    def _counted(self, point: Point) -> bool:
        return point.kind == COUNTER and self.totals == "count"

    def line(self, point: Point) -> str:
        """`name:value|type`, with tags where there are labels."""
        tags = "|#" + ",".join([f"{key}:{value}" for key, value in point.labels]) if point.labels else ""
        return f"{point.name}:{VALUE}|{'c' if self._counted(point) else 'g'}{tags}\n"

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The lines of all points; negative gauges as two."""
        payload = self.lines.encode(batches)
        return _NEGATIVE.sub(rb"\1:0|g\3\n\1:\2", payload) if b":-" in payload else payload

    def packets(self, payload: bytes) -> Iterator[bytes]:
        """Whole lines, as many as fit; a negative gauge's two stay together."""
        start = 0
        while start < len(payload):
            end = start + self.packet
            if end >= len(payload):
                end = len(payload)
            else:
                cut = payload.rfind(b"\n", start, end)
                end = payload.index(b"\n", end) + 1 if cut < 0 else cut + 1
                following = payload[end : payload.find(b"\n", end)]
                if b":-" in following and b"|g" in following:
                    previous = payload.rfind(b"\n", start, end - 1) + 1
                    end = previous if previous > start else end + len(following) + 1
            yield payload[start:end]
            start = end
