"""Metrics in the body of an HTTP POST: lines, or JSON."""

from __future__ import annotations

import json
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._post import post

FIELDS = ("path", "value", "timestamp", "precision", "host", "ttl")


class HttpPostHandler(BatchHandler):
    """Posts to `url`: lines (`format` PLAIN), or {"metric": [...]} (JSON). Nothing is posted where there is nothing."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.url = self.config["url"]
        self.format = self.config["format"].upper()
        self.timeout = float(self.config["timeout"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "url": "http://localhost/blah/blah/blah",
            "batch": 100,
            "format": "PLAIN",
            "timeout": 15,
        }

    def send_batch(self, metrics: list[Any]) -> None:
        """Post them."""
        if self.format == "JSON":
            entries = [{field: getattr(metric, field) for field in FIELDS} for metric in metrics]
            body, kind = json.dumps({"metric": entries}), "application/json"
        else:
            body, kind = "".join(map(str, metrics)), "text/plain"
        post(self.url, body.encode(), {"Content-Type": kind}, self.timeout)
