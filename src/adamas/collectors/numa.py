"""Memory of each NUMA node, from /sys/devices/system/node: meminfo, as that of the machine, and numastat.

numastat counts pages that a node gave: whether the process ran on it (local_node) or on another (other_node), and whether it was
the node that was asked first. Source: the kernel's Documentation/admin-guide/numastat.rst.

Diamond asked `numactl --hardware` for the size and the free memory of each node, in MiB; they are the same figures.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Raw, Sample, option

NODES = "/sys/devices/system/node"
LINE = re.compile(r"^node (\d+) (free|size): (\d+) MB", re.M)


def plain(field: str) -> str:
    """A field's name without parentheses: Active(anon) is Active_anon."""
    return field.replace("(", "_").replace(")", "")


PLAIN = {"field": plain}


class Numa(Collector):
    """What each node's memory is used for, and how often a page came from another node than it should."""

    name = "numa"
    diamond = "NumaCollector"
    needs = (NODES,)

    bin: str = option("", "The program numactl, for Diamond's names (default: the kernel is asked)")

    memory = Gauge(
        "node{node}.{field}",
        "A field of a node's meminfo",
        unit="By",
        path=Raw(values=PLAIN),
        diamond=None,
        prometheus=Raw("node_memory_numa_{field}", values=PLAIN),
    )
    pages = Gauge(
        "node{node}.{field}",
        "A field of a node's meminfo that counts pages",
        path=Raw(values=PLAIN),
        diamond=None,
        prometheus=Raw("node_memory_numa_{field}", values=PLAIN),
    )
    given = Counter("node{node}.{event}", "Pages that a node gave", diamond=None, prometheus="node_memory_numa_{event}_total")
    listed = Gauge(
        "node_{node}_{figure}_MB", "Size and free memory of a node, in MiB", path=None, diamond=Raw(), prometheus=None, otel=None
    )

    def collect(self) -> Iterator[Sample]:
        if self.bin:
            yield from self._ask_program()
        try:
            names = self.host.listdir(NODES)
        except NoData:
            if self.bin:
                return
            raise
        for name in names:
            if name.startswith("node") and name[4:].isdigit():
                yield from self._of_node(name[4:], f"{NODES}/{name}")

    def _of_node(self, node: str, folder: str) -> Iterator[Sample]:
        sizes, counts = fields(f"{folder}/meminfo", self.host.read(f"{folder}/meminfo"))
        if not self.bin:
            for figure, field in (("size", "MemTotal"), ("free", "MemFree")):
                if field in sizes:
                    yield self.listed(sizes[field] >> 20, node, figure)
        yield self.memory.row(list(sizes.values()), list(sizes), node)
        if counts:
            yield self.pages.row(list(counts.values()), list(counts), node)
        words = self.host.read(f"{folder}/numastat", "").split()
        try:
            yield self.given.row(list(map(int, words[1::2])), words[::2], node)
        except ValueError:
            raise ValueError(f"{folder}/numastat is not names and numbers: {' '.join(words)[:60]!r}") from None

    def _ask_program(self) -> Iterator[Sample]:
        answer = self.host.run([self.bin, "--hardware"], timeout=self.deadline or 10.0)
        found = LINE.findall(answer.text)
        if not found:
            said = answer.errors.decode("utf-8", "replace").strip() or answer.text.strip()
            raise ValueError(f"{self.bin} --hardware shows no node; it ended with {answer.status}: {said[:200]}")
        for node, figure, size in found:
            yield self.listed(int(size), node, figure)


def fields(path: str, text: str) -> tuple[dict[str, int], dict[str, int]]:
    """The fields of a node's meminfo: those in bytes, and those that count pages."""
    sizes: dict[str, int] = {}
    counts: dict[str, int] = {}
    for line in text.split("\n"):
        words = line.split()
        try:
            if len(words) == 5 and words[4] == "kB":
                sizes[words[2][:-1]] = int(words[3]) << 10
            elif len(words) == 4:
                counts[words[2][:-1]] = int(words[3])
            elif words:
                raise ValueError
        except ValueError:
            raise ValueError(f"{path}: {line[:60]!r} is not a field and its size") from None
    if not sizes:
        raise ValueError(f"{path} has no field")
    return sizes, counts
