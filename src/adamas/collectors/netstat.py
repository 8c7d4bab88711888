"""TCP connections by state: asked of the kernel with sock_diag(7), or counted in /proc/net/tcp and tcp6 where that is not there.

The kernel writes every line of /proc/net/tcp as text, which takes it ten times as long. States are numbered as in its
include/net/tcp_states.h. Diamond counted IPv4 only; the other spellings have both.
"""

import struct
from collections.abc import Iterator, Sequence

from adamas import Collector, Gauge, NoData, Raw, Sample

SOCK_DIAG, BY_FAMILY = 4, 20
INET, INET6, TCP = 2, 10, 6
REQUEST = struct.Struct("=BBBxI48x")
"""Family, protocol, extensions, states, and an empty socket id: struct inet_diag_req_v2."""
ALL = 0xFFFFFFFF
FILES = {INET: "/proc/net/tcp", INET6: "/proc/net/tcp6"}

STATES = (
    *("established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait", "close", "close_wait", "last_ack"),
    *("listen", "closing"),
)
"""In the kernel's order, which begins with 1."""
NEW_SYN_RECV = 12
"""A request without a socket yet; /proc/net/tcp shows it as SYN_RECV."""
SEMANTIC = {"close": "closed", "fin_wait1": "fin_wait_1", "fin_wait2": "fin_wait_2", "syn_recv": "syn_received"}


class NetStat(Collector):
    """How many TCP connections there are in each state."""

    name = "netstat"
    diamond = "NetstatCollector"
    needs = ("sock_diag (the module tcp_diag), or /proc/net/tcp",)

    connections = Gauge(
        "{transport}_{state}",
        "Connections of IPv4 and IPv6 in this state",
        diamond=None,
        prometheus=Raw("node_tcp_connection_states", drop={"transport"}),
        otel=Raw(
            "system.network.connection.count",
            values={"state": SEMANTIC},
            rename={"transport": "network.transport", "state": "network.connection.state"},
        ),
    )
    ipv4 = Gauge(
        "{state}",
        "Connections of IPv4 in this state",
        path=None,
        diamond=Raw(values={"state": str.upper}),
        prometheus=None,
        otel=None,
    )

    _asks = True

    def collect(self) -> Iterator[Sample]:
        four, six = self._count(INET), self._count(INET6)
        if four is None:
            raise NoData(f"neither sock_diag nor {FILES[INET]} is there")
        yield self.ipv4.row(four, STATES)
        yield self.connections.row([a + b for a, b in zip(four, six)] if six else four, STATES, "tcp")

    def _count(self, family: int) -> Sequence[int] | None:
        if self._asks:
            try:
                answer = self.host.netlink(SOCK_DIAG, BY_FAMILY, REQUEST.pack(family, TCP, 0, ALL))
            except NoData:
                self._asks = False
            else:
                return count(bytes([message[1] for message in answer if len(message) > 1]))
        text = self.host.read(FILES[family], "")
        return in_file(FILES[family], text) if text else None


def count(states: bytes) -> list[int]:
    """How many there are of each state, in the order of STATES; `states` has a byte for each connection."""
    found = [states.count(number) for number in range(1, NEW_SYN_RECV)]
    found[2] += states.count(NEW_SYN_RECV)
    return found


def in_file(path: str, text: str) -> list[int]:
    """How many lines of a file like /proc/net/tcp there are of each state."""
    header, _, lines = text.partition("\n")
    if header.split()[:4] != ["sl", "local_address", "rem_address" if path == FILES[INET] else "remote_address", "st"]:
        raise ValueError(f"{path} does not begin with the names of its columns: {header[:60]!r}")
    try:
        return count(bytes([int(line.split(None, 4)[3], 16) for line in lines.split("\n") if line]))
    except (IndexError, ValueError):
        raise ValueError(f"{path} has a line without a state") from None
