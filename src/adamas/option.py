"""Typed options of collectors, outputs and the agent's own tables.

An option is declared once, as an annotated class attribute with `option(default, help)`. The declaration feeds
validation, `adamas describe`, the sample configuration and the documentation. Values come from TOML with their types or
from a diamond.conf as text; both are accepted where the text says the same thing.
"""

from __future__ import annotations

import re

from adamas.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from typing import Any


class Duration(float):
    """Seconds; written as a number or as text with a unit: "500ms", "10s", "5m", "2h", "30d"."""


class Size(int):
    """Bytes; written as a number or as text with a unit: "64KiB", "256MiB", "1GiB"."""


class Secret(str):
    """Text that is never printed."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'" if self else "''"


_DURATION = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
_SIZE = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 1 << 20}
_SIZE |= {"g": 10**9, "gb": 10**9, "gib": 1 << 30, "t": 10**12, "tb": 10**12, "tib": 1 << 40}
_TRUE, _FALSE = {"true", "t", "yes", "y", "on", "1"}, {"false", "f", "no", "n", "off", "0", ""}


def parse_bool(value: object) -> bool:
    """true or false, also as the words a diamond.conf uses."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _TRUE | _FALSE:
        return value.strip().lower() in _TRUE
    raise ValueError("true or false")


def parse_int(value: object) -> int:
    """A whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            pass
    raise ValueError("a whole number")


def parse_float(value: object) -> float:
    """A finite number."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < float("inf"):
        return float(value)
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            number = float("inf")
        if abs(number) < float("inf"):
            return number
    raise ValueError("a number")


def parse_text(value: object) -> str:
    """Text; a number is taken as written."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        return value
    raise ValueError("text in quotes")


def parse_list(value: object) -> list[str]:
    """A list of text; one text is split at its commas, as in a diamond.conf."""
    if isinstance(value, str):
        return [part for part in (p.strip() for p in value.split(",")) if part]
    if isinstance(value, (list, tuple)) and all(isinstance(v, (str, int, float)) for v in value):
        return [str(v).strip() for v in value]
    raise ValueError("a list of texts")


def parse_map(value: object) -> dict[str, str]:
    """A table of texts."""
    if isinstance(value, dict) and all(isinstance(v, (str, int, float)) for v in value.values()):
        return {str(k): parse_bool_text(v) for k, v in value.items()}
    raise ValueError("a table of texts")


def parse_bool_text(value: object) -> str:
    """A scalar as text, true and false in lower case."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def parse_table(value: object) -> dict[str, Any]:
    """A table of anything."""
    if isinstance(value, dict):
        return value
    raise ValueError("a table")


def parse_duration(value: object) -> Duration:
    """A time in seconds, or with a unit."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9.]+)\s*(ms|s|m|h|d|w|y|)\s*", value.lower())
        if match:
            try:
                return Duration(float(match[1]) * _DURATION[match[2] or "s"])
            except ValueError:
                pass
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < float("inf"):
        return Duration(value)
    raise ValueError('a time such as "10s", "500ms" or "5m"')


def parse_size(value: object) -> Size:
    """A number of bytes, or with a unit."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-z]*)\s*", value.lower())
        if match and match[2] in _SIZE:
            return Size(int(float(match[1]) * _SIZE[match[2]]))
    elif isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return Size(value)
    raise ValueError('a size such as "64MiB"')


def parse_secret(value: object) -> Secret:
    """Text that is never printed."""
    return Secret(parse_text(value))


PARSERS: dict[str, Callable[[object], Any]] = {
    "bool": parse_bool,
    "int": parse_int,
    "float": parse_float,
    "str": parse_text,
    "list[str]": parse_list,
    "dict[str, str]": parse_map,
    "dict[str, Any]": parse_table,
    "Duration": parse_duration,
    "Size": parse_size,
    "Secret": parse_secret,
}


