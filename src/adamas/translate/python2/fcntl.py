"""fcntl: arguments and answers are str."""

from __future__ import annotations

import fcntl as _fcntl
from typing import Any

from adamas.translate.python2.file import underneath
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text


def ioctl(fd: Any, request: int, argument: Any = 0, mutate: bool = True) -> Any:
    """ioctl(2)."""
    return text(_fcntl.ioctl(underneath(fd), request, raw(argument), mutate))


def fcntl(fd: Any, command: int, argument: Any = 0) -> Any:
    """fcntl(2)."""
    return text(_fcntl.fcntl(underneath(fd), command, raw(argument)))


stand_in(__name__, _fcntl)
