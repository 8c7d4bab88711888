"""Hosting one collector or handler in a child process of Adamas: finding its class, making it, running it.

A collector publishes into a list instead of a queue; Adamas takes the list after each run. A deadline is Adamas's business:
the child is killed from outside, so no `except Exception` can swallow it.
"""

from __future__ import annotations

import inspect
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import configobj

from diamond.collector import Collector, get_hostname
from diamond.handler.Handler import Handler
from diamond.loading import allow_neighbours, file_of_class, load_file
from diamond.metric import Metric
from diamond.util import load_class_from_name
from diamond.utils.classes import ENTRY_POINTS, get_collectors_from_module, load_collectors_from_entry_point

LEVELS = ((logging.ERROR, "error"), (logging.WARNING, "warning"), (logging.INFO, "info"), (0, "debug"))


class Published:
    """The handler that a hosted collector has: keeps what it is given."""

    def __init__(self) -> None:
        self.metrics: list[Metric] = []

    def _process(self, metric: Metric) -> None:
        self.metrics.append(metric)

    def _flush(self) -> None:
        pass


class HostedCollector:
    """A collector of Diamond's kind and what it published."""

    def __init__(
        self,
        name: str,
        *,
        class_name: str,
        file: str,
        folders: Sequence[str],
        section: Mapping[str, Any],
        interval: float,
        prefix: Sequence[str],
        log: Callable[[str, str], None],
    ) -> None:
        """name: its section's; prefix: the agent's path_prefix, host name and path_suffix, below the class's own defaults."""
        log_to(log)
        allow_neighbours([*folders, os.path.dirname(file)])
        cls = find_collector(class_name, file, folders)
        path_prefix, hostname, path_suffix = prefix
        Collector.surroundings = {"path_prefix": path_prefix, "path_suffix": path_suffix}
        get_hostname.cached_results["smart"] = hostname or None  # type: ignore[attr-defined]
        config = configobj.ConfigObj()
        settled = {"interval": int(interval) if interval == int(interval) else interval, "enabled": True}
        config["server"] = {"collectors_config_path": "", "collectors_path": list(folders)}
        config["collectors"] = {"default": {}, cls.__name__: {}}
        config["collectors"][name] = {**section, **settled}
        config["collectors"][cls.__name__] = {**section, **settled}
        self.published = Published()
        self.collector = _made(cls, config, [self.published], name)

    def run(self) -> tuple[list[Metric], float, float]:
        """One run: (what was published, when it began, when it was over). Raises what the collector raises."""
        self.published.metrics = []
        began = time.time()
        self.collector._moment = time.monotonic()
        self.collector._run()
        return self.published.metrics, began, time.time()


def _made(cls: type[Collector], config: Any, handlers: list[Any], name: str) -> Collector:
    """An instance, by keywords; classes from before Diamond 4 take only (config, handlers)."""
    try:
        takes = inspect.signature(cls).parameters.values()
    except (ValueError, TypeError):
        takes = ()  # type: ignore[assignment]
    if not takes or any(p.name == "name" or p.kind == p.VAR_KEYWORD for p in takes):
        return cls(config=config, handlers=handlers, name=name)
    return cls(config, handlers)


def find_collector(class_name: str, file: str, folders: Sequence[str]) -> type[Collector]:
    """The class of that name in the file, below the folders, by its dotted name or of an installed package; else LookupError."""
    if file:
        found = dict(get_collectors_from_module(load_file(file)))
        if class_name in found:
            return found[class_name]
        if len(found) == 1 and not class_name:
            return next(iter(found.values()))
        named = f"{class_name} (it has {', '.join(found) or 'none'})" if class_name else f"of one name only: {', '.join(found)}"
        raise LookupError(f"{file} has no collector class {named}")
    if "." in class_name:
        cls = load_class_from_name(class_name)
        if issubclass(cls, Collector):
            return cls
        raise LookupError(f"{class_name} is no collector")
    path = file_of_class(class_name, folders)
    if path:
        return find_collector(class_name, path, folders)
    installed = load_collectors_from_entry_point(ENTRY_POINTS)
    if class_name in installed:
        return installed[class_name]
    where = ", ".join(folders) or "no folder: collectors_path names none"
    raise LookupError(f"there is no collector class {class_name} in {where}, nor in an installed package")


class HostedHandler:
    """A handler of Diamond's kind."""

    def __init__(
        self, class_name: str, *, file: str, folders: Sequence[str], section: Mapping[str, Any], log: Callable[[str, str], None]
    ) -> None:
        log_to(log)
        allow_neighbours([*folders, os.path.dirname(file)])
        cls = find_handler(class_name, file, folders)
        config = configobj.ConfigObj()
        config.merge(dict(section))
        self.handler: Any = cls(config)

    def send(self, rows: Sequence[Sequence[Any]]) -> list[Exception]:
        """Have the points processed and flushed; returns what failed, one error for each. OSError where a flush fails.

        Each point is [path, value, raw value, timestamp, precision, host, type]. An OSError (the peer is away) is raised at
        once: the rest would meet the same.
        """
        handler = self.handler
        failed: list[Exception] = []
        for path, value, raw, timestamp, precision, host, kind in rows:
            handler._process(Metric(path, value, raw, timestamp, precision, host, kind))
            error = self._fault()
            if isinstance(error, OSError):
                raise error
            if error is not None:
                failed.append(error)
        handler._flush()
        error = self._fault()
        if error is not None:
            raise error if isinstance(error, OSError) else ConnectionError(f"{type(error).__name__}: {error}")
        return failed

    def _fault(self) -> Exception | None:
        error: Exception | None = getattr(self.handler, "fault", None)
        if error is not None:
            self.handler.fault = None
        return error


def find_handler(class_name: str, file: str, folders: Sequence[str]) -> type[Handler]:
    """The class of a name: in the file, below the folders by its last word (with the module's name before it), or installed."""
    last = class_name.rpartition(".")[2]
    path = file or file_of_class(last, folders)
    if path:
        cls = getattr(load_file(path), last, None)
        if not isinstance(cls, type):
            raise LookupError(f"{path} has no class {last}")
        return cls
    if "." not in class_name:
        where = ", ".join(folders) or "no folder: handlers_path names none"
        raise LookupError(f"there is no handler class {class_name} in {where}")
    return load_class_from_name(class_name)


class _ToAgent(logging.Handler):
    def __init__(self, say: Callable[[str, str], None]) -> None:
        super().__init__()
        self.say = say

    def emit(self, record: logging.LogRecord) -> None:
        level = next(word for number, word in LEVELS if record.levelno >= number)
        try:
            self.say(level, self.format(record))
        except Exception:
            self.handleError(record)


def log_to(say: Callable[[str, str], None]) -> None:
    """Send what is logged in this process to the agent's log: (level, words)."""
    logging.raiseExceptions = False
    root = logging.getLogger()
    root.handlers[:] = [_ToAgent(say)]
    root.setLevel(logging.INFO)
