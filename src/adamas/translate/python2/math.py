"""math: floor, ceil and trunc of a float are floats."""

from __future__ import annotations

import math

from adamas.translate.python2.module import stand_in


def floor(value: float) -> float:
    """Down to a whole number."""
    return float(math.floor(value)) if math.isfinite(value) else float(value)


def ceil(value: float) -> float:
    """Up to a whole number."""
    return float(math.ceil(value)) if math.isfinite(value) else float(value)


stand_in(__name__, math)
