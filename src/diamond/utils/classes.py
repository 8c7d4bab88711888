"""Finding and making collectors and handlers, by the names of Diamond's own functions."""

from __future__ import annotations

import importlib.metadata
import logging
import os
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

import configobj

from diamond.collector import Collector
from diamond.handler.Handler import Handler
from diamond.loading import allow_neighbours, files_in, load_file
from diamond.util import load_class_from_name

ENTRY_POINTS = "diamond.collectors"

_log = logging.getLogger("diamond")


def load_include_path(paths: Iterable[str]) -> None:
    """Let what lies in these folders, and in those below, be imported by its bare name."""
    allow_neighbours(paths)


def load_dynamic_class(fqn: Any, subclass: type) -> Any:
    """The class of a dotted name, which must be one of these; a class is given back as it is."""
    if not isinstance(fqn, str):
        return fqn
    cls = load_class_from_name(fqn)
    if cls is subclass or not issubclass(cls, subclass):
        raise TypeError(f"{fqn} is not a valid {subclass.__name__}")
    return cls


def load_handlers(config: Any, handler_names: str | Iterable[str]) -> list[Handler]:
    """The handlers of these dotted names, each made with its section; what cannot be loaded or made is logged and left out."""
    handlers = []
    for name in [handler_names] if isinstance(handler_names, str) else handler_names:
        try:
            cls = load_dynamic_class(name, Handler)
            handlers.append(cls(handler_config(config, cls.__name__)))
        except Exception:
            _log.exception("Failed to load handler %s", name)
    return handlers


def handler_config(config: Any, name: str) -> Any:
    """A handler's section over the default one, and its file in handlers_config_path over both."""
    merged = configobj.ConfigObj()
    for section in ("default", name):
        merged.merge(config["handlers"].get(section, {}))
    folder = config["server"].get("handlers_config_path", "") if "server" in config else ""
    file = os.path.join(folder, name + ".conf")
    if folder and os.path.exists(file):
        merged.merge(configobj.ConfigObj(file))
    return merged


def load_collectors(paths: str | Iterable[str] | None) -> dict[str, type[Collector]]:
    """Every collector class below these folders and of installed packages, by its name."""
    return {**(load_collectors_from_paths(paths) or {}), **load_collectors_from_entry_point(ENTRY_POINTS)}


def load_collectors_from_paths(paths: str | Iterable[str] | None) -> dict[str, type[Collector]] | None:
    """Every collector class below these folders; a file that cannot be loaded is logged and left out."""
    if paths is None:
        return None
    folders = [part.strip() for part in paths.split(",")] if isinstance(paths, str) else list(paths)
    load_include_path(folders)
    found: dict[str, type[Collector]] = {}
    for path in files_in(folders):
        try:
            module = load_file(path)
        except Exception:
            _log.exception("Failed to import module: %s", path)
        else:
            found.update(get_collectors_from_module(module))
    return found


def load_collectors_from_entry_point(path: str) -> dict[str, type[Collector]]:
    """Every collector class of the modules that installed packages offer under this entry point."""
    found: dict[str, type[Collector]] = {}
    for entry in importlib.metadata.entry_points(group=path):
        try:
            offered = entry.load()
        except Exception:
            _log.exception("Failed to import entry_point: %s", entry.name)
            continue
        if isinstance(offered, type):
            found[offered.__name__] = offered
        else:
            found.update(get_collectors_from_module(offered))
    return found


def get_collectors_from_module(mod: ModuleType) -> Iterator[tuple[str, type[Collector]]]:
    """(name, class) of the collectors in a module; those imported as `parent_...` are somebody else's."""
    for name, value in sorted(vars(mod).items()):
        if isinstance(value, type) and issubclass(value, Collector) and value is not Collector and not name.startswith("parent_"):
            yield value.__name__, value


def initialize_collector(
    cls: type[Collector], name: str | None = None, configfile: str | None = None, handlers: Iterable[Any] = ()
) -> Collector | None:
    """An instance of a collector class; None, after a word in the log, where it cannot be made."""
    try:
        return cls(name=name, configfile=configfile, handlers=list(handlers))
    except Exception:
        _log.exception("Failed to initialize Collector: %s", cls.__name__)
        return None
