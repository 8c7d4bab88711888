"""Modules of old files: translated where needed, kept in a cache, and apart from the library's names.

The files of one folder are one private package, so that `http.py` hides nothing; there they find each other by their bare names,
as Python 2 found the files beside the importing one.
"""

from __future__ import annotations

import hashlib
import importlib.abc
import importlib.util
import os
import sys
import warnings
from importlib.machinery import ModuleSpec
from types import CodeType, ModuleType

import adamas
from adamas.translate.translation import translate
from adamas.translate.vocabulary import standard

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

PREFIX = "_adamas_python2_"
EDITION = 1
"""Goes up with every change of what translations look like, so that older ones are made anew."""

_folders: dict[str, tuple[str, str]] = {}
"""Of each private package: its folder, and where its translations are kept."""


def load(path: str, module_name: str, cache_dir: str) -> ModuleType:
    """Runs a file as a module of its folder's private package; TranslationError where it has no translation."""
    path = os.path.abspath(path)
    name = f"{_package(os.path.dirname(path), cache_dir)}.{module_name}"
    spec = ModuleSpec(name, _Loader(path, cache_dir), origin=path)
    spec.has_location = True
    module = importlib.util.module_from_spec(spec)
    previous = sys.modules.get(name)
    sys.modules[name] = module
    try:
        assert spec.loader is not None
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        if previous is not None:
            sys.modules[name] = previous
        raise
    return module


def siblings(path: str) -> frozenset[str]:
    """The modules beside a file that it can import by their bare names; the library's names are the library's."""
    folder, own = os.path.split(path)
    found = set()
    for entry in os.listdir(folder):
        name, extension = os.path.splitext(entry)
        if extension != ".py":
            if not os.path.isfile(os.path.join(folder, entry, "__init__.py")):
                continue
            name = entry
        if name.isidentifier() and entry != own and not standard(name) and name != "__init__":
            found.add(name)
    return frozenset(found)


def _package(folder: str, cache_dir: str) -> str:
    """The name of a folder's private package, which is made if need be."""
    name = PREFIX + hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
    if name not in sys.modules:
        package = ModuleType(name, f"The old files of {folder}.")
        package.__path__ = [folder]
        package.__package__ = name
        sys.modules[name] = package
    _folders[name] = folder, cache_dir
    return name


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the private packages, and no others."""

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if not fullname.startswith(PREFIX) or not path:
            return None
        cache_dir = _folders[fullname.partition(".")[0]][1]
        place = os.path.join(path[0], fullname.rpartition(".")[2])
        if os.path.isfile(place + ".py"):
            return importlib.util.spec_from_file_location(fullname, place + ".py", loader=_Loader(place + ".py", cache_dir))
        inside = os.path.join(place, "__init__.py")
        if os.path.isfile(inside):
            loader = _Loader(inside, cache_dir)
            return importlib.util.spec_from_file_location(fullname, inside, loader=loader, submodule_search_locations=[place])
        return None


class _Loader(importlib.abc.Loader):
    """Runs one file."""

    def __init__(self, path: str, cache_dir: str) -> None:
        self.path = path
        self.cache_dir = cache_dir

    def exec_module(self, module: ModuleType) -> None:
        exec(compiled(self.path, self.cache_dir), module.__dict__)


def compiled(path: str, cache_dir: str) -> CodeType:
    """The code of a file, from the cache where its translation is there."""
    with open(path, "rb") as file:
        source = file.read()
    beside = siblings(path)
    key = hashlib.sha256(f"{adamas.__version__} {EDITION} {path} {sorted(beside)}\n".encode("utf-8", "surrogateescape") + source)
    kept = os.path.join(cache_dir, f"{key.hexdigest()}.py")
    text = _kept(kept)
    if text is None:
        text = translate(source, path, beside, legacy=True)
        _keep(kept, text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(text, path, "exec", dont_inherit=True)


def _kept(path: str) -> str | None:
    """A translation made before, if nobody else could have written it."""
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                return None
            return file.read().decode()
    except (OSError, UnicodeDecodeError):
        return None


def _keep(path: str, text: str) -> None:
    """Keeps a translation; without a place to keep it, it is made again next time."""
    temporary = f"{path}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError:
        return
    try:
        with open(descriptor, "wb") as file:
            file.write(text.encode())
        os.replace(temporary, path)
    except OSError:
        os.unlink(temporary)
