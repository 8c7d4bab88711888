"""When a collector runs next. Pure arithmetic: the caller passes the wall clock in.

Windows lie on a grid of the wall clock, `k * interval + offset`. The offset is a stable hash of the host, so that a fleet
spreads out and every run of one host's shared lane meets in one wake-up.
"""

from __future__ import annotations

import zlib

MAX_BACKOFF = 300.0
EARLY = 1.0


def stable_offset(name: str, interval: float) -> float:
    """Where in the interval this name runs: always the same place, spread evenly over names."""
    return (zlib.crc32(name.encode()) % 9973) / 9973 * interval


def window(now: float, interval: float, offset: float) -> float:
    """The start of the window that `now` lies in."""
    return (now - offset) // interval * interval + offset


def next_window(now: float, interval: float, offset: float) -> float:
    """The first start of a window after `now`."""
    return window(now, interval, offset) + interval


def backoff(failures: int, interval: float) -> float:
    """Seconds to leave out after so many failed runs in a row: none after the first, then doubling up to 5 minutes."""
    if failures < 2:
        return 0.0
    return float(min(MAX_BACKOFF, interval * 2 ** min(failures - 1, 16)))
