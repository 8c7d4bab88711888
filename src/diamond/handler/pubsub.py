"""Metrics to a topic of Google Cloud Pub/Sub as JSON, with the library `google-cloud-pubsub`."""

from __future__ import annotations

import json
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._library import library
from diamond.metric import Metric


class PubsubHandler(BatchHandler):
    """Publishes each metric to `topic` (projects/PROJECT/topics/TOPIC) and waits for the answers at the flush."""

    size_option = "batch_size"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.topic = self.config["topic"]
        self.timeout = float(self.config["timeout"])
        tags = self.config["tags"]
        pairs = tags.replace(",", " ").split() if isinstance(tags, str) else list(tags)
        self.tags = dict(pair.split("=", 1) for pair in pairs)
        self.client = library("google.cloud.pubsub_v1", "google-cloud-pubsub").PublisherClient()

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        defaults = {"topic": "", "scopes": "", "retries": 3, "batch": None, "batch_size": 100, "tags": "", "timeout": 15}
        return {**super().get_default_config(), **defaults}

    def item(self, metric: Metric) -> bytes:
        """A metric's message."""
        fields = {
            "host": metric.host,
            "service": f"{metric.getPathPrefix()}.{metric.getCollectorPath()}.{metric.getMetricPath()}",
            "time": metric.timestamp,
            "metric": float(metric.value),
            "ttl": None if metric.ttl is None else float(metric.ttl),
            "tags": self.tags,
        }
        return json.dumps(fields).encode()

    def send_batch(self, metrics: list[Any]) -> None:
        """Publish them; what was not taken in time is an error."""
        try:
            for answer in [self.client.publish(self.topic, data) for data in metrics]:
                answer.result(timeout=self.timeout)
        except Exception as error:
            raise ConnectionError(f"Pub/Sub: {error!r}") from error
