"""ConfigParser."""

from __future__ import annotations

import configparser
from typing import Any

from adamas.translate.python2.file import underneath
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import ERRORS, raw

__all__ = ["ConfigParser", "RawConfigParser", "SafeConfigParser"]


class _Reading:
    """What the three have in common: files are read as text of any bytes, and get() takes (section, option, raw, vars)."""

    def __init__(self, defaults: Any = None, dict_type: Any = dict, allow_no_value: bool = False) -> None:
        super().__init__(  # type: ignore[call-arg]
            defaults, dict_type, allow_no_value, strict=False, inline_comment_prefixes=(";",), empty_lines_in_values=False
        )

    def read(self, filenames: Any) -> list[str]:
        done = []
        for name in [filenames] if isinstance(filenames, str) else filenames:
            try:
                with open(name, encoding="utf-8", errors=ERRORS) as file:
                    self.read_file(file, name)  # type: ignore[attr-defined]
            except OSError:
                continue
            done.append(name)
        return done

    def readfp(self, file: Any, filename: Any = None) -> None:
        lines = (raw(line).decode("utf-8", ERRORS) for line in underneath(file))
        self.read_file(lines, filename)  # type: ignore[attr-defined]

    def get(self, section: str, option: str, raw: bool = False, vars: Any = None, **more: Any) -> Any:
        return super().get(section, option, raw=raw, vars=vars, **more)  # type: ignore[misc]

    def items(self, section: Any = None, raw: bool = False, vars: Any = None) -> Any:
        return super().items(section, raw, vars) if section is not None else super().items()  # type: ignore[misc]


class RawConfigParser(_Reading, configparser.RawConfigParser):  # type: ignore[misc]
    """Without interpolation; values may be anything."""


class ConfigParser(_Reading, configparser.RawConfigParser):  # type: ignore[misc]
    """With interpolation of %(name)s; a value may have a % of its own."""

    _DEFAULT_INTERPOLATION = configparser.BasicInterpolation()

    def set(self, section: str, option: str, value: Any = None) -> None:
        configparser.RawConfigParser.set(self, section, option, value)


class SafeConfigParser(_Reading, configparser.ConfigParser):  # type: ignore[misc]
    """With interpolation of %(name)s."""


stand_in(__name__, configparser, *__all__)
