"""sets."""

from __future__ import annotations

__all__ = ["ImmutableSet", "Set"]

Set = set
ImmutableSet = frozenset
