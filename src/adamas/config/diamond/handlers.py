"""The handlers that a diamond.conf lists, as our outputs, in the `diamond` spelling; those we do not have from handlers_path."""

from __future__ import annotations

import os
from itertools import chain, count

import adamas
from adamas.config.diamond.translation import LEGACY, Translation, listed
from adamas.option import suggest
from adamas.outputs._diamond import ALSO, DEFAULTS, INSTEAD, LEFT_OUT, MADE, MANY, NO_OUTPUT, RENAMED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from adamas.output import Output

DEFAULT = ("handlers", "default")
SHIPPED = "diamond.handler."
"""Modules of handlers that came with Diamond; ours stand beside this package, and are only imported by a child."""


def _ships(dotted: str) -> bool:
    """Whether a handler's module is there."""
    module = dotted.removeprefix(SHIPPED).partition(".")[0]
    beside = os.path.dirname(os.path.dirname(adamas.__file__))
    return os.path.exists(os.path.join(beside, "diamond", "handler", f"{module}.py"))


class Handlers:
    """[server] handlers and [handlers] of a diamond.conf."""

    def __init__(self, to: Translation) -> None:
        self.to = to

    def translate(self) -> None:
        """Write the tables of all that are listed."""
        default = self.to.settings.section(*DEFAULT)
        for key in default:
            self.to.note(f"{key}: {LEFT_OUT[''].get(key, 'only handlers that have such a setting take it')}", *DEFAULT, key)
        successors = self.to.registry.successors("outputs")
        wanted = listed(self.to.settings.section("server").get("handlers", ""))
        if not wanted:
            self.to.warn("handlers: there is none: nothing is sent", "server", "handlers")
        for dotted in wanted:
            name = dotted.rpartition(".")[2]
            effective = {**DEFAULTS.get(name, {}), **default, **self.to.settings.section("handlers", name)}
            one = MANY.get(name) or ALSO.get(name, name)
            if name in NO_OUTPUT:
                self.to.note(f"{name}: {NO_OUTPUT[name]}", "server", "handlers")
            elif one in successors:
                setting, begins, instead = INSTEAD.get(one, ("", "", ""))
                type_name = (
                    instead if setting and str(effective.get(setting)).strip().lower().startswith(begins) else successors[one]
                )
                found = self.to.registry.find("outputs", type_name)
                assert found is not None
                hosts: Sequence[Any] = listed(effective.get("host", "localhost")) if name in MANY else [None]
                for host in hosts:
                    given = effective if host is None else {**effective, "host": host}
                    self._native_output(name, one, type_name, found.cls, given)
            elif dotted.startswith(SHIPPED) and not _ships(dotted):
                words = f"{name}: Diamond has no handler {dotted}: what it delivered would not arrive"
                self.to.wrong(f"{words}; take it out of `handlers` to go on without", "server", "handlers")
            else:
                # Diamond's own handlers that no output succeeds run as they did, in a child; others come from the folders.
                folders = []
                if not dotted.startswith(SHIPPED):
                    folders = self.to.folders("handlers_path", f"{name}: Adamas has no such output", "server", "handlers")
                at = ("outputs", self._free(name))
                for key, value in (("type", LEGACY), ("handlers_path", folders), ("class", dotted), ("config", effective)):
                    self.to.put((*at, key), value, "handlers", name)

    def _free(self, *names: str) -> str:
        taken = self.to.tables.data.get("outputs", {})
        return next(name for name in chain(names, (f"{names[-1]} {n}" for n in count(2))) if name not in taken)

    def _native_output(self, name: str, one: str, type_name: str, cls: type[Output], effective: dict[str, Any]) -> None:
        at = ("outputs", self._free(type_name, name))
        self.to.put(at, {}, "handlers", name)
        if at[1] != type_name:
            self.to.put((*at, "type"), type_name, "handlers", name)
        self.to.put((*at, "naming"), "diamond", "handlers", name)
        renamed = RENAMED.get(one, {})
        left_out = {**LEFT_OUT[""], **LEFT_OUT.get(one, {})}
        made = MADE[name](effective) if name in MADE else {}
        address = "address" in cls.options and {"host", "port"} & set(effective)
        for key, value in effective.items():
            own = key in self.to.settings.section("handlers", name)
            origin = ("handlers", name if own else "default", key)
            if address and key in ("host", "port"):
                continue
            if key in made:
                becomes = made[key]
                if isinstance(becomes, tuple):
                    self.to.put((*at, becomes[0]), becomes[1], *origin)
                elif own:
                    self.to.note(f"{name}: {key}: {becomes}", *origin)
            elif key in left_out:
                if own:
                    self.to.note(f"{name}: {key}: {left_out[key]}", *origin)
            elif renamed.get(key, key) in cls.options:
                self.to.put((*at, renamed.get(key, key)), value, *origin)
            elif own:
                self.to.warn(f"{name}: {key}: Adamas' {type_name} has no such option{suggest(key, set(cls.options))}", *origin)
        if address:
            usual = cls.options["address"].default
            host, _, port = str(usual[0] if isinstance(usual, list) else usual).rpartition(":")
            host = str(effective.get("host", host))
            host = f"[{host}]" if ":" in host and host[0] != "[" else host
            key = "host" if "host" in self.to.settings.section("handlers", name) else "port"
            self.to.put((*at, "address"), f"{host}:{effective.get('port', port)}", "handlers", name, key)
