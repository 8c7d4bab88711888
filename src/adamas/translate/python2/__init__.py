"""What translated code calls, as `_py2.name`: the statements, builtins and methods of Python 2 that Python 3 has not.

The modules of this package stand in for those of the library that changed. Built after the Python 2.7 library reference.
"""

from __future__ import annotations

import builtins
import itertools
import math
import sys
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from functools import cmp_to_key, reduce
from sys import intern
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.text import (
    bytearray_,
    chr_,
    decode,
    encode,
    ord_,
    raw,
    text,
    text_of,
    translate,
)

__all__ = ["File", "builtins", "bytearray_", "chr_", "decode", "encode", "intern", "ord_", "reduce", "text"]
__all__ += ["text_of", "translate"]

_VIEWS = (KeysView, ValuesView, ItemsView)


# Statements.


def print_(*items: Any, more: bool = False) -> None:
    """`print a, b`, and with a comma at the end if there is more to come on the line."""
    print_to(None, *items, more=more)


def print_to(file: Any, *items: Any, more: bool = False) -> None:
    """`print >>file, a, b`."""
    out: Any = sys.stdout if file is None else file
    if out is None:
        return
    waiting: Any = getattr(out, "softspace", None)
    line = " " * bool(items and waiting) + " ".join(text_of(item) for item in items)
    try:
        out.softspace = int(more and not line.endswith(("\n", "\t")))
    except AttributeError:
        pass
    line += "" if more else "\n"
    try:
        out.write(line)
    except UnicodeEncodeError:
        out.flush()
        out.buffer.write(raw(line))


def code(source: Any, filename: str = "<string>") -> Any:
    """What exec runs: a string of Python 2 is translated first."""
    if isinstance(source, File):
        source, filename = source.read(), str(source.name)
    if not isinstance(source, (str, bytes)):
        return source
    from adamas.translate.translation import translate as translate_source

    return builtins.compile(translate_source(source, filename, legacy=True), filename, "exec", dont_inherit=True)


def code_of(filename: str) -> Any:
    """What execfile runs."""
    with open(filename, "rb") as file:
        return code(file.read(), filename)


def exception(kind: Any, value: Any = None, traceback: Any = None) -> BaseException:
    """The exception of `raise kind, value, traceback`."""
    while isinstance(kind, tuple) and kind:
        kind = kind[0]
    if isinstance(kind, BaseException):
        made = kind
    elif isinstance(value, BaseException) and isinstance(value, kind):
        made = value
    elif value is None:
        made = kind()
    else:
        made = kind(*value) if isinstance(value, tuple) else kind(value)
    return made.with_traceback(traceback) if traceback is not None else made


def arguments(error: Any) -> Any:
    """What an exception gives when it is indexed or taken apart."""
    return error if hasattr(error, "__getitem__") else error.args


def message(error: Any) -> Any:
    """`error.message`."""
    if hasattr(error, "message"):
        return error.message
    return error.args[0] if len(error.args) == 1 else ""


# Operators.


class _Divisor(int):
    """An integer that an integer is divided by: the quotient is floored."""

    def __rtruediv__(self, other: Any) -> Any:
        return other // int(self) if isinstance(other, int) else other / int(self)


def divisor(value: Any) -> Any:
    """The right side of `/` where the file did not ask for the division of Python 3."""
    return _Divisor(value) if isinstance(value, int) else value


def repr_(*values: Any) -> str:
    """Backticks."""
    value = values[0] if len(values) == 1 else values
    return repr(raw(value))[1:] if isinstance(value, str) else repr(value)


