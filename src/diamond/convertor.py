"""Sizes and times from one unit into another. Every step of a size is 1024, whatever its name says, as in Diamond."""

from __future__ import annotations

from typing import Any

_STEPS = ("", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")
_LETTERS = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def _bits() -> dict[str, int]:
    units = {"bit": 1, "b": 1, "byte": 8, "B": 8}
    for power, (step, letter) in enumerate(zip(_STEPS, _LETTERS)):
        if not power:
            continue
        for bits, long, short in ((1, "bit", "bit"), (8, "byte", "B")):
            size = bits * 1024**power
            binary = letter.upper() + "i" + short
            for name in (step + long, letter + short, binary):
                units[name] = size
        units[letter + "byte"] = 8 * 1024**power
    return units


_BITS = _bits()
_NANOSECONDS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_NANOSECONDS |= {"d": 86400 * 10**9, "y": 31536000 * 10**9}
_LONG = {"nanoseconds": "ns", "microseconds": "us", "milliseconds": "ms", "seconds": "s", "minutes": "m", "hours": "h"}
_LONG |= {"days": "d", "years": "y", "sec": "s", "second": "s", "minute": "m", "hour": "h", "day": "d", "year": "y"}
_LONG |= {"nanosecond": "ns", "microsecond": "us", "millisecond": "ms", "min": "m"}


def _factor(units: dict[str, Any], unit: str) -> Any:
    try:
        return units[unit]
    except KeyError:
        raise NotImplementedError(f"there is no unit {unit!r}") from None


class binary:
    """A size in bits or bytes: `binary(value, unit).get(unit)`, or `binary.convert(value, unit, unit)`."""

    def __init__(self, value: Any, unit: str | None = None) -> None:
        self.value = float(value) * _factor(_BITS, unit or "bit")

    def get(self, unit: str | None = None) -> float:
        """The size in this unit; in bits where none is said."""
        return float(self.value / _factor(_BITS, unit or "bit"))

    @classmethod
    def convert(cls, value: Any, oldUnit: str, newUnit: str) -> float:
        """A value of one unit in another."""
        return cls(value, oldUnit).get(newUnit)


class time:
    """A time: `time(value, unit).get(unit)`, or `time.convert(value, unit, unit)`. A year has 365 days."""

    def __init__(self, value: Any, unit: str | None = None) -> None:
        self.value = float(value)
        self.unit = _LONG.get((unit or "ms").lower(), (unit or "ms").lower())
        _factor(_NANOSECONDS, self.unit)

    def get(self, unit: str | None = None) -> float:
        """The time in this unit; in milliseconds where none is said."""
        wanted = (unit or "ms").lower()
        wanted = _LONG.get(wanted, wanted)
        if wanted == self.unit:
            return self.value
        return float(self.value * _factor(_NANOSECONDS, self.unit) / _factor(_NANOSECONDS, wanted))

    @classmethod
    def convert(cls, value: Any, oldUnit: str, newUnit: str) -> float:
        """A value of one unit in another."""
        return cls(value, oldUnit).get(newUnit)


def camelcase_to_underscore(name: str) -> str:
    """`someName` and `SomeName` as `some_name`."""
    out = ""
    for position, letter in enumerate(name):
        before, after = name[position - 1 : position], name[position + 1 : position + 2]
        new_word = letter.isupper() and position and before != "_" and (not before.isupper() or after.islower())
        out += ("_" if new_word else "") + letter.lower()
    return out
