"""Carbon's consistent hash ring: which of several nodes a series belongs to, in the same way as carbon-relay chooses.

A node stands at a hundred positions of a ring; a series belongs to the node at the first position from its own on, and its
replicas to the next other ones. A node that comes or goes moves only the series that it gets or had.

Source: https://graphite.readthedocs.io/en/latest/carbon-daemons.html#carbon-relay-py and carbon.hashing of carbon 1.1, whose
choices these are: `carbon_ch` is the first 16 bits of MD5, `fnv1a_ch` the 32 bits of FNV-1a folded to 16.
"""

from __future__ import annotations

from bisect import bisect_left

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Node = tuple[str, str | None]
    """(server, instance), as in carbon's DESTINATIONS; the port is no part of a node's place."""

POSITIONS = 100
OFFSET, PRIME = 0x811C9DC5, 0x01000193


def carbon_ch(key: str) -> int:
    """The first 16 bits of MD5."""
    from hashlib import md5  # OpenSSL: only for who needs it

    return int.from_bytes(md5(key.encode("utf-8", "backslashreplace"), usedforsecurity=False).digest()[:2], "big")


def fnv1a_ch(key: str) -> int:
    """FNV-1a in 32 bits, folded to 16."""
    value = OFFSET
    for byte in key.encode("utf-8", "backslashreplace"):
        value = ((value ^ byte) * PRIME) & 0xFFFFFFFF
    return (value >> 16) ^ (value & 0xFFFF)


HASHES: dict[str, Callable[[str], int]] = {"carbon_ch": carbon_ch, "fnv1a_ch": fnv1a_ch}


class Ring:
    """Nodes on a ring. Their order matters: where two want one position, the later moves on."""

    def __init__(self, nodes: Sequence[Node], hash: str = "carbon_ch") -> None:
        self._hash = HASHES[hash]
        places: dict[int, Node] = {}
        for node in nodes:
            for number in range(POSITIONS):
                # fnv1a_ch knows a node by its instance alone, so that a server may move.
                position = self._hash(f"{number}-{node[1]}" if hash == "fnv1a_ch" else f"{node}:{number}")
                while position in places:
                    position += 1
                places[position] = node
        self._positions = sorted(places)
        self._nodes = [places[position] for position in self._positions]

    def nodes(self, key: str, count: int, diverse: bool = True) -> list[Node]:
        """The nodes of a series, its own first: `count` of them where there are so many; diverse: each on another server."""
        found: list[Node] = []
        servers: set[str] = set()
        size = len(self._nodes)
        start = bisect_left(self._positions, self._hash(key)) % size
        for step in range(size):
            node = self._nodes[(start + step) % size]
            if node in found or (diverse and node[0] in servers):
                continue
            found.append(node)
            servers.add(node[0])
            if len(found) == count:
                break
        return found
