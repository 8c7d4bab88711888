"""Statements and literals that Python 3 cannot parse, rewritten token by token; the lines stay where they are.

What is left afterwards (names, methods, division, imports) parses, and `meaning` does it on the syntax tree.
"""

from __future__ import annotations

from adamas.errors import Mistake, TranslationError
from adamas.translate import literals
from adamas.translate.lexer import Token, join, logical_lines, tokens

RUNTIME = "_py2"
"""The name under which translated code has `adamas.translate.python2`."""

COMPOUND = frozenset(("if", "elif", "else", "for", "while", "try", "except", "finally", "with", "def", "class"))
NEW_KEYWORDS = frozenset(("async", "await", "nonlocal"))
OPEN, CLOSE = frozenset("([{"), frozenset(")]}")


class Syntax:
    """One file on its way: `text` is what Python 3 parses, `unpacked` what a made-up name must be taken apart into, and where."""

    def __init__(self, source: str, filename: str) -> None:
        self.filename = filename
        self.tokens = tokens(source, filename)
        self.futures = _futures(self.tokens)
        self.unpacked: dict[str, str] = {}
        self.made = 0
        self.mistakes: list[Mistake] = []
        for token in self.tokens:
            if token.text in NEW_KEYWORDS and token.kind == "name":
                token.text += "_"
        lines = list(logical_lines(self.tokens))
        for line in lines:
            self._displays(line)
            self._lambdas(line)
            for statement in _statements(line):
                self._statement(statement)
            self._backticks(line)
            for token, following in zip(line, [*line[1:], None]):
                if token.kind == "number":
                    long = token.text[-1] in "lL" and following is not None and following.text == "."
                    token.text = literals.number(token.text) + (" " if long else "")
                elif token.text == "<>":
                    token.text = "!="
            literals.strings(line, "unicode_literals" in self.futures, RUNTIME)
        if self.mistakes:
            raise TranslationError(self.mistakes)
        self.text = join(self.tokens)

    def refuse(self, token: Token, why: str) -> None:
        """Notes what cannot be translated; the rest is still read, to name all of it at once."""
        self.mistakes.append(Mistake(self.filename, token.line, why))

    def _made_up(self, target: str) -> str:
        self.made += 1
        name = f"{RUNTIME}_{self.made}"
        self.unpacked[name] = target
        return name

    def _statement(self, part: list[Token]) -> None:
        word = part[0].text if part[0].kind == "name" else ""
        if word == "print" and "print_function" not in self.futures:
            self._print(part)
        elif word == "exec":
            self._exec(part)
        elif word == "raise":
            self._raise(part)
        elif word == "except":
            self._except(part)
        elif word == "def":
            self._parameters(part[3:-2])

    def _print(self, part: list[Token]) -> None:
        keyword, items = part[0], part[1:]
        keyword.text = f"{RUNTIME}.print_("
        if not items:
            keyword.text += ")"
            return None
        last = items[-1]
        if items[0].text == ">>":
            keyword.text = f"{RUNTIME}.print_to("
            items[0].space = items[0].text = ""
            items = items[1:]
            if not items:
                return self.refuse(keyword, "print >> to nothing")
        items[0].space = items[0].space.lstrip(" ")
        if last.text == "," and last.kind == "op":
            last.text = ", more=True)"
        elif items[0].text == "(" and _closing(items, 0) == len(items) - 1 and len(items) > 2 and not _commas(items[1:-1]):
            keyword.text = keyword.text[:-1]
        else:
            last.after += ")"
        return None

    def _exec(self, part: list[Token]) -> None:
        keyword, items = part[0], part[1:]
        if not items:
            return self.refuse(keyword, "exec of nothing")
        if items[0].text == "(" and _closing(items, 0) == len(items) - 1:
            items[0].text = items[-1].text = ""
            items = items[1:-1]
        cut = next((i for i in _level(items) if items[i].text == "in" or items[i].text == ","), len(items))
        if cut == 0 or cut == len(items) - 1:
            return self.refuse(keyword, "exec of nothing")
        keyword.text = "exec("
        items[0].space = items[0].space.lstrip(" ")
        items[0].before = f"{RUNTIME}.code(" + items[0].before
        items[cut - 1].after += ")"
        if cut < len(items):
            items[cut].space, items[cut].text = "", ","
        items[-1].after += ")"
        return None

    def _raise(self, part: list[Token]) -> None:
        if len(part) > 1 and part[1].kind == "string":
            return self.refuse(part[0], "a string is raised: Python 2.6 ended that too; raise an exception")
        if _commas(part[1:]):
            part[1].before = f"{RUNTIME}.exception(" + part[1].before
            part[-1].after += ")"
        return None

    def _except(self, part: list[Token]) -> None:
        head = part[1:-1] if part[-1].text == ":" else part[1:]
        commas = _commas(head)
        if len(commas) > 1:
            return self.refuse(part[0], "an except clause with more than one name after the exception")
        cut = commas[0] if commas else next((i for i in _level(head) if head[i].text == "as"), -1)
        if cut < 0:
            return None
        if commas:
            head[cut].text = " as"
        target = head[cut + 1 :]
        if len(target) != 1 or target[0].kind != "name":
            text = join(target).strip()
            if not target or "\n" in text:
                return self.refuse(part[0], "an except clause without a name, or with one over several lines")
            target[0].space = " "
            target[0].text = self._made_up(text)
            for token in target[1:]:
                token.space = token.text = ""
        elif not target[0].space:
            target[0].space = " "
        return None

    def _parameters(self, part: list[Token]) -> list[tuple[str, str]]:
        """Replaces each tuple among parameters by a made-up name; gives the pairs (that name, what was in the tuple)."""
        made: list[tuple[str, str]] = []
        i = 0
        begins = True
        while i < len(part):
            token = part[i]
            if token.kind == "op" and token.text in OPEN:
                end = _closing(part, i)
                if begins and token.text == "(":
                    made += self._parameter(part[i : end + 1])
                i = end
            begins = token.text == ","
            i += 1
        return made

    def _parameter(self, part: list[Token]) -> list[tuple[str, str]]:
        """One parameter in brackets: a tuple, or only a name."""
        inside = part[1:-1]
        while inside and inside[0].text == "(" and _closing(inside, 0) == len(inside) - 1:
            inside = inside[1:-1]
        if "\n" in join(part):
            self.refuse(part[0], "a tuple parameter over several lines")
            return []
        text = join(inside).strip()
        made = [(self._made_up(f"({text})"), text)] if _commas(inside) else []
        for other in part[1:]:
            other.space = other.text = ""
        part[0].text = made[0][0] if made else text
        return made

    def _lambdas(self, line: list[Token]) -> None:
        """`lambda (a, b): E` becomes `lambda _1: (lambda a, b: E)(*_1)`."""
        for i, token in enumerate(line):
            if token.text != "lambda" or (colon := _colon(line, i + 1)) is None:
                continue
            made = self._parameters(line[i + 1 : colon])
            end = _body_end(line, colon + 1)
            if not made or end == colon + 1:
                continue
            opening, closing = self._unpacking(made)
            line[colon + 1].before += opening
            line[end - 1].after = closing + line[end - 1].after

    def _unpacking(self, pending: list[tuple[str, str]]) -> tuple[str, str]:
        """What stands before and after a lambda's body so that it sees the parts of its tuple parameters."""
        opening, closing = "", ""
        while pending:
            (name, text), pending = pending[0], pending[1:]
            self.unpacked.pop(name, None)
            parts = tokens(text, self.filename)[:-2]
            deeper = self._parameters(parts)
            opening += f"(lambda {join(parts)}: "
            closing = f")(*{name})" + closing
            pending = deeper + pending
        return opening, closing

    def _displays(self, line: list[Token]) -> None:
        """`[x for x in 1, 2]` wants parentheses in Python 3."""
        for i, token in enumerate(line):
            if token.text != "[" or token.kind != "op":
                continue
            end = _closing(line, i)
            inside = line[i + 1 : end]
            level = _level(inside)
            for at, n in enumerate(level):
                if inside[n].text == "for" and inside[n].kind == "name":
                    start = next((m for m in level[at:] if inside[m].text == "in"), None)
                    if start is None:
                        break
                    later = level[level.index(start) + 1 :]
                    stop = next((m for m in later if inside[m].kind == "name" and inside[m].text in ("for", "if")), len(inside))
                    if any(start < c < stop for c in _commas(inside)):
                        inside[start + 1].before += "("
                        inside[stop - 1].after += ")"

    def _backticks(self, line: list[Token]) -> None:
        ticks: list[int] = []
        depth = 0
        for token in line:
            if token.text in OPEN:
                depth += 1
            elif token.text in CLOSE:
                depth -= 1
            elif token.text == "`":
                if ticks and ticks[-1] == depth:
                    ticks.pop()
                    token.text = ")"
                    depth -= 1
                else:
                    token.text = f"{RUNTIME}.repr_("
                    depth += 1
                    ticks.append(depth)
        if ticks:
            self.refuse(line[0], "a backtick without its pair")


