"""Graphite's lines over TCP or UDP, for handlers that inherit from GraphiteHandler.

An own output of Adamas (`graphite`) does this better: it has arrival confirmed. Differences from Diamond's: after a broken
pipe nothing is dropped silently, `keepalive = 0` is off, and udp4 and udp6 are UDP.
"""

from __future__ import annotations

import socket
import time
from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric

FAMILIES = {"4": socket.AF_INET, "6": socket.AF_INET6}
DEFAULTS: dict[str, Any] = {
    "host": "localhost",
    "port": 2003,
    "proto": "tcp",
    "timeout": 15,
    "batch": 1,
    "max_backlog_multiplier": 5,
    "trim_backlog_multiplier": 4,
    "keepalive": 0,
    "keepaliveinterval": 10,
    "flow_info": 0,
    "scope_id": 0,
    "reconnect_interval": 0,
}


class GraphiteHandler(Handler):
    """Collects lines and sends them when there are `batch` of them, and at each flush."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.socket: Any = None
        self.proto = self.config["proto"].lower().strip()
        self.host = self.config["host"]
        self.port = int(self.config["port"])
        self.timeout = float(self.config["timeout"])
        self.keepalive = int(self.config["keepalive"])
        self.keepaliveinterval = int(self.config["keepaliveinterval"])
        self.flow_info = int(self.config["flow_info"])
        self.scope_id = int(self.config["scope_id"])
        self.reconnect_interval = float(self.config["reconnect_interval"])
        self.connected = 0.0
        self.batch_size = int(self.config["batch"])
        self.max_backlog_multiplier = int(self.config["max_backlog_multiplier"])
        self.trim_backlog_multiplier = int(self.config["trim_backlog_multiplier"])
        self.metrics: list[Any] = []
        self._connect()

    def get_default_config_help(self) -> dict[str, str]:
        """What each option means."""
        return {
            **super().get_default_config_help(),
            "host": "Hostname",
            "port": "Port",
            "proto": "udp, udp4, udp6, tcp, tcp4, or tcp6",
            "timeout": "Seconds to wait for the peer",
            "batch": "How many to store before sending to the graphite server",
            "max_backlog_multiplier": "how many batches to store before trimming",
            "trim_backlog_multiplier": "Trim down how many batches",
            "keepalive": "Enable keepalives for tcp streams",
            "keepaliveinterval": "How frequently to send keepalives",
            "flow_info": "IPv6 Flow Info",
            "scope_id": "IPv6 Scope ID",
            "reconnect_interval": "How often to reconnect (0: never)",
        }

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), **DEFAULTS}

    def __del__(self) -> None:
        if getattr(self, "socket", None) is not None:
            self._close()

    def process(self, metric: Metric) -> None:
        """Take one metric, and send when there are enough."""
        self.metrics.append(str(metric))
        if len(self.metrics) >= self.batch_size:
            self._send()

    def flush(self) -> None:
        """Send what there is. What cannot be sent is an error here, so that the caller keeps it too."""
        if self.metrics:
            self._send()
        if self.metrics:
            raise ConnectionError(f"{len(self.metrics)} metrics could not be sent to {self.host}:{self.port}")

    def _payload(self) -> Any:
        """What goes out for the metrics that wait."""
        return "".join(self.metrics)

    def _send_data(self, data: Any) -> None:
        """Hand it to the socket."""
        self.socket.sendall(data.encode() if isinstance(data, str) else data)

    def _send(self) -> None:
        """Send all that waits; what cannot be sent stays, the oldest are trimmed past the limit."""
        try:
            if self.reconnect_interval and time.monotonic() - self.connected > self.reconnect_interval:
                self._close()
            if self.socket is None:
                self._connect()
            if self.socket is not None:
                self._send_data(self._payload())
                self.metrics = []
        except Exception:
            self._close()
            self._throttle_error("%s: Error sending metrics.", self.__class__.__name__)
            raise
        finally:
            self._trim_backlog()

    def _trim_backlog(self) -> None:
        if len(self.metrics) >= self.batch_size * self.max_backlog_multiplier:
            keep = self.batch_size * self.trim_backlog_multiplier
            self.log.warning(
                "%s: Trimming backlog. Removing oldest %d and keeping newest %d metrics",
                self.__class__.__name__,
                len(self.metrics) - keep,
                keep,
            )
            self.metrics = self.metrics[-keep:]

    def _connect(self) -> None:
        """Connect; where that fails it is logged, and the next sending tries again."""
        kind = socket.SOCK_DGRAM if self.proto.startswith("udp") else socket.SOCK_STREAM
        family = FAMILIES.get(self.proto[3:], socket.AF_UNSPEC)
        error: Exception | None = None
        try:
            found = socket.getaddrinfo(self.host, self.port, family, kind)
        except OSError as unknown:
            found, error = [], unknown
        for af, type_, proto, _, found_address in found:
            address: tuple[Any, ...] = found_address
            sock = socket.socket(af, type_, proto)
            sock.settimeout(self.timeout)
            if af == socket.AF_INET6:
                address = (self.host, self.port, self.flow_info or address[2], self.scope_id or address[3])
            try:
                if self.keepalive and kind == socket.SOCK_STREAM:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
                    for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL):
                        sock.setsockopt(socket.IPPROTO_TCP, option, self.keepaliveinterval)
                sock.connect(address)
            except OSError as refused:
                sock.close()
                error = refused
                continue
            self.socket = sock
            self.connected = time.monotonic()
            self._reset_errors()
            return
        self._throttle_error("%s: Failed to connect to %s:%i. %s.", self.__class__.__name__, self.host, self.port, error)

    def _close(self) -> None:
        """Hang up."""
        if self.socket is not None:
            self.socket.close()
        self.socket = None
