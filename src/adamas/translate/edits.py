"""A file that parses: its syntax tree, its tokens, and how one finds and changes the other."""

from __future__ import annotations

import ast

from adamas.errors import Mistake
from adamas.translate.lexer import Token, join, tokens
from adamas.translate.scope import Scopes
from adamas.translate.syntax import RUNTIME


class Edits:
    """One file; `unpacked` are the made-up names of `syntax`, and what each is to be taken apart into."""

    def __init__(self, text: str, tree: ast.Module, filename: str, unpacked: dict[str, str] | None = None) -> None:
        self.filename = filename
        self.tree = tree
        self.unpacked = unpacked or {}
        self.scopes = Scopes(tree, self.unpacked)
        self.mistakes: list[Mistake] = []
        self.tokens = tokens(text, filename)
        self._place(text)

    def _place(self, text: str) -> None:
        """Where tokens start and end, in the columns of the syntax tree (bytes of UTF-8)."""
        lines = text.split("\n")
        self.starts: dict[tuple[int, int], int] = {}
        self.ends: dict[tuple[int, int], int] = {}
        for index, token in enumerate(self.tokens):
            if token.text and token.kind not in ("nl", "newline", "comment"):
                line, column = token.line, token.column
                self.starts[line, len(lines[line - 1][:column].encode())] = index
                head, _, tail = token.text.rpartition("\n")
                line += token.text.count("\n")
                column = len(tail) if head else column + len(tail)
                self.ends[line, len(lines[line - 1][:column].encode())] = index

    def first(self, node: ast.expr | ast.stmt) -> Token:
        return self.tokens[self.starts[node.lineno, node.col_offset]]

    def last(self, node: ast.expr | ast.stmt) -> Token:
        return self.tokens[self.last_index(node)]

    def last_index(self, node: ast.expr | ast.stmt) -> int:
        return self.ends[node.end_lineno or 0, node.end_col_offset or 0]

    def beside(self, index: int, step: int) -> int:
        """The next token that means something, in either direction."""
        index += step
        while self.tokens[index].kind in ("nl", "comment") or not (
            self.tokens[index].text or self.tokens[index].kind == "newline"
        ):
            index += step
        return index

    def wrap(self, node: ast.expr, function: str) -> None:
        self.first(node).wrap(f"{RUNTIME}.{function}(", self.last(node), ")")

    def refuse(self, node: ast.expr | ast.stmt, why: str) -> None:
        """Notes what cannot be translated."""
        self.mistakes.append(Mistake(self.filename, node.lineno, why))

    def builtin(self, name: str) -> str:
        """A builtin by its name, or by the run time where the file uses that name for something else."""
        return f"{RUNTIME}.builtins.{name}" if name in self.scopes.everywhere else name

    def text(self) -> str:
        """The source with all changes."""
        return join(self.tokens)
