"""Connections that the packet filter tracks: how many there are, how many there may be, and what became of packets.

From /proc/sys/net/netfilter (the kernel's Documentation/networking/nf_conntrack-sysctl.rst), and its counters for each CPU in
/proc/net/stat/nf_conntrack, hexadecimal. Diamond called both figures after ip_conntrack, whichever module the kernel has.
"""

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, Group, NoData, Raw, Sample, option

STAT = "/proc/net/stat/nf_conntrack"
COUNTED = ("found", "invalid", "ignore", "insert", "insert_failed", "drop", "early_drop", "search_restart")


def _counted(name: str, help: str) -> Counter:
    return Counter(name, help, diamond=None, prometheus=Raw(f"node_nf_conntrack_stat_{name}", kind="gauge"))


class ConnTrack(Collector):
    """How full the table of tracked connections is, and what is lost when it is full."""

    name = "conntrack"
    diamond = "ConnTrackCollector"
    needs = ("/proc/sys/net/netfilter (the module nf_conntrack)",)

    dir: list[str] = option(["/proc/sys/net/ipv4/netfilter", "/proc/sys/net/netfilter"], "Where the files are")
    files: list[str] = option(
        ["ip_conntrack_count", "ip_conntrack_max", "nf_conntrack_count", "nf_conntrack_max"],
        "The files; their names end in conntrack_count or conntrack_max, and the last that is there counts",
    )

    entries = Gauge(
        "entries", "Connections in the table", diamond=Raw("ip_conntrack_count"), prometheus="node_nf_conntrack_entries"
    )
    limit = Gauge(
        "entries_limit",
        "Connections that there is room for",
        diamond=Raw("ip_conntrack_max"),
        prometheus="node_nf_conntrack_entries_limit",
    )
    found = _counted("found", "Lookups that found a connection")
    invalid = _counted("invalid", "Packets that cannot be tracked")
    ignore = _counted("ignore", "Packets that belong to a connection already")
    insert = _counted("insert", "Connections that were put into the table")
    insert_failed = _counted("insert_failed", "Connections that were in the table already")
    drop = _counted("drop", "Packets that were dropped because a connection could not be tracked")
    early_drop = _counted("early_drop", "Connections that were dropped to make room for new ones")
    search_restart = _counted("search_restart", "Lookups that began anew because the table was resized")
    counted = Group(found, invalid, ignore, insert, insert_failed, drop, early_drop, search_restart)

    def collect(self) -> Iterator[Sample]:
        found: dict[str, int] = {}
        for folder in self.dir:
            for file in self.files:
                kind = file.rpartition("conntrack_")[2]
                if kind not in ("count", "max"):
                    raise ValueError(f"files: {file!r} does not end in conntrack_count or conntrack_max")
                path = f"{folder.rstrip('/')}/{file}"
                if text := self.host.read(path, ""):
                    try:
                        found[kind] = int(text)
                    except ValueError:
                        raise ValueError(f"{path} is not a number: {text[:60]!r}") from None
        if not found:
            raise NoData(f"no conntrack file in {' or '.join(self.dir)}: the kernel does not track connections")
        if "count" in found:
            yield self.entries(found["count"])
        if "max" in found:
            yield self.limit(found["max"])
        if text := self.host.read(STAT, ""):
            yield self.counted(totals(text))


def totals(text: str) -> list[int]:
    """The sums over all CPUs of the counters in COUNTED; 0 for those that the kernel does not have."""
    lines = text.split("\n")
    columns = {name: at for at, name in enumerate(lines[0].split())}
    try:
        rows = [[int(word, 16) for word in line.split()] for line in lines[1:] if line]
        return [sum([row[columns[name]] for row in rows]) if name in columns else 0 for name in COUNTED]
    except (IndexError, ValueError):
        raise ValueError(f"{STAT} is not a table of hexadecimal numbers: {text[:60]!r}") from None
