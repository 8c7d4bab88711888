"""Protocol buffers by hand: the wire format's few pieces, and messages woven from bytes that are known and values that are new.

A series' bytes are the same in every message but for its value and its time. So a sender keeps them for each shape, and a
message is one join: no message objects, and no library.

Source: https://protobuf.dev/programming-guides/encoding/.
"""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
"""The wire types."""
_SMALL = [bytes([n]) for n in range(128)]


def varint(number: int) -> bytes:
    """A number in as few bytes as it takes; a negative one as 64 bits of two's complement."""
    if 0 <= number < 128:
        return _SMALL[number]
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def tag(field: int, wire: int) -> bytes:
    """What a field begins with."""
    return varint(field << 3 | wire)


def number(field: int, value: int) -> bytes:
    """A field that is a whole number, a boolean or an enumeration."""
    return tag(field, VARINT) + varint(value)


def block(field: int, body: bytes) -> bytes:
    """A field that is a message, bytes, or packed numbers."""
    return tag(field, LENGTH) + varint(len(body)) + body


def text(field: int, value: str) -> bytes:
    """A field that is text; nothing where it is empty, as that is its default."""
    return block(field, value.encode("utf-8", "backslashreplace")) if value else b""


def doubles(values: Sequence[int | float]) -> Sequence[bytes]:
    """Each value as the eight bytes of a double."""
    count = len(values)
    return struct.unpack("8s" * count, struct.pack(f"<{count}d", *values))


def weave(tail: bytes, *columns: Sequence[bytes]) -> bytes:
    """The first of each column, the tail, the second of each, the tail, ...: many messages that end alike."""
    width = len(columns) + 1
    parts = [tail] * (width * len(columns[0]))
    for n, column in enumerate(columns):
        parts[n::width] = column
    return b"".join(parts)


def fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field, value) of a message: numbers as they are, everything else as its bytes. ValueError where it is not a message."""
    at, end = 0, len(body)
    while at < end:
        key, at = read_varint(body, at)
        wire = key & 7
        if wire == VARINT:
            value, at = read_varint(body, at)
            yield key >> 3, value
            continue
        if wire == LENGTH:
            length, at = read_varint(body, at)
        elif wire in (FIXED64, FIXED32):
            length = 8 if wire == FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if at + length > end:
            raise ValueError("a field is longer than its message")
        yield key >> 3, body[at : at + length]
        at += length


def read_varint(body: bytes, at: int) -> tuple[int, int]:
    """(number, where it ends) of a varint; ValueError where there is none."""
    value = shift = 0
    while True:
        if at >= len(body) or shift > 63:
            raise ValueError("a number does not end")
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
