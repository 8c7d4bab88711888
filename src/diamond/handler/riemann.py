"""Events to Riemann over TCP or UDP, with the library `riemann-client`."""

from __future__ import annotations

from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric


class RiemannHandler(Handler):
    """One event a metric; the connection is made anew after an error."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.host = self.config["host"]
        self.port = int(self.config["port"])
        self.transport = self.config["transport"]
        self.client: Any = None

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "host": "", "port": 123, "transport": "tcp"}

    def process(self, metric: Metric) -> None:
        """Send one metric."""
        try:
            if self.client is None:
                self._connect()
            self.client.event(**self._metric_to_riemann_event(metric))
        except Exception:
            self._close()
            raise

    def _metric_to_riemann_event(self, metric: Metric) -> dict[str, Any]:
        path = f"{metric.getPathPrefix()}.{metric.getCollectorPath()}.{metric.getMetricPath()}"
        return {
            "host": metric.host,
            "service": path,
            "time": metric.timestamp,
            "metric_f": float(metric.value),
            "ttl": None if metric.ttl is None else float(metric.ttl),
        }

    def _connect(self) -> None:
        transports = library("riemann_client.transport", "riemann-client")
        kind = transports.UDPTransport if self.transport == "udp" else transports.TCPTransport
        self.client = library("riemann_client.client", "riemann-client").Client(kind(self.host, self.port))
        self.client.transport.connect()

    def _close(self) -> None:
        if self.client is not None:
            try:
                self.client.transport.disconnect()
            except Exception as error:
                self.log.debug("RiemannHandler: %s", error)
        self.client = None
