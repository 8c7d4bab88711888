"""Python 2 source, made Python 3: for the custom collectors and handlers of a Diamond host.

`translate` gives the text, line for line; `load` makes a module of a file. What the text cannot say (integer division, `str` that
is bytes, modules that are no more) is in `adamas.translate.python2`, which translated code imports as `_py2`. The grammar is that
of the Python 2.7 language reference; what has no translation is refused with file and line. Nothing here is imported by an agent
that has no such file.

Strings: a `str` of Python 2 is bytes. Translated code has text instead, the UTF-8 reading of those bytes with surrogate escapes,
and whatever crosses the border (files, sockets, pipes, HTTP) is converted there.

What stays different, because the text does not tell: `"%s" % 0.1` has all digits of a float (str() has the 12 of old); int and
long are one type; None and numbers do not sort together; a library that is not Python's own gives bytes where it does on 3.
"""

from __future__ import annotations

from adamas.errors import TranslationError

__all__ = ["command", "load", "translate"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from types import ModuleType


def translate(source: str | bytes, filename: str, siblings: frozenset[str] = frozenset(), legacy: bool = False) -> str:
    """The Python 3 source that does what this Python 2 source did; what is Python 3 already comes back as it is.

    `siblings` are modules beside the file, which Python 2 imports by their bare names. A file that could be either is Python 3,
    unless `legacy` says that it ran on 2. Raises TranslationError with all that cannot be translated.
    """
    from adamas.translate.translation import translate

    return translate(source, filename, siblings, legacy)


def load(path: str, module_name: str, cache_dir: str) -> ModuleType:
    """The module that a file is, translated where needed; see `loading.load`."""
    from adamas.translate import loading

    return loading.load(path, module_name, cache_dir)


def command(arguments: argparse.Namespace) -> int:
    """`adamas translate FILE`: prints the translation, or what stands in its way."""
    import os
    import sys

    from adamas.translate.loading import siblings

    path: str = arguments.file
    try:
        with open(path, "rb") as file:
            source = file.read()
        text = translate(source, path, siblings(os.path.abspath(path)), legacy=True)
    except OSError as error:
        print(f"{path}: {error.strerror}", file=sys.stderr)
        return 1
    except TranslationError as error:
        print(error, file=sys.stderr)
        return 1
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.flush()
    return 0