def _futures(parts: list[Token]) -> frozenset[str]:
    """What the file imports from __future__."""
    found: set[str] = set()
    for line in logical_lines(parts):
        if len(line) > 3 and line[0].text == "from" and line[1].text == "__future__":
            found |= {t.text for t in line[3:] if t.kind == "name"}
    return frozenset(found)


def _statements(line: list[Token]) -> list[list[Token]]:
    """The head of a compound statement and the simple statements of one logical line."""
    found: list[list[Token]] = []
    start = 0
    if line[0].kind == "name" and line[0].text in COMPOUND and (colon := _colon(line, 1)) is not None:
        found.append(line[: colon + 1])
        start = colon + 1
    depth = 0
    for i in range(start, len(line)):
        text = line[i].text
        if text in OPEN:
            depth += 1
        elif text in CLOSE:
            depth -= 1
        elif text == ";" and not depth:
            found.append(line[start:i])
            start = i + 1
    found.append(line[start:])
    return [part for part in found if part]


def _level(part: list[Token]) -> list[int]:
    """Which of these tokens stand in no bracket of theirs; brackets themselves are left out."""
    found, depth = [], 0
    for i, token in enumerate(part):
        if token.kind == "op" and token.text in OPEN:
            depth += 1
        elif token.kind == "op" and token.text in CLOSE:
            depth -= 1
        elif not depth:
            found.append(i)
    return found


