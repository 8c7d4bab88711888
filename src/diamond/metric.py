"""One value of one metric, and its line of text: `path value timestamp`."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from diamond.error import DiamondException

TYPES = ("COUNTER", "GAUGE")
_LINE = re.compile(r"(?P<path>[A-Za-z0-9.\-_]+)\s+(?P<value>[0-9.]+)\s+(?P<timestamp>[0-9.]+)\n?")


class Metric:
    """A value to publish.

    path: the complete dotted name; value: a number, or text that is one; raw_value: the counter that a rate was made of;
    timestamp: seconds since 1970 (None: now); precision: decimals of the text; host: the host's name as it stands in the
    path; metric_type: GAUGE or COUNTER; ttl: seconds for which the value holds.
    """

    __slots__ = ("host", "metric_type", "path", "precision", "raw_value", "timestamp", "ttl", "value")

    def __init__(
        self,
        path: str,
        value: Any,
        raw_value: Any = None,
        timestamp: Any = None,
        precision: Any = 0,
        host: str | None = None,
        metric_type: str = "COUNTER",
        ttl: float | None = None,
    ) -> None:
        if path is None or value is None or metric_type not in TYPES:
            raise DiamondException(f"not a metric: path {path!r}, value {value!r}, metric_type {metric_type!r}")
        self.path = path
        self.value = value if isinstance(value, (int, float)) else _number(value, precision)
        self.raw_value = raw_value
        self.timestamp = _stamp(timestamp)
        self.precision = precision
        self.host = host
        self.metric_type = metric_type
        self.ttl = ttl

    def __repr__(self) -> str:
        """The line that goes to Graphite, ended."""
        precision = self.precision
        if not isinstance(precision, int):
            logging.getLogger("diamond").warning("Metric %s has the precision %r, which is no whole number", self.path, precision)
            precision = 0
        return f"{self.path} {self.value:.{precision}f} {self.timestamp}\n"

    __str__ = __repr__

    @classmethod
    def parse(cls, string: str) -> Metric:
        """The metric of a line; DiamondException where it is none. A line says neither host nor type nor ttl."""
        found = _LINE.fullmatch(string)
        if found is None:
            raise DiamondException(f"Metric could not be parsed from {string!r}")
        value = found["value"]
        precision = len(value.partition(".")[2])
        try:
            return cls(found["path"], float(value), timestamp=float(found["timestamp"]), precision=precision)
        except ValueError as error:
            raise DiamondException(f"Metric could not be parsed from {string!r}: {error}") from None

    def getPathPrefix(self) -> str:
        """What stands before the host in the path; the first segment where the host is not known or not in it."""
        prefix, _ = self._around_host()
        return ".".join(prefix)

    def getCollectorPath(self) -> str:
        """The segment after the host; the third where the host is not known or not in the path."""
        _, behind = self._around_host()
        return behind[0] if behind else ""

    def getMetricPath(self) -> str:
        """What stands behind the collector's segment."""
        _, behind = self._around_host()
        return ".".join(behind[1:])

    def _around_host(self) -> tuple[list[str], list[str]]:
        """The segments before and behind the host's, which are found whole: a host `a` is not in a prefix `data`."""
        segments = self.path.split(".")
        host = self.host.split(".") if self.host else []
        for at in range(len(segments) - len(host) + 1 if host else 0):
            if segments[at : at + len(host)] == host:
                return segments[:at], segments[at + len(host) :]
        return segments[:1], segments[2:]


def _number(value: Any, precision: Any) -> float:
    """Text as a number: a whole one where no decimals are wanted, halves away from zero as Python 2 rounded them."""
    try:
        number = float(value)
    except ValueError as error:
        raise DiamondException(f"Invalid value when creating new Metric: {value!r}: {error}") from None
    if precision or number != number or abs(number) == float("inf"):
        return number
    whole = float(int(abs(number) + 0.5))
    return whole if number >= 0 else -whole


def _stamp(timestamp: Any) -> Any:
    if timestamp is None:
        return int(time.time())
    try:
        return int(timestamp)
    except ValueError as error:
        raise DiamondException(f"Invalid timestamp when creating new Metric: {timestamp!r}: {error}") from None
