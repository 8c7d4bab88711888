"""The configuration: what a file says, checked, as the agent uses it. All mistakes are found in one look."""

from __future__ import annotations

import os
import re

from adamas.config.hostname import HOSTNAME_METHODS, host_name
from adamas.config.source import Tables, is_diamond, read
from adamas.errors import ConfigError, Mistake
from adamas.host import Host, split_address
from adamas.log import LEVELS
from adamas.option import Duration, Option, Secret, fold, nearest, option, options_of, suggest, toml
from adamas.registry import PluginError, Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class AgentTable:
    """The `[agent]` table."""

    interval: Duration = option("10s", "How often collectors run that say nothing else", minimum=0.1)
    state_dir: str = option("", "Where state is kept (default: $XDG_STATE_HOME/adamas)")
    hostname: str = option("", "The name of this host in metrics (default: by hostname_method)")
    hostname_method: str = option("smart", "How this host's name is found, as in Diamond", choices=HOSTNAME_METHODS)
    path_prefix: str = option("servers", "What comes before the host in dotted names")
    path_suffix: str = option("", "What comes after the host in dotted names")
    labels: dict[str, str] = option({}, "Labels added to every series, where the output has labels")
    plugins: list[str] = option([], "Folders of plain files with Collector or Output classes")
    defaults: bool = option(True, "Run the host collectors beside those that the file names")
    stop_timeout: Duration = option("2s", "How long outputs may flush when the agent stops", minimum=0)
    log_level: str = option("info", "What is worth a line: this and worse", choices=LEVELS)


class WebTable:
    """The `[web]` table: page, API and /metrics."""

    enabled: bool = option(True, "Serve the page, the API and /metrics")
    listen: str = option("127.0.0.1:8326", "Address and port; anything but loopback needs a token")
    token: Secret = option("", "What a client must show where the address is not loopback")
    hosts: list[str] = option([], "Further names by which the page may be asked, such as a proxy's")


class HistoryTable:
    """The `[history]` table: the agent's own store."""

    enabled: bool = option(True, "Keep what was measured")
    retention: Duration = option("30d", "How long it is kept", minimum=60)
    path: str = option("", "The SQLite file (default: history.db in the state directory)")


TABLES: dict[str, type] = {"agent": AgentTable, "web": WebTable, "history": HistoryTable}
PLUGIN_TABLES = ("collectors", "outputs")


class Instance:
    """One collector or output as the file asks for it. `digest` is equal where nothing that matters to it changed."""

    __slots__ = ("cls", "digest", "kind", "name", "origin", "values")

    def __init__(self, kind: str, name: str, cls: type, values: dict[str, Any], origin: str, digest: str) -> None:
        self.kind = kind
        self.name = name
        self.cls = cls
        self.values = values
        self.origin = origin
        self.digest = digest


class Config:
    """All of it, ready to use: the three tables as objects with attributes, the instances by name."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.agent: Any = AgentTable()
        self.web: Any = WebTable()
        self.history: Any = HistoryTable()
        self.collectors: dict[str, Instance] = {}
        self.outputs: dict[str, Instance] = {}
        self.hostname = ""
        self.state_dir = ""
        self.sections: dict[str, str] = {}
        """The collectors of a diamond.conf: its section's name, and the instance that runs for it."""
        self.warnings: list[Mistake] = []
        """What works otherwise than the file may lead one to think; said at start."""
        self.notes: list[Mistake] = []
        """Settings of a diamond.conf that do nothing here, and why; only for who asks."""

    @property
    def prefix(self) -> tuple[str, str, str]:
        """What comes before a collector's segment in dotted names."""
        return (self.agent.path_prefix, self.hostname, self.agent.path_suffix)


def load(path: str | None = None) -> Config:
    """Read and check a file, ours or a diamond.conf (none: the embedded default). Raises ConfigError with every mistake in it."""
    if not path:
        return build(Tables())
    if is_diamond(path):
        from adamas.config import diamond

        return build(diamond.read(path), path)
    return build(read(path), path)


def build(tables: Tables, path: str = "") -> Config:
    """A checked configuration from tables. Raises ConfigError with every mistake in them."""
    mistakes = list(tables.mistakes)
    config = Config(path)
    config.sections, config.warnings, config.notes = tables.sections, list(tables.warnings), tables.notes
    known = {*TABLES, *PLUGIN_TABLES, "include"}
    for key, value in tables.data.items():
        if key not in known:
            mistakes.append(Mistake(*tables.where(key), f"[{key}]: there is no such table{suggest(key, known)}"))
        elif not isinstance(value, dict):
            mistakes.append(Mistake(*tables.where(key), f"{key}: expected a table, [{key}]"))
    for name, cls in TABLES.items():
        table = tables.data.get(name, {})
        values = _values(tables, (name,), cls, table if isinstance(table, dict) else {}, mistakes)
        target = getattr(config, name)
        for key, declared in options_of(cls).items():
            setattr(target, key, values.get(key, declared.default))
    _check_tables(config, tables, mistakes)
    registry = Registry([os.path.join(os.path.dirname(os.path.abspath(path)), f) if path else f for f in config.agent.plugins])
    for folder in config.agent.plugins:
        if path and not os.path.isdir(os.path.join(os.path.dirname(os.path.abspath(path)), folder)):
            config.warnings.append(Mistake(*tables.where("agent", "plugins"), f"plugins: {folder} is not a folder"))
    for kind in PLUGIN_TABLES:
        table = tables.data.get(kind, {})
        wanted: dict[str, Any] = dict(table) if isinstance(table, dict) else {}
        if kind == "collectors" and config.agent.defaults:
            for name in registry.defaults():
                wanted.setdefault(name, {})
        for name, given in wanted.items():
            instance = _instance(config, tables, registry, kind, name, given, mistakes)
            for one in _spread(instance) if instance is not None else ():
                getattr(config, kind)[one.name] = one
    if config.agent.plugins:
        config.warnings += [Mistake(*tables.where("agent", "plugins"), f"plugins: {b}") for b in registry.broken()]
    if mistakes:
        raise ConfigError(mistakes)
    return config


