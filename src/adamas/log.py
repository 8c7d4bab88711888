"""One line to standard error for a person or the journal; a flood of one kind is cut to ten a minute and counted.

The standard library's logging costs a headless agent 2.6 MB; what an agent has to say needs four functions.
"""

from __future__ import annotations

import os
import sys
import time

LEVELS = ("error", "warning", "info", "debug")
PER_MINUTE = 10
MOST_DIVERTED = 2000

_PRIORITY = {"error": "<3>", "warning": "<4>", "info": "<6>", "debug": "<7>"}
_COLOUR = {"error": "\x1b[31m", "warning": "\x1b[33m", "info": "", "debug": "\x1b[2m"}


class _Budget:
    __slots__ = ("count", "minute", "suppressed")

    def __init__(self) -> None:
        self.minute = self.count = self.suppressed = 0


diverted: list[tuple[str, str, str]] | None = None
"""In a child of the worker: its lines wait here, and go with its next answer."""

_budgets: dict[tuple[str, str], _Budget] = {}
_level = LEVELS.index("info")


def set_level(level: str) -> None:
    """Say no more than this: error, warning, info or debug."""
    global _level
    _level = LEVELS.index(level)


def _write(level: str, who: str, message: str) -> None:
    if LEVELS.index(level) > _level:
        return
    if diverted is not None:
        if len(diverted) < PER_MINUTE:
            diverted.append((level, who, message[:MOST_DIVERTED]))
        return
    message = message.replace("\n", "\n    ")
    if os.environ.get("JOURNAL_STREAM"):
        line = f"{_PRIORITY[level]}{who}: {message}\n"
    elif sys.stderr is not None and sys.stderr.isatty():
        end = "\x1b[0m" if _COLOUR[level] else ""
        line = f"{time.strftime('%H:%M:%S')} {_COLOUR[level]}{who}: {message}{end}\n"
    else:
        line = f"{time.strftime('%Y-%m-%dT%H:%M:%S%z')} {level} {who}: {message}\n"
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError, AttributeError):
        pass  # a full or closed log must not stop the agent


def say(level: str, who: str, message: str, kind: str = "") -> None:
    """A line of this level; it is cut with those of its kind: by default, those that begin as it does."""
    key = (who, kind or message.split(":", 1)[0])
    budget = _budgets.setdefault(key, _Budget())
    minute = int(time.monotonic() // 60)
    if budget.minute != minute:
        if budget.suppressed:
            _write(level, who, f"({budget.suppressed} more like the next line were left out)")
        budget.minute, budget.count, budget.suppressed = minute, 0, 0
        if len(_budgets) > 1000:
            _budgets.clear()
            _budgets[key] = budget
    budget.count += 1
    if budget.count > PER_MINUTE:
        budget.suppressed += 1
    else:
        _write(level, who, message)


def error(who: str, message: str) -> None:
    """Something is broken and needs a person."""
    say("error", who, message)


def warning(who: str, message: str) -> None:
    """Something is worse than it should be; the agent copes."""
    say("warning", who, message)


def info(who: str, message: str) -> None:
    """Something changed."""
    say("info", who, message)


def debug(who: str, message: str) -> None:
    """What a developer wants to see."""
    if _level >= LEVELS.index("debug"):
        say("debug", who, message)
