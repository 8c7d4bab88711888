"""What a custom handler inherits from: configuration, a lock, and errors that stay inside.

Diamond logged what `process` or `flush` raised and went on, so what could not be sent was lost. Here it is kept in `fault`,
and Adamas, which runs the handler in a child of its own, keeps the samples and tries again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from typing import Any

import configobj

from diamond.metric import Metric


class Handler:
    """Sends metrics somewhere. Subclasses implement `process`, and `flush` where they hold something back."""

    def __init__(self, config: Any = None, log: logging.Logger | None = None) -> None:
        self.log = log if log is not None else logging.getLogger("diamond")
        self.config = configobj.ConfigObj()
        self.config.merge(self.get_default_config())
        self.config.merge(config if config is not None else {})
        self.enabled = True
        self.fault: Exception | None = None
        """What the last `process` or `flush` raised, until someone looks at it and takes it away."""
        self.server_error_interval = float(self.config["server_error_interval"])
        self.lock = threading.Condition(threading.Lock())
        self._errors: dict[str, float] = {}

    def get_default_config_help(self) -> dict[str, str]:
        """What each option means."""
        return {"server_error_interval": "How frequently to send repeated server errors"}

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults; subclasses add theirs."""
        return {"server_error_interval": 120}

    def _process(self, metric: Metric) -> None:
        """`process` under the lock; what it raises is logged and kept in `fault`."""
        if not self.enabled:
            return
        with self.lock:
            try:
                self.process(metric)
            except Exception as error:
                self._failed(error)

    def process(self, metric: Metric) -> None:
        """Take one metric."""
        raise NotImplementedError

    def _flush(self) -> None:
        """`flush` under the lock; what it raises is logged and kept in `fault`."""
        if not self.enabled:
            return
        with self.lock:
            try:
                self.flush()
            except Exception as error:
                self._failed(error)

    def flush(self) -> None:
        """Send what is held back."""

    def _failed(self, error: Exception) -> None:
        self.fault = error
        self._throttle_error(traceback.format_exc())

    def _throttle_error(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Log an error, and the same one as debug only until `server_error_interval` seconds are over."""
        now = time.monotonic()
        last = self._errors.get(msg)
        if last is None or now - last >= self.server_error_interval:
            self._errors[msg] = now
            self.log.error(msg, *args, **kwargs)
        else:
            self.log.debug(msg, *args, **kwargs)

    def _reset_errors(self, msg: str | None = None) -> None:
        """Log this error (all of them where none is named) again when it next comes."""
        if msg is None:
            self._errors = {}
        else:
            self._errors.pop(msg, None)
