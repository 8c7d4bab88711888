"""operator: with div and the questions that collections.abc answers now."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from typing import Any

from adamas.translate.python2 import divisor
from adamas.translate.python2.module import stand_in

__all__ = ["div", "isCallable", "isMappingType", "isNumberType", "isSequenceType", "sequenceIncludes"]

sequenceIncludes = operator.contains  # noqa: N816
isCallable = callable  # noqa: N816


def div(a: Any, b: Any) -> Any:
    """a / b, floored for integers."""
    return a / divisor(b)


def isMappingType(value: Any) -> bool:
    """Whether this is a mapping."""
    return isinstance(value, Mapping)


def isNumberType(value: Any) -> bool:
    """Whether this is a number."""
    return isinstance(value, (int, float, complex))


def isSequenceType(value: Any) -> bool:
    """Whether this is a sequence."""
    return isinstance(value, Sequence)


stand_in(__name__, operator, *__all__)
