"""Graphite's patterns over dotted names: `*` and `?` within a node, `[0-9]`, `{a,b}`.

Source: https://graphite.readthedocs.io/en/latest/render_api.html#paths-and-wildcards
"""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_LENGTH = 512
MOST_SPREAD = 64


class Pattern:
    """A pattern, node by node. `fnmatch` makes expressions that do not backtrack, so that no pattern can be slow."""

    __slots__ = ("_nodes", "text")

    def __init__(self, text: str) -> None:
        if len(text) > MOST_LENGTH:
            raise ValueError(f"a pattern of at most {MOST_LENGTH} characters")
        self.text = text
        self._nodes = [_node(part) for part in split_nodes(text)]

    def __len__(self) -> int:
        return len(self._nodes)

    def first(self) -> str | None:
        """The text of the first node, where it is plain."""
        node = self._nodes[0]
        return node if isinstance(node, str) else None

    def begins(self, nodes: Sequence[str]) -> bool:
        """Whether a name's first nodes match all of the pattern."""
        if len(nodes) < len(self._nodes):
            return False
        for wanted, given in zip(self._nodes, nodes):
            if wanted != given and (isinstance(wanted, str) or wanted.match(given) is None):
                return False
        return True

    def matches(self, nodes: Sequence[str]) -> bool:
        """Whether a name matches."""
        return len(nodes) == len(self._nodes) and self.begins(nodes)


def split_nodes(text: str) -> list[str]:
    """The parts between dots; a dot in braces is none of them."""
    parts, start, depth = [], 0, 0
    for at, letter in enumerate(text):
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
        elif letter == "." and depth <= 0:
            parts.append(text[start:at])
            start = at + 1
    parts.append(text[start:])
    return parts


def _node(text: str) -> str | re.Pattern[str]:
    if not any(letter in text for letter in "*?[{"):
        return text
    return re.compile("|".join(fnmatch.translate(one) for one in spread(text)))


def spread(text: str) -> list[str]:
    """A text without its braces: one for each combination of what is in them."""
    done: list[str] = []
    waiting = [text]
    while waiting:
        if len(done) + len(waiting) > MOST_SPREAD:
            raise ValueError(f"a pattern whose braces give at most {MOST_SPREAD} combinations")
        one = waiting.pop(0)
        end = one.find("}")
        start = one.rfind("{", 0, end) if end >= 0 else -1
        if start < 0:
            done.append(one)
        else:
            waiting += [one[:start] + choice + one[end + 1 :] for choice in one[start + 1 : end].split(",")]
    return list(dict.fromkeys(done))
