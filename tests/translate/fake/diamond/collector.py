# ruff: noqa
"""A base class that keeps what is published."""

import logging


class Collector(object):
    def __init__(self, config):
        self.config = self.get_default_config()
        self.config.update(config)
        self.log = logging.getLogger("diamond")
        self.published = []

    def get_default_config(self):
        return {"path": "x", "enabled": True}

    def publish(self, name, value, raw_value=None, precision=0, metric_type="GAUGE", instance=None):
        self.published.append((name, value))
