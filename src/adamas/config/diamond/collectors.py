"""The collectors that a diamond.conf enables, as our tables: ours in place of Diamond's own, the others from collectors_path."""

from __future__ import annotations

from adamas.collectors._diamond import LETTERS, PRESENT
from adamas.config.diamond.translation import LEGACY, Translation, listed
from adamas.config.hostname import HOSTNAME_METHODS, ask_shell, host_name
from adamas.option import suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection
    from typing import Any

    from adamas.collector import Collector

TRUE, FALSE = ("true", "t", "yes", "y"), ("false", "f", "no", "n", "")
PLACE = ("path_prefix", "hostname", "hostname_method", "path_suffix")
"""What makes the names' beginning."""
TRANSLATED = (*PLACE, "enabled", "interval", "path", "byte_unit", "metrics_whitelist", "metrics_blacklist")
KEPT = ("interval", "byte_unit")
"""Options of ours that are called as Diamond's settings, whose values take a second look."""
NOTES = {
    "instance_prefix": "only collectors that publish for instances used it",
    "stagger_collection": "the collectors of a host run at one moment, and the hosts are spread over the interval",
    "ttl_multiplier": "no output sends a time to live",
    "measure_collector_time": "how long runs take is in `adamas status`",
    "method": "Diamond did not look at it either",
    "splay": "Diamond did not look at it either",
}


