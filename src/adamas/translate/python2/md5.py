"""md5."""

from __future__ import annotations

from adamas.translate.python2.hashlib import md5

__all__ = ["md5", "new"]

new = md5
