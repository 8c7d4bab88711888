"""Finding classes by their dotted names, and which Diamond this stands for."""

from __future__ import annotations

import importlib
import os
from types import ModuleType

VERSION = "4.0.515"
"""The last Diamond that was released: what code asks for that behaves by version."""


def get_diamond_version() -> str:
    """The version of Diamond whose names these are."""
    return VERSION


def load_modules_from_path(path: str) -> list[ModuleType]:
    """Every module that lies in a folder, loaded under a private name. Raises what a module raises."""
    from diamond.loading import load_file

    names = sorted(name for name in os.listdir(path) if name.endswith(".py") and not name.startswith("."))
    return [load_file(os.path.join(path, name)) for name in names]


def load_class_from_name(fqcn: str) -> type:
    """The class of a dotted name; ImportError where there is none."""
    module, _, name = fqcn.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (AttributeError, ValueError):
        raise ImportError(f"there is no class {fqcn}") from None
    if not isinstance(found, type):
        raise ImportError(f"{fqcn} is no class")
    return found
