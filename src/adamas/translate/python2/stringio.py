"""StringIO and cStringIO."""

from __future__ import annotations

from adamas.translate.python2.file import StringIO

__all__ = ["InputType", "OutputType", "StringIO"]

InputType = OutputType = StringIO
