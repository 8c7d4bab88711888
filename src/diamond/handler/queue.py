"""Hands metrics over in a queue. Adamas has queues of its own before each output; this one is for code that names it."""

from __future__ import annotations

import queue
from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric


class QueueHandler(Handler):
    """Puts each metric into a queue, and None at each flush. A metric that finds the queue full is dropped, and said so."""

    def __init__(self, config: Any = None, queue: Any = None, log: Any = None) -> None:
        super().__init__(config, log)
        self.queue = queue
        self.metrics: list[Metric] = []

    def process(self, metric: Metric) -> None:
        """Put one metric."""
        self._put(metric)

    def flush(self) -> None:
        """Put the mark of a flush."""
        self._put(None)

    def _put(self, item: Metric | None) -> None:
        try:
            self.queue.put(item, block=False)
        except queue.Full:
            self._throttle_error("Queue full, check handlers for delays")
