"""What statsd is sent, whichever way: `name:value|g`, `name:increase|c`.

statsd knows no times: it files a value under the moment when it comes. It keeps the last value of a gauge, and sums up the
increases of a count until its next flush. A gauge with a sign is a change there, so a negative one is set to 0 first.

Source: https://github.com/statsd/statsd/blob/master/docs/metric_types.md.
"""

from __future__ import annotations

import re

from adamas import Output, option
from adamas.lines import VALUE
from adamas.metric import COUNTER, DELTA

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Batch
    from adamas.naming import Point

_NOT_NAME = re.compile(r"[^A-Za-z0-9_.\-]+")
_NEGATIVE = re.compile(rb"^([^:\n]+):(-[^|\n]*\|g(.*))$", re.M)


class StatsdLines(Output):
    """Gauges as gauges and growing totals as counts."""

    default_naming = "path"
    slotted = False

    totals: str = option(
        "count",
        "What a growing total goes out as: a count of its increase, or a gauge, as its naming has it",
        choices=("count", "gauge"),
    )

    @property
    def dialect(self) -> str:
        """The same lines go over UDP and TCP."""
        return "statsd"

    def fit(self, point: Point) -> Point:
        """Names that statsd leaves as they are; totals as increases."""
        labels = tuple([(_NOT_NAME.sub("_", key) or "_", _NOT_NAME.sub("_", value) or "_") for key, value in point.labels])
        fitted = point.named(_NOT_NAME.sub("_", point.name), labels)
        if self.counted(point):
            fitted.conversion = DELTA
        return fitted

    def counted(self, point: Point) -> bool:
        """Whether a point goes out as a count."""
        return point.kind == COUNTER and self.totals == "count"

    def line(self, point: Point) -> str:
        """`name:value|type`, with tags where there are labels."""
        tags = "|#" + ",".join([f"{key}:{value}" for key, value in point.labels]) if point.labels else ""
        return f"{point.name}:{VALUE}|{'c' if self.counted(point) else 'g'}{tags}\n"

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The lines of all points; negative gauges as two."""
        payload = self.lines.encode(batches)
        return _NEGATIVE.sub(rb"\1:0|g\3\n\1:\2", payload) if b":-" in payload else payload
