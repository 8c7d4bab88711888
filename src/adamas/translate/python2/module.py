"""How a module stands in for one of the library: what it does not have itself is the library's."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class StandIn(ModuleType):
    """A module in front of another; what is set on it reaches both."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_behind"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_"):
            setattr(self.__dict__["_behind"], name, value)


def stand_in(name: str, behind: ModuleType, *added: str) -> None:
    """Puts the module of this name in front of `behind`; `added` are the names that it has besides, for `import *`."""
    module = sys.modules[name]
    module.__dict__["_behind"] = behind
    public = getattr(behind, "__all__", None) or [n for n in vars(behind) if not n.startswith("_")]
    module.__dict__["__all__"] = sorted({*public, *added})
    module.__class__ = StandIn
