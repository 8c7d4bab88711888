"""Gauges and counters to Librato's HTTP API: name, value, time, and the host as the source."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import basic, post
from diamond.metric import Metric
from diamond.utils.config import str_to_bool


class LibratoHandler(BatchHandler):
    """Posts the metrics that one of `include_filters` matches, when there are `queue_max_size` or after `queue_max_interval`."""

    size_option = "queue_max_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = self.config["url"]
        self.headers = {"Content-Type": "application/json", **basic(self.config["user"], self.config["apikey"])}
        self.timeout = float(self.config["timeout"])
        self.with_prefix = str_to_bool(self.config["apply_metric_prefix"])
        filters = self.config["include_filters"]
        self.include_filters = [re.compile(p) for p in ([filters] if isinstance(filters, str) else filters)]
        self.interval = float(self.config["queue_max_interval"])
        self.sent = time.monotonic()

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "user": "",
            "apikey": "",
            "apply_metric_prefix": False,
            "queue_max_size": 300,
            "queue_max_interval": 60,
            "include_filters": ["^.*"],
            "url": "https://metrics-api.librato.com/v1/metrics",
            "timeout": 15,
        }

    def item(self, metric: Metric) -> Metric | None:
        """The metric, if a filter matches its path."""
        return metric if any(p.match(metric.path) for p in self.include_filters) else None

    def process(self, metric: Metric) -> None:
        """Take one metric; send when there are enough, or the oldest has waited long enough."""
        super().process(metric)
        if time.monotonic() - self.sent >= self.interval:
            self.flush()

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them."""
        kinds: dict[str, list[dict[str, Any]]] = {"gauges": [], "counters": []}
        for metric in metrics:
            name = f"{metric.getCollectorPath()}.{metric.getMetricPath()}"
            if self.with_prefix:
                name = f"{metric.getPathPrefix()}.{name}"
            entry = {"name": name, "value": metric.value, "source": metric.host, "measure_time": metric.timestamp}
            kinds["gauges" if metric.metric_type == "GAUGE" else "counters"].append(entry)
        post(self.url, json.dumps(kinds).encode(), self.headers, self.timeout)
        self.sent = time.monotonic()
