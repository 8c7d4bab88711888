"""Writes metrics as lines to a file that is changed with time: `when`, `rollover_interval` and `days` say how."""

from __future__ import annotations

import logging
import logging.handlers
from typing import Any

from diamond.handler.Handler import Handler
from diamond.metric import Metric
from diamond.utils.config import str_to_bool


class ArchiveHandler(Handler):
    """One line a metric, by a TimedRotatingFileHandler."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.archive = logging.getLogger("archive")
        self.archive.setLevel(logging.DEBUG)
        self.archive.propagate = str_to_bool(self.config["propagate"])
        encoding = self.config["encoding"]
        handler = logging.handlers.TimedRotatingFileHandler(
            filename=self.config["log_file"],
            when=self.config["when"],
            interval=int(self.config["rollover_interval"]),
            backupCount=int(self.config["days"]),
            encoding=None if encoding in (None, "", "None") else encoding,
        )
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.setLevel(logging.DEBUG)
        self.archive.addHandler(handler)

    def get_default_config_help(self) -> dict[str, str]:
        """What each option means."""
        return {
            **super().get_default_config_help(),
            "log_file": "Path to the logfile",
            "when": "type of interval; S, M, H, D, Weekday, midnight",
            "days": "How many days to store",
            "rollover_interval": "rollover interval length",
            "encoding": "Encoding of the file",
            "propagate": "Pass handled metrics to configured root logger",
        }

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {
            **super().get_default_config(),
            "log_file": "",
            "when": "midnight",
            "days": 7,
            "rollover_interval": 1,
            "encoding": None,
            "propagate": False,
        }

    def process(self, metric: Metric) -> None:
        """Write one metric."""
        self.archive.info("%s", str(metric).strip())
