"""Alerts to Sentry, with the library `sentry-sdk`: where a metric leaves the limits of a rule, once until it is back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from diamond.handler._library import library
from diamond.handler.Handler import Handler
from diamond.metric import Metric


class Rule:
    """Limits of the metrics whose path a pattern finds; counts what it saw."""

    def __init__(self, name: str, path: str, min: Any = None, max: Any = None) -> None:
        if min is None and max is None:
            raise ValueError(f"the rule {name!r} has neither min nor max")
        self.name = name
        self.regexp = re.compile(path)
        self.min = None if min is None else float(min)
        self.max = None if max is None else float(max)
        self.counter_errors = self.counter_pass = 0
        self._outside: set[str] = set()

    def broken(self, metric: Metric) -> str:
        """What is wrong with the metric, the first time; "" where nothing is, or it was said."""
        if not self.regexp.match(metric.path):
            return ""
        words = ""
        if self.min is not None and metric.value < self.min:
            words = f"{metric.path} is {metric.value}, below {self.min:g}"
        elif self.max is not None and metric.value > self.max:
            words = f"{metric.path} is {metric.value}, above {self.max:g}"
        if not words:
            self.counter_pass += 1
            self._outside.discard(metric.path)
            return ""
        self.counter_errors += 1
        known = metric.path in self._outside
        self._outside.add(metric.path)
        return "" if known else f"{self.name}: {words}"


class SentryHandler(Handler):
    """Each section of the configuration, or of its sections, that has a `path` is a rule."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.rules = list(_rules(self.config))
        self.sentry = library("sentry_sdk", "sentry-sdk")
        self.sentry.init(dsn=self.config["dsn"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "dsn": ""}

    def process(self, metric: Metric) -> None:
        """Look at one metric."""
        for rule in self.rules:
            words = rule.broken(metric)
            if words:
                self.sentry.capture_message(words, level="warning")

    def flush(self) -> None:
        """Have what was captured sent."""
        self.sentry.flush(timeout=5)


def _rules(section: Mapping[str, Any]) -> Any:
    for name, inner in section.items():
        if not isinstance(inner, Mapping):
            continue
        if "path" in inner:
            yield Rule(inner.get("name", name), inner["path"], inner.get("min"), inner.get("max"))
        else:
            yield from _rules(inner)
