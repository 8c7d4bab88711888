"""Metrics to AppEnlight's HTTP API: JSON of the values of each host under an application's key."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import post
from diamond.metric import Metric


class AppenlightHandler(BatchHandler):
    """One post for `queue_size` metrics, and for what a flush finds."""

    size_option = "queue_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = f"{self.config['server'].rstrip('/')}/api/general_metrics?protocol_version=0.5"
        self.headers = {"Content-Type": "application/json", "X-appenlight-api-key": self.config["apikey"]}
        self.timeout = float(self.config["timeout"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        defaults = {"apikey": "", "server": "https://api.appenlight.com", "queue_size": 100, "timeout": 15}
        return {**super().get_default_config(), **defaults}

    def item(self, metric: Metric) -> dict[str, Any]:
        """A metric's entry."""
        return {
            "timestamp": datetime.fromtimestamp(metric.timestamp, UTC).isoformat(),
            "namespace": metric.getCollectorPath(),
            "server_name": metric.host or "",
            "tags": [["value", metric.value], ["name", metric.getMetricPath()]],
        }

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them."""
        post(self.url, json.dumps(metrics).encode(), self.headers, self.timeout)