class Class:
    """The base of classes that have methods by which Python 2 found what Python 3 looks for under another name."""

    __slots__ = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = cls.__dict__
        for old, new in (("next", "__next__"), ("__nonzero__", "__bool__"), *_DIVISIONS):
            if old in own and new not in own:
                setattr(cls, new, own[old])
        if "__cmp__" in own:
            for name, holds in _COMPARISONS.items():
                if name not in own:
                    setattr(cls, name, _comparison(holds))
        if ("__eq__" in own or "__cmp__" in own) and own.get("__hash__") is None:
            inherited = builtins.next(
                (b.__dict__["__hash__"] for b in cls.__mro__[1:] if b.__dict__.get("__hash__")), object.__hash__
            )
            cls.__hash__ = inherited  # type: ignore[method-assign]
        for old, new in (("__getslice__", "__getitem__"), ("__setslice__", "__setitem__"), ("__delslice__", "__delitem__")):
            if old in own:
                setattr(cls, new, _with_slices(own[old], getattr(cls, new, None)))


_DIVISIONS = (("__div__", "__truediv__"), ("__rdiv__", "__rtruediv__"), ("__idiv__", "__itruediv__"))
_COMPARISONS = {
    "__lt__": lambda order: order < 0,
    "__le__": lambda order: order <= 0,
    "__gt__": lambda order: order > 0,
    "__ge__": lambda order: order >= 0,
    "__eq__": lambda order: order == 0,
    "__ne__": lambda order: order != 0,
}


def _comparison(holds: Any) -> Any:
    def compare(self: Any, other: Any) -> Any:
        order = self.__cmp__(other)
        return NotImplemented if order is NotImplemented else holds(order)

    return compare


def _with_slices(sliced: Any, single: Any) -> Any:
    def item(self: Any, key: Any, *value: Any) -> Any:
        if isinstance(key, slice) and key.step is None:
            start, stop = (0 if key.start is None else key.start), (sys.maxsize if key.stop is None else key.stop)
            length = len(self) if min(start, stop) < 0 else 0
            return sliced(self, start + length if start < 0 else start, stop + length if stop < 0 else stop, *value)
        if single is None:
            raise TypeError(f"{type(self).__name__} has slices only")
        return single(self, key, *value)

    return item


# Builtins.


def apply(function: Any, positional: Iterable[Any] = (), named: Any = None) -> Any:
    """apply()."""
    return function(*positional, **(named or {}))


def cmp(a: Any, b: Any) -> int:
    """cmp(): -1, 0 or 1; of what cannot be compared None comes first, then numbers, then the rest by the names of types."""
    if a is b or a == b:
        return 0
    try:
        return int(a > b) - int(a < b)
    except TypeError:
        left, right = (*_rank(a), id(a)), (*_rank(b), id(b))
        return int(left > right) - int(left < right)


def _rank(value: Any) -> tuple[int, str]:
    if value is None:
        return 0, ""
    return (1, "") if isinstance(value, (int, float)) else (2, type(value).__name__)


def map_(function: Any, *sequences: Iterable[Any]) -> list[Any]:
    """map(): a list; what is shorter is filled up with None, and no function is a zip."""
    if len(sequences) == 1:
        return list(sequences[0]) if function is None else [function(item) for item in sequences[0]]
    rows = itertools.zip_longest(*sequences)
    return list(rows) if function is None else [function(*row) for row in rows]


def filter_(function: Any, sequence: Any) -> Any:
    """filter(): a str of a str, a tuple of a tuple, a list of anything else."""
    kept = builtins.filter(function, sequence)
    if isinstance(sequence, str):
        return "".join(kept)
    return tuple(kept) if isinstance(sequence, tuple) else list(kept)


def zip_(*sequences: Iterable[Any]) -> list[Any]:
    """zip(): a list."""
    return list(builtins.zip(*sequences))


def round_(number: Any, digits: int = 0) -> float:
    """round(): a float, halves away from zero."""
    value = float(number)
    if not math.isfinite(value) or digits > 300:
        return value
    from decimal import ROUND_HALF_UP, Context, Decimal

    # The exact value decides, as in C: 2.675 is below the half, 0.5 is one.
    context = Context(prec=800, rounding=ROUND_HALF_UP)
    return math.copysign(float(Decimal(value).quantize(Decimal(1).scaleb(-digits), context=context)), value)


