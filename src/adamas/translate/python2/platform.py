"""platform, with the names of the distribution."""

from __future__ import annotations

import platform as _platform
from typing import Any

from adamas.translate.python2.module import stand_in


def linux_distribution(*arguments: Any, **named: Any) -> tuple[str, str, str]:
    """(name, version, code name), from os-release(5)."""
    try:
        known = _platform.freedesktop_os_release()
    except OSError:
        return "", "", ""
    return known.get("NAME", ""), known.get("VERSION_ID", ""), known.get("VERSION_CODENAME", "")


def dist(*arguments: Any, **named: Any) -> tuple[str, str, str]:
    """(id, version, code name), from os-release(5)."""
    try:
        known = _platform.freedesktop_os_release()
    except OSError:
        return "", "", ""
    return known.get("ID", ""), known.get("VERSION_ID", ""), known.get("VERSION_CODENAME", "")


stand_in(__name__, _platform, "dist", "linux_distribution")
