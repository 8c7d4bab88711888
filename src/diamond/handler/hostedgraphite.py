"""Graphite's lines to Hosted Graphite: each begins with the account's key."""

from __future__ import annotations

from typing import Any

from diamond.handler.graphite import GraphiteHandler
from diamond.metric import Metric


class HostedGraphiteHandler(GraphiteHandler):
    """As GraphiteHandler, with `apikey` before each path."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.key = self.config["apikey"].lower().strip()

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "apikey": "", "host": "carbon.hostedgraphite.com"}

    def process(self, metric: Metric) -> None:
        """Take one metric, and send when there are enough."""
        self.metrics.append(f"{self.key}.{metric}")
        if len(self.metrics) >= self.batch_size:
            self._send()
