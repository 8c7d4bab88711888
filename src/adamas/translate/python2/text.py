"""Strings of Python 2 in a Python 3 program.

`text` makes a str of bytes that came from outside, `raw` bytes of a str that goes outside; one undoes the other for any bytes at
all. What is UTF-8 without a NUL is text, a plain str. Anything else is `Binary`, a str that measures, cuts and searches by bytes,
as every str of Python 2 did: protocols with lengths and fixed fields go on working.
"""

from __future__ import annotations

import builtins
import codecs
from collections.abc import Callable, Iterator
from typing import Any, SupportsIndex

ERRORS = "surrogateescape"
BYTEWISE = frozenset(n for n in dir(bytes) if n[0] != "_") & set(dir(str)) - {"join", "maketrans", "translate"}
CODECS = {"string_escape": "unicode_escape", "string-escape": "unicode_escape"}


class Binary(str):
    """A str whose positions are those of its bytes; as text it is what they decode to."""

    data: bytes

    def __new__(cls, data: bytes) -> Binary:
        self = str.__new__(cls, data.decode("utf-8", ERRORS))
        self.data = data
        return self

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, key: SupportsIndex | slice) -> Any:
        part = self.data[key]
        return text(part if isinstance(part, bytes) else bytes((part,)))

    def __iter__(self) -> Iterator[str]:
        return (text(bytes((byte,))) for byte in self.data)

    def __contains__(self, part: object) -> bool:
        return raw(part) in self.data

    def __add__(self, other: str) -> Any:
        return text(self.data + raw(other)) if isinstance(other, str) else NotImplemented

    def __radd__(self, other: str) -> Any:
        return text(raw(other) + self.data) if isinstance(other, str) else NotImplemented

    def __mul__(self, times: SupportsIndex) -> Any:
        return text(self.data * times)

    __rmul__ = __mul__

    def __hash__(self) -> int:
        return str.__hash__(self)

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other)

    def __reduce__(self) -> tuple[type[Binary], tuple[bytes]]:
        return Binary, (self.data,)


def _bytewise(name: str) -> Callable[..., Any]:
    method = getattr(bytes, name)

    def call(self: Binary, *arguments: Any) -> Any:
        return _as_text(method(self.data, *map(_as_bytes, arguments)))

    call.__name__ = name
    return call


for _name in BYTEWISE:
    setattr(Binary, _name, _bytewise(_name))


def _as_text(value: Any) -> Any:
    if isinstance(value, bytes):
        return text(value)
    return type(value)(map(_as_text, value)) if isinstance(value, (list, tuple)) else value


def _as_bytes(value: Any) -> Any:
    if isinstance(value, str):
        return raw(value)
    return tuple(map(_as_bytes, value)) if isinstance(value, tuple) else value


def text(data: Any) -> Any:
    """A str of bytes; anything else as it is."""
    if not isinstance(data, (bytes, bytearray)):
        return data
    data = bytes(data)
    if data.isascii():
        return data.decode("ascii")
    try:
        decoded = data.decode()
    except UnicodeDecodeError:
        return Binary(data)
    return Binary(data) if "\0" in decoded else decoded


def raw(value: Any) -> Any:
    """Bytes of a str; anything else (bytes, a buffer) as it is."""
    if isinstance(value, Binary):
        return value.data
    return value.encode("utf-8", ERRORS) if isinstance(value, str) else value


def plain(value: Any) -> Any:
    """A str that libraries of Python 3 can cut and search: never a Binary."""
    return str(value) if isinstance(value, Binary) else value


def text_of(value: Any = "", encoding: str = "utf-8", errors: str = "strict") -> str:
    """What str(x) and unicode(x, encoding) gave: floats with 12 digits, bytes as text."""
    if isinstance(value, float):
        shown = f"{value:.12g}"
        return shown if not shown.lstrip("-").isdigit() else shown + ".0"
    if isinstance(value, (bytes, bytearray)) or (isinstance(value, str) and encoding != "utf-8"):
        return str(decode(value, encoding, errors))
    if "__str__" not in vars(type(value)) and hasattr(value, "__unicode__"):
        return str(value.__unicode__())
    return value if isinstance(value, str) else str(value)


def decode(value: Any, *arguments: Any, **named: Any) -> Any:
    """`x.decode(...)`: of a str its bytes are decoded; of anything else its own method is called."""
    if not isinstance(value, (str, bytes, bytearray)):
        return value.decode(*arguments, **named)
    encoding, errors = _codec(*arguments, **named)
    data = bytes(raw(value))
    if encoding in CODECS:
        return text(data.decode(CODECS[encoding]).encode("latin-1"))
    if _is_bytes_codec(encoding):
        return text(codecs.getdecoder(encoding)(data)[0])
    if encoding in ("rot13", "rot_13"):
        return codecs.decode(str(value), "rot13")
    return plain(value) if encoding == "utf-8" and data.isascii() else data.decode(encoding, errors)


def encode(value: Any, *arguments: Any, **named: Any) -> Any:
    """`x.encode(...)`: of a str, the bytes of that encoding, as the text that stands for them."""
    if not isinstance(value, (str, bytes, bytearray)):
        return value.encode(*arguments, **named)
    encoding, errors = _codec(*arguments, **named)
    if encoding in CODECS:
        return raw(value).decode("latin-1").encode(CODECS[encoding]).decode("ascii")
    if _is_bytes_codec(encoding):
        return text(codecs.getencoder(encoding)(raw(value))[0])
    if isinstance(value, Binary) or not isinstance(value, str):
        return value
    if encoding in ("rot13", "rot_13"):
        return codecs.encode(value, "rot13")
    return value if encoding == "utf-8" else text(value.encode(encoding, errors))


def _codec(encoding: str = "ascii", errors: str = "strict") -> tuple[str, str]:
    name = encoding.lower()
    if name in CODECS:
        return name, errors
    name = codecs.lookup(name).name
    return name, errors


def _is_bytes_codec(encoding: str) -> bool:
    return encoding in ("base64", "bz2", "hex", "quopri", "uu", "zlib")


def translate(value: Any, table: Any, *deleted: Any) -> Any:
    """`s.translate(table, deletechars)` with a table of 256 characters, or None."""
    if isinstance(value, str) and (table is None or (isinstance(table, str) and len(table) == 256)):
        return text(raw(value).translate(None if table is None else table_of(table), *map(raw, deleted)))
    return value.translate(table, *deleted)


def table_of(table: str) -> bytes:
    """The bytes of a translation table."""
    return bytes(raw(table))


def chr_(number: int) -> str:
    """chr(): one byte."""
    return str(text(bytes((number,))))


def ord_(character: Any) -> int:
    """ord() of a character, or of a byte."""
    data = raw(character)
    return data[0] if len(data) == 1 else builtins.ord(character)


def bytearray_(value: Any = b"", *arguments: Any) -> bytearray:
    """bytearray() of a str without an encoding."""
    return bytearray(value, *arguments) if arguments else bytearray(raw(value))


def on_text(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function on bytes, as one on str."""

    def call(*arguments: Any, **named: Any) -> Any:
        return text(function(*map(raw, arguments), **{key: raw(value) for key, value in named.items()}))

    call.__name__ = getattr(function, "__name__", "call")
    return call
