"""Metrics to an MQTT broker, with the library `paho-mqtt`: the path is the topic, / between its parts."""

from __future__ import annotations

from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric
from diamond.utils.config import str_to_bool


class MQTTHandler(Handler):
    """Publishes "value time", or the value alone where `timestamp` says so; a last will says "Adios!"."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        mqtt = library("paho.mqtt.client", "paho-mqtt")
        tls = str_to_bool(self.config["tls"])
        self.host = self.config["host"]
        self.port = int(self.config["port"] or (8883 if tls else 1883))
        self.qos = int(self.config["qos"])
        self.prefix = self.config["prefix"]
        self.timestamp = str_to_bool(self.config["timestamp"])
        version = getattr(mqtt, "CallbackAPIVersion", None)
        self.mqttc = mqtt.Client(*([version.VERSION2] if version is not None else []))
        if tls:
            self.mqttc.tls_set(*[self.config[key] or None for key in ("cafile", "certfile", "keyfile")])
        self.mqttc.will_set(f"clients/diamond/{self.host}", payload="Adios!", qos=0, retain=False)
        self.mqttc.connect(self.host, self.port, 60)
        self.mqttc.loop_start()

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults; the port is 1883, with TLS 8883."""
        return {
            **super().get_default_config(),
            "host": "localhost",
            "port": 0,
            "qos": 0,
            "prefix": "",
            "tls": False,
            "cafile": "",
            "certfile": "",
            "keyfile": "",
            "timestamp": False,
        }

    def process(self, metric: Metric) -> None:
        """Publish one metric."""
        path, value, timestamp = str(metric).split()
        topic = path.replace("/", "_").replace(".", "/").replace("#", "&")
        if self.prefix:
            topic = f"{self.prefix}/{topic}"
        sent = self.mqttc.publish(topic, value if self.timestamp else f"{value} {timestamp}", self.qos)
        if sent.rc:
            raise ConnectionError(f"MQTT: the broker {self.host}:{self.port} is away ({sent.rc})")
