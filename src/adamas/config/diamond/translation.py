"""What the parts of a diamond.conf's translation share: where a key was written, where it goes, and what is said about it."""

from __future__ import annotations

from adamas.config.source import Tables
from adamas.errors import Mistake
from adamas.registry import Registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.config.diamond.ini import Settings

LEGACY = "diamond"
"""The collector and the output that run a class of Diamond's kind: options `collectors_path` or `handlers_path` (folders),
`class` (its name) and `config` (its settings as Diamond would hand them over: text, lists and tables)."""


def listed(value: object) -> list[str]:
    """What Diamond takes for a list: ConfigObj's, or text with commas."""
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return [part for part in (str(p).strip() for p in parts) if part]


class Translation:
    """One diamond.conf on its way into `tables`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.tables = Tables()
        self.tables.files = [settings.path]
        self.tables.mistakes = settings.mistakes
        self.tables.warnings = settings.warnings
        self.registry = Registry()
        self.used: set[str] = set()
        """The keys of [server] that something was made of."""

    def wrong(self, words: str, *at: str) -> None:
        """What cannot be used."""
        self.tables.mistakes.append(Mistake(*self.settings.where(*at), words))

    def warn(self, words: str, *at: str) -> None:
        """What works otherwise than it may look."""
        self.tables.warnings.append(Mistake(*self.settings.where(*at), words))

    def note(self, words: str, *at: str) -> None:
        """What does nothing here, and why."""
        self.tables.notes.append(Mistake(*self.settings.where(*at), words))

    def put(self, at: tuple[str, ...], value: Any, *origin: str) -> None:
        """Set a key of the tables, written at `origin` of the diamond.conf."""
        where = self.settings.where(*origin) if origin else (self.settings.path, 0)
        table = self.tables.data
        for length, name in enumerate(at[:-1], 1):
            table = table.setdefault(name, {})
            self.tables.lines.setdefault(at[:length], where)
        table[at[-1]] = value
        self.tables.lines[at] = where

    def folders(self, key: str, words: str, *at: str) -> list[str]:
        """The folders that a key of [server] lists, for something at `at` that must be loaded from one."""
        self.used.add(key)
        folders = listed(self.settings.section("server").get(key, ""))
        if not folders:
            self.wrong(f"{words}, and there is no {key} to load it from", *at)
        return folders
