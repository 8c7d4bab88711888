"""pipes, of which quote() is left."""

from __future__ import annotations

from shlex import quote

__all__ = ["quote"]
