"""How the commands look: tables, colour on a terminal only, numbers with units."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from adamas.errors import Mistake

RED, YELLOW, GREEN, DIM, BOLD = "31", "33", "32", "2", "1"


def colour(text: str, code: str, stream: Any = None) -> str:
    """The text in a colour, where the stream is a terminal and nobody said NO_COLOR."""
    out = stream or sys.stdout
    if os.environ.get("NO_COLOR") or not out.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def bad(text: str) -> str:
    """An error for standard error."""
    return colour(text, RED, sys.stderr)


def mistake(one: Mistake) -> str:
    """A mistake of a configuration: the place, then what is wrong."""
    where = f"{one.file}:{one.line}:" if one.line else f"{one.file}:"
    return f"{colour(where, BOLD)} {one.message}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need; the last is cut to the terminal."""
    if not rows:
        return colour("  ".join(head), DIM)
    widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
    room = _width()
    lines = []
    for number, row in enumerate((head, *rows)):
        line = "  ".join([str(cell).ljust(width) for cell, width in zip(row[:-1], widths)] + [str(row[-1])])
        if room and len(line) > room:
            line = line[: room - 1] + "…"
        lines.append(colour(line.rstrip(), DIM) if number == 0 else line.rstrip())
    return "\n".join(lines)


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns
    except (OSError, ValueError):
        return 0


def size(count: float) -> str:
    """Bytes as a person reads them."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return ""


def span(seconds: float) -> str:
    """A time span as a person reads it."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1000:.1f} ms"


_STATES = {"ok": GREEN, "starting": DIM, "no data": DIM, "failed": RED, "backoff": RED, "stuck": RED, "overrun": YELLOW}
_STATES |= {"retrying": YELLOW}


def _state(text: str, width: int) -> str:
    return colour(text.ljust(width), _STATES.get(text, "0"))


def status(answer: dict[str, Any]) -> str:
    """What a running agent does, on one screen: troubles first."""
    now = answer["now"]
    up = span(now - answer["started"])
    out = [
        f"adamas {answer['version']} on {answer['hostname']}, pid {answer['pid']}, up {up}, "
        f"{size(answer['memory'])}, CPU {answer['cpu_seconds']:.1f} s"
    ]
    if answer["address"]:
        out.append(f"page: {answer['address']}")
    if not answer["reload"]["ok"]:
        out.append(colour(f"the configuration was refused {_ago(now, answer['reload']['time'])}:", RED))
        out += ["  " + line for line in answer["reload"]["message"].splitlines()]
    collectors = sorted(answer["collectors"], key=lambda c: (c["state"] in ("ok", "no data"), c["name"]))
    width = max([len(c["name"]) for c in collectors] + [9])
    out += ["", colour(f"{'collector'.ljust(width)}  state     series  runs      last run     took", DIM)]
    for c in collectors:
        line = f"{c['name'].ljust(width)}  {_state(c['state'], 8)}  {c['series']:>6}  {c['runs']:<8}"
        line += f"  {_ago(now, c['last_run']):<11}  {span(c['last_duration'])}"
        out.append(line)
        if c["error"] and c["state"] not in ("ok",):
            out.append(colour(f"{''.ljust(width)}  {c['error']}", DIM))
        removed = ", ".join(f"{n} {reason}" for reason, n in c["removed"].items())
        if removed:
            out.append(colour(f"{''.ljust(width)}  left out: {removed}", DIM))
    if answer["outputs"]:
        out.append("")
    for o in answer["outputs"]:
        ledger = o["ledger"]
        dropped = sum(ledger["dropped"].values())
        waiting = ledger["memory"] + ledger["flight"] + ledger["spool"]
        line = f"{o['name']} ({o['type']}, {o['naming']}): {_state(o['state'], 0)}: offered {ledger['offered']} = "
        line += f"delivered {ledger['delivered']} + waiting {waiting} + dropped {dropped}"
        out.append(line)
        if o["error"]:
            out.append(colour(f"  {o['error']}", YELLOW))
        if o["spool"] and o["spool"]["error"]:
            out.append(colour(f"  spool: {o['spool']['error']}", RED))
        if dropped:
            out.append(colour("  dropped: " + ", ".join(f"{n} {reason}" for reason, n in ledger["dropped"].items()), YELLOW))
        if o["collisions"]:
            names = ", ".join(sorted(o["collisions"])[:5])
            out.append(colour(f"  {len(o['collisions'])} names met after cleaning and are kept apart: {names}", YELLOW))
        if o["unfit"]:
            names = ", ".join(sorted(o["unfit"])[:5])
            out.append(colour(f"  {len(o['unfit'])} names cannot be carried: {names}", YELLOW))
        if o["dead_letters"]["count"]:
            out.append(colour(f"  {o['dead_letters']['count']} refused payloads are in {o['dead_letters']['path']}", YELLOW))
    if answer["history"] is not None:
        history = answer["history"]
        words = f"{history.get('series', 0)} series, {size(history.get('bytes', 0))}"
        out += ["", f"history: {words}" + (colour(f": {history['error']}", RED) if history.get("error") else "")]
    return "\n".join(out) + "\n"


def _ago(now: float, when: float) -> str:
    return f"{span(max(0.0, now - when))} ago" if when else "never"


class Progress:
    """A bar for what takes long, on a terminal only: `at` says how far, `end` removes it."""

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = max(1, total)
        self._shown = -1
        self._on = sys.stderr.isatty()

    def at(self, done: int) -> None:
        """So much is done."""
        part = min(100, 100 * done // self._total)
        if self._on and part != self._shown:
            self._shown = part
            sys.stderr.write(f"\r{self._what} [{'#' * (part // 4):25}] {part} %")
            sys.stderr.flush()

    def end(self) -> None:
        """It is over."""
        if self._on and self._shown >= 0:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
