"""Reading configuration files: TOML with the line of every key, includes merged, `${env:NAME}` and `${file:PATH}` filled in.

tomllib tells the line of a syntax error only, and stops at the first. Lines of keys come from a second look at the text;
further syntax errors from reading again with the faulty line blanked.
"""

from __future__ import annotations

import os
import re
import tomllib

from adamas.errors import ConfigError, Mistake
from adamas.host import read_file
from adamas.option import Secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOST_SYNTAX_ERRORS = 20
MOST_SIZE = 4 << 20
BROKEN = "__broken__"
OURS = {"agent", "web", "history", "agent.", "outputs.", "collectors."}
"""How tables of ours begin that no diamond.conf has."""

_HEADER = re.compile(r"\s*\[\[?\s*([^\]#]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
_TABLE = re.compile(r"^\s*\[\s*(\w+\.?)", re.M)
_PART = re.compile(r"""[A-Za-z0-9_-]+|"([^"]*)"|'([^']*)'""")
_FILLED = re.compile(r"\$\{(env|file):([^}]*)\}")


class Tables:
    """Merged tables, and where each key was written: `where(path)` gives file and line of the nearest known part."""

    def __init__(self) -> None:
        self.data: dict[str, Any] = {}
        self.files: list[str] = []
        self.lines: dict[tuple[str, ...], tuple[str, int]] = {}
        self.mistakes: list[Mistake] = []
        self.sections: dict[str, str] = {}
        self.warnings: list[Mistake] = []
        self.notes: list[Mistake] = []

    def where(self, *path: str) -> tuple[str, int]:
        """File and line of a key, or of the table around it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return (self.files[0] if self.files else "configuration", 0)


def is_diamond(path: str) -> bool:
    """Whether a file is a diamond.conf: that has a section [server], which we do not have, or includes one by [configs]."""
    if path.endswith(".toml"):
        return False
    try:
        tables = set(_TABLE.findall(read_file(path, MOST_SIZE).decode("utf-8", "replace")))
    except OSError:
        return False
    return bool(tables & {"server", "configs"}) or (path.endswith(".conf") and not tables & OURS)


def read(path: str) -> Tables:
    """A file with all that it includes; what is wrong is in `mistakes`, so that the rest can be looked at too.

    Raises ConfigError where the file itself cannot be read.
    """
    tables = Tables()
    _read_into(tables, os.path.abspath(path), tables.mistakes, {})
    return tables


def _read_into(tables: Tables, path: str, mistakes: list[Mistake], includers: dict[str, None]) -> None:
    try:
        raw = read_file(path, MOST_SIZE + 1)
    except OSError as error:
        raise ConfigError([Mistake(path, 0, f"cannot be read: {error.strerror}"), *mistakes]) from None
    tables.files.append(path)
    if len(raw) > MOST_SIZE:
        mistakes.append(Mistake(path, 0, f"is larger than {MOST_SIZE >> 20} MiB"))
        return
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        mistakes.append(Mistake(path, raw[: error.start].count(b"\n") + 1, "is not UTF-8 text"))
        return
    data = _parse(path, text, mistakes)
    data.pop(BROKEN, None)
    lines = _lines(text)
    for key, line in lines.items():
        tables.lines.setdefault(key, (path, line))
    data = _fill(data, path, lines, (), mistakes)
    includes = data.pop("include", [])
    if isinstance(includes, str):
        includes = [includes]
    _merge(tables, tables.data, data, (), path, lines, mistakes)
    line = lines.get(("include",), 0)
    if not isinstance(includes, list) or not all(isinstance(i, str) for i in includes):
        mistakes.append(Mistake(path, line, 'include: expected a list of files such as ["conf.d/*.toml"]'))
        return
    if not includes:
        return
    import glob

    for pattern in includes:
        found = sorted(glob.glob(os.path.join(os.path.dirname(path), pattern)))
        if not found and not glob.has_magic(pattern):
            mistakes.append(Mistake(path, line, f"include: {pattern} does not exist"))
        for included in found:
            if included in includers or included == path:
                mistakes.append(Mistake(path, line, f"include: {included} includes itself"))
            else:
                _read_into(tables, included, mistakes, {**includers, path: None})


def _parse(path: str, text: str, mistakes: list[Mistake]) -> dict[str, Any]:
    blanked: set[int] = set()
    while True:
        try:
            return tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            words = str(error)
            match = re.search(r"\(at line (\d+), column (\d+)\)|\(at end of document\)", words)
            all_lines = text.split("\n")
            line = int(match[1]) if match and match[1] else _left_open(text)
            says = words.split(" (at ")[0]
            mistakes.append(Mistake(path, line, f"not TOML: {says[0].lower()}{says[1:]}: {all_lines[line - 1].strip()[:60]}"))
            if line in blanked or len(blanked) >= MOST_SYNTAX_ERRORS or not (match and match[1]):
                return {}
            blanked.add(line)
            # What follows a broken header belongs to no table that we know.
            header = all_lines[line - 1].lstrip().startswith("[")
            all_lines[line - 1] = f"[{BROKEN}.n{line}]" if header else ""
            text = "\n".join(all_lines)


def _left_open(text: str) -> int:
    """The line of the bracket or the quotes that nothing closes before the text ends."""
    depth, quotes, began = 0, "", 1
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip() and not depth and not quotes:
            began = number
        depth, quotes = _open(line, depth, quotes)
    return began


def _lines(text: str) -> dict[tuple[str, ...], int]:
    """The line of every table header and key; values that span lines are stepped over."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    depth, quotes = 0, ""
    for number, line in enumerate(text.split("\n"), 1):
        if not depth and not quotes:
            header = _HEADER.match(line)
            key = None if header else _KEY.match(line)
            if header:
                table = _parts(header[1])
                for length in range(1, len(table) + 1):
                    found.setdefault(table[:length], number)
                continue
            if key:
                path = table + _parts(key[1])
                for length in range(len(table) + 1, len(path) + 1):
                    found.setdefault(path[:length], number)
                line = line[key.end() :]
        depth, quotes = _open(line, depth, quotes)
    return found


def _parts(text: str) -> tuple[str, ...]:
    return tuple([m[1] if m[1] is not None else m[2] if m[2] is not None else m[0] for m in _PART.finditer(text)])


def _open(line: str, depth: int, quotes: str) -> tuple[int, str]:
    """How many brackets, and which triple quotes, are open after this piece of a value."""
    at = 0
    while at < len(line):
        if quotes:
            end = line.find(quotes, at)
            if end < 0:
                return depth, quotes if len(quotes) == 3 else ""
            at, quotes = end + len(quotes), ""
            continue
        three, one = line[at : at + 3], line[at]
        if three in ('"""', "'''"):
            quotes, at = three, at + 3
        elif one in "\"'":
            end = at + 1
            while end < len(line) and line[end] != one:
                end += 2 if line[end] == "\\" and one == '"' else 1
            at = end + 1
        elif one == "#":
            break
        else:
            depth += (one in "[{") - (one in "]}")
            at += 1
    return max(depth, 0), quotes


def _fill(value: Any, path: str, lines: dict[tuple[str, ...], int], at: tuple[str, ...], mistakes: list[Mistake]) -> Any:
    if isinstance(value, dict):
        return {k: _fill(v, path, lines, (*at, k), mistakes) for k, v in value.items()}
    if isinstance(value, list):
        return [_fill(v, path, lines, at, mistakes) for v in value]
    if not isinstance(value, str) or "${" not in value:
        return value
    line = next((lines[at[:n]] for n in range(len(at), 0, -1) if at[:n] in lines), 0)

    def one(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        if kind == "env":
            if name in os.environ:
                return os.environ[name]
            mistakes.append(Mistake(path, line, f"{at[-1]}: the environment has no {name}"))
            return ""
        try:
            return read_file(os.path.join(os.path.dirname(path), name), 65536).decode().strip()
        except OSError as error:
            mistakes.append(Mistake(path, line, f"{at[-1]}: {name} cannot be read: {error.strerror}"))
        return ""

    filled, count = _FILLED.subn(one, value)
    return Secret(filled) if count else value


def _merge(
    tables: Tables,
    into: dict[str, Any],
    data: dict[str, Any],
    at: tuple[str, ...],
    path: str,
    lines: dict[tuple[str, ...], int],
    mistakes: list[Mistake],
) -> None:
    for key, value in data.items():
        there = into.get(key)
        if isinstance(there, dict) and isinstance(value, dict):
            _merge(tables, there, value, (*at, key), path, lines, mistakes)
        elif key in into:
            file, line = tables.where(*at, key)
            name = ".".join((*at, key))
            mistakes.append(Mistake(path, lines.get((*at, key), 0), f"{name}: was set before, in {file}:{line}"))
        else:
            into[key] = value
