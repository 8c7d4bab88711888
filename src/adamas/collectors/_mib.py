"""The kernel's tables of protocol counters (MIBs): /proc/net/snmp, /proc/net/netstat and /proc/net/snmp6.

In the first two a table is a line of names and a line of values, both beginning with the table's name (`two_lines`); in the
third each line is a name and a value (`columns`). Which names there are depends on the kernel, so a collector says what it
makes of them, and `Fields` remembers it for as long as the names stay the same.
"""

from __future__ import annotations

from adamas.metric import SURPLUS, picker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from adamas import Counter, Gauge, Sample
    from adamas.metric import Series, Value

    Part: TypeAlias = "tuple[Counter | Gauge, tuple[str, ...], Mapping[str, str]]"


def two_lines(text: str, table: str) -> tuple[list[str], list[str]]:
    """The names and the values of a table; nothing where it is not there."""
    _, there, rest = ("\n" + text).partition(f"\n{table}: ")
    if not there:
        return [], []
    names, _, rest = rest.partition("\n")
    _, there, rest = ("\n" + rest).partition(f"\n{table}: ")
    if not there:
        raise ValueError(f"{table} has a line of names, but none of values")
    return names.split(), rest.partition("\n")[0].split()


def columns(text: str) -> tuple[list[str], list[str]]:
    """The names and the values of a file with one of each in a line."""
    words = text.split()
    return words[::2], words[1::2]


class Fields:
    """What becomes of a table's fields.

    `choose` is asked when the names are new: for a declaration and its labels, the fields that it gets, and each one's key.
    """

    __slots__ = ("_choose", "_names", "_parts")

    def __init__(self, choose: Callable[[list[str]], Iterable[Part]]) -> None:
        self._choose = choose
        self._names: list[str] = []
        self._parts: list[tuple[tuple[Series, ...], Callable[[Sequence[Value]], Sequence[Value]]]] = []

    def rows(self, names: list[str], values: list[str]) -> Iterator[Sample]:
        """A row for each declaration that gets something."""
        if len(values) != len(names):
            raise ValueError(f"{len(names)} names from {names[0]} to {names[-1]}, but {len(values)} values")
        numbers = list(map(int, values))
        if names != self._names:
            self._learn(names, numbers)
        for series, pick in self._parts:
            yield series, pick(numbers)

    def _learn(self, names: list[str], numbers: list[int]) -> None:
        self._parts = []
        for metric, labels, chosen in self._choose(names):
            positions = [i for i, name in enumerate(names) if name in chosen]
            if positions:
                pick = picker(positions)
                series, _ = metric.row(pick(numbers), [chosen[names[i]] for i in positions], *labels)
                self._parts.append((series, pick))  # type: ignore[arg-type]
        # Where the series limit left some out, the next run asks again: there may be room by then.
        self._names = [] if any(SURPLUS in series for series, _ in self._parts) else names