def oct_(number: int) -> str:
    """oct(): `017`."""
    return "0" if number == 0 else f"{'-' * (number < 0)}0{abs(number):o}"


def input_(prompt: Any = "") -> Any:
    """input(): what was typed, evaluated."""
    return eval(builtins.input(prompt))


def reload(module: Any) -> Any:
    """reload(); of `sys` it was only ever called for setdefaultencoding, and does nothing."""
    if module.__name__.startswith(f"{__name__}."):
        return module
    import importlib

    return importlib.reload(module)


def sorted_(items: Iterable[Any], cmp: Any = None, key: Any = None, reverse: bool = False) -> list[Any]:
    """sorted() with a comparing function."""
    found = list(items)
    sort(found, cmp, key, reverse)
    return found


def buffer(value: Any, offset: int = 0, size: int | None = None) -> Any:
    """buffer(): a part of a string."""
    data = raw(value)[offset:]
    return text(data if size is None else data[:size])


# Methods: of an object that has one of this name, its own.


def sort(items: Any, cmp: Any = None, key: Any = None, reverse: bool = False) -> Any:
    """`items.sort(cmp)`."""
    if not isinstance(items, list):
        return items.sort(*[x for x in (cmp, key) if x is not None])
    by = key
    if cmp is not None:
        compare = cmp_to_key(cmp)
        by = compare if key is None else lambda item: compare(key(item))
    return items.sort(key=by, reverse=reverse)


def listed(view: Any) -> Any:
    """keys(), values() and items() of a dict are lists; of anything else they are what they are."""
    return list(view) if isinstance(view, _VIEWS) else view


def has_key(mapping: Any, key: Any) -> Any:
    """`mapping.has_key(key)`."""
    own = getattr(mapping, "has_key", None)
    return key in mapping if own is None else own(key)


def _lazy(mapping: Any, method: str, plain: str) -> Iterator[Any]:
    own = getattr(mapping, method, None)
    return iter(getattr(mapping, plain)() if own is None else own())


def iteritems(mapping: Any) -> Iterator[Any]:
    """`mapping.iteritems()`."""
    return _lazy(mapping, "iteritems", "items")


def iterkeys(mapping: Any) -> Iterator[Any]:
    """`mapping.iterkeys()`."""
    return _lazy(mapping, "iterkeys", "keys")


def itervalues(mapping: Any) -> Iterator[Any]:
    """`mapping.itervalues()`."""
    return _lazy(mapping, "itervalues", "values")


def viewitems(mapping: Any) -> Any:
    """`mapping.viewitems()`."""
    return mapping.viewitems() if hasattr(mapping, "viewitems") else mapping.items()


def viewkeys(mapping: Any) -> Any:
    """`mapping.viewkeys()`."""
    return mapping.viewkeys() if hasattr(mapping, "viewkeys") else mapping.keys()


def viewvalues(mapping: Any) -> Any:
    """`mapping.viewvalues()`."""
    return mapping.viewvalues() if hasattr(mapping, "viewvalues") else mapping.values()


def next(iterator: Any) -> Any:
    """`iterator.next()`."""
    own = getattr(iterator, "next", None)
    return builtins.next(iterator) if own is None else own()


def isAlive(thread: Any) -> Any:
    """`thread.isAlive()`."""
    return thread.isAlive() if hasattr(thread, "isAlive") else thread.is_alive()


def getchildren(element: Any) -> Any:
    """`element.getchildren()` of ElementTree."""
    return element.getchildren() if hasattr(element, "getchildren") else list(element)


def getiterator(element: Any, *tag: Any) -> Any:
    """`element.getiterator(tag)` of ElementTree."""
    return element.getiterator(*tag) if hasattr(element, "getiterator") else element.iter(*tag)
