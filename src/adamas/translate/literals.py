"""Numbers and strings of Python 2, as Python 3 writes them.

A Python 2 `str` is bytes. Translated code has text in its place: the UTF-8 reading of those bytes. A literal that names bytes
that ASCII does not have is therefore made by the run time, `_py2.text(b"\\xff")`.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.translate.lexer import Token

_PARTS = re.compile(r"([a-zA-Z]*)(\"\"\"|'''|\"|')(.*)\2", re.DOTALL)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_RAW_UNICODE = re.compile(r"(?<!\\)((?:\\\\)*)\\(u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8})")


def number(text: str) -> str:
    """`0777` is `0o777`, and `10L` is `10`."""
    bare = text.rstrip("lL") if not text.lower().endswith("j") else text
    if len(bare) > 1 and bare.isdigit() and bare[0] == "0":
        return f"0o{bare.lstrip('0')}" if bare.strip("0") else "0"
    return bare


def strings(line: list[Token], unicode_literals: bool, runtime: str) -> None:
    """Rewrites the string literals of one logical line; neighbours that are one string stay one."""
    start = 0
    while start < len(line):
        end = start
        while end < len(line) and line[end].kind == "string":
            end += 1
        if end > start:
            _run(line[start:end], unicode_literals, runtime)
        start = max(end, start + 1)


def _run(run: list[Token], unicode_literals: bool, runtime: str) -> None:
    parts = []
    for token in run:
        match = _PARTS.fullmatch(token.text)
        assert match
        prefix = match[1].lower()
        parts.append((prefix, match[2], match[3], "u" in prefix or (unicode_literals and "b" not in prefix)))
    binary = any(not unicode and "r" not in prefix and _names_bytes(body) for prefix, _, body, unicode in parts)
    for token, (prefix, quote, body, unicode) in zip(run, parts):
        raw = "r" in prefix
        if unicode:
            if prefix == "ur":
                prefix, body = ("r", body) if not _RAW_UNICODE.search(body) else ("", _cooked(body))
        elif binary:
            prefix = "br" if raw and body.isascii() else "b"
            body = _ascii(body, raw)
        else:
            prefix = "r" if raw else ""
            if not raw:
                body = _ESCAPE.sub(lambda m: "\\" + m[0] if m[1] in ("u", "U", "N") else m[0], body)
        token.text = f"{prefix}{quote}{body}{quote}"
    if binary:
        run[0].before += f"{runtime}.text("
        run[-1].after = ")" + run[-1].after


def _names_bytes(body: str) -> bool:
    """Whether an escape gives a byte that ASCII does not have."""
    for match in _ESCAPE.finditer(body):
        escape = match[1]
        if escape[0] == "x" and len(escape) == 3:
            if int(escape[1:], 16) > 127:
                return True
        elif escape[0] in "01234567" and int(escape, 8) > 127:
            return True
    return False


def _ascii(body: str, raw: bool) -> str:
    """The body as a bytes literal can have it: a character that is not ASCII becomes its UTF-8 bytes."""
    if body.isascii():
        return body
    if raw:
        body = body.replace("\\", "\\\\").replace("'", "\\'").replace('"', '\\"')
    else:
        body = _ESCAPE.sub(lambda m: m[0] if m[1].isascii() else "\\" + m[0], body)
    return "".join(c if c.isascii() else "".join(f"\\x{b:02x}" for b in c.encode()) for c in body)


def _cooked(body: str) -> str:
    r"""A `ur` literal's body without the `r`: every backslash is doubled but the one of \uXXXX."""
    done, at = [], 0
    for match in _RAW_UNICODE.finditer(body):
        done.append(body[at : match.start()].replace("\\", "\\\\") + match[1].replace("\\", "\\\\") + "\\" + match[2])
        at = match.end()
    done.append(body[at:].replace("\\", "\\\\"))
    text = "".join(done)
    return text.replace('\\\\"', '\\\\\\"').replace("\\\\'", "\\\\\\'")
