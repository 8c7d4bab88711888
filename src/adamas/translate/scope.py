"""Which names of a syntax tree are the builtins, and which are the file's own."""

from __future__ import annotations

import ast
import re

_NAME = re.compile(r"(?<![.\w])[^\W\d]\w*")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (*_FUNCTIONS, *_COMPREHENSIONS, ast.ClassDef)


class Scopes:
    """The parents of all nodes, and the names that each scope binds; `unpacked` says what the made-up names will bind."""

    def __init__(self, tree: ast.Module, unpacked: dict[str, str] | None = None) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        self._bound: dict[ast.AST, frozenset[str]] = {}
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
        self.everywhere: set[str] = set()
        for scope in (n for n in ast.walk(tree) if isinstance(n, (ast.Module, *_SCOPES))):
            own = _bindings(scope)
            for made in own & (unpacked or {}).keys():
                own |= {*_NAME.findall((unpacked or {})[made])}
            self._bound[scope] = own
        shared = {name for node in ast.walk(tree) if isinstance(node, ast.Global) for name in node.names}
        self._bound[tree] |= shared
        for names in self._bound.values():
            self.everywhere |= names

    def is_builtin(self, node: ast.Name) -> bool:
        """Whether nothing in the file binds this name where it is read."""
        if node.id not in self.everywhere:
            return True
        first = True
        for scope in self.enclosing(node):
            if (first or not isinstance(scope, ast.ClassDef)) and node.id in self._bound[scope]:
                return False
            first = False
        return True

    def enclosing(self, node: ast.AST) -> list[ast.AST]:
        """The scopes that a node stands in, the innermost first, the module last."""
        found = []
        child = node
        while (parent := self.parents.get(child)) is not None:
            outside = isinstance(parent, (ast.FunctionDef, ast.ClassDef)) and child not in parent.body
            if parent in self._bound and (not outside or isinstance(child, ast.arguments)):
                found.append(parent)
            child = parent
        return found

    def bound_by_module(self) -> frozenset[str]:
        """The names that the file binds for all of itself."""
        return self._bound[self.tree]

    def function(self, node: ast.AST) -> ast.AST:
        """The function (or class body, or module) that a statement belongs to."""
        return next(s for s in self.enclosing(node) if not isinstance(s, (*_COMPREHENSIONS, ast.Lambda)))


def _bindings(scope: ast.AST) -> frozenset[str]:
    names: set[str] = set()
    elsewhere: set[str] = set()
    pending: list[ast.AST] = list(ast.iter_child_nodes(scope))
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
        elif isinstance(node, ast.ExceptHandler) and node.name:
            names.add(node.name)
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            elsewhere.update(node.names)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        if not isinstance(node, _SCOPES):
            pending += ast.iter_child_nodes(node)
    return frozenset(names - elsewhere)
