"""Imports: modules under their new names, those of the run time in place of the library's, and the files beside this one."""

from __future__ import annotations

import ast

from adamas.translate import vocabulary as words
from adamas.translate.edits import Edits

PACKAGE = "adamas.translate.python2"


class Imports:
    """Rewrites the import statements of one file."""

    def __init__(self, file: Edits, siblings: frozenset[str]) -> None:
        self.file = file
        self.siblings = siblings
        self.bound = {
            alias.asname or alias.name.partition(".")[0]
            for node in ast.walk(file.tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        }

    def all_siblings(self) -> str:
        """A file of Python 3, whose neighbours are imported by their bare names all the same."""
        for node in ast.walk(self.file.tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                self.visit(node, siblings_only=True)
        return self.file.text()

    def visit(self, node: ast.Import | ast.ImportFrom, siblings_only: bool = False) -> None:
        """Rewrites one statement; only imports of siblings in a file that is Python 3."""
        if isinstance(node, ast.ImportFrom):
            if not node.level and node.module:
                self._from(node, node.module, siblings_only)
        elif siblings_only and not any(self._is_sibling(alias.name) for alias in node.names):
            return
        else:
            self._import(node, siblings_only)

    def _is_sibling(self, name: str) -> bool:
        return name.partition(".")[0] in self.siblings

    def _guarded(self, node: ast.AST) -> bool:
        """Whether the file handles that this import may fail."""
        while (parent := self.file.scopes.parents.get(node)) is not None:
            if isinstance(parent, ast.Try) and node in parent.body and parent.handlers:
                return True
            node = parent
        return False

    def _gone(self, node: ast.stmt, name: str) -> None:
        if name.partition(".")[0] in words.GONE and not self._guarded(node):
            self.file.refuse(node, f"the module {name} has no successor in Python 3")

    def _from(self, node: ast.ImportFrom, name: str, siblings_only: bool) -> None:
        start = self.file.beside(self.file.starts[node.lineno, node.col_offset], 1)
        token = self.file.tokens[start]
        if self._is_sibling(name):
            token.before += "."
            return
        if siblings_only:
            return
        self._gone(node, name)
        if name in words.STAND_INS:
            new = f"{PACKAGE}.{words.STAND_INS[name]}"
        elif name in words.RENAMED:
            new = words.RENAMED[name]
        else:
            if f"{name}.{node.names[0].name}" in words.RENAMED and len(node.names) == 1:
                self._submodule(node, name, node.names[0])
            return
        index = start
        while self.file.tokens[index].text != "import":
            self.file.tokens[index].text = ""
            index = self.file.beside(index, 1)
        token.text = new

    def _submodule(self, node: ast.ImportFrom, name: str, alias: ast.alias) -> None:
        """`from xml.etree import cElementTree`: a module that has another name, imported from its package."""
        module, _, new = words.RENAMED[f"{name}.{alias.name}"].rpartition(".")
        if module == name:
            place = self.file.starts[alias.lineno, alias.col_offset]
            self.file.tokens[place].text = new if alias.asname else f"{new} as {alias.name}"

    def _import(self, node: ast.Import, siblings_only: bool) -> None:
        apart = any(self._is_sibling(alias.name) for alias in node.names)
        keyword = self.file.first(node)
        for number, alias in enumerate(node.names):
            start = self.file.starts[alias.lineno, alias.col_offset]
            token = self.file.tokens[start]
            new = alias.name if siblings_only else self._module(node, alias)
            if apart:
                separator = keyword if not number else self.file.tokens[self.file.beside(start, -1)]
                sibling = self._is_sibling(alias.name)
                separator.text = "; " * bool(number) + ("from . import" if sibling else "import")
                top, _, rest = alias.name.partition(".")
                new = top if sibling else new
                if sibling and rest:
                    package, _, last = alias.name.rpartition(".")
                    separator.text = "; " * bool(number) + f"from .{package} import"
                    new = last
                    if not alias.asname:
                        separator.text += f" {last} as _py2_part; from . import"
                        new = top
            if new == alias.name:
                continue
            end = start
            for _ in range(2 * alias.name.count(".")):
                end = self.file.beside(end, 1)
                self.file.tokens[end].text = ""
            token.text = new

    def _module(self, node: ast.Import, alias: ast.alias) -> str:
        """What stands for one module after `import`."""
        name = alias.name
        top = name.partition(".")[0]
        self._gone(node, name)
        if name in words.STAND_INS:
            new = f"{PACKAGE}.{words.STAND_INS[name]}"
        elif name in words.RENAMED:
            new = words.RENAMED[name]
            if "." in name and not alias.asname:
                self.file.refuse(node, f"import {new} as a name of its own: {name} is {new} now")
        elif top in words.STAND_INS and not alias.asname:
            return f"{PACKAGE}.{words.STAND_INS[top]} as {top}"
        else:
            return name
        return new if alias.asname else f"{new} as {name}"
