"""The tokens of Python 2 source, with everything between them, so that joining them gives the source again.

`tokenize` reads the Python that runs it: from 3.12 on it refuses `0777`, `10L` and backticks. The rules here are those of the
Python 2.7 reference, chapter 2; indentation is left to the parser of Python 3, which sees the same lines later.
"""

from __future__ import annotations

import codecs
import re

from adamas.errors import Mistake, TranslationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

COOKIE = re.compile(r"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)", re.ASCII)

_SPACE = re.compile(r"(?:[ \t\f]|\\\n)*")
_TOKEN = re.compile(
    r"""
    (?P<comment> \#[^\n]* )
  | (?P<newline> \n )
  | (?P<string> (?:[uU][rR]?|[bB][rR]?|[rR][bB]?)?
        (?: \"\"\"[^"\\]*(?:(?:\\.|"(?!""))[^"\\]*)*\"\"\"
          | '''[^'\\]*(?:(?:\\.|'(?!''))[^'\\]*)*'''
          | "[^"\\\n]*(?:\\.[^"\\\n]*)*"
          | '[^'\\\n]*(?:\\.[^'\\\n]*)*' ) )
  | (?P<number> 0[xX][0-9a-fA-F]+[lL]? | 0[bB][01]+[lL]? | 0[oO][0-7]+[lL]?
        | (?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+)(?:[eE][+-]?[0-9]+)?[jJ]
        | (?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)? | [0-9]+[eE][+-]?[0-9]+ | [0-9]+[lL]? )
  | (?P<name> [^\W\d]\w* )
  | (?P<op> \*\*= | //= | >>= | <<= | [-+*/%&|^=!<>]= | <> | \*\* | // | << | >> | -> | [-+*/%@&|^~<>()\[\]{},:.`=;] )
    """,
    re.VERBOSE | re.DOTALL,
)


class Token:
    """One token: what stood before it on its line, its text, and where it is (line from 1, column in characters)."""

    __slots__ = ("after", "before", "column", "kind", "line", "space", "text")

    def __init__(self, kind: str, space: str, text: str, line: int, column: int) -> None:
        self.kind = kind
        self.space = space
        self.text = text
        self.line = line
        self.column = column
        self.before = ""
        self.after = ""

    def __str__(self) -> str:
        return f"{self.space}{self.before}{self.text}{self.after}"

    def wrap(self, opening: str, last: Token, closing: str) -> None:
        """Puts text around what goes from here to `last`; what is wrapped later stands further inside."""
        self.before += opening
        last.after = closing + last.after


def decode(source: str | bytes, filename: str) -> str:
    """The text of a source file (PEP 263), its lines ended by a bare line feed; without a cookie it is UTF-8, else Latin-1."""
    if isinstance(source, bytes):
        text = _decode_bytes(source, filename)
    else:
        text = source
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def _decode_bytes(source: bytes, filename: str) -> str:
    if source.startswith(codecs.BOM_UTF8):
        name, line = "utf-8", 1
    else:
        name, line = "", 0
        for number, text in enumerate(source.decode("latin-1").splitlines()[:2], 1):
            if found := COOKIE.match(text):
                name, line = found[1], number
                break
    try:
        return source.decode(name or "utf-8")
    except LookupError:
        raise TranslationError([Mistake(filename, line, f'unknown encoding "{name}"')]) from None
    except UnicodeDecodeError as error:
        if name:
            line = source.count(b"\n", 0, error.start) + 1
            raise TranslationError([Mistake(filename, line, f"not {name}: {error.reason}")]) from None
        return source.decode("latin-1")


def tokens(text: str, filename: str) -> list[Token]:
    """All tokens, the last one of kind `end`. A `newline` ends a logical line, an `nl` only a line of the file."""
    found: list[Token] = []
    depth = 0
    fresh = True
    position, line, start = 0, 1, 0
    while True:
        match = _SPACE.match(text, position)
        assert match
        space = match[0]
        if "\\\n" in space:
            line += space.count("\n")
            start = position + space.rindex("\n") + 1
        position = match.end()
        if position == len(text):
            break
        match = _TOKEN.match(text, position)
        if match is None:
            what = "a string that does not end" if text[position] in "'\"" else f"what is {text[position]!r} here?"
            raise TranslationError([Mistake(filename, line, what)])
        kind, word = match.lastgroup or "", match[0]
        if kind == "newline" and (depth or fresh):
            kind = "nl"
        found.append(Token(kind, space, word, line, position - start))
        if kind == "newline":
            fresh = True
        elif kind not in ("nl", "comment"):
            fresh = False
        if kind == "op":
            if word in "([{":
                depth += 1
            elif word in ")]}":
                depth = max(0, depth - 1)
        position = match.end()
        if "\n" in word:
            line += word.count("\n")
            start = position - len(word) + word.rindex("\n") + 1
    if not fresh:
        found.append(Token("newline", "", "", line, position - start))
    found.append(Token("end", space, "", line, position - start))
    return found


def join(parts: list[Token]) -> str:
    """The source that these tokens are."""
    return "".join(map(str, parts))


def logical_lines(parts: list[Token]) -> Iterator[list[Token]]:
    """The tokens of one logical line after the other, without comments, and without the newline at its end."""
    line: list[Token] = []
    for token in parts:
        if token.kind in ("newline", "end"):
            if line:
                yield line
            line = []
        elif token.kind not in ("nl", "comment"):
            line.append(token)


def even_indentation(text: str, parts: list[Token]) -> str:
    """The source with tabs at the start of logical lines as far as the next column of eight, if tabs and spaces are mixed."""
    lines = text.split("\n")
    starts = {line[0].line - 1 for line in logical_lines(parts)}
    heads = {number: lines[number][: len(lines[number]) - len(lines[number].lstrip(" \t\f"))] for number in starts}
    if not any("\t" in h for h in heads.values()) or not any(" " in h for h in heads.values()):
        return text
    for number, head in heads.items():
        lines[number] = head.rpartition("\f")[2].expandtabs(8) + lines[number][len(head) :]
    return "\n".join(lines)
