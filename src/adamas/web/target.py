"""Graphite's target expressions: a pattern, or functions around patterns. Pure: what a pattern stands for is passed in.

The functions are those that Grafana itself calls (constantLine, in its health check) and the few that a panel of one host
needs. Source: https://graphite.readthedocs.io/en/latest/functions.html
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Value: TypeAlias = float | None

MOST_DEPTH = 8

_NAME = re.compile(r"[A-Za-z_]\w*(?=\s*\()")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?(?=\s*[,)])")
_STRING = re.compile(r"\"([^\"]*)\"|'([^']*)'")


class Line(NamedTuple):
    """One series of an answer: what it is called, its path, and a value (or None) for each slot of the grid."""

    target: str
    path: str
    values: Sequence[Value]


class Call(NamedTuple):
    """A function and its arguments: calls, paths and constants."""

    name: str
    arguments: list[Call | Path | float | str]
    text: str


class Path(NamedTuple):
    """A pattern."""

    text: str


class Parser:
    """One expression, from left to right. ValueError where it is none."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def parse(self) -> Call | Path:
        """The whole text."""
        found = self._expression(0)
        self._blank()
        if self._at < len(self._text) or not isinstance(found, (Call, Path)):
            raise ValueError(f'a pattern or a function, not "{self._text}"')
        return found

    def _blank(self) -> None:
        while self._text[self._at : self._at + 1].isspace():
            self._at += 1

    def _take(self, letter: str) -> bool:
        self._blank()
        if self._text[self._at : self._at + 1] != letter:
            return False
        self._at += 1
        return True

    def _expression(self, depth: int) -> Call | Path | float | str:
        if depth > MOST_DEPTH:
            raise ValueError(f"functions at most {MOST_DEPTH} deep")
        self._blank()
        if depth and (string := _STRING.match(self._text, self._at)):
            self._at = string.end()
            return string[1] if string[1] is not None else string[2]
        if depth and (number := _NUMBER.match(self._text, self._at)):
            self._at = number.end()
            return float(number[0])
        if name := _NAME.match(self._text, self._at):
            return self._call(name[0], depth)
        return self._path()

    def _call(self, name: str, depth: int) -> Call:
        start = self._at
        self._at += len(name)
        self._take("(")
        arguments: list[Call | Path | float | str] = []
        if not self._take(")"):
            arguments.append(self._expression(depth + 1))
            while self._take(","):
                arguments.append(self._expression(depth + 1))
            if not self._take(")"):
                raise ValueError(f'a ")" to end {name}(')
        return Call(name, arguments, self._text[start : self._at])

    def _path(self) -> Path:
        start, braces = self._at, 0
        while self._at < len(self._text):
            letter = self._text[self._at]
            braces += (letter == "{") - (letter == "}")
            if letter in "()\"'" or letter.isspace() or (letter == "," and braces <= 0):
                break
            self._at += 1
        if start == self._at:
            raise ValueError(f'a pattern at character {start + 1} of "{self._text}"')
        return Path(self._text[start : self._at])


def paths(expression: Call | Path) -> list[str]:
    """Every pattern of an expression."""
    if isinstance(expression, Path):
        return [expression.text]
    return [text for a in expression.arguments if isinstance(a, (Call, Path)) for text in paths(a)]


def evaluate(expression: Call | Path, find: Callable[[str], list[Line]], slots: int) -> list[Line]:
    """The lines of an expression over a grid of so many slots; `find` gives those of a pattern. ValueError in words."""
    if isinstance(expression, Path):
        return find(expression.text)
    function = FUNCTIONS.get(expression.name)
    if function is None:
        raise ValueError(f"{expression.name}() is not known here; there are {', '.join(FUNCTIONS)}")
    lines: list[Line] = []
    rest: list[float | str] = []
    for argument in expression.arguments:
        if isinstance(argument, (Call, Path)):
            lines += evaluate(argument, find, slots)
        else:
            rest.append(argument)
    least, most = function.counts()
    if not least <= len(rest) <= most:
        raise ValueError(f"{function.signature()}, not {expression.text}")
    for i, given in enumerate(rest):
        name, kind = function.constants[min(i, len(function.constants) - 1)]
        if not isinstance(given, str if kind == "string" else float):
            raise ValueError(f"{function.signature()}: {name} is a {kind}")
    return function.apply(lines, rest, expression.text, slots)


