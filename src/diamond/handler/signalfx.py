"""Datapoints to SignalFx (Splunk Observability): JSON to /v2/datapoint with a token."""

from __future__ import annotations

import json
import re
import time
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import post
from diamond.metric import Metric


class SignalfxHandler(BatchHandler):
    """Posts when there are `batch`, after `batch_max_interval` seconds, and at each flush.

    `filter_metrics_regex` lists "collector:pattern": of that collector only what matches is sent.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = self.config["url"]
        self.headers = {"Content-Type": "application/json", "X-SF-TOKEN": self.config["auth_token"]}
        self.timeout = float(self.config["timeout"])
        self.interval = float(self.config["batch_max_interval"])
        self.sent = time.monotonic()
        wanted = self.config["filter_metrics_regex"]
        pairs = wanted.split(",") if isinstance(wanted, str) else wanted
        self.filters = {c.strip(): re.compile(p.strip()) for c, _, p in (pair.partition(":") for pair in pairs) if p}

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "url": "https://ingest.signalfx.com/v2/datapoint",
            "batch": 300,
            "batch_max_interval": 30,
            "auth_token": "",
            "filter_metrics_regex": "",
            "timeout": 15,
        }

    def item(self, metric: Metric) -> Metric | None:
        """The metric, if its collector's pattern matches."""
        pattern = self.filters.get(metric.getCollectorPath())
        return metric if pattern is None or pattern.match(metric.getMetricPath()) else None

    def process(self, metric: Metric) -> None:
        """Take one metric; send when there are enough, or the oldest has waited long enough."""
        super().process(metric)
        if time.monotonic() - self.sent >= self.interval:
            self.flush()

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them."""
        kinds: dict[str, list[dict[str, Any]]] = {}
        for metric in metrics:
            dimensions = {"collector": metric.getCollectorPath(), "prefix": metric.getPathPrefix(), "host": metric.host or ""}
            point = {"metric": metric.getMetricPath(), "value": metric.value, "dimensions": dimensions}
            kinds.setdefault(metric.metric_type.lower(), []).append({**point, "timestamp": int(metric.timestamp * 1000)})
        post(self.url, json.dumps(kinds).encode(), self.headers, self.timeout)
        self.sent = time.monotonic()
