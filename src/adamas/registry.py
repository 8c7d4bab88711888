"""Finding collectors and outputs by name: built in by module name, then entry points, then plain files in plugin folders.

Nothing is imported that is not asked for. A plugin file is loaded under a private module name, so that one called http.py does
not hide the library's.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
import zlib

from adamas.collector import Collector
from adamas.output import Output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

KINDS: dict[str, type] = {"collectors": Collector, "outputs": Output}

_SUCCEEDS = re.compile(r'^    diamond(?:: ClassVar\[str\])? = "(\w+)"', re.M)


class Found:
    """A plugin class, with what it takes to load it again: its file ("" for a module) and that file's check sum."""

    __slots__ = ("cls", "origin", "sum")

    def __init__(self, cls: type, origin: str = "", sum: int = 0) -> None:
        self.cls = cls
        self.origin = origin
        self.sum = sum


class PluginError(Exception):
    """A plugin that is there but cannot be loaded; the message names the file and what is wrong."""


def load(module: str, origin: str = "") -> ModuleType:
    """The module of that name, or the one in the file `origin`."""
    if not origin:
        return importlib.import_module(module)
    if module in sys.modules:
        return sys.modules[module]
    from importlib import util

    spec = util.spec_from_file_location(module, origin)
    assert spec is not None and spec.loader is not None
    made = util.module_from_spec(spec)
    sys.modules[module] = made
    try:
        spec.loader.exec_module(made)
    except BaseException:
        del sys.modules[module]
        raise
    return made


def classes(module: ModuleType, kind: str) -> list[type]:
    """The named plugin classes that a module itself defines."""
    base = KINDS[kind]
    own = [c for c in vars(module).values() if isinstance(c, type) and issubclass(c, base) and c.__module__ == module.__name__]
    return [c for c in own if getattr(c, "name", "")]


class Registry:
    """The plugins that can be found, with these plugin folders."""

    def __init__(self, folders: Sequence[str] = ()) -> None:
        self._folders = list(folders)
        self._files: dict[str, Found | PluginError] | None = None

    def builtin(self, kind: str) -> list[str]:
        """The names of what comes with Adamas."""
        package = importlib.import_module(f"adamas.{kind}")
        names = set()
        for folder in package.__path__:
            for entry in os.listdir(folder):
                name = entry.removesuffix(".py")
                if name[0] != "_" and (entry.endswith(".py") or os.path.exists(os.path.join(folder, entry, "__init__.py"))):
                    names.add(name)
        return sorted(names)

    def defaults(self) -> list[str]:
        """The collectors that run where the configuration names none."""
        package = importlib.import_module("adamas.collectors")
        return list(package.DEFAULT)

    def successors(self, kind: str) -> dict[str, str]:
        """Diamond's classes, and what comes with Adamas in place of each.

        Read off the modules' text: to import them all would take many times as long, and memory for good.
        """
        package = importlib.import_module(f"adamas.{kind}")
        found = {}
        for name in self.builtin(kind):
            path = os.path.join(package.__path__[0], name)
            with open(f"{path}.py" if os.path.exists(f"{path}.py") else f"{path}/__init__.py", encoding="utf-8") as file:
                for old in _SUCCEEDS.findall(file.read()):
                    found[old] = name
        return found

    def names(self, kind: str) -> list[str]:
        """All names that can be used."""
        return sorted({*self.builtin(kind), *self._entry_points(kind), *self._plugins(kind)})

    def find(self, kind: str, name: str) -> Found | None:
        """The plugin of that name; PluginError where it is there and cannot be loaded."""
        if name in self.builtin(kind):
            module = load(f"adamas.{kind}.{name}")
            return Found(next(c for c in classes(module, kind) if c.name == name))  # type: ignore[attr-defined]
        plugin = self._plugins(kind).get(name)
        if plugin is None or not self._folders:
            entry = self._entry_points(kind).get(name)
            if entry is not None:
                try:
                    return Found(entry.load())  # type: ignore[attr-defined]
                except Exception as error:
                    raise PluginError(f"the installed {kind[:-1]} {name!r} cannot be loaded: {error!r}") from None
        if isinstance(plugin, PluginError):
            raise plugin
        return plugin

    @staticmethod
    def _entry_points(kind: str) -> dict[str, object]:
        from importlib.metadata import entry_points  # only when a name is not built in

        return {e.name: e for e in entry_points(group=f"adamas.{kind}")}

    def broken(self) -> list[PluginError]:
        """The plugin files that cannot be loaded."""
        self._plugins("collectors")
        return [f for f in (self._files or {}).values() if isinstance(f, PluginError)]

    def _plugins(self, kind: str) -> dict[str, Found | PluginError]:
        if self._files is None:
            self._files = {}
            for folder in self._folders:
                self._scan(folder)
        return {key.partition("/")[2]: found for key, found in self._files.items() if key.partition("/")[0] in (kind, "?")}

    def _scan(self, folder: str) -> None:
        assert self._files is not None
        try:
            entries = sorted(os.listdir(folder))
        except OSError:
            return
        for entry in entries:
            path = os.path.join(folder, entry)
            if not entry.endswith(".py") or entry.startswith(("_", ".", "test")):
                continue
            try:
                with open(path, "rb") as file:
                    check = zlib.crc32(file.read())
                module = load(f"adamas_plugin_{zlib.crc32(path.encode()):08x}_{check:08x}", path)
            except Exception as error:
                line = getattr(error, "lineno", None) or _line_in(error, path)
                words = f"{path}:{line}: " if line else f"{path}: "
                self._files["?/" + entry.removesuffix(".py")] = PluginError(words + f"{type(error).__name__}: {error}")
                continue
            for kind in KINDS:
                for cls in classes(module, kind):
                    self._files.setdefault(f"{kind}/{cls.name}", Found(cls, path, check))  # type: ignore[attr-defined]


def _line_in(error: BaseException, path: str) -> int:
    line = 0
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == path:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
