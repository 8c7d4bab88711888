"""Exceptions where they are caught: taken apart, indexed, or read after the handler that Python 3 deletes them in."""

from __future__ import annotations

import ast
import itertools

from adamas.translate.edits import Edits
from adamas.translate.syntax import RUNTIME

COMPOUND = (ast.If, ast.For, ast.While, ast.Try, ast.With, ast.FunctionDef, ast.ClassDef)


class Handlers:
    """The exception handlers of one file."""

    def __init__(self, file: Edits) -> None:
        self.file = file
        self._numbers = itertools.count(1001)

    def is_caught(self, node: ast.expr) -> bool:
        """Whether this is the name of an exception, read within its handler."""
        child: ast.AST = node
        while isinstance(node, ast.Name) and (parent := self.file.scopes.parents.get(child)) is not None:
            if isinstance(parent, ast.ExceptHandler) and child is not parent.type and parent.name == node.id:
                return True
            child = parent
        return False

    def visit(self, node: ast.ExceptHandler) -> None:
        """Gives an exception the name that it is to have, in its handler and after it."""
        if node.name in self.file.unpacked:
            target = self.file.unpacked[node.name]
            value = f"{RUNTIME}.arguments({node.name})" if target[0] in "([" or "," in target else node.name
            self.assign(node.body, target, value)
        elif node.name and node.type is not None and self._outlives(node):
            made = f"{RUNTIME}_{next(self._numbers)}"
            name = self.file.beside(self.file.beside(self.file.last_index(node.type), 1), 1)
            while self.file.tokens[name].text != node.name:
                name = self.file.beside(name, 1)
            self.file.tokens[name].text = made
            self.assign(node.body, node.name, made)

    def _outlives(self, node: ast.ExceptHandler) -> bool:
        """Whether the exception is read after its handler, when Python 3 has deleted it."""
        scope = self.file.scopes.function(node)
        for name in ast.walk(scope):
            if isinstance(name, ast.Name) and name.id == node.name and isinstance(name.ctx, ast.Load):
                child: ast.AST = name
                while child is not scope:
                    child = self.file.scopes.parents[child]
                    if isinstance(child, ast.ExceptHandler) and child.name == node.name:
                        break
                if child is not node and (child is scope or self._within(node, child)):
                    return True
        return False

    def _within(self, node: ast.AST, outer: ast.AST) -> bool:
        while node in self.file.scopes.parents:
            node = self.file.scopes.parents[node]
            if node is outer:
                return True
        return False

    def assign(self, body: list[ast.stmt], target: str, value: str) -> None:
        """Puts an assignment at the start of a body, on the line of what stands there."""
        first = body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            self.file.last(first).after = f"; {target} = {value}" + self.file.last(first).after
        elif not isinstance(first, COMPOUND):
            self.file.first(first).before += f"{target} = {value}; "
        elif isinstance(first, ast.Try):
            self.assign(first.body, target, value)
        else:
            head: ast.expr | None = None
            match first:
                case ast.If() | ast.While():
                    head = first.test
                case ast.For():
                    head = first.iter
                case ast.With():
                    head = first.items[0].context_expr
            walrus = _walrus(ast.parse(target, mode="eval").body, value)
            if head is None or not walrus:
                self.file.refuse(first, f"put a simple statement before this one: {target} is set here")
                return
            self.file.first(head).wrap(f"[{walrus}] and (", self.file.last(head), ")")


def _walrus(target: ast.expr, value: str) -> str:
    """The assignment as an expression, as far as names go."""
    if isinstance(target, ast.Name):
        return f"{target.id} := {value}"
    if isinstance(target, (ast.Tuple, ast.List)):
        parts = [_walrus(part, f"{value}[{i}]") for i, part in enumerate(target.elts)]
        return ", ".join(parts) if all(parts) else ""
    return ""
