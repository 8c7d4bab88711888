"""TCP as the kernel counts it: the tables Tcp of /proc/net/snmp (RFC 4022) and TcpExt of /proc/net/netstat.

What each field means stands in the kernel's Documentation/networking/snmp_counter.rst.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Rate, Raw, Sample, option
from adamas.collectors._mib import Fields, two_lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.collectors._mib import Part
    from adamas.host import Host

SNMP, NETSTAT = "/proc/net/snmp", "/proc/net/netstat"
LEVELS = {"RtoAlgorithm", "RtoMin", "RtoMax", "MaxConn", "CurrEstab"}
LISTED = ["ListenOverflows", "ListenDrops", "TCPLoss", "TCPTimeouts", "TCPFastRetrans", "TCPLostRetransmit"]
LISTED += ["TCPForwardRetrans", "TCPSlowStartRetrans", "CurrEstab", "TCPAbortOnMemory", "TCPBacklogDrop", "AttemptFails"]
LISTED += ["EstabResets", "InErrs", "ActiveOpens", "PassiveOpens"]


class TCP(Collector):
    """Connections opened, failed, reset and held, segments, retransmissions, and every way in which TCP has trouble."""

    name = "tcp"
    diamond = "TCPCollector"
    needs = (SNMP, NETSTAT)

    allowed_names: list[str] = option(LISTED, "The fields in Diamond's spelling; none for all. Other spellings have all fields")
    gauges: list[str] = option(["CurrEstab", "MaxConn"], "The fields that Diamond's spelling gives as they are, not per second")

    counter = Counter(
        "{field}",
        "A counter of the table Tcp",
        diamond=None,
        prometheus=Raw("node_netstat_Tcp_{field}", kind="untyped"),
        otel="tcp.{field}",
    )
    level = Gauge(
        "{field}",
        "A level of the table Tcp: connections now, the most there may be, the timer's algorithm and bounds (milliseconds)",
        diamond=None,
        prometheus=Raw("node_netstat_Tcp_{field}", kind="untyped"),
        otel="tcp.{field}",
    )
    extension = Counter(
        "{field}",
        "A counter of the table TcpExt",
        diamond=None,
        prometheus=Raw("node_netstat_TcpExt_{field}", kind="untyped"),
        otel="tcp.{field}",
    )
    listed = Counter(
        "{field}", "A field of `allowed_names`, as Diamond gave it", path=None, diamond=Rate(), prometheus=None, otel=None
    )
    listed_level = Gauge(
        "{field}",
        "A field of `allowed_names` and `gauges`, as Diamond gave it",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._tcp = Fields(lambda names: self._choose(self.counter, names))
        self._extension = Fields(lambda names: self._choose(self.extension, names))

    def collect(self) -> Iterator[Sample]:
        tcp = two_lines(self.host.read(SNMP, ""), "Tcp")
        extension = two_lines(self.host.read(NETSTAT, ""), "TcpExt")
        if not tcp[0] and not extension[0]:
            raise NoData(f"neither {SNMP} nor {NETSTAT} says anything of TCP")
        yield from self._tcp.rows(*tcp)
        yield from self._extension.rows(*extension)

    def _choose(self, counter: Counter, names: list[str]) -> list[Part]:
        listed = [n for n in names if not self.allowed_names or n in self.allowed_names]
        return [
            (counter, (), {n: n for n in names if n not in LEVELS}),
            (self.level, (), {n: n for n in names if n in LEVELS}),
            (self.listed, (), {n: n for n in listed if n not in self.gauges}),
            (self.listed_level, (), {n: n for n in listed if n in self.gauges}),
        ]