class Collectors:
    """[collectors] of a diamond.conf; `also` names those that run whether they are enabled or not."""

    def __init__(self, to: Translation, also: Collection[str] = ()) -> None:
        self.to = to
        self.default = to.settings.section("collectors", "default")
        self.also = also
        self._hosts: dict[tuple[str, str], tuple[str, str]] = {}

    def translate(self) -> None:
        """Write the tables of all that run."""
        successors = self.to.registry.successors("collectors")
        old = listed(self.to.settings.section("adamas").get("legacy", ""))
        unused = set(self.default) - set(TRANSLATED) - set(NOTES)
        sections = {
            name: s for name, s in self.to.settings.section("collectors").items() if isinstance(s, dict) and name != "default"
        }
        for name in self.also:
            sections.setdefault(name, {})
        same: dict[tuple[str, ...], str] = {}
        for name, section in sections.items():
            if not self._enabled(name, section) and name not in self.also:
                continue
            words = name.split()
            if not words or "Collector" not in words[0]:
                self.to.warn(f"[[{name}]]: this is no collector's class: Diamond did not run it either", "collectors", name)
                continue
            effective = {**self.default, **section}
            type_name = successors.get(words[0]) if not {name, words[0]} & set(old) else None
            if type_name is None:
                unused.clear()
                self._legacy_collector(name, words[0], effective)
                continue
            found = self.to.registry.find("collectors", type_name)
            assert found is not None
            instance = " ".join([type_name, *words[1:]])
            unused -= self._native_collector(name, instance, type_name, found.cls, effective)
            table = self.to.tables.data["collectors"][instance]
            clash = same.setdefault((table.get("segment", _segment(found.cls)), table.get("prefix", "")), name)
            if clash != name:
                text = f"[[{name}]] has the names of [[{clash}]]: Diamond sent both under one name, here the second's end in _2"
                self.to.warn(f"{text}; give it a `path` or `path_suffix` of its own", "collectors", name)
        for key in self.default:
            if key in NOTES:
                self.to.note(f"{key}: {NOTES[key]}", "collectors", "default", key)
            elif key in unused:
                self.to.warn(f"{key}: no collector that runs has this option", "collectors", "default", key)
        if "enabled" in self.default:
            self.to.note("enabled: Diamond only looked at each collector's own", "collectors", "default", "enabled")

    def _enabled(self, name: str, section: dict[str, Any]) -> bool:
        word = section.get("enabled", "")
        if isinstance(word, str) and word.strip().lower() in TRUE + FALSE:
            return word.strip().lower() in TRUE
        self.to.wrong(f"{name}: enabled: expected true, t, yes or y, or false, f, no or n", "collectors", name, "enabled")
        return False

    def _native_collector(
        self, name: str, instance: str, type_name: str, cls: type[Collector], effective: dict[str, Any]
    ) -> set[str]:
        """Write the table of a collector that Adamas has; gives the settings of [[default]] that it used."""
        section = self.to.settings.section("collectors", name)
        at = ("collectors", instance)
        used = set()
        self.to.put(at, {}, "collectors", name)
        self.to.tables.sections[name] = instance
        if instance != type_name:
            self.to.put((*at, "type"), type_name, "collectors", name)
        for key, value in effective.items():
            origin = self._origin(name, key)
            family = any(one.family and key.startswith(one.family) for one in cls.options.values())
            if (key in TRANSLATED and not (key == "hostname" and key in cls.options)) or (
                key in NOTES and key not in cls.options
            ):
                if key in section and key in NOTES:
                    self.to.note(f"{name}: {key}: {NOTES[key]}", *origin)
            elif key in cls.options or family:
                used.add(key)
                self.to.put((*at, key), self._as_taken(name, key, value), *origin)
            elif key in section:
                self.to.warn(f"{name}: {key}: Adamas' {type_name} has no such option{suggest(key, set(cls.options))}", *origin)
        if "interval" in section:
            self.to.put((*at, "interval"), section["interval"], *self._origin(name, "interval"))
        if "byte_unit" in effective and "byte_unit" in cls.options:
            units = effective["byte_unit"]
            self.to.put((*at, "byte_unit"), units.split() if isinstance(units, str) else units, *self._origin(name, "byte_unit"))
        if "path" in effective:
            path = effective["path"]
            self.to.put((*at, "segment"), path if path != "" else ".", *self._origin(name, "path"))
        elif instance != type_name:
            self.to.put((*at, "segment"), _segment(cls), "collectors", name)
        if set(PLACE) & set(section):
            prefix = self._prefix(name, effective)
            if prefix != self._prefix("default", self.default):
                key = next(k for k in PLACE if k in section)
                self.to.put((*at, "prefix"), prefix, *self._origin(name, key))
        self._filters(name, at, effective)
        return used

    def _as_taken(self, name: str, key: str, value: Any) -> Any:
        """A setting as Diamond's class took it."""
        cls = name.split()[0]
        origin = self._origin(name, key)
        if key in LETTERS.get(cls, ()) and isinstance(value, str) and len(value) > 1:
            words = f"Diamond took each letter of {value!r} for the beginning of a name, and so it is here"
            self.to.warn(f"{name}: {key}: {words}; with a comma at its end it is one beginning", *origin)
            return [letter for letter in dict.fromkeys(value) if not letter.isspace()]
        if key in PRESENT.get(cls, ()) and str(value).lower() not in TRUE:
            self.to.warn(f"{name}: {key}: on, because Diamond did not look at what it says; take it out to turn it off", *origin)
            return True
        return value

    def _filters(self, name: str, at: tuple[str, ...], effective: dict[str, Any]) -> None:
        given = [key for key in ("metrics_whitelist", "metrics_blacklist") if effective.get(key)]
        if len(given) == 2:
            words = f"{name}: metrics_whitelist and metrics_blacklist: one or the other, as in Diamond"
            self.to.wrong(words, *self._origin(name, given[1]))
        for key, option in (("metrics_whitelist", "allow"), ("metrics_blacklist", "deny")):
            if key in given:
                patterns = effective[key]
                origin = self._origin(name, key)
                self.to.put((*at, option), [patterns] if isinstance(patterns, str) else patterns, *origin)
                self.to.put((*at, "filter_naming"), "diamond", *origin)

    def _legacy_collector(self, name: str, cls: str, effective: dict[str, Any]) -> None:
        """Write the table of a collector that is loaded from collectors_path."""
        at = ("collectors", name)
        folders = self.to.folders("collectors_path", f"{name}: Adamas has no such collector", *at)
        config = {key: value for key, value in effective.items() if key != "enabled"}
        if str(config.get("hostname_method", "")).lower() == "shell":
            config["hostname"] = self.hostname(name, effective)[0]
            del config["hostname_method"]
        self.to.tables.sections[name] = name
        for key, value in (("type", LEGACY), ("collectors_path", folders), ("class", cls), ("config", config)):
            self.to.put((*at, key), value, "collectors", name)
        if "interval" in self.to.settings.section("collectors", name):
            self.to.put((*at, "interval"), effective["interval"], "collectors", name, "interval")

    def hostname(self, name: str, section: dict[str, Any]) -> tuple[str, str]:
        """(the name, "") where these settings name the host, or ("", the method that finds its name)."""
        written = section.get("hostname", "")
        method = str(section.get("hostname_method", "smart")).lower()
        key = (str(written), method)
        if key not in self._hosts:
            at = [self._origin(name, k) for k in ("hostname", "hostname_method")]
            self._hosts[key] = self._find_host(written, method, at)
        return self._hosts[key]

    def _find_host(self, written: Any, method: str, at: list[tuple[str, ...]]) -> tuple[str, str]:
        if method == "shell":
            try:
                return ask_shell(str(written), {self.to.settings.where(*a)[0] for a in at}), ""
            except ValueError as error:
                self.to.wrong(f"hostname: {error}", *at[0])
                return "unknown", ""
        if written and isinstance(written, str):
            return written, ""
        if written:
            self.to.wrong("hostname: expected one name, not a list", *at[0])
        if method not in HOSTNAME_METHODS:
            known = f"{', '.join(HOSTNAME_METHODS)} or shell{suggest(method, HOSTNAME_METHODS)}"
            self.to.wrong(f"hostname_method: expected one of {known}", *at[1])
            return "unknown", ""
        return "", method

    def _origin(self, name: str, key: str) -> tuple[str, ...]:
        """Where the value of a collector's setting comes from: its own section, or [[default]]."""
        own = key in self.to.settings.section("collectors", name)
        return ("collectors", name if own else "default", key)

    def _prefix(self, name: str, section: dict[str, Any]) -> str:
        found, method = self.hostname(name, section)
        parts = (str(section.get("path_prefix", "servers")), found or host_name(method), str(section.get("path_suffix", "")))
        return ".".join([p for p in parts if p and p != "."])


def _segment(cls: type[Collector]) -> str:
    """The segment under which Diamond's class published."""
    return cls.diamond_path or cls.path or cls.name
