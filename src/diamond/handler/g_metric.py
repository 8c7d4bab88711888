"""Ganglia's gmond over UDP: for each metric a packet about it and one with its value, in XDR.

Source: gm_protocol.x of Ganglia 3.1 (128: metadata, 133: a value as text); RFC 4506 for XDR.
"""

from __future__ import annotations

import socket
import struct
from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric

METADATA, TEXT_VALUE = 128, 133
BOTH_SLOPES = 3
LIFE = 86400


class GmetricHandler(Handler):
    """Sends each metric as a double; its name is the path behind the host."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.host = self.config["host"]
        self.port = int(self.config["port"])
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        if self.config["protocol"] == "multicast":
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 20)

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "host": "localhost", "port": 8651, "protocol": "udp"}

    def process(self, metric: Metric) -> None:
        """Send one metric."""
        name = f"{metric.getCollectorPath()}.{metric.getMetricPath()}"
        head = _text(metric.host or socket.gethostname()) + _text(name) + struct.pack(">I", 0)
        about = _text("double") + _text(name) + _text("") + struct.pack(">4I", BOTH_SLOPES, 60, LIFE, 0)
        value = _text("%s") + _text(f"{metric.value:.{metric.precision}f}")
        for packet in (struct.pack(">I", METADATA) + head + about, struct.pack(">I", TEXT_VALUE) + head + value):
            self.socket.sendto(packet, (self.host, self.port))


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">I", len(data)) + data + b"\0" * (-len(data) % 4)
