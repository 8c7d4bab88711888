"""Loading files that were written for Diamond: under private names, translated where they are Python 2.

A file called http.py must not hide the library's module, so each file becomes a module of a name of its own. The files beside
it can still be imported by their bare names, as Diamond allowed, where no installed module has that name; and so can
Diamond's own handlers in a handler (`from graphite import GraphiteHandler`), which Python 2 found beside it.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import io
import os
import re
import sys
import tokenize
import warnings
import zlib
from collections.abc import Iterable, Sequence
from types import CodeType, ModuleType
from typing import Any

HANDLERS = ("Handler", "graphite", "graphitepickle", "multigraphite", "multigraphitepickle", "hostedgraphite")
"""Modules of diamond.handler that handlers import by their bare names."""
LEFT_OUT = ("test", "tests", "fixtures")

_modules: dict[str, ModuleType] = {}


def load_file(path: str) -> ModuleType:
    """The module of a file, loaded once. Raises what the file raises, SyntaxError with its line where it cannot be read."""
    path = os.path.realpath(path)
    module = _modules.get(path)
    if module is None:
        stem = os.path.splitext(os.path.basename(path))[0]
        module = ModuleType(f"diamond_file_{zlib.crc32(path.encode()):08x}_{stem}")
        module.__file__ = path
        sys.modules[module.__name__] = module
        _modules[path] = module
        try:
            exec(compile_file(path), module.__dict__)
        except BaseException:
            del sys.modules[module.__name__], _modules[path]
            raise
    return module


def compile_file(path: str) -> CodeType:
    """A file's code, translated where it is Python 2. What could be either is taken for Python 2: that is where it ran."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Python 2's habits in text, such as "\d"
        return compile(_translated(read_source(path), path), path, "exec", dont_inherit=True)


def _translated(source: str, path: str) -> str:
    try:
        translate: Any = importlib.import_module("adamas.translate").translate
    except ImportError:
        return source
    return str(translate(source, path, legacy=True))


def read_source(path: str) -> str:
    """A file's text in the encoding that it declares; bytes that are not UTF-8, undeclared, are Latin-1 as in Python 2."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError, LookupError):
        text = data.decode("latin-1")
    return text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")


def files_in(folders: Iterable[str]) -> list[str]:
    """The source files in these folders and those below them, but for tests and hidden ones. OSError where one is missing."""
    found = []
    for folder in folders:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"Directory does not exist: {folder}")
        for here, below, names in os.walk(folder):
            below[:] = sorted(name for name in below if not name.startswith(".") and not name.endswith(LEFT_OUT))
            names.sort()
            found += [os.path.join(here, n) for n in names if n.endswith(".py") and not n.startswith((".", "test"))]
    return found


def file_of_class(name: str, folders: Iterable[str]) -> str:
    """The file below these folders that defines a class; "" where none does. No file is run for it."""
    wanted = re.compile(rf"^\s*class\s+{re.escape(name)}\b", re.M)
    return next((path for path in files_in(folders) if wanted.search(read_source(path))), "")


class _FileLoader(importlib.abc.Loader):
    def __init__(self, path: str) -> None:
        self.path = path

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return load_file(self.path)

    def exec_module(self, module: ModuleType) -> None:
        """It ran when it was made: the same module may be asked for by its bare name and by its file."""


class Neighbours(importlib.abc.MetaPathFinder):
    """Finds by their bare names the files beside those that were loaded, and Diamond's handlers."""

    def __init__(self, folders: Sequence[str]) -> None:
        self.folders = [os.path.realpath(folder) for folder in folders]
        self.usual = set(sys.path)
        self._asking = False
        self._known: dict[str, str] | None = None

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Where a bare name is; None where the usual ways find it."""
        if path is not None or self._asking or fullname in sys.stdlib_module_names:
            return None
        if fullname in HANDLERS:
            importlib.import_module(f"diamond.handler.{fullname}")
            return importlib.machinery.ModuleSpec(fullname, _AliasLoader(f"diamond.handler.{fullname}"))
        file = self._installed(fullname)
        if file == "":
            file = self._files().get(fullname)
        return importlib.machinery.ModuleSpec(fullname, _FileLoader(file), origin=file) if file else None

    def _installed(self, name: str) -> str | None:
        """The file of a module in a folder that the code itself put on the path, "" where there is no such module at all."""
        self._asking = True
        try:
            spec = importlib.machinery.PathFinder.find_spec(name)
        finally:
            self._asking = False
        if spec is None or spec.origin is None:  # a mere folder of that name is no module
            return ""
        origin = spec.origin
        foreign = os.path.dirname(origin) not in self.usual and spec.submodule_search_locations is None
        return origin if foreign and origin.endswith(".py") else None

    def _files(self) -> dict[str, str]:
        if self._known is None:
            self._known = {}
            for file in files_in(folder for folder in self.folders if os.path.isdir(folder)):
                self._known.setdefault(os.path.basename(file).removesuffix(".py"), file)
        return self._known


class _AliasLoader(importlib.abc.Loader):
    def __init__(self, name: str) -> None:
        self.name = name

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType:
        return importlib.import_module(self.name)

    def exec_module(self, module: ModuleType) -> None:
        """It is Diamond's own."""


def allow_neighbours(folders: Iterable[str]) -> None:
    """Let files in these folders be imported by their bare names, in this process."""
    wanted = [os.path.realpath(folder) for folder in folders if folder]
    for finder in sys.meta_path:
        if isinstance(finder, Neighbours):
            finder.folders += [folder for folder in wanted if folder not in finder.folders]
            finder._known = None
            return
    sys.meta_path.insert(0, Neighbours(wanted))
