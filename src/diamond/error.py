"""The exception that Diamond's own modules raise."""

from __future__ import annotations


class DiamondException(Exception):
    """Something that a collector, handler or configuration asked for cannot be done."""
