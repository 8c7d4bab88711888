"""Metrics' lines to whoever subscribes, over ZeroMQ, with the library `pyzmq`."""

from __future__ import annotations

from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric


class zmqHandler(Handler):
    """Binds a PUB socket to `port` on every address."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        zmq = library("zmq", "pyzmq")
        self.port = int(self.config["port"])
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.PUB)
        self.socket.bind(f"tcp://*:{self.port}")

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "port": 1234}

    def process(self, metric: Metric) -> None:
        """Publish one metric."""
        self.socket.send(str(metric).encode())
