"""struct: packed values are a str."""

from __future__ import annotations

import struct
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text

__all__ = ["Struct", "pack", "unpack", "unpack_from"]


def pack(form: str, *values: Any) -> Any:
    """Values as a str of bytes."""
    return text(struct.pack(form, *map(raw, values)))


def unpack(form: str, data: Any) -> tuple[Any, ...]:
    """The values of a str."""
    return tuple(map(text, struct.unpack(form, raw(data))))


def unpack_from(form: str, data: Any, offset: int = 0) -> tuple[Any, ...]:
    """The values of a part of a str."""
    return tuple(map(text, struct.unpack_from(form, raw(data), offset)))


class Struct(struct.Struct):
    """A form that is read once."""

    def pack(self, *values: Any) -> Any:
        return text(super().pack(*map(raw, values)))

    def unpack(self, data: Any) -> tuple[Any, ...]:
        return tuple(map(text, super().unpack(raw(data))))

    def unpack_from(self, data: Any, offset: int = 0) -> tuple[Any, ...]:
        return tuple(map(text, super().unpack_from(raw(data), offset)))


stand_in(__name__, struct, *__all__)
