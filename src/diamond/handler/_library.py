"""Libraries that only some handlers want: imported when such a handler is made."""

from __future__ import annotations

import importlib
from typing import Any


def library(module: str, package: str) -> Any:
    """The module; ImportError that names the package to install where it is not there."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(f"this handler needs {package}: pip install {package} ({error})", name=module) from None
