"""OpenTSDB's HTTP API: JSON to /api/put. Names of Diamond's own collectors can become tags.

Source: http://opentsdb.net/docs/build/html/api_http/put.html
"""

from __future__ import annotations

import gzip
import json
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import basic, post
from diamond.metric import Metric
from diamond.utils.config import str_to_bool

TAGS = {
    "cpu": ("cpuId",),
    "haproxy": ("backend", "server"),
    "diskspace": ("mountpoint",),
    "iostat": ("device",),
    "network": ("interface",),
}
"""By collector: the tags that the first segments of its metrics' names are."""
AGGREGATES = {"cpu": ("cpuId", "total"), "haproxy": ("server", "BACKEND")}
"""By collector: the tag and the value of what is the sum of others."""


class TSDBHandler(BatchHandler):
    """Sends `prefix` and the name behind the host, with the host as a tag."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.host = str(self.config["host"])
        self.port = int(self.config["port"])
        self.timeout = float(self.config["timeout"])
        self.compression = int(self.config["compression"])
        self.prefix = str(self.config["prefix"])
        self.prefix += "." if self.prefix and not self.prefix.endswith(".") else ""
        tags = self.config["tags"]
        pairs = tags.split() if isinstance(tags, str) else list(tags)
        self.tags = dict(pair.split("=", 1) for pair in pairs)
        self.clean_metrics = str_to_bool(self.config["cleanMetrics"])
        self.skip_aggregates = str_to_bool(self.config["skipAggregates"])
        self.headers = {"Content-Type": "application/json", **basic(self.config["user"], self.config["password"])}
        if self.compression:
            self.headers["Content-Encoding"] = "gzip"

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "host": "127.0.0.1",
            "port": 4242,
            "timeout": 5,
            "tags": "",
            "prefix": "",
            "batch": 1,
            "compression": 0,
            "user": "",
            "password": "",
            "cleanMetrics": True,
            "skipAggregates": True,
        }

    def item(self, metric: Metric) -> dict[str, Any] | None:
        """The entry of a metric; None for a sum where sums are left out."""
        collector, name = metric.getCollectorPath(), metric.getMetricPath()
        tags = {"hostname": metric.host, **self.tags}
        if self.clean_metrics and collector in TAGS:
            *values, last = name.split(".")
            if len(values) >= len(TAGS[collector]):
                tags |= dict(zip(TAGS[collector], values))
                tag, total = AGGREGATES.get(collector, ("", ""))
                if self.skip_aggregates and tag and tags[tag] == total:
                    return None
                name = ".".join([*values[len(TAGS[collector]) :], last])
        return {"timestamp": metric.timestamp, "metric": f"{self.prefix}{collector}.{name}", "value": metric.value, "tags": tags}

    def send_batch(self, metrics: list[Any]) -> None:
        """Put them."""
        body = json.dumps(metrics).encode()
        if self.compression:
            body = gzip.compress(body, self.compression)
        post(f"http://{self.host}:{self.port}/api/put", body, self.headers, self.timeout)
