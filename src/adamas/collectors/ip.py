"""IP and ICMP as the kernel counts them, from /proc/net/snmp (RFC 4293), /proc/net/netstat (IpExt) and /proc/net/snmp6.

What each field means stands in the kernel's Documentation/networking/snmp_counter.rst. The octets of IPv4 are in IpExt.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Rate, Raw, Sample, option
from adamas.collectors._mib import Fields, columns, two_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.collectors._mib import Part
    from adamas.host import Host

SNMP, NETSTAT, SNMP6 = "/proc/net/snmp", "/proc/net/netstat", "/proc/net/snmp6"
LEVELS = {"Forwarding", "DefaultTTL"}
TABLES6 = ("Ip6", "Icmp6")
LISTED = ["InAddrErrors", "InDelivers", "InDiscards", "InHdrErrors", "InReceives", "InUnknownProtos"]
LISTED += ["OutDiscards", "OutNoRoutes", "OutRequests"]
LISTED += ["Ip6" + name for name in LISTED]


class IP(Collector):
    """Packets in, out, forwarded, reassembled and dropped, octets, and the messages of ICMP, for IPv4 and IPv6."""

    name = "ip"
    diamond = "IPCollector"
    needs = (SNMP,)

    allowed_names: list[str] = option(LISTED, "The fields in Diamond's spelling; none for all. Other spellings have all fields")

    counter = Counter(
        "{field}",
        "A counter of IPv4",
        diamond=None,
        prometheus=Raw("node_netstat_Ip_{field}", kind="untyped"),
        otel="ip.{field}",
    )
    level = Gauge(
        "{field}",
        "Whether this machine forwards (1) or not (2), and the time to live that its packets start with",
        diamond=None,
        prometheus=Raw("node_netstat_Ip_{field}", kind="untyped"),
        otel="ip.{field}",
    )
    extension = Counter(
        "{field}",
        "A counter of the table IpExt: octets, multicast and broadcast of IPv4, congestion marks",
        diamond=None,
        prometheus=Raw("node_netstat_IpExt_{field}", kind="untyped"),
        otel="ip.{field}",
    )
    other = Counter(
        "{table}{field}",
        "A counter of ICMP (Icmp; by type: IcmpMsg), IPv6 (Ip6) or ICMP over IPv6 (Icmp6)",
        diamond=None,
        prometheus=Raw("node_netstat_{table}_{field}", kind="untyped"),
        otel="ip.{table}{field}",
    )
    listed = Counter(
        "{field}", "A field of `allowed_names`, as Diamond gave it", path=None, diamond=Rate(), prometheus=None, otel=None
    )
    listed_level = Gauge(
        "{field}", "A level of `allowed_names`, as Diamond gave it", path=None, diamond=Raw(), prometheus=None, otel=None
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._ip = Fields(self._choose)
        self._icmp = Fields(lambda names: [(self.other, ("Icmp",), {n: n for n in names})])
        self._types = Fields(lambda names: [(self.other, ("IcmpMsg",), {n: n for n in names})])
        self._extension = Fields(lambda names: [(self.extension, (), {n: n for n in names})])
        self._v6 = Fields(self._choose6)

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(SNMP)
        ip = two_lines(text, "Ip")
        if not ip[0]:
            raise NoData(f"{SNMP} says nothing of IP")
        yield from self._ip.rows(*ip)
        yield from self._icmp.rows(*two_lines(text, "Icmp"))
        yield from self._types.rows(*two_lines(text, "IcmpMsg"))
        yield from self._extension.rows(*two_lines(self.host.read(NETSTAT, ""), "IpExt"))
        yield from self._v6.rows(*columns(self.host.read(SNMP6, "")))

    def _listed(self, names: list[str]) -> list[str]:
        return [n for n in names if not self.allowed_names or n in self.allowed_names]

    def _choose(self, names: list[str]) -> list[Part]:
        listed = self._listed(names)
        return [
            (self.counter, (), {n: n for n in names if n not in LEVELS}),
            (self.level, (), {n: n for n in names if n in LEVELS}),
            (self.listed, (), {n: n for n in listed if n not in LEVELS}),
            (self.listed_level, (), {n: n for n in listed if n in LEVELS}),
        ]

    def _choose6(self, names: list[str]) -> list[Part]:
        parts: list[Part] = [(self.other, (t,), {n: n.removeprefix(t) for n in names if n.startswith(t)}) for t in TABLES6]
        # Diamond took whatever the file has, UDP too.
        return [*parts, (self.listed, (), {n: n for n in self._listed(names)})]
