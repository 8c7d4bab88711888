"""Metrics as log events to Logentries over HTTPS: a JSON object each, under the log's token."""

from __future__ import annotations

import json
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import post
from diamond.metric import Metric


class LogentriesDiamondHandler(BatchHandler):
    """One post for `queue_size` metrics, and for what a flush finds."""

    size_option = "queue_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = f"{self.config['url'].rstrip('/')}/{self.config['log_token']}"
        self.timeout = float(self.config["timeout"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        defaults = {"log_token": "", "queue_size": 100, "url": "https://webhook.logentries.com/noformat/logs", "timeout": 15}
        return {**super().get_default_config(), **defaults}

    def item(self, metric: Metric) -> dict[str, Any]:
        """A metric's event."""
        return {metric.path: {"value": metric.value, "timestamp": metric.timestamp, "host": metric.host}}

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them, one event a line."""
        body = "".join([json.dumps({"event": metric}) + "\n" for metric in metrics])
        post(self.url, body.encode(), {"Content-Type": "application/json"}, self.timeout)