def _instance(
    config: Config, tables: Tables, registry: Registry, kind: str, name: str, given: Any, mistakes: list[Mistake]
) -> Instance | None:
    def wrong(words: str, *key: str) -> None:
        mistakes.append(Mistake(*tables.where(kind, name, *key), words))

    if not isinstance(given, dict):
        wrong(f"{kind}.{name}: expected a table, [{kind}.{name}]")
        return None
    given = dict(given)
    enabled = given.pop("enabled", True)
    if not isinstance(enabled, bool):
        wrong(f"{kind}.{name}: enabled: expected true or false", "enabled")
    if not enabled:
        return None
    type_name = given.pop("type", name)
    if not isinstance(type_name, str):
        wrong(f"{kind}.{name}: type: expected the name of a {kind[:-1]}", "type")
        return None
    try:
        found = registry.find(kind, type_name)
    except PluginError as error:
        wrong(f"{kind}.{name}: {error}")
        return None
    if found is None:
        near = nearest(type_name, registry.names(kind))
        hint = f'; did you mean "{near}"?' if near else f"; `adamas list` shows all {kind}"
        wrong(f'{kind}.{name}: there is no {kind[:-1]} "{type_name}"{hint}', *(("type",) if type_name != name else ()))
        return None
    values = _values(tables, (kind, name), found.cls, given, mistakes)
    if kind == "collectors" and "interval" not in values:
        values["interval"] = config.agent.interval
    surroundings = [config.prefix, config.agent.labels] if kind == "outputs" else [config.hostname]
    if getattr(found.cls, "complete_names", False):
        surroundings = [config.prefix]
    digest = repr([type_name, found.origin, found.sum, sorted(values.items(), key=str), surroundings])
    made = Instance(kind, name, found.cls, values, found.origin, digest)
    if not any(m for m in mistakes if (m.file, m.line) == tables.where(kind, name)):
        try:
            for words in _check_together(made):
                wrong(f"{kind}.{name}: {words}", words.split(":")[0])
        except Exception as error:
            wrong(f"{kind}.{name}: cannot be made: {error!r}")
            return None
    return made


def _spread(instance: Instance) -> list[Instance]:
    """The instances that one table stands for."""
    if instance.kind == "collectors":
        return [instance]
    made = []
    for more, values in instance.cls.spread(instance.values).items():  # type: ignore[attr-defined]
        digest = instance.digest + (repr(sorted(values.items(), key=str)) if more else "")
        made.append(Instance(instance.kind, instance.name + more, instance.cls, values, instance.origin, digest))
    return made


def lacking(cls: type) -> str:
    """What an output needs that is not installed, in words that say how to get it; "" where it has all."""
    for module in getattr(cls, "modules", ()):
        from importlib.util import find_spec

        try:
            found = find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            package = module.partition(".")[0]
            return f"needs the Python package {package}, which is not installed: pip install 'adamas[{cls.extra}]'"  # type: ignore[attr-defined]
    return ""


def _check_together(instance: Instance) -> list[str]:
    """What a plugin says of its options together; nothing is opened."""
    if instance.kind == "outputs":
        if missing := lacking(instance.cls):
            return [missing]
        return list(instance.cls(dict(instance.values), instance.name).check())
    instance.cls(Host(), dict(instance.values), instance.name)
    return []


def _values(tables: Tables, at: tuple[str, ...], cls: type, given: Mapping[str, Any], mistakes: list[Mistake]) -> dict[str, Any]:
    """The parsed values of a table; every mistake in it is noted."""
    declared: dict[str, Option] = options_of(cls)
    values: dict[str, Any] = {}
    name = ".".join(at)
    for key, value in fold(declared, given).items():
        where = tables.where(*at, key)
        if key not in declared:
            near = nearest(key, set(declared) | ({"type", "enabled"} if len(at) > 1 else set()))
            hint = f'; did you mean "{near}"?' if near else f"; it has {', '.join(sorted(declared))}"
            mistakes.append(Mistake(*where, f'{name}: there is no option "{key}"{hint}'))
            continue
        try:
            values[key] = declared[key].parse(value)
        except (ValueError, TypeError) as error:
            shown = toml(value)[:60]
            mistakes.append(Mistake(*where, f"{name}: {key}: expected {error}, not {shown}"))
    for key, one in declared.items():
        if one.required and key not in given:
            mistakes.append(Mistake(*tables.where(*at), f'{name}: "{key}" is missing: {one.help}'))
    return values


def _check_tables(config: Config, tables: Tables, mistakes: list[Mistake]) -> None:
    try:
        host, _ = split_address(config.web.listen)
    except ValueError as error:
        mistakes.append(Mistake(*tables.where("web", "listen"), f"web: listen: expected {error}"))
    else:
        if config.web.enabled and not is_loopback(host) and not config.web.token:
            where = tables.where("web", "listen")
            mistakes.append(Mistake(*where, f"web: token: needed, because {config.web.listen!r} is not loopback"))
    config.state_dir = state_directory(config.agent.state_dir)
    config.hostname = config.agent.hostname or host_name(config.agent.hostname_method)


def state_directory(wanted: str) -> str:
    """Where state is kept: where the user wants it, else where this process's user has such things."""
    home = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    return os.path.expanduser(wanted or os.path.join(home, "adamas"))


def is_loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    return host in ("localhost", "::1") or re.fullmatch(r"127(\.\d{1,3}){3}", host) is not None
