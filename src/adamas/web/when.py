"""Points in time as text: seconds since 1970, ISO 8601, and what Graphite's render API takes.

Source: https://graphite.readthedocs.io/en/latest/render_api.html#from-until (relative: -1h, -30min, now-1d; absolute:
HH:MM_YYYYMMDD, YYYYMMDD, MM/DD/YY, noon, midnight, today, yesterday, weekdays, "Mar 3").
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta, tzinfo

MOST = 64

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "mon": 30 * 86400, "y": 365 * 86400}
_OFFSET = re.compile(r"([+-]?)(\d{1,9})([a-z]+)")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(am|pm)?")
_HOURS = {"midnight": 0, "noon": 12, "teatime": 16}
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
_WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def seconds(text: str, now: float, zone: tzinfo | None = None) -> float:
    """Seconds since 1970 of a point in time; ValueError that says what was expected."""
    given = text.strip()
    if len(given) > MOST:
        raise ValueError("a time of at most 64 characters")
    try:
        found = _parse(given, now, zone)
    except (ValueError, OverflowError, IndexError):
        found = -1.0
    if not 0 <= found < 1e11:
        raise ValueError(f'a time such as "-1h", "now", 1700000000 or "14:30_20260131", not "{given}"')
    return found


def _parse(given: str, now: float, zone: tzinfo | None) -> float:
    if re.fullmatch(r"\d+(\.\d+)?", given) and not _is_date(given):
        return float(given)
    if re.match(r"\d{4}-\d\d-\d\d", given):
        moment = datetime.fromisoformat(given)
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    text = re.sub(r"[_,\s]", "", given.lower())
    at = min((i for i in (text.find("+"), text.find("-")) if i >= 0), default=len(text))
    return _reference(text[:at], now, zone) + _offset(text[at:])


def _is_date(text: str) -> bool:
    return len(text) == 8 and 1900 < int(text[:4]) < 2200 and 1 <= int(text[4:6]) <= 12 and 1 <= int(text[6:]) <= 31


def _offset(text: str) -> float:
    """-1h30min and the like; a sign holds until the next."""
    total, at, sign = 0.0, 0, 1
    while at < len(text):
        part = _OFFSET.match(text, at)
        if part is None:
            raise ValueError(text)
        at = part.end()
        sign = {"+": 1, "-": -1, "": sign}[part[1]]
        total += sign * int(part[2]) * _unit(part[3])
    return total


def _unit(word: str) -> int:
    if word.startswith(("mon", "mo")):
        return _SECONDS["mon"]
    if word == "m" or word.startswith("min"):
        return _SECONDS["m"]
    if word[0] in "shdwy":
        return _SECONDS[word[0]]
    raise ValueError(word)


def _reference(text: str, now: float, zone: tzinfo | None) -> float:
    if text in ("", "now"):
        return now
    hour = minute = 0
    if clock := _CLOCK.match(text):
        hour, minute = int(clock[1]), int(clock[2])
        if clock[3]:
            hour = hour % 12 + (12 if clock[3] == "pm" else 0)
        text = text[clock.end() :]
    for word, at in _HOURS.items():
        if text.startswith(word):
            hour, text = at, text.removeprefix(word)
    day = datetime.fromtimestamp(now, zone).replace(hour=hour, minute=minute, second=0, microsecond=0)
    return _day(text, day).timestamp()


def _day(text: str, today: datetime) -> datetime:
    if not text:
        return today
    if text in _DAYS:
        return today + timedelta(days=_DAYS[text])
    if text.count("/") == 2:
        month, day, year = map(int, text.split("/"))
        if year < 100:
            year += 1900 if year >= 70 else 2000
        return today.replace(year=year, month=month, day=day)
    if text.isdigit() and _is_date(text):
        return today.replace(year=int(text[:4]), month=int(text[4:6]), day=int(text[6:]))
    if text[:3] in _MONTHS and text.lstrip("abcdefghijklmnopqrstuvwxyz").isdigit():
        return today.replace(month=_MONTHS.index(text[:3]) + 1, day=int(text.lstrip("abcdefghijklmnopqrstuvwxyz")))
    if text[:3] in _WEEKDAYS and text.isalpha():
        return today - timedelta(days=(today.weekday() - _WEEKDAYS.index(text[:3])) % 7)
    raise ValueError(text)