class Option:
    """One option: its name, type, default, help, and what limits it."""

    __slots__ = ("choices", "default", "family", "help", "maximum", "minimum", "name", "pattern", "required", "type", "units")

    def __init__(
        self,
        default: Any,
        help: str,
        *,
        choices: Sequence[str] = (),
        minimum: float | None = None,
        maximum: float | None = None,
        pattern: bool = False,
        required: bool = False,
        family: str = "",
    ) -> None:
        self.default = default
        self.family = family
        """How keys begin that are entries of this table, each written beside the other options (`target_x` for `x`)."""
        self.help = help
        self.choices = tuple(choices)
        self.minimum = minimum
        self.maximum = maximum
        self.pattern = pattern
        self.required = required
        self.name = ""
        self.type = ""
        self.units: Container[str] = ()
        """Where the option lists units: all that there are."""

    def parse(self, value: object) -> Any:
        """The value in the option's type; raises ValueError that says what was expected."""
        parsed = PARSERS[self.type](value)
        if self.choices:
            for item in parsed if isinstance(parsed, list) else [parsed]:
                if item not in self.choices:
                    some = ", ".join(self.choices[:8]) + (", ..." if len(self.choices) > 8 else "")
                    raise ValueError(f"one of {some}{suggest(str(item), self.choices)}")
        for unit in parsed if self.units else ():
            if unit not in self.units:
                raise ValueError(f"units such as byte, kilobyte or megabit (and not {unit!r})")
        if self.minimum is not None and parsed < self.minimum:
            raise ValueError(f"at least {self.minimum:g}")
        if self.maximum is not None and parsed > self.maximum:
            raise ValueError(f"at most {self.maximum:g}")
        if self.pattern:
            for text in parsed if isinstance(parsed, list) else [parsed]:
                try:
                    re.compile(text)
                except re.error as error:
                    raise ValueError(f"a regular expression ({text!r}: {error})") from None
        return parsed

    def show(self) -> str:
        """The default as it would be written in TOML."""
        return toml(self.default)


def toml(value: Any) -> str:
    """A value as TOML writes it; secrets as ***."""
    if isinstance(value, Secret):
        return '"***"' if value else '""'
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Duration):
        for unit, seconds in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
            if value and value % seconds == 0:
                return f'"{int(value // seconds)}{unit}"'
        return f'"{round(value * 1000):d}ms"' if value else '"0s"'
    if isinstance(value, Size):
        for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
            if value and value % size == 0:
                return f'"{value // size}{unit}"'
        return str(int(value))
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(v) for v in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    return str(value)


def option(default: Any, help: str, **limits: Any) -> Any:
    """Declare an option in a class body: `simple: bool = option(False, "Only the 1-minute average")`."""
    return Option(default, help, **limits)


def options_of(cls: type) -> dict[str, Option]:
    """The options that a class and those above it declare, by name, the outermost class's first."""
    found: dict[str, Option] = {}
    for klass in reversed(cls.__mro__):
        annotations = klass.__dict__.get("__annotations__", {})  # noqa: RUF063 (inspect costs the agent a megabyte)
        for name, value in klass.__dict__.items():
            if isinstance(value, Option):
                if not value.type:
                    value.name = name.removesuffix("_")  # an option may be called as a word of Python's: `class_`
                    value.type = _type_name(klass, name, annotations.get(name))
                    if value.default is not None:
                        value.default = _default(value)
                found[value.name] = value
    return found


def fold(declared: Mapping[str, Option], given: Mapping[str, Any]) -> dict[str, Any]:
    """A table with the keys of each family gathered into the option that they are entries of."""
    folded = dict(given)
    for one in declared.values():
        if not one.family:
            continue
        for key in [k for k in given if k.startswith(one.family) and k not in declared]:
            table = folded.get(one.name, {})
            if isinstance(table, dict):
                folded[one.name] = {**table, key.removeprefix(one.family): folded.pop(key)}
    return folded


def _type_name(cls: type, name: str, annotation: object) -> str:
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))
    if not isinstance(annotation, (str, type)) or "[" in str(annotation):
        text = str(annotation)
    text = text.removeprefix("option.").removeprefix("adamas.option.").replace("typing.", "").replace('"', "'").strip("'")
    if text not in PARSERS:
        raise DeclarationError(f"{cls.__qualname__}.{name}: an option's type is one of {', '.join(PARSERS)}, not {text}")
    return text


def _default(declared: Option) -> Any:
    try:
        return PARSERS[declared.type](declared.default)
    except ValueError as error:
        raise DeclarationError(f"the default of {declared.name!r} is not {error}") from None


def nearest(name: str, known: Sequence[str] | set[str]) -> str:
    """The known name that looks most like this one, or nothing."""
    import difflib  # only when someone made a mistake

    folded = {k.lower(): k for k in sorted(known)}
    close = difflib.get_close_matches(name.lower(), folded, 1, 0.6)
    if not close:
        close = [k for k in folded if len(name) > 2 and (k.startswith(name.lower()) or name.lower().startswith(k))][:1]
    return folded[close[0]] if close else ""


def suggest(name: str, known: Sequence[str] | set[str]) -> str:
    """Words that point to the nearest known name, or nothing: `; did you mean "graphite"?`."""
    found = nearest(name, known)
    return f'; did you mean "{found}"?' if found else ""
