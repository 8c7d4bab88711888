"""Metrics' lines to an exchange of one RabbitMQ or several, with the library `pika`."""

from __future__ import annotations

from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric
from diamond.utils.config import str_to_bool


class rmqHandler(Handler):
    """Publishes to every one of `rmq_server` ("host" or "host:port"), without a routing key."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        servers = self.config["rmq_server"]
        self.servers = [servers] if isinstance(servers, str) else list(servers)
        self.rmq_exchange = self.config["rmq_exchange"]
        self.connections: dict[str, Any] = {}
        self.channels: dict[str, Any] = {}
        self.pika = library("pika", "pika")

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "rmq_server": "127.0.0.1",
            "rmq_port": 5672,
            "rmq_exchange": "diamond",
            "rmq_exchange_type": "fanout",
            "rmq_durable": True,
            "rmq_user": "",
            "rmq_password": "",
            "rmq_vhost": "/",
            "rmq_heartbeat_interval": 300,
        }

    def process(self, metric: Metric) -> None:
        """Publish one metric everywhere; what one server refuses is raised when all were tried."""
        failed: Exception | None = None
        for server in self.servers:
            try:
                if server not in self.channels:
                    self._connect(server)
                self.channels[server].basic_publish(exchange=self.rmq_exchange, routing_key="", body=str(metric).encode())
            except Exception as error:
                self._close(server)
                failed = error
        if failed is not None:
            raise ConnectionError(f"RabbitMQ: {failed!r}") from failed

    def _connect(self, server: str) -> None:
        pika = self.pika
        host, _, port = server.partition(":")
        user = self.config["rmq_user"] or "guest"
        where = pika.ConnectionParameters(
            host=host,
            port=int(port or self.config["rmq_port"]),
            virtual_host=self.config["rmq_vhost"],
            credentials=pika.PlainCredentials(user, self.config["rmq_password"] or "guest"),
            heartbeat=int(self.config["rmq_heartbeat_interval"]),
            blocked_connection_timeout=10,
        )
        self.connections[server] = pika.BlockingConnection(where)
        channel = self.channels[server] = self.connections[server].channel()
        durable = str_to_bool(self.config["rmq_durable"])
        channel.exchange_declare(self.rmq_exchange, exchange_type=self.config["rmq_exchange_type"], durable=durable)

    def _close(self, server: str) -> None:
        self.channels.pop(server, None)
        connection = self.connections.pop(server, None)
        if connection is not None:
            try:
                connection.close()
            except Exception as error:
                self.log.debug("rmqHandler: %r", error)
