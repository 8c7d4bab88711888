"""DogStatsD: statsd's lines with tags and times, to the Datadog Agent over UDP or its unix socket.

`name:value|g|#key:value,...|T1700000000`. With a time the Agent passes the value on as it is (protocol 1.3, Agent 6.40 or
7.40); without, it aggregates what comes in 10 seconds. Datadog itself drops what is older than an hour.

Nobody confirms a datagram. Over the unix socket a full receiver makes the sender wait; over UDP what it misses is lost and
counted as delivered. A send that is repeated after a part of it went out adds that part's counts twice where they have no
time.

Not tested against a real server: the Agent was not to be had. Source:
https://docs.datadoghq.com/extend/dogstatsd/datagram_shell/; names and tags:
https://docs.datadoghq.com/getting_started/tagging/ and https://docs.datadoghq.com/metrics/custom_metrics/.
"""

from __future__ import annotations

import re
import zlib

from adamas import option
from adamas.lines import TIME, VALUE
from adamas.metric import COUNTER, DELTA
from adamas.transport.datagram import Datagram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.naming import Point

_NOT_NAME = re.compile(r"[^A-Za-z0-9_.]+")
_NOT_TAG = re.compile(r"[^\w\-:./]+")
LONGEST = 200
"""The most characters of a name, and of a tag with its key."""


class Dogstatsd(Datagram):
    """Sends gauges, and counts of what totals grew by, with labels as tags.

    Names and tags are written as Datadog keeps them: names of ASCII letters, digits, `_` and `.`, tags in lower case, both with
    `_` for the rest and at most 200 characters. Floats have 12 significant digits.
    """

    name = "dogstatsd"
    default_naming = "prometheus"
    slotted = False
    port = 8125

    address: str = option(
        "127.0.0.1:8125", 'Where the Agent listens: host:port, or its socket: "unix:///var/run/datadog/dsd.socket"'
    )
    packet: int = option(1432, "The most bytes in one datagram; the Agent takes 8192", minimum=64, maximum=65507)
    totals: str = option(
        "count",
        "What a growing total goes out as: a count of its increase, or a gauge, as its naming has it",
        choices=("count", "gauge"),
    )
    times: bool = option(True, "Send each value's time (off: for an Agent older than 6.40 or 7.40)")
    container: str = option("", "The container that the samples are of, as Datadog writes it (`ci-` and its ID)")

    def check(self) -> list[str]:
        """The container must not break the line."""
        wrong = super().check()
        if re.search(r"[\s|]", self.container):
            wrong.append('container: expected an ID such as "ci-0123abc", without spaces and |')
        return wrong

    def fit(self, point: Point) -> Point:
        """Names and tags as Datadog would make them, so that none meet there; totals as increases."""
        name = _NOT_NAME.sub("_", point.name)
        name = _cut(name if name[:1].isalpha() else f"n_{name}", LONGEST)
        labels = []
        for key, value in point.labels:
            tag = _NOT_TAG.sub("_", key.replace(":", "_")).lower()
            tag = tag if tag[:1].isalpha() else f"n_{tag}"
            value = _NOT_TAG.sub("_", value).lower()
            labels.append((tag, _cut(value, LONGEST - len(tag) - 1) or "_"))
        fitted = point.named(name, tuple(labels))
        if self._counted(point):
            fitted.conversion = DELTA
        return fitted

    def _counted(self, point: Point) -> bool:
        return point.kind == COUNTER and self.totals == "count"

    def line(self, point: Point) -> str:
        """`name:value|type`, then tags, container and time where there are such."""
        line = f"{point.name}:{VALUE}|{'c' if self._counted(point) else 'g'}"
        if point.labels:
            line += "|#" + ",".join([f"{key}:{value}" for key, value in point.labels])
        if self.container:
            line += f"|c:{self.container}"
        return line + (f"|T{TIME}\n" if self.times else "\n")


def _cut(text: str, longest: int) -> str:
    """The text, or what fits of it with a check sum of the whole."""
    return text if len(text) <= longest else f"{text[: longest - 9]}_{zlib.crc32(text.encode()):08x}"
