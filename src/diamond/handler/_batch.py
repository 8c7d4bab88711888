"""What handlers that send batches share: metrics wait until there are enough, or until the flush."""

from __future__ import annotations

from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric


class BatchHandler(Handler):
    """Subclasses name their option of the size in `size_option`, and implement `send_batch`."""

    size_option = "batch"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.metrics: list[Any] = []
        self.batch_size = max(1, int(self.config[self.size_option]))

    def item(self, metric: Metric) -> Any:
        """What waits for a metric; None for one that is not sent."""
        return metric

    def send_batch(self, metrics: list[Any]) -> None:
        """Send these. Raises what went wrong; they stay then."""
        raise NotImplementedError

    def process(self, metric: Metric) -> None:
        """Take one metric, and send when there are enough."""
        item = self.item(metric)
        if item is not None:
            self.metrics.append(item)
        if len(self.metrics) >= self.batch_size:
            self.flush()

    def flush(self) -> None:
        """Send what waits."""
        if self.metrics:
            self.send_batch(self.metrics)
            self.metrics = []
