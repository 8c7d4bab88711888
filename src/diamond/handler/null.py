"""Sends nothing: each metric is a line of the debug log."""

from __future__ import annotations

from diamond.handler.Handler import Handler
from diamond.metric import Metric


class NullHandler(Handler):
    """Logs each metric's parts, separated by tabs."""

    def process(self, metric: Metric) -> None:
        """Log one metric."""
        self.log.debug("Metric: %s", str(metric).rstrip().replace(" ", "\t"))
