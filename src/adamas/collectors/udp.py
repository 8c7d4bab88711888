"""UDP and UDP-Lite as the kernel counts them, from /proc/net/snmp (RFC 4113) and, for IPv6, /proc/net/snmp6.

What each field means stands in the kernel's Documentation/networking/snmp_counter.rst.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Counter, NoData, Rate, Raw, Sample, option
from adamas.collectors._mib import Fields, columns, two_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.collectors._mib import Part
    from adamas.host import Host

SNMP, SNMP6 = "/proc/net/snmp", "/proc/net/snmp6"
LISTED = ["InDatagrams", "NoPorts", "InErrors", "OutDatagrams", "RcvbufErrors", "SndbufErrors"]


class UDP(Collector):
    """Datagrams in and out, those to ports where nobody listens, and those that were lost to errors or full buffers."""

    name = "udp"
    diamond = "UDPCollector"
    needs = (SNMP,)

    allowed_names: list[str] = option(LISTED, "The fields in Diamond's spelling; none for all. Other spellings have all fields")

    counter = Counter(
        "{field}",
        "A counter of UDP over IPv4",
        diamond=None,
        prometheus=Raw("node_netstat_Udp_{field}", kind="untyped"),
        otel="udp.{field}",
    )
    other = Counter(
        "{table}{field}",
        "A counter of UDP over IPv6 (Udp6) or of UDP-Lite (UdpLite, UdpLite6)",
        diamond=None,
        prometheus=Raw("node_netstat_{table}_{field}", kind="untyped"),
        otel="udp.{table}{field}",
    )
    listed = Counter(
        "{field}", "A field of `allowed_names`, as Diamond gave it", path=None, diamond=Rate(), prometheus=None, otel=None
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._udp = Fields(self._choose)
        self._lite = Fields(lambda names: [(self.other, ("UdpLite",), {n: n for n in names})])
        self._v6 = Fields(self._choose6)

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(SNMP)
        udp = two_lines(text, "Udp")
        if not udp[0]:
            raise NoData(f"{SNMP} says nothing of UDP")
        yield from self._udp.rows(*udp)
        yield from self._lite.rows(*two_lines(text, "UdpLite"))
        yield from self._v6.rows(*columns(self.host.read(SNMP6, "")))

    def _choose(self, names: list[str]) -> list[Part]:
        listed = {n: n for n in names if not self.allowed_names or n in self.allowed_names}
        return [(self.counter, (), {n: n for n in names}), (self.listed, (), listed)]

    def _choose6(self, names: list[str]) -> list[Part]:
        tables = ("Udp6", "UdpLite6")
        return [(self.other, (t,), {n: n.removeprefix(t) for n in names if n.startswith(t)}) for t in tables]
