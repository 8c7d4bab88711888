"""Which Python a source file is written for.

Evidence of Python 3 wins (a file that cannot run on 2, or that looks after itself on 3), then evidence of 2. Without either the
file may be both, and the caller says what to make of it.
"""

from __future__ import annotations

import ast
import re
import warnings

from adamas.translate.scope import Scopes
from adamas.translate.vocabulary import GONE, MEMBERS, NEW, ONLY_2, ONLY_2_METHODS, ONLY_2_MODULES, RENAMED, SPECIAL

SHEBANG = re.compile(r"#!.*python3")
RUNTIME_MODULE = "adamas.translate.python2"


def parse(text: str, filename: str) -> ast.Module:
    """The syntax tree; what the compiler would only warn about is nobody's business here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(text, filename)
        compile(text, filename, "exec", dont_inherit=True)
        return tree


def is_python2(text: str, filename: str, siblings: frozenset[str], legacy: bool) -> bool:
    """Whether the file is to be translated; `legacy` decides where it could be either, `siblings` are the modules beside it."""
    try:
        tree = parse(text, filename)
    except (SyntaxError, ValueError):
        return True
    if SHEBANG.match(text) or any(map(_only_3, ast.walk(tree))) or _looks_after_itself(tree, siblings):
        return False
    return legacy or _only_2(tree)


def _only_3(node: ast.AST) -> bool:
    """Whether Python 2 could not compile or run this."""
    match node:
        case ast.JoinedStr() | ast.AnnAssign() | ast.Nonlocal() | ast.YieldFrom() | ast.NamedExpr() | ast.Match() | ast.TryStar():
            return True
        case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith() | ast.MatMult():
            return True
        case ast.arguments():
            return bool(node.kwonlyargs or node.posonlyargs)
        case ast.arg():
            return node.annotation is not None
        case ast.FunctionDef():
            return node.returns is not None
        case ast.ClassDef():
            return bool(node.keywords)
        case ast.Starred(ctx=ast.Store()):
            return True
        case ast.Raise():
            return node.cause is not None
        case ast.Call(func=ast.Name(id="super")):
            return not node.args
        case ast.Call(func=ast.Name(id="print")):
            return bool(node.keywords)
        case ast.Call(func=ast.Name(id="open")):
            return any(k.arg in ("encoding", "errors", "newline") for k in node.keywords)
        case ast.Call(func=ast.Attribute(value=ast.Name(id="subprocess"), attr=function)):
            return function == "run" or any(k.arg in ("text", "encoding", "errors") for k in node.keywords)
        case ast.ImportFrom(module="__future__"):
            return any(alias.name == "annotations" for alias in node.names)
    return False


def _looks_after_itself(tree: ast.Module, siblings: frozenset[str]) -> bool:
    """Whether the file imports what only 3 has, asks which Python runs it, or was translated before."""
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            top = name.partition(".")[0]
            if top not in siblings and (name in NEW or top in NEW or name.startswith(RUNTIME_MODULE)):
                return True
        if isinstance(node, ast.Compare) and "version_info" in ast.unparse(node):
            numbers = [n.value for n in ast.walk(node) if isinstance(n, ast.Constant)]
            if 3 in numbers or (isinstance(node.comparators[0], ast.Constant) and node.comparators[0].value == 2):
                return True
        if isinstance(node, ast.Attribute) and node.attr == "PY3":
            return True
    return False


def _only_2(tree: ast.Module) -> bool:
    """Whether a name, a method, a module or a statement is Python 2's."""
    scopes = Scopes(tree)
    modules: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import():
                modules |= {alias.name for alias in node.names}
                if any(_module_of_2(alias.name) for alias in node.names):
                    return True
            case ast.ImportFrom(level=0, module=str(name)):
                if _module_of_2(name) or any(alias.name in MEMBERS.get(name, ()) for alias in node.names):
                    return True
            case ast.Name(ctx=ast.Load()):
                if node.id in ONLY_2 and scopes.is_builtin(node):
                    return True
            case ast.Attribute(value=ast.Name(id=owner)) if node.attr in MEMBERS.get(owner, ()):
                return True
            case ast.Call(func=ast.Attribute(attr=method)):
                sorts = method == "sort" and (node.args or any(k.arg == "cmp" for k in node.keywords))
                if sorts or method in ONLY_2_METHODS or (method == "next" and not node.args and not node.keywords):
                    return True
            case ast.Call(func=ast.Name(id="sorted")):
                if len(node.args) > 1 or any(k.arg == "cmp" for k in node.keywords):
                    return True
            case ast.ClassDef():
                methods = {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
                aliases = {ast.unparse(n.targets[0]) for n in node.body if isinstance(n, ast.Assign)}
                if methods & SPECIAL and not (methods | aliases) & {"__next__", "__bool__", "__truediv__", "__lt__"}:
                    return True
                if "__metaclass__" in aliases:
                    return True
            case ast.Expr():
                if _old_statement(node.value):
                    return True
    return False


def _module_of_2(name: str) -> bool:
    return name in RENAMED or name in GONE or name in ONLY_2_MODULES


def _old_statement(node: ast.expr) -> bool:
    """A print or exec statement that parses as an expression."""
    match node:
        case ast.Name(id="print") | ast.BinOp(left=ast.Name(id="print"), op=ast.RShift()):
            return True
        case ast.Tuple(elts=[ast.Call(func=ast.Name(id="print")) | ast.BinOp(left=ast.Name(id="print"), op=ast.RShift()), *_]):
            return True
        case ast.Compare(left=ast.Call(func=ast.Name(id="exec")), ops=[ast.In()]):
            return True
    return False
