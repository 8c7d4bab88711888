"""InfluxDB's line protocol over HTTP: the collector is the measurement, the rest of the name the field, the host a tag.

Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

from diamond.handler._batch import BatchHandler
from diamond.handler._post import basic, post
from diamond.metric import Metric
from diamond.utils.config import str_to_bool

UNITS = {"s": 1, "m": 1 / 60, "ms": 1000, "u": 10**6, "us": 10**6, "n": 10**9, "ns": 10**9}
_SPECIAL = re.compile(r"([ ,=])")


class InfluxdbHandler(BatchHandler):
    """Writes to one database. Past `cache_size` metrics that could not be written, the oldest are dropped."""

    size_option = "batch_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        scheme = "https" if str_to_bool(self.config["ssl"]) else "http"
        precision = str(self.config["time_precision"])
        query = urlencode({"db": self.config["database"], "precision": precision})
        self.url = f"{scheme}://{self.config['hostname']}:{int(self.config['port'])}/write?{query}"
        self.headers = basic(self.config["username"], self.config["password"])
        self.timeout = float(self.config["timeout"])
        self.cache_size = int(self.config["cache_size"])
        self.factor = UNITS[precision]

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "hostname": "localhost",
            "port": 8086,
            "ssl": False,
            "username": "root",
            "password": "root",
            "database": "graphite",
            "batch_size": 1,
            "cache_size": 20000,
            "time_precision": "s",
            "timeout": 5,
            "influxdb_version": "0.9",
        }

    def item(self, metric: Metric) -> str:
        """A metric's line."""
        measurement, field, host = map(_escaped, (metric.getCollectorPath(), metric.getMetricPath(), metric.host or ""))
        tag = f",host={host}" if host else ""
        return f"{measurement}{tag} {field}={float(metric.value)!r} {int(metric.timestamp * self.factor)}"

    def send_batch(self, metrics: list[Any]) -> None:
        """Write them."""
        try:
            post(self.url, "\n".join(metrics).encode(), self.headers, self.timeout)
        except OSError:
            del self.metrics[: -self.cache_size]
            raise


def _escaped(name: str) -> str:
    return _SPECIAL.sub(r"\\\1", name)
