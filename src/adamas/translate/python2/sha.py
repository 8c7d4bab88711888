"""sha."""

from __future__ import annotations

from adamas.translate.python2.hashlib import sha1

__all__ = ["new", "sha"]

new = sha = sha1
