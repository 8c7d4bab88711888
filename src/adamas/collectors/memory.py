"""What memory is used for, from /proc/meminfo (proc(5)): every field, in bytes; HugePages_* are counts of pages.

Used memory is what is not available (MemAvailable, Linux 3.14); on older kernels, what is neither free, buffer nor cache.
"""

from collections.abc import Iterator

from adamas import Collector, Gauge, NoData, Otel, Raw, Sample, option

MEMINFO = "/proc/meminfo"
CHARTED = frozenset(("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "Active", "Inactive", "Dirty", "Shmem"))
CHARTED |= {"SwapTotal", "SwapFree", "SwapCached", "VmallocTotal", "VmallocUsed", "VmallocChunk", "Committed_AS"}
"""The fields that Diamond published unless it was asked for all."""
KNOWN = (
    *("MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "Shmem"),
    *("SwapTotal", "SwapFree", "SReclaimable", "SUnreclaim"),
)
"""The fields of which OpenTelemetry's metrics are made."""


def plain(field: str) -> str:
    """A field's name without parentheses: Active(anon) is Active_anon."""
    return field.replace("(", "_").replace(")", "")


PLAIN = {"field": plain}


class Layout:
    """Where the fields stand in a meminfo: they stay there while a kernel runs.

    length: how many words there are; names, at: the fields, and where their names are; charted, others, counts: the fields
    of each metric, with where their numbers are; known: where the numbers of KNOWN are, 0 for those that are missing.
    """

    __slots__ = ("at", "charted", "charted_at", "counts", "counts_at", "known", "length", "names", "others", "others_at")

    def __init__(self, text: str, detailed: bool) -> None:
        where: dict[str, int] = {}
        self.charted: list[str] = []
        self.others: list[str] = []
        self.counts: list[str] = []
        position = 0
        for line in text.split("\n"):
            words = line.split()
            if len(words) in (2, 3) and words[0].endswith(":") and words[1].isdigit():
                name = words[0][:-1]
                where[name] = position + 1
                kind = self.counts if len(words) == 2 else self.charted if detailed or name in CHARTED else self.others
                kind.append(name)
            position += len(words)
        self.length = position
        self.names = [name + ":" for name in where]
        self.at = [at - 1 for at in where.values()]
        self.charted_at, self.others_at, self.counts_at = (
            [where[name] for name in names] for names in (self.charted, self.others, self.counts)
        )
        self.known = [where.get(name, 0) for name in KNOWN]


class Memory(Collector):
    """How much memory there is, and what it is used for."""

    name = "memory"
    diamond = "MemoryCollector"
    needs = (MEMINFO,)

    byte_unit: list[str] = option(["byte"], "The unit of Diamond's names; only the first counts")
    detailed: bool = option(False, "Every field under Diamond's names too, not only the usual ones")

    charted = Gauge(
        "{field}",
        "Memory as the kernel accounts for it, the usual fields",
        unit="By",
        path=Raw(values=PLAIN),
        diamond=Raw(units="byte_unit"),
        prometheus=Raw("node_memory_{field}_bytes", values=PLAIN),
        otel=Raw("memory.{field}", values=PLAIN),
    )
    other = Gauge(
        "{field}",
        "Memory as the kernel accounts for it, the other fields",
        unit="By",
        path=Raw(values=PLAIN),
        diamond=None,
        prometheus=Raw("node_memory_{field}_bytes", values=PLAIN),
        otel=Raw("memory.{field}", values=PLAIN),
    )
    pages = Gauge(
        "{field}",
        "Huge pages",
        path=Raw(values=PLAIN),
        diamond=None,
        prometheus=Raw("node_memory_{field}", values=PLAIN),
        otel=Raw("memory.{field}", values=PLAIN),
    )
    utilization = Gauge(
        "utilization.{state}",
        "The part of the memory that is used",
        unit="1",
        diamond=Raw("MemUsedPercentage", scale=100, drop=("state",)),
        prometheus=None,
        otel=Otel("system.memory.utilization", state="system.memory.state"),
    )
    usage = Gauge(
        "usage.{state}",
        "Memory by what it is used for",
        unit="By",
        path=None,
        diamond=None,
        prometheus=None,
        otel=Otel("system.memory.usage", state="system.memory.state"),
    )
    slab = Gauge(
        "slab.{state}",
        "Memory of the kernel's slabs",
        unit="By",
        path=None,
        diamond=None,
        prometheus=None,
        otel=Otel("system.memory.linux.slab.usage", state="system.memory.linux.slab.state"),
    )
    swap = Gauge(
        "swap.{state}",
        "Swap by state",
        unit="By",
        path=None,
        diamond=None,
        prometheus=None,
        otel=Otel("system.paging.usage", state="system.paging.state"),
    )
    limit = Gauge("limit", "All memory", unit="By", path=None, diamond=None, prometheus=None, otel="system.memory.limit")
    shared = Gauge("shared", "Shared memory", unit="By", path=None, diamond=None, prometheus=None, otel="system.memory.shared")
    available = Gauge(
        "available",
        "What programs could have without swapping",
        unit="By",
        path=None,
        diamond=None,
        prometheus=None,
        otel="system.memory.linux.available",
    )

    _layout: Layout | None = None

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(MEMINFO)
        words = text.split()
        layout = self._layout
        if layout is None or len(words) != layout.length or [words[at] for at in layout.at] != layout.names:
            layout = self._layout = Layout(text, self.detailed)
        if not layout.names:
            raise NoData(f"{MEMINFO} has no field")
        try:
            # By kB the kernel means 1024 bytes.
            yield self.charted.row([int(words[at]) << 10 for at in layout.charted_at], layout.charted)
            yield self.other.row([int(words[at]) << 10 for at in layout.others_at], layout.others)
            yield self.pages.row([int(words[at]) for at in layout.counts_at], layout.counts)
            known = [int(words[at]) << 10 if at else None for at in layout.known]
        except ValueError:
            raise ValueError(f"{MEMINFO} is not lines of a field and a number") from None
        total, free, available, buffers, cached, shared, swap, swap_free, reclaimable, unreclaimable = known
        if total:
            spare = (free or 0) + (buffers or 0) + (cached or 0) if available is None else available
            yield self.utilization((total - spare) / total, "used")
            states = {"used": total - spare, "free": free, "buffers": buffers, "cached": cached}
            there = {state: size for state, size in states.items() if size is not None}
            yield self.usage.row(list(there.values()), list(there))
            yield self.limit(total)
        if available is not None:
            yield self.available(available)
        if shared is not None:
            yield self.shared(shared)
        if swap is not None and swap_free is not None:
            yield self.swap.row((swap - swap_free, swap_free), ("used", "free"))
        if reclaimable is not None and unreclaimable is not None:
            yield self.slab.row((reclaimable, unreclaimable), ("reclaimable", "unreclaimable"))
