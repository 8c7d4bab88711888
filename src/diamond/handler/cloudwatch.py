"""Chosen metrics to Amazon CloudWatch, with the library `boto3`. Each section of the configuration is a rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric
from diamond.utils.config import str_to_bool

RULE: dict[str, Any] = {
    "collector": "",
    "metric": "",
    "namespace": "",
    "name": "",
    "unit": "None",
    "collect_by_instance": True,
    "collect_without_dimension": False,
    "dimensions": {},
}


class cloudwatchHandler(Handler):
    """Sends a metric for each rule whose collector and metric are its own: with the instance's dimension, without, or both."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.region = self.config["region"]
        self.instance_id = self.config["instance_id"]
        self.rules = [{**RULE, **rule} for rule in self.config.values() if isinstance(rule, Mapping)]
        self.boto3 = library("boto3", "boto3")
        self.connection: Any = None

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults; `instance_id` is the host's name in metrics where it is empty."""
        return {**super().get_default_config(), "region": "us-east-1", "instance_id": ""}

    def process(self, metric: Metric) -> None:
        """Send one metric, where a rule wants it."""
        for rule in self.rules:
            if (rule["collector"], rule["metric"]) == (metric.getCollectorPath(), metric.getMetricPath()):
                self._send(rule, metric)

    def _send(self, rule: Mapping[str, Any], metric: Metric) -> None:
        own = [{"Name": name, "Value": str(value)} for name, value in dict(rule["dimensions"]).items()]
        instance = [{"Name": "InstanceID", "Value": self.instance_id or metric.host or ""}]
        wanted = [own + instance] if str_to_bool(rule["collect_by_instance"]) else []
        wanted += [own] if str_to_bool(rule["collect_without_dimension"]) else []
        data = [
            {
                "MetricName": rule["name"],
                "Timestamp": metric.timestamp,
                "Value": float(metric.value),
                "Unit": rule["unit"],
                "Dimensions": dimensions,
            }
            for dimensions in wanted
        ]
        if not data:
            return
        try:
            if self.connection is None:
                self.connection = self.boto3.client("cloudwatch", region_name=self.region)
            self.connection.put_metric_data(Namespace=rule["namespace"], MetricData=data)
        except Exception as error:
            self.connection = None
            raise ConnectionError(f"CloudWatch: {error!r}") from error
