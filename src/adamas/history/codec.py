"""How samples are written: columns, chunks and stamps. Pure; what is in the file can be read with this page alone.

A **column** is the values of one series at the runs of a block, in their order. Its first byte says how it is written:

    0xff    the same double each time: 8 bytes
    0xfe    doubles, each XORed with the one before it (the first as it is), then transposed: the lowest byte of each,
            then the second lowest of each, and so on
    0xfd    with gaps: a bitmap of the runs (lowest bit first, 1 where there is a value), then a column of those values
    other   decimals: integers over a scale. Bits 0-2: each residual has 0, 1, 2, 4 or 8 bytes; bit 3: differences;
            bits 4-5: the scale is 1, 10, 100 or 1000; bit 6: a unit follows (else it is 1).
            Then, as 8-byte signed integers: the unit, if there is one; a base; for differences a step. Then the residuals.
            plain: value = (base + residual * unit) / scale
            differences: the first is base / scale, each next integer is the one before + step + residual * unit

A **chunk** is up to 16 columns of series that stand side by side: 16 lengths of 2 bytes (0: no column), then the columns, in one
zlib stream. One stream for all of them, because to start one costs more than to compress a column.

The **stamps** of a block: the number of runs and the length of the next column, 2 bytes each; the times in seconds since 1970, as
a column; the seconds that each run's increases took, as a column (missing where there are none); in one zlib stream.

All numbers are in the machine's byte order. Values come back as the doubles they were, with two exceptions: -0.0 may become 0.0,
and increases that are decimals but for the rounding of a subtraction (0.0699999999997) become those decimals (0.07), at most
1e-7 of themselves away.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from itertools import accumulate
from math import gcd
from operator import sub

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SLAB = 16
"""How many series share a chunk."""

CONSTANT, DOUBLES, GAPS = 0xFF, 0xFE, 0xFD
DIFFERENCES, SCALE_SHIFT, UNIT = 1 << 3, 4, 1 << 6
SCALES = (1, 10, 100, 1000)
WHOLE = 2.0**53
NEAR, RELATIVE = 1e-5, 1e-7
"""How far an increase may be from a decimal, in units of its last digit and relative to itself."""

_TYPES = ("", "B", "H", "I", "Q")
_SIZES = (0, 1, 2, 4, 8)
_LENGTHS = struct.Struct(f"={SLAB}H")
_HEAD = struct.Struct("=HH")
_DOUBLE = struct.Struct("=d")
_LEVEL = 1

NAN = float("nan")


class Damaged(ValueError):
    """Bytes that were not written by this module, or not all of them."""


def encode(column: array[float], increase: bool = False, gaps: bool = False) -> bytes:
    """A column; `gaps`: it may have NaNs, which stand for no value. Empty where it has no value at all."""
    if gaps:
        there = [v == v for v in column]
        if not all(there):
            if not any(there):
                return b""
            bitmap = sum(1 << i for i, there_is in enumerate(there) if there_is)
            inner = encode(array("d", [v for v in column if v == v]), increase)
            return bytes([GAPS]) + bitmap.to_bytes((len(column) + 7) // 8, "little") + inner
    raw = column.tobytes()
    count = len(column)
    if raw == raw[:8] * count:
        return b"\xff" + raw[:8]
    values = column.tolist()
    found = _decimals(values, increase)
    if found is None:
        bits = int.from_bytes(raw, "little")
        bits ^= (bits << 64) & ((1 << (64 * count)) - 1)
        raw = bits.to_bytes(8 * count, "little")
        return b"\xfe" + b"".join([raw[i::8] for i in range(8)])
    return _pack(*found)


def _decimals(values: list[float], increase: bool) -> tuple[int, list[int]] | None:
    """(which scale, the integers over it), or None where the values are no decimals."""
    if min(values) < -WHOLE or max(values) > WHOLE:
        return None
    whole = list(map(int, values))
    if whole == values:
        return 0, whole
    probes = (values[0], values[len(values) // 2], values[-1])
    for which in (1, 2, 3):
        scale = SCALES[which]
        fits = _near if increase else _exact
        if fits(probes, list(map(round, [v * scale for v in probes])), scale):
            whole = list(map(round, [v * scale for v in values]))
            if fits(values, whole, scale) and max(map(abs, whole)) < WHOLE:
                return which, whole
    return None


def _exact(values: Sequence[float], whole: Sequence[int], scale: int) -> bool:
    return [i / scale for i in whole] == list(values)


def _near(values: Sequence[float], whole: Sequence[int], scale: int) -> bool:
    return all(abs(v * scale - i) <= min(NEAR, RELATIVE * abs(i)) for v, i in zip(values, whole))


def _pack(which: int, whole: list[int]) -> bytes:
    code = which << SCALE_SHIFT
    steps = list(map(sub, whole[1:], whole))
    low, step = min(whole), min(steps)
    if max(whole) - low <= max(steps) - step:
        head, residuals = [low], [i - low for i in whole]
    else:
        code |= DIFFERENCES
        head, residuals = [whole[0], step], [i - step for i in steps]
    width = _width(max(residuals))
    if width > 1:
        # Memory comes in pages and sectors: without their size the residuals are narrower.
        unit = gcd(*residuals)
        if unit > 1 and _width(max(residuals) // unit) < width:
            residuals = [i // unit for i in residuals]
            width = _width(max(residuals))
            code |= UNIT
            head.insert(0, unit)
    data = struct.pack(f"=B{len(head)}q", code | width, *head)
    return data + array(_TYPES[width], residuals).tobytes() if width else data


def _width(most: int) -> int:
    return 0 if not most else 1 if most < 1 << 8 else 2 if most < 1 << 16 else 3 if most < 1 << 32 else 4


def decode(column: bytes, count: int) -> list[float]:
    """The values of a column over so many runs; NaN where there is none. Raises Damaged."""
    try:
        return _decode(column, count)
    except (struct.error, IndexError, ValueError, OverflowError) as error:
        raise Damaged(f"a column cannot be read: {error}") from None


def _decode(column: bytes, count: int) -> list[float]:
    code = column[0]
    if code == CONSTANT:
        return list(_DOUBLE.unpack_from(column, 1)) * count
    if code == DOUBLES:
        plane = bytearray(8 * count)
        for i in range(8):
            plane[i::8] = column[1 + i * count : 1 + (i + 1) * count]
        bits = int.from_bytes(plane, "little")
        shift = 64
        while shift < 64 * count:
            bits ^= bits << shift
            shift *= 2
        bits &= (1 << (64 * count)) - 1
        return array("d", bits.to_bytes(8 * count, "little")).tolist()
    if code == GAPS:
        size = (count + 7) // 8
        bitmap = int.from_bytes(column[1 : 1 + size], "little")
        if column[1 + size] == GAPS:
            raise Damaged("gaps in gaps")
        there = iter(_decode(column[1 + size :], bitmap.bit_count()))
        return [next(there) if bitmap >> i & 1 else NAN for i in range(count)]
    offset = 1
    unit = 1
    if code & UNIT:
        (unit,) = struct.unpack_from("=q", column, offset)
        offset += 8
    (base,) = struct.unpack_from("=q", column, offset)
    offset += 8
    width = code & 7
    whole: Iterable[int]
    if code & DIFFERENCES:
        (step,) = struct.unpack_from("=q", column, offset)
        if width:
            residuals = _residuals(column, offset + 8, width, count - 1)
            whole = accumulate([step + i * unit for i in residuals], initial=base)
        else:
            whole = range(base, base + step * count, step)
    else:
        residuals = _residuals(column, offset, width, count)
        whole = [base + i for i in residuals] if unit == 1 else [base + i * unit for i in residuals]
    scale = SCALES[code >> SCALE_SHIFT & 3]
    return [i / scale for i in whole] if scale > 1 else list(map(float, whole))


def _residuals(column: bytes, offset: int, width: int, count: int) -> list[int]:
    if not width:
        return [0] * count
    found = array(_TYPES[width], column[offset:]).tolist()
    if len(found) != count:
        raise Damaged(f"{len(found)} residuals for {count}")
    return found


def pack_chunk(columns: Sequence[bytes]) -> bytes:
    """The columns of a slab, an empty one where a series has none."""
    return zlib.compress(_LENGTHS.pack(*map(len, columns)) + b"".join(columns), _LEVEL)


def column_of(chunk: bytes, position: int) -> bytes:
    """One column of a chunk; empty where there is none."""
    try:
        raw = zlib.decompress(chunk)
        lengths = _LENGTHS.unpack_from(raw)
    except (zlib.error, struct.error) as error:
        raise Damaged(f"a chunk cannot be read: {error}") from None
    offset = _LENGTHS.size + sum(lengths[:position])
    return raw[offset : offset + lengths[position]]


def pack_stamps(times: array[float], elapsed: array[float] | None) -> bytes:
    """The stamps of a block."""
    column = encode(times)
    took = b"" if elapsed is None else encode(elapsed)
    return zlib.compress(_HEAD.pack(len(times), len(column)) + column + took, _LEVEL)


def stamps_of(data: bytes, increases: bool) -> tuple[list[float], list[float]]:
    """(seconds since 1970, what the increases took, if that is wanted) of each run of a block. Raises Damaged."""
    try:
        raw = zlib.decompress(data)
        count, length = _HEAD.unpack_from(raw)
    except (zlib.error, struct.error) as error:
        raise Damaged(f"stamps cannot be read: {error}") from None
    end = _HEAD.size + length
    return decode(raw[_HEAD.size : end], count), decode(raw[end:], count) if increases else []
