"""A diamond.conf and the files that it names, merged in Diamond's order, with the file and line of every setting.

The syntax is ConfigObj's, and ConfigObj reads it (the extra `diamond`): nested sections in doubled brackets, lists by commas,
`%(name)s` filled in. It tells no lines of what it read; those come from a second look at the text.

Order (a later one wins): the main file; the files in [configs] path; then handlers_config_path/NAME.conf and
collectors_config_path/NAME.conf, whose settings go into the section NAME of [handlers] and [collectors].
"""

from __future__ import annotations

import os
import re

from adamas.errors import ConfigError, Mistake
from adamas.host import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Lines = dict[tuple[str, ...], tuple[str, int]]

MOST_SIZE = 4 << 20
FREE_TEXT = ("loggers", "handlers", "formatters", "logger_", "handler_", "formatter_")
"""Sections of Python's logging: their % signs are not for us."""

_HEADER = re.compile(r"(\[+)\s*(.*?)\s*(\]+)\s*(?:#.*)?$")
_KEY = re.compile(r"""("[^"]*"|'[^']*'|[^'"=][^=]*?)\s*=\s*(.*)$""")


class Settings:
    """Nested sections of text and lists, and where each was written."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.data: dict[str, Any] = {}
        self.lines: Lines = {}
        self.mistakes: list[Mistake] = []
        self.warnings: list[Mistake] = []

    def section(self, *path: str) -> dict[str, Any]:
        """A section; an empty one where it is not there."""
        found: Any = self.data
        for name in path:
            found = found.get(name) if isinstance(found, dict) else None
        return found if isinstance(found, dict) else {}

    def where(self, *path: str) -> tuple[str, int]:
        """File and line of a setting, or of the section around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return (self.path, 0)

    def merge(self, data: dict[str, Any], lines: Lines, at: tuple[str, ...] = ()) -> None:
        """Put what another file says over what is there, under the section `at`."""
        into = self.data
        for name in at:
            into = into.setdefault(name, {})
            if not isinstance(into, dict):
                return
        _merge(into, data)
        self.lines.update({at + path: where for path, where in lines.items()})


def read(path: str) -> Settings:
    """The main file with all that belongs to it. Raises ConfigError where it cannot be read."""
    settings = Settings(path)
    data, lines = _read(settings, path)
    settings.merge(data, lines)
    configs = settings.section("configs")
    extension = str(configs.get("extension", ".conf"))
    if configs.get("path"):
        owner: Lines = {}
        for file in _files(settings, str(configs["path"]), extension, ("configs", "path")):
            data, lines = _read(settings, file)
            for key, (where, line) in lines.items():
                if key in owner and not _is_section(data, key):
                    words = "also set in {}:{}; Diamond read these files in no order, here this one counts".format(*owner[key])
                    settings.warnings.append(Mistake(where, line, f"{key[-1]}: {words}"))
            owner.update(lines)
            settings.merge(data, lines)
    for kind in ("handlers", "collectors"):
        setting = f"{kind}_config_path"
        folder = settings.section("server").get(setting)
        if isinstance(folder, str) and os.path.isdir(folder):
            for file in _files(settings, folder, extension, ("server", setting)):
                data, lines = _read(settings, file)
                name = os.path.splitext(os.path.basename(file))[0]
                settings.merge(data, {(): (file, 0)} | lines, (kind, name))
    return settings


def _files(settings: Settings, folder: str, extension: str, key: tuple[str, ...]) -> list[str]:
    try:
        names = sorted(os.listdir(folder))
    except OSError as error:
        settings.mistakes.append(Mistake(*settings.where(*key), f"{key[-1]}: {folder} cannot be read: {error.strerror}"))
        return []
    paths = [os.path.join(folder, name) for name in names if name.endswith(extension)]
    return [p for p in paths if os.path.isfile(p) and not os.path.samefile(p, settings.path)]


def _read(settings: Settings, path: str) -> tuple[dict[str, Any], Lines]:
    try:
        import configobj  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        words = 'a diamond.conf is read by the package configobj, which is not installed: it comes with "adamas[diamond]"'
        raise ConfigError([Mistake(path, 0, words)]) from None
    try:
        raw = read_file(path, MOST_SIZE + 1)
    except OSError as error:
        settings.mistakes.append(Mistake(path, 0, f"cannot be read: {error.strerror}"))
        return {}, {}
    if len(raw) > MOST_SIZE:
        settings.mistakes.append(Mistake(path, 0, f"is larger than {MOST_SIZE >> 20} MiB"))
        return {}, {}
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")  # as good as any: Diamond passed bytes on
    try:
        read = configobj.ConfigObj(text.splitlines())
    except configobj.ConfigObjError as error:
        for one in getattr(error, "errors", None) or [error]:
            words = re.sub(r"( at)? (line )?\d+\.?$", "", str(one)).rstrip(" .")
            shown = f": {one.line.strip()[:60]}" if getattr(one, "line", None) else ""
            line = getattr(one, "line_number", None) or 0
            settings.mistakes.append(Mistake(path, line, f"not ConfigObj's syntax: {words[0].lower()}{words[1:]}{shown}"))
        read = getattr(error, "config", None)
        if read is None:
            return {}, {}
    lines = {key: (path, line) for key, line in scan(text).items()}
    return _plain(settings, read, (), path, lines, configobj.InterpolationError), lines


def _plain(
    settings: Settings, section: Any, at: tuple[str, ...], path: str, lines: Lines, unfilled: type[Exception]
) -> dict[str, Any]:
    """A section of ConfigObj's as a plain dict, `%(name)s` filled in."""
    found: dict[str, Any] = {}
    for key in [*section.scalars, *section.sections]:
        if key in section.sections:
            found[key] = _plain(settings, section[key], (*at, key), path, lines, unfilled)
            continue
        if len(at) == 1 and at[0].startswith(FREE_TEXT):
            found[key] = dict.__getitem__(section, key)
            continue
        try:
            found[key] = section[key]
        except unfilled as error:
            words = str(error).rstrip(".")
            where, line = lines.get((*at, key), (path, 0))
            settings.mistakes.append(Mistake(where, line, f"{key}: {words[0].lower()}{words[1:]}"))
    return found


def _merge(into: dict[str, Any], data: dict[str, Any]) -> None:
    for key, value in data.items():
        there = into.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(there, value)
        else:
            into[key] = value


def _is_section(data: dict[str, Any], key: tuple[str, ...]) -> bool:
    found: Any = data
    for name in key:
        found = found.get(name) if isinstance(found, dict) else None
    return isinstance(found, dict)


def scan(text: str) -> dict[tuple[str, ...], int]:
    """The line of every section and key; values that span lines are stepped over."""
    found: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ()
    quotes = ""
    for number, line in enumerate(text.splitlines(), 1):
        if quotes:
            if quotes in line:
                quotes = ""
            continue
        line = line.strip()
        header = _HEADER.match(line)
        if header and len(header[1]) == len(header[3]):
            section = (*section[: len(header[1]) - 1], _unquoted(header[2]))
            found.setdefault(section, number)
            continue
        key = None if line.startswith("#") else _KEY.match(line)
        if key:
            found.setdefault((*section, _unquoted(key[1])), number)
            opens = key[2][:3]
            if opens in ('"""', "'''") and opens not in key[2][3:]:
                quotes = opens
    return found


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
