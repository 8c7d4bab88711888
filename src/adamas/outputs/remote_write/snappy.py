"""Snappy's block format, written: by the library cramjam where it is installed, else as literals, as long as the data.

A block is the length of its data and then elements, whose copies point back by so many bytes: so elements of several
pieces, one after the other, are the elements of the whole.

Source: https://github.com/google/snappy/blob/main/format_description.txt.
"""

from __future__ import annotations

from adamas.protobuf import read_varint, varint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

LONGEST = 1 << 16
"""The most bytes in one literal: what other writers of the format make of one at the most."""
_library: object = None


def elements(data: bytes) -> bytes:
    """The data as elements, without its length."""
    global _library
    if _library is None:
        try:
            import cramjam

            _library = cramjam.snappy.compress_raw
        except ImportError:
            _library = False
    if not callable(_library):
        return literals(data)
    packed = bytes(_library(data))
    return packed[read_varint(packed, 0)[1] :]


def literals(data: bytes) -> bytes:
    """The data as it is, in literals."""
    out = []
    for at in range(0, len(data), LONGEST):
        piece = data[at : at + LONGEST]
        last = len(piece) - 1
        if last < 60:
            out.append(bytes((last << 2,)))
        elif last < 1 << 8:
            out.append(bytes((60 << 2, last)))
        else:
            out.append(bytes((61 << 2, last & 255, last >> 8)))
        out.append(piece)
    return b"".join(out)


def block(length: int, parts: Sequence[bytes]) -> bytes:
    """A block of the elements of so many bytes of data."""
    return varint(length) + b"".join(parts)
