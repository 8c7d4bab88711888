"""A diamond.conf as tables of ours: what it enables, under its names, with the line of each setting.

A collector that Adamas has runs in place of Diamond's class of the same task, any other from collectors_path; handlers
likewise. Whatever a file sets is either in the tables, or there is a warning or a note that says what becomes of it. What
Diamond has no setting for can stand in a section [adamas], which it does not look at: the options of [agent], and
[[web]], [[history]], [[collectors]] and [[outputs]] as in our own files.
"""

from __future__ import annotations

import os

from adamas.config.diamond import ini
from adamas.config.diamond.collectors import Collectors
from adamas.config.diamond.handlers import Handlers
from adamas.config.diamond.translation import Translation
from adamas.config.source import Tables
from adamas.option import suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

_SWITCH = "the command `diamond` looks at it; `adamas run` leaves this to the service manager"
SERVER_NOTES = {
    "user": _SWITCH,
    "group": _SWITCH,
    "pid_file": _SWITCH,
    "collectors_path": "Adamas has all collectors that are enabled; nothing is loaded from there",
    "handlers_path": "Adamas has all handlers that are listed; nothing is loaded from there",
    "collectors_load_delay": "collectors start at once",
    "metric_queue_size": "what waits is bounded in bytes, for each output, by its `memory`",
    "abort_on_handlers_process_exit": "outputs are threads, there is no process that could exit",
}
SERVER = ("handlers", "collectors_config_path", "handlers_config_path", *SERVER_NOTES)
LOG_LEVELS = {"debug": "debug", "notset": "debug", "info": "info", "warn": "warning", "warning": "warning"}
LOG_LEVELS |= {"error": "error", "critical": "error", "fatal": "error"}
LOGGING = ("loggers", "formatters", "logger_", "formatter_", "handler_")
OURS = ("web", "history", "collectors", "outputs")


def read(path: str, also: Collection[str] = ()) -> Tables:
    """The tables that a diamond.conf asks for; `also` names collectors to run whether they are enabled or not."""
    to = Translation(ini.read(os.path.abspath(path)))
    if "server" not in to.settings.data:
        to.wrong("there is no section [server], as every diamond.conf has")
    collectors = Collectors(to, also)
    _agent(to, collectors)
    collectors.translate()
    Handlers(to).translate()
    _own(to)
    _rest(to)
    return to.tables


def _agent(to: Translation, collectors: Collectors) -> None:
    default = ("collectors", "default")
    to.put(("agent", "defaults"), False)
    to.put(("agent", "interval"), collectors.default.get("interval", "300"), *default, "interval")
    for key in ("path_prefix", "path_suffix"):
        if key in collectors.default:
            to.put(("agent", key), collectors.default[key], *default, key)
    name, method = collectors.hostname("default", collectors.default)
    if name:
        to.put(("agent", "hostname"), name, *default, "hostname")
    elif "hostname_method" in collectors.default:
        to.put(("agent", "hostname_method"), method, *default, "hostname_method")
    level = str(to.settings.section("logger_root").get("level", "info")).lower()
    if level in LOG_LEVELS:
        to.put(("agent", "log_level"), LOG_LEVELS[level], "logger_root", "level")
    else:
        to.warn(f"level: there is no level {level!r}; info is used", "logger_root", "level")


def _own(to: Translation) -> None:
    """The section [adamas], over what was translated."""

    def put(at: tuple[str, ...], value: Any, origin: tuple[str, ...]) -> None:
        if not isinstance(value, dict):
            to.put(at, value, *origin)
            return
        for key, inner in value.items():
            put((*at, key), inner, (*origin, key))
        if not value:
            to.put(at, {}, *origin)

    for key, value in to.settings.section("adamas").items():
        if key != "legacy":
            put((key,) if key in OURS else ("agent", key), value, ("adamas", key))


def _rest(to: Translation) -> None:
    server = to.settings.section("server")
    for key in server:
        if key in SERVER_NOTES and key not in to.used:
            to.note(f"{key}: {SERVER_NOTES[key]}", "server", key)
        elif key not in SERVER:
            to.note(f"{key}: neither Diamond's last version nor Adamas has such a setting{suggest(key, SERVER)}", "server", key)
    for name in to.settings.data:
        if name == "logger_root" and set(to.settings.section(name)) <= {"level"}:
            continue
        if name.startswith(LOGGING):
            to.note(f"[{name}]: the log goes to standard error, a line for each thing that happened", name)
        elif name not in ("server", "handlers", "collectors", "configs", "adamas"):
            to.note(f"[{name}]: neither Diamond nor Adamas has such a section", name)
    if "keys" in to.settings.section("handlers"):
        to.note("keys: of the log, which goes to standard error", "handlers", "keys")
