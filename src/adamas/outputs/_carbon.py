"""What the outputs to Graphite share: names as it takes them, series as its tags, an account's key, and several nodes.

Source: https://graphite.readthedocs.io/en/latest/tags.html (what tags may contain; carbon's own `TaggedSeries` reads them),
https://graphite.readthedocs.io/en/latest/feeding-carbon.html, and carbon.conf for DESTINATIONS, REPLICATION_FACTOR,
DIVERSE_REPLICAS and ROUTER_HASH_TYPE.
"""

from __future__ import annotations

import re
import zlib

from adamas import Output, Secret, option
from adamas.host import split_address
from adamas.lines import TIME, VALUE
from adamas.naming import clean_path
from adamas.transport.stream import Stream
from adamas.transport.unix import unix_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from adamas.naming import Point
    from adamas.ring import Node, Ring

NODE = 251
"""The most bytes between two dots: a node is a folder or a file (.wsp), whose name has 255."""
NAME = 3800
"""The most bytes of a whole name: it is a path in the store's own folder, and paths have 4096."""
_WITH_INSTANCE = re.compile(r"((?:\[[^\]]*\]|[^:\[\]]+):\d+):(.+)")
_NOT_TAG = re.compile(r"[;!^=\s\x00-\x1f\x7f]+")


class Named(Output):
    """Series under names that Graphite takes: dotted, or with their labels as tags."""

    tags: bool = option(False, "Series with their labels as Graphite's tags (name;label=value), in the naming prometheus or otel")

    def __init__(self, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        if self.tags and not self.naming:
            self.naming = "prometheus"

    def check(self) -> list[str]:
        """Labels go with tags only."""
        wrong = super().check()
        labelled = self.naming in ("prometheus", "otel")
        if self.tags and not labelled:
            wrong.append(f"tags: the naming {self.naming!r} has no labels: take prometheus or otel")
        if labelled and not self.tags:
            wrong.append(f"naming: {self.naming!r} has labels, which go as tags only: tags = true")
        return wrong

    def fit(self, point: Point) -> Point | None:
        """Clean tags in carbon's order; a node that is too long for a file is cut, with a check sum of it at its end."""
        if self.tags:
            name, labels = point.name.lstrip("~") or "_", clean_tags(point.labels)
            return point if (name, labels) == (point.name, point.labels) else point.named(name, labels)
        name = point.name
        if len(name) * 4 <= NODE:  # a character has four bytes at most
            return point
        fitted = ".".join([_cut(node) for node in name.split(".")])
        if len(fitted.encode("utf-8", "backslashreplace")) > NAME:
            return None
        return point if fitted == name else point.named(fitted)

    def line(self, point: Point) -> str:
        """`name value time`, or `name;tag=value value time`."""
        return f"{series(point)} {VALUE} {TIME}\n"


class Keyed(Named):
    """Lines that begin with an account's key where the service wants one; the key is on no disk."""

    key: Secret = option("", "The account's key, which goes before each name (Hosted Graphite)")

    def check(self) -> list[str]:
        """The key is one word."""
        wrong = super().check()
        if self.key and not re.fullmatch(r"[^\s.;]+", self.key):
            wrong.append("key: expected one word, without dots")
        return wrong

    def send(self, payload: bytes) -> None:
        """Put the key before each line, if there is one."""
        if self.key:
            head = self.key.encode() + b"."
            payload = head + payload[:-1].replace(b"\n", b"\n" + head) + payload[-1:]
        super().send(payload)


class Nodes(Named, Stream):
    """One peer, the first that answers of several, each in its turn, or each with its own part of the series."""

    routing: str = option(
        "failover",
        "With several addresses: the first that answers, each in its turn, or for each series those that carbon's ring names",
        choices=("failover", "round_robin", "consistent"),
    )
    hash: str = option("carbon_ch", "The ring's hash, as in carbon's ROUTER_HASH_TYPE", choices=("carbon_ch", "fnv1a_ch"))
    replication: int = option(1, "How many nodes get each series, as in carbon's REPLICATION_FACTOR", minimum=1)
    diverse: bool = option(True, "Have a series' replicas on different servers, as in carbon's DIVERSE_REPLICAS")

    def __init__(self, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._ring: Ring | None = None
        node = (values or {}).get("node")
        if node is not None:
            from adamas.ring import Ring  # only few have one

            self._ring = Ring([_node(one, self.port) for one in self.address], self.hash)
            self._own = _node(node, self.port)
            self.address = [node]

    @classmethod
    def spread(cls, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """With consistent hashing an output for each node: one that is away holds up its own part only."""
        if values.get("routing") != "consistent":
            return super().spread(values)
        nodes = values.get("address", cls.options["address"].default)
        return {f"@{node}": {**values, "node": node} for node in nodes}

    def check(self) -> list[str]:
        """A node stands on the ring once, and there are enough of them."""
        wrong = super().check()
        if wrong or self.routing != "consistent":
            return wrong
        nodes = [_node(address, self.port) for address in self.address]
        if len(set(nodes)) < len(nodes):
            wrong.append("address: two nodes are alike: on one server each needs an instance of its own, host:port:instance")
        if self.replication > len({server for server, _ in nodes} if self.diverse else nodes):
            wrong.append(f"replication: there are no {self.replication} nodes{' on different servers' if self.diverse else ''}")
        return wrong

    def place(self, address: str) -> tuple[str, int]:
        """Host and port of `host:port` or, on the ring, `host:port:instance`."""
        return _divide(address, self.port)[:2] if self.routing == "consistent" else super().place(address)

    def wants(self, point: Point, front: str) -> bool:
        """Whether the series is one of this node's."""
        if not super().wants(point, front):
            return False
        if self._ring is None:
            return True
        fitted = self.fit(point)
        return fitted is not None and self._own in self._ring.nodes(series(fitted), self.replication, self.diverse)


def series(point: Point) -> str:
    """A point's name with its tags."""
    return point.name + "".join([f";{tag}={value}" for tag, value in point.labels])


def clean_tags(labels: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """Labels as tags: none is empty, called `name` (the metric's own), or with what would end a tag or a line."""
    tags: dict[str, str] = {}
    for label, value in labels:
        tag = _NOT_TAG.sub("_", label) or "_"
        while tag == "name" or tag in tags:
            tag += "_"
        value = clean_path(value).replace(";", "_")
        if value[:1] == "~":
            value = "_" + value[1:]
        if value[-2:] == '"}':
            value = value[:-1] + "_"  # a series that ends so is taken for the other form, name{tag="value"}
        if value:
            tags[tag] = value
    return tuple(sorted(tags.items(), key="=".join))


def _cut(node: str) -> str:
    whole = node.encode("utf-8", "backslashreplace")
    if len(whole) <= NODE:
        return node
    return f"{whole[: NODE - 9].decode('utf-8', 'ignore')}_{zlib.crc32(whole):08x}"


def _divide(address: str, port: int | None) -> tuple[str, int, str | None]:
    """(host, port, instance) of `host:port` or `host:port:instance`; ValueError that says what was expected."""
    found = _WITH_INSTANCE.fullmatch(address)
    return (*split_address(found[1]), found[2]) if found else (*split_address(address, port), None)


def _node(address: str, port: int | None) -> Node:
    if unix_path(address):
        return address, None
    host, _, instance = _divide(address, port)
    return host, instance
