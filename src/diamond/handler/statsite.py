"""Keys and values to statsite: `path:value|kv` over UDP, or over TCP where no UDP port is set."""

from __future__ import annotations

import socket
from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric

TRIES = 3


class StatsiteHandler(Handler):
    """One line a metric; UDP where `udpport` is more than 0."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.socket: Any = None
        self.host = self.config["host"]
        self.tcpport = int(self.config["tcpport"])
        self.udpport = int(self.config["udpport"])
        self.timeout = float(self.config["timeout"])
        self.port = self.udpport if self.udpport > 0 else self.tcpport

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "host": "", "tcpport": 1234, "udpport": 1234, "timeout": 5}

    def process(self, metric: Metric) -> None:
        """Send one metric."""
        value = f"{metric.value:.{metric.precision}f}"
        self._send(f"{metric.path}:{value}|kv\n".encode())

    def _send(self, data: bytes) -> None:
        """Send it, connecting anew where the connection broke; the last error is raised."""
        for turn in range(TRIES):
            try:
                if self.socket is None:
                    self._connect()
                self.socket.sendall(data)
                return
            except OSError:
                self._close()
                if turn == TRIES - 1:
                    raise

    def _connect(self) -> None:
        kind = socket.SOCK_DGRAM if self.udpport > 0 else socket.SOCK_STREAM
        self.socket = socket.socket(socket.AF_INET, kind)
        self.socket.settimeout(self.timeout)
        self.socket.connect((self.host, self.port))

    def _close(self) -> None:
        if self.socket is not None:
            self.socket.close()
        self.socket = None
