"""What Python 3 parses but takes in another way: names, methods, division, classes, exceptions, imports.

The syntax tree says where; the tokens are what is changed, so that comments and lines stay.
"""

from __future__ import annotations

import ast
import itertools

from adamas.errors import TranslationError
from adamas.translate import vocabulary as words
from adamas.translate.edits import Edits
from adamas.translate.handlers import COMPOUND, Handlers
from adamas.translate.imports import Imports
from adamas.translate.lexer import COOKIE
from adamas.translate.syntax import RUNTIME

PROLOGUE = f"import adamas.translate.python2 as {RUNTIME}"
WHOLE = frozenset(("sorted", "set", "frozenset", "list", "tuple", "sum", "min", "max", "any", "all", "len"))
"""Builtins that read an argument to its end before anything else happens: a view is as good as a list there."""


class Meaning(ast.NodeVisitor):
    """One file that parses; `text` is its translation."""

    def __init__(self, file: Edits, division: bool, siblings: frozenset[str]) -> None:
        self.file = file
        self.division = division
        self.imports = Imports(file, siblings)
        self.handlers = Handlers(file)
        lists = (c.target for n in ast.walk(file.tree) if isinstance(n, ast.ListComp) for c in n.generators)
        self.left_by_lists = {n.id for target in lists for n in ast.walk(target) if isinstance(n, ast.Name)}
        raised = (n.exc for n in ast.walk(file.tree) if isinstance(n, ast.Raise) and n.exc is not None)
        self.raised = {_class_of(e) for e in raised}

    def translate(self) -> str:
        """All of it."""
        self.visit(self.file.tree)
        if self.file.mistakes:
            raise TranslationError(self.file.mistakes)
        return self._with_prologue()

    # Names and calls.

    def visit_Name(self, node: ast.Name) -> None:
        if not isinstance(node.ctx, ast.Load) or not self.file.scopes.is_builtin(node):
            return
        name, token = node.id, self.file.first(node)
        parent = self.file.scopes.parents[node]
        called = isinstance(parent, ast.Call) and parent.func is node
        if name in words.REFUSED:
            self.file.refuse(node, words.REFUSED[name])
        elif name not in words.BUILTINS and name in self.left_by_lists:
            self.file.refuse(node, f'"{name}" is read outside the list that binds it, where Python 3 forgets it')
        elif name in words.NAMES:
            token.text = self.file.builtin(words.NAMES[name])
        elif name in words.OWN:
            token.text = f"{RUNTIME}.{words.OWN[name]}"
        elif name in words.TYPES:
            mapped = isinstance(parent, ast.Call) and parent.args[:1] == [node] and ast.unparse(parent.func) == "map"
            if called or mapped:
                token.text = f"{RUNTIME}.text_of"
            elif name != "str":
                token.text = self.file.builtin("str")

    def visit_Call(self, node: ast.Call) -> None:
        if isinstance(node.func, ast.Name) and self.file.scopes.is_builtin(node.func):
            self._builtin_call(node, node.func)
        elif isinstance(node.func, ast.Attribute):
            self._method_call(node, node.func)
        self.generic_visit(node)

    def _builtin_call(self, node: ast.Call, function: ast.Name) -> None:
        name = function.id
        if name == "range":
            parent = self.file.scopes.parents[node]
            if not (isinstance(parent, (ast.For, ast.comprehension)) and parent.iter is node) and not self._is_read_whole(node):
                self.file.first(node).wrap(f"{self.file.builtin('list')}(", self.file.last(node), ")")
        elif name == "sorted":
            if len(node.args) > 1 or any(k.arg == "cmp" for k in node.keywords):
                self.file.first(function).text = f"{RUNTIME}.sorted_"
        elif name == "execfile" and node.args:
            self.file.first(function).text = self.file.builtin("exec")
            self.file.wrap(node.args[0], "code_of")
            self._executes(node)
        elif name == "exec":
            self._executes(node)

    def _executes(self, node: ast.Call) -> None:
        """Code that is executed in a function without a dict cannot set names of the function any more."""
        function = self.file.scopes.function(node)
        if len(node.args) > 1 or not isinstance(function, ast.FunctionDef):
            return
        for name in ast.walk(function):
            if isinstance(name, ast.Name) and self.file.scopes.is_builtin(name) and name.id not in words.BUILTINS:
                self.file.refuse(node, f'exec cannot set a name of the function ("{name.id}"): give it a dict, exec ... in names')
                return

    def _method_call(self, node: ast.Call, function: ast.Attribute) -> None:
        name, count = function.attr, len(node.args)
        plain = not node.keywords and not any(isinstance(a, ast.Starred) for a in node.args)
        if name in words.METHODS:
            least, most = words.METHODS[name]
            if least <= count <= most and (plain or name in ("encode", "decode")) and not self._is_module(function.value):
                self._as_function(node, function)
        elif name == "sort" and (count or any(k.arg == "cmp" for k in node.keywords)):
            self._as_function(node, function)
        elif name in ("keys", "values", "items") and plain and not count and not self._is_read_whole(node):
            self.file.wrap(node, "listed")

    def _is_read_whole(self, node: ast.Call) -> bool:
        """Whether this is the argument of a function that reads it to its end before anything else happens."""
        parent = self.file.scopes.parents[node]
        if not isinstance(parent, ast.Call) or node not in parent.args:
            return False
        called = parent.func
        if isinstance(called, ast.Attribute):
            return called.attr == "join"
        return isinstance(called, ast.Name) and called.id in WHOLE and self.file.scopes.is_builtin(called)

    def _is_module(self, node: ast.expr) -> bool:
        """Whether this is a name that an import bound: `base64.encode(...)` is no method."""
        return isinstance(node, ast.Name) and node.id in self.imports.bound

    def _as_function(self, node: ast.Call, function: ast.Attribute) -> None:
        """`x.name(y)` becomes `_py2.name(x, y)`."""
        name = self.file.last_index(function)
        opening = self.file.tokens[self.file.beside(name, 1)]
        if opening.text != "(":
            return
        self.file.first(function).before += f"{RUNTIME}.{function.attr}("
        self.file.tokens[self.file.beside(name, -1)].text = self.file.tokens[name].text = ""
        opening.text = ", " if node.args or node.keywords else ""

    def visit_Attribute(self, node: ast.Attribute) -> None:
        token = self.file.last(node)
        if node.attr in words.ATTRIBUTES:
            token.text = words.ATTRIBUTES[node.attr]
        elif node.attr == "im_class":
            token.text = "__self__.__class__"
        elif node.attr == "message" and isinstance(node.ctx, ast.Load) and self.handlers.is_caught(node.value):
            self.file.tokens[self.file.beside(self.file.last_index(node), -1)].text = token.text = ""
            self.file.first(node).wrap(f"{RUNTIME}.message(", token, ")")
        elif node.attr in words.ONLY_2_METHODS and token.text and node.attr != "has_key":
            token.text = "__iter__" if node.attr == "iterkeys" else node.attr.removeprefix("iter").removeprefix("view")
        elif node.attr == "has_key" and token.text and isinstance(node.ctx, ast.Load):
            token.text = "__contains__"
        self.generic_visit(node)

    # Exceptions.

    def visit_Subscript(self, node: ast.Subscript) -> None:
        if isinstance(node.ctx, ast.Load) and self.handlers.is_caught(node.value):
            self.file.wrap(node.value, "arguments")
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if isinstance(node.targets[0], (ast.Tuple, ast.List)) and self.handlers.is_caught(node.value):
            self.file.wrap(node.value, "arguments")
        self.generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        self.handlers.visit(node)
        self.generic_visit(node)

    # Functions, classes, division.

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for argument in reversed(node.args.args):
            if argument.arg in self.file.unpacked:
                self.handlers.assign(node.body, self.file.unpacked[argument.arg], argument.arg)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        bases: list[str] = []
        own = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
        if own & words.SPECIAL or ("__eq__" in own and "__hash__" not in own):
            bases.append(f"{RUNTIME}.Class")
        if not node.bases and node.name in self.raised:
            bases.append(self.file.builtin("Exception"))
        extra = [*bases]
        for statement in node.body:
            if isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__metaclass__":
                extra.append(f"metaclass={ast.unparse(statement.value)}")
            elif isinstance(statement, ast.FunctionDef) and statement.name == "__metaclass__":
                self.file.refuse(statement, "a metaclass that is a function of the class body; define it before the class")
        if extra:
            self._bases(node, bases, extra)
        self.generic_visit(node)

    def _bases(self, node: ast.ClassDef, bases: list[str], extra: list[str]) -> None:
        name = self.file.beside(self.file.starts[node.lineno, node.col_offset], 1)
        if not node.bases:
            following = self.file.tokens[self.file.beside(name, 1)]
            if following.text == "(":
                following.after += ", ".join(extra)
            else:
                self.file.tokens[name].after += f"({', '.join(extra)})"
            return
        top = node.bases[0]
        if isinstance(top, ast.Name) and top.id == "object" and bases:
            self.file.first(top).before += ", ".join(bases) + ", "
            extra = extra[len(bases) :]
        closing = self.file.beside(self.file.last_index(node.bases[-1]), 1)
        if extra:
            comma = "" if self.file.tokens[closing].text == "," else ", "
            self.file.last(node.bases[-1]).after = comma + ", ".join(extra) + self.file.last(node.bases[-1]).after
            if not comma:
                self.file.tokens[closing].after += " " + ", ".join(extra)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Div) and not self._is_float(node.left):
            self._divisor(node.right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if isinstance(node.op, ast.Div):
            self._divisor(node.value)
        self.generic_visit(node)

    def _divisor(self, node: ast.expr) -> None:
        if not self.division and not self._is_float(node):
            self.file.wrap(node, "divisor")

    def _is_float(self, node: ast.expr) -> bool:
        """Whether this is never an integer."""
        if isinstance(node, ast.Constant):
            return isinstance(node.value, float)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "float":
            return self.file.scopes.is_builtin(node.func)
        if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div, ast.Add, ast.Sub)):
            return self._is_float(node.left) or self._is_float(node.right)
        return False

    def visit_Import(self, node: ast.Import) -> None:
        self.imports.visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        self.imports.visit(node)

    def _perhaps_bound(self) -> list[str]:
        """Builtins of Python 2 that the file binds too, maybe on some condition: it finds them until then."""
        names = sorted(self.file.scopes.bound_by_module() & (words.NAMES.keys() | words.OWN.keys() | {"unicode"}) & words.ONLY_2)
        have = {"unicode": "str"} | words.NAMES
        return [f"{name} = {self.file.builtin(have[name]) if name in have else f'{RUNTIME}.{words.OWN[name]}'}" for name in names]

    # The line that gives the file its run time.

    def _with_prologue(self) -> str:
        for token in [t for t in self.file.tokens if t.line < 3 and t.kind == "comment"]:
            if found := COOKIE.match(token.text):
                token.text = token.text[: found.start(1)] + "utf-8" + token.text[found.end(1) :]
        text = self.file.text()
        prologue = "; ".join([PROLOGUE, *self._perhaps_bound()])
        if not self.file.tree.body or (f"{RUNTIME}." not in text and prologue == PROLOGUE):
            return text
        before = list(itertools.takewhile(_must_come_first, self.file.tree.body))
        if before:
            self.file.last(before[-1]).after += f"; {prologue}"
            return self.file.text()
        statement = self.file.tree.body[0]
        if not isinstance(statement, COMPOUND):
            self.file.first(statement).before = f"{prologue}; " + self.file.first(statement).before
            return self.file.text()
        for index in range(self.file.starts[min(k for k in self.file.starts)] - 1, -1, -1):
            token = self.file.tokens[index]
            if token.kind in ("comment", "nl") and (index == 0 or self.file.tokens[index - 1].kind == "nl"):
                token.before, token.space = prologue + "  " * (token.kind == "comment"), ""
                return self.file.text()
        return f"{prologue}\n{text}"


def _must_come_first(node: ast.stmt) -> bool:
    """A docstring, or an import from __future__."""
    if isinstance(node, ast.ImportFrom):
        return node.module == "__future__"
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _class_of(raised: ast.expr) -> str:
    """The class of what a raise statement raises, as it is written."""
    if isinstance(raised, ast.Call):
        if ast.unparse(raised.func) == f"{RUNTIME}.exception":
            return _class_of(raised.args[0])
        raised = raised.func
    return ast.unparse(raised)
