"""Caches of the kernel's slab allocator: objects, their size, and the slabs that hold them, from /proc/slabinfo (slabinfo(5)).

Version 2.1 of its format, Linux 2.6.10 and later. Only root may read it. The tunables are 0 where the allocator is SLUB.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Gauge, Group, Raw, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas.host import Host

SLABINFO = "/proc/slabinfo"
HEADER = (
    "# name <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit> <batchcount> <sharedfactor> "
    ": slabdata <active_slabs> <num_slabs> <sharedavail>"
)
WORDS = 15
"""How many words there are after the name of a cache."""
FIGURES = (
    *("active_objs", "num_objs", "objsize", "objperslab", "pagesperslab"),
    *("tunables.limit", "tunables.batchcount", "tunables.sharedfactor"),
    *("slabdata.active_slabs", "slabdata.num_slabs", "slabdata.sharedavail"),
)


class SlabInfo(Collector):
    """How much the kernel keeps in each of its slab caches."""

    name = "slabinfo"
    diamond = "SlabInfoCollector"
    needs = (f"{SLABINFO} (as root)",)

    figure = Gauge(
        "{slab}.{figure}", "A figure of a cache, as the kernel calls it", path=None, diamond=Raw(), prometheus=None, otel=None
    )
    active = Gauge("{slab}.active_objects", "Objects in use", diamond=None, prometheus="node_slabinfo_active_objects")
    objects = Gauge("{slab}.objects", "Objects that there is memory for", diamond=None, prometheus="node_slabinfo_objects")
    size = Gauge("{slab}.object_size", "Size of an object", unit="By", diamond=None, prometheus="node_slabinfo_object_size_bytes")
    objects_per_slab = Gauge(
        "{slab}.objects_per_slab", "Objects in a slab", diamond=None, prometheus="node_slabinfo_objects_per_slab"
    )
    pages_per_slab = Gauge(
        "{slab}.pages_per_slab", "Pages of memory in a slab", diamond=None, prometheus="node_slabinfo_pages_per_slab"
    )
    cache = Group(active, objects, size, objects_per_slab, pages_per_slab)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._lines: dict[str, tuple[str, list[Sample]]] = {}

    def collect(self) -> Iterator[Sample]:
        lines = self.host.read(SLABINFO).split("\n")
        if len(lines) < 2 or " ".join(lines[1].split()) != HEADER:
            raise ValueError(f"{SLABINFO} is not of version 2.1: it begins with {' / '.join(lines[:2])[:60]!r}")
        seen = 0
        for line in lines[2:]:
            slab, _, text = line.partition(" ")
            if not text:
                continue
            seen += 1
            last = self._lines.get(slab)
            # Most caches stay as they are from one run to the next.
            if last is None or last[0] != text:
                last = self._lines[slab] = text, self._samples(slab, text)
            yield from last[1]
        if seen < len(self._lines):
            self._lines.clear()  # a cache is gone

    def sweep(self, keep: Iterable[Any]) -> None:
        """As `Collector.sweep`; the samples of caches that stay as they are hold series, too."""
        super().sweep(keep)
        self._lines.clear()

    def _samples(self, slab: str, text: str) -> list[Sample]:
        words = text.split()
        try:
            if len(words) < WORDS:
                raise ValueError
            numbers = [int(word) for word in words[:5] + words[7:10] + words[12:15]]
        except ValueError:
            raise ValueError(f"{SLABINFO}: {slab} is not followed by the figures of a cache: {text.strip()[:60]!r}") from None
        return [self.figure.row(numbers, FIGURES, slab), self.cache(numbers[:5], slab)]
