"""sys, as of Python 2.7."""

from __future__ import annotations

import sys
from typing import Any

from adamas.translate.python2.module import StandIn, stand_in

maxint = sys.maxsize
long_info = sys.int_info
version_info = (2, 7, 18, "final", 0)
hexversion = 0x020712F0
subversion = ("CPython", "", "")
api_version = 1013
py3kwarning = False


def setdefaultencoding(name: str) -> None:
    """Strings have no default encoding to set."""


def exc_clear() -> None:
    """The exception that is handled goes by itself."""


class _Sys(StandIn):
    @property
    def exc_type(self) -> Any:
        return sys.exc_info()[0]

    @property
    def exc_value(self) -> Any:
        return sys.exc_info()[1]

    @property
    def exc_traceback(self) -> Any:
        return sys.exc_info()[2]


stand_in(__name__, sys, "maxint", "setdefaultencoding", "exc_clear")
sys.modules[__name__].__class__ = _Sys