def _commas(part: list[Token]) -> list[int]:
    """The commas that stand in no bracket and in no lambda's parameters."""
    found: list[int] = []
    lambdas = 0
    for i in _level(part):
        text = part[i].text
        if text == "lambda":
            lambdas += 1
        elif text == ":" and lambdas:
            lambdas -= 1
        elif text == "," and not lambdas:
            found.append(i)
    return found


def _colon(line: list[Token], start: int) -> int | None:
    """The colon that ends what begins at `start`: a compound statement's head, or a lambda's parameters."""
    depth = lambdas = 0
    for i in range(start, len(line)):
        text = line[i].text
        if text in OPEN:
            depth += 1
        elif text in CLOSE:
            depth -= 1
        elif text == "lambda" and not depth:
            lambdas += 1
        elif text == ":" and not depth:
            if not lambdas:
                return i
            lambdas -= 1
    return None


def _closing(part: list[Token], start: int) -> int:
    """Where the bracket that opens at `start` is closed (the end, where it is not)."""
    depth = 0
    for i in range(start, len(part)):
        if part[i].kind == "op" and part[i].text in OPEN:
            depth += 1
        elif part[i].kind == "op" and part[i].text in CLOSE:
            depth -= 1
            if not depth:
                return i
    return len(part) - 1


def _body_end(line: list[Token], start: int) -> int:
    """The first token after the body of a lambda."""
    depth = lambdas = 0
    for i in range(start, len(line)):
        text = line[i].text
        if text in OPEN:
            depth += 1
        elif text in CLOSE:
            depth -= 1
            if depth < 0:
                return i
        elif depth:
            continue
        elif text == "lambda":
            lambdas += 1
        elif text == ":" and lambdas:
            lambdas -= 1
        elif text in (",", ":", ";", "=", "for", "`") and not lambdas:
            return i
    return len(line)