class Function(NamedTuple):
    """A function: what the editor of Grafana shows of it, and what it does."""

    name: str
    group: str
    description: str
    constants: tuple[tuple[str, str], ...]
    apply: Callable[[list[Line], list[Any], str, int], list[Line]]
    series: bool = True
    multiple: bool = False
    optional: bool = False

    def counts(self) -> tuple[int, float]:
        """How many constants it takes, at least and at most."""
        least = 0 if self.optional else len(self.constants)
        return least, float("inf") if self.multiple else len(self.constants)

    def signature(self) -> str:
        """How it is called."""
        last = ", ..." if self.multiple else ""
        return f"{self.name}({', '.join((['seriesList'] if self.series else []) + [n for n, _ in self.constants])}{last})"

    def described(self) -> dict[str, Any]:
        """As Graphite's /functions says it."""
        parameters = [{"name": "seriesList", "type": "seriesList", "required": True}] if self.series else []
        parameters += [
            {"name": name, "type": kind, "required": not self.optional, "multiple": self.multiple}
            for name, kind in self.constants
        ]
        return {
            "name": self.name,
            "function": self.signature(),
            "description": self.description,
            "module": "graphite.render.functions",
            "group": self.group,
            "params": parameters,
        }


def _alias(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
    return [line._replace(target=rest[0]) for line in lines]


def _alias_by_node(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
    found = []
    for line in lines:
        nodes = line.path.split(".")
        chosen = [nodes[int(n)] for n in rest if -len(nodes) <= int(n) < len(nodes)]
        found.append(line._replace(target=".".join(chosen)))
    return found


def _combine(combine: Callable[[list[float]], float]) -> Callable[[list[Line], list[Any], str, int], list[Line]]:
    def apply(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
        if not lines:
            return []
        values: list[Value] = []
        for column in zip(*[line.values for line in lines]):
            there = [value for value in column if value is not None]
            values.append(combine(there) if there else None)
        return [Line(text, text, values)]

    return apply


def _each(change: Callable[[float, float], float], name: str) -> Callable[[list[Line], list[Any], str, int], list[Line]]:
    def apply(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
        by = rest[0]
        return [
            Line(f"{name}({o.target},{by:g})", o.path, [None if v is None else change(v, by) for v in o.values]) for o in lines
        ]

    return apply


def _percent(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
    if rest:
        totals: Sequence[Value] = [rest[0]] * slots
    else:
        totals = _combine(sum)(lines, [], "", slots)[0].values if lines else []
    return [
        Line(f"asPercent({o.target})", o.path, [v * 100 / t if v is not None and t else None for v, t in zip(o.values, totals)])
        for o in lines
    ]


def _constant(lines: list[Line], rest: list[Any], text: str, slots: int) -> list[Line]:
    name = f"{rest[0]:g}"
    return [Line(name, name, [rest[0]] * slots)]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


_NODE = (("nodes", "node"),)

FUNCTIONS = {
    function.name: function
    for function in (
        Function("alias", "Alias", "Call the series by another name.", (("newName", "string"),), _alias),
        Function("aliasByNode", "Alias", "Call each series by parts of its path.", _NODE, _alias_by_node, multiple=True),
        Function(
            "aliasByMetric",
            "Alias",
            "Call each series by the last part of its path.",
            (),
            lambda s, r, t, n: _alias_by_node(s, [-1], t, n),
        ),
        Function(
            "asPercent",
            "Combine",
            "Each series in percent of their sum, or of a number.",
            (("total", "float"),),
            _percent,
            optional=True,
        ),
        Function("averageSeries", "Combine", "The average of the series.", (), _combine(_mean)),
        Function("avg", "Combine", "Short for averageSeries.", (), _combine(_mean)),
        Function("maxSeries", "Combine", "The largest of the series.", (), _combine(max)),
        Function("minSeries", "Combine", "The smallest of the series.", (), _combine(min)),
        Function("sumSeries", "Combine", "The sum of the series.", (), _combine(sum)),
        Function("sum", "Combine", "Short for sumSeries.", (), _combine(sum)),
        Function(
            "scale", "Transform", "Each value times a factor.", (("factor", "float"),), _each(lambda v, by: v * by, "scale")
        ),
        Function(
            "offset", "Transform", "Each value plus a number.", (("factor", "float"),), _each(lambda v, by: v + by, "offset")
        ),
        Function("constantLine", "Special", "A line at a value.", (("value", "float"),), _constant, series=False),
    )
}
