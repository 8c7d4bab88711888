"""itertools: the lazy forms of map, filter and zip."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from adamas.translate.python2.module import stand_in

__all__ = ["ifilter", "ifilterfalse", "imap", "izip", "izip_longest"]

ifilter = filter
ifilterfalse = itertools.filterfalse
izip = zip
izip_longest = itertools.zip_longest


def imap(function: Any, *sequences: Iterable[Any]) -> Iterator[Any]:
    """map() that makes no list."""
    return zip(*sequences) if function is None else map(function, *sequences)


stand_in(__name__, itertools, *__all__)
