"""Metrics' lines to a topic exchange of RabbitMQ, with the library `pika`."""

from __future__ import annotations

from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric


class rmqHandler(Handler):
    """The routing key is, as `routing_key` says, a part of the metric's path (metric, custom, host, metric.path, ...)."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.server = self.config["server"]
        self.port = int(self.config["port"])
        self.topic_exchange = self.config["topic_exchange"]
        self.routing_key = self.config["routing_key"]
        self.connection: Any = None
        self.channel: Any = None
        self.pika = library("pika", "pika")

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "server": "127.0.0.1",
            "port": 5672,
            "topic_exchange": "diamond",
            "vhost": "/",
            "user": "guest",
            "password": "guest",
            "routing_key": "metric",
            "custom_routing_key": "diamond",
        }

    def process(self, metric: Metric) -> None:
        """Publish one metric; where that fails the next one connects anew."""
        try:
            if self.channel is None:
                self._connect()
            self.channel.basic_publish(exchange=self.topic_exchange, routing_key=self._key(metric), body=str(metric).encode())
        except Exception as error:
            self._close()
            raise ConnectionError(f"RabbitMQ: {error!r}") from error

    def _key(self, metric: Metric) -> str:
        keys = {
            "metric": metric.path,
            "custom": self.config["custom_routing_key"],
            "host": metric.host or "",
            "metric.path": metric.getMetricPath(),
            "path.prefix": metric.getPathPrefix(),
            "collector.path": metric.getCollectorPath(),
        }
        return str(keys.get(self.routing_key, metric.path))

    def _connect(self) -> None:
        pika = self.pika
        login = pika.PlainCredentials(self.config["user"], self.config["password"])
        where = pika.ConnectionParameters(self.server, self.port, self.config["vhost"], login, blocked_connection_timeout=10)
        self.connection = pika.BlockingConnection(where)
        self.channel = self.connection.channel()
        self.channel.exchange_declare(exchange=self.topic_exchange, exchange_type="topic", durable=True)

    def _close(self) -> None:
        if self.connection is not None:
            try:
                self.connection.close()
            except Exception as error:
                self.log.debug("rmqHandler: %r", error)
        self.connection = self.channel = None
