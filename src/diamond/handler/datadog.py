"""Series to Datadog's HTTP API.

Source: https://docs.datadoghq.com/api/latest/metrics/ (v1, series)
"""

from __future__ import annotations

import json
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import post


class DatadogHandler(BatchHandler):
    """One post for `queue_size` metrics, and for what a flush finds."""

    size_option = "queue_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = self.config["url"]
        self.headers = {"Content-Type": "application/json", "DD-API-KEY": self.config["api_key"]}
        self.timeout = float(self.config["timeout"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        defaults = {"api_key": "", "queue_size": 100, "url": "https://api.datadoghq.com/api/v1/series", "timeout": 15}
        return {**super().get_default_config(), **defaults}

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them."""
        series = [{"metric": m.path, "points": [[m.timestamp, m.value]], "type": "gauge", "host": m.host or ""} for m in metrics]
        post(self.url, json.dumps({"series": series}).encode(), self.headers, self.timeout)
