"""The virtual memory's events and levels, from /proc/vmstat (proc(5)), in pages; pgpgin and pgpgout are KiB.

Which fields are levels is not written in the file. Those that begin with nr_ are, but for the few that only grow.
"""

from collections.abc import Iterator, Sequence

from adamas import Collector, Counter, Gauge, NoData, Otel, Rate, Raw, Sample
from adamas.metric import UNTYPED, picker

VMSTAT = "/proc/vmstat"
PAGING = ("pgfault", "pgmajfault", "pgpgin", "pgpgout", "pswpin", "pswpout")
"""The fields that Diamond published."""
GROWING = frozenset(("nr_dirtied", "nr_written", "nr_throttled_written", "nr_vmscan_write", "nr_vmscan_immediate_reclaim"))
GROWING |= {"nr_foll_pin_acquired", "nr_foll_pin_released"}
GROWING |= {"nr_tlb_remote_flush", "nr_tlb_remote_flush_received", "nr_tlb_local_flush_all", "nr_tlb_local_flush_one"}
LEVELS = frozenset(("workingset_nodes",))
FIELD = Raw("node_vmstat_{field}", kind=UNTYPED)


class VmStat(Collector):
    """Page faults, paging, swapping, reclaim, compaction, and what pages are used for."""

    name = "vmstat"
    diamond = "VMStatCollector"
    needs = (VMSTAT,)

    paging = Counter(
        "{field}",
        "Page faults, KiB paged in and out, pages swapped in and out",
        diamond=Rate(precision=2),
        prometheus=FIELD,
        otel="vmstat.{field}",
    )
    event = Counter("{field}", "Events as the kernel counts them", diamond=None, prometheus=FIELD, otel="vmstat.{field}")
    level = Gauge("{field}", "Pages in use, as the kernel counts them", diamond=None, prometheus=FIELD, otel="vmstat.{field}")
    faults = Counter(
        "faults.{type}",
        "Page faults, minor and major",
        path=None,
        diamond=None,
        prometheus=None,
        otel=Otel("system.paging.faults", type="system.paging.fault.type"),
    )
    operations = Counter(
        "operations.{type}.{direction}",
        "Pages swapped in and out",
        path=None,
        diamond=None,
        prometheus=None,
        otel=Otel("system.paging.operations", type="system.paging.fault.type", direction="system.paging.direction"),
    )

    _names: Sequence[str] = ()

    def collect(self) -> Iterator[Sample]:
        words = self.host.read(VMSTAT).split()
        names = words[::2]
        try:
            values = list(map(int, words[1::2]))
        except ValueError:
            raise ValueError(f"{VMSTAT} is not lines of a name and a number") from None
        if not values or len(names) != len(values):
            raise NoData(f"{VMSTAT} is empty, or ends within a line")
        if names != self._names:
            self._arrange(names)
        paging = self._pick_paging(values)
        yield self.paging.row(paging, self._paging)
        yield self.event.row(self._pick_events(values), self._events)
        yield self.level.row(self._pick_levels(values), self._levels)
        if len(paging) == len(PAGING):
            faults, major, _, _, swapped_in, swapped_out = paging
            yield self.faults.row((faults - major, major), ("minor", "major"))
            yield self.operations.row((swapped_in, swapped_out), ("in", "out"), "major")

    def _arrange(self, names: list[str]) -> None:
        """Which field goes where: once, unless the kernel changes them."""
        self._names = names
        where = {name: position for position, name in enumerate(names)}
        self._paging = [name for name in PAGING if name in where]
        self._levels = [name for name in names if name in LEVELS or (name.startswith("nr_") and name not in GROWING)]
        self._events = [name for name in names if name not in {*PAGING, *self._levels}]
        self._pick_paging = picker([where[name] for name in self._paging])
        self._pick_events = picker([where[name] for name in self._events])
        self._pick_levels = picker([where[name] for name in self._levels])
