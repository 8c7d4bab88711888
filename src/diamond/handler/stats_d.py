"""Gauges and counters to statsd over UDP, with the library `statsd`."""

from __future__ import annotations

from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._library import library
from diamond.metric import Metric


class StatsdHandler(BatchHandler):
    """A gauge is set; of a counter goes out what its raw value grew since its last sample.

    A name that the resolver does not know is an error of each sending, not of the start.
    """

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.host = self.config["host"]
        self.port = int(self.config["port"])
        self.old_values: dict[str, Any] = {}
        self.statsd = library("statsd", "statsd")
        self.connection: Any = None
        try:
            self._connect()
        except OSError as error:
            self._throttle_error("StatsdHandler: cannot reach %s:%d: %s", self.host, self.port, error)

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "host": "", "port": 1234, "batch": 1}

    def send_batch(self, metrics: list[Any]) -> None:
        """Send them as one pipeline."""
        if self.connection is None:
            self._connect()
        for metric in metrics:
            if metric.metric_type == "GAUGE":
                self.connection.gauge(metric.path, metric.value)
            else:
                self.connection.incr(metric.path, self._increase(metric))
        self.connection.send()

    def _increase(self, metric: Metric) -> Any:
        raw = metric.raw_value
        before = self.old_values.get(metric.path)
        self.old_values[metric.path] = raw
        if before is None or raw is None:
            return metric.value
        return raw - before if raw >= before else raw

    def _connect(self) -> None:
        self.connection = self.statsd.StatsClient(host=self.host, port=self.port).pipeline()
