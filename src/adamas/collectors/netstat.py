"""TCP connections by state: asked of the kernel with sock_diag(7), or counted in /proc/net/tcp and tcp6 where that is not there.

The kernel writes every line of the files as text, which takes twice as long or more. States are numbered as in its
include/net/tcp_states.h. Diamond counted IPv4 only; the other spellings have both.
"""

import struct
from collections.abc import Iterator

from adamas import Collector, Gauge, NoData, Raw, Sample

SOCK_DIAG, TCP_SOCKETS = 4, 18
"""The netlink family, and its older question: unlike the newer it is for both families at once, with one look at each socket."""
INET = 2
REQUEST = struct.pack("=B51xII", INET, 0x1FFE, 0)
"""A family, an empty socket id, the states 1 to 12, no databases: struct inet_diag_req."""
TCP, TCP6 = "/proc/net/tcp", "/proc/net/tcp6"

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
        four, six = self._asked() or self._in_files()
        yield self.ipv4.row(four, STATES)
        yield self.connections.row([a + b for a, b in zip(four, six)], STATES, "tcp")

    def _asked(self) -> tuple[list[int], list[int]] | None:
        """How many there are of each state, of IPv4 and of IPv6; None where the kernel cannot be asked."""
        if not self._asks:
            return None
        try:
            answer = self.host.netlink(SOCK_DIAG, TCP_SOCKETS, REQUEST)
        except NoData:
            self._asks = False
            return None
        four = bytes([message[1] for message in answer if message[0] == INET])
        six = bytes([message[1] for message in answer if message[0] != INET])
        return count(four), count(six)

    def _in_files(self) -> tuple[list[int], list[int]]:
        six = self.host.read(TCP6, "")  # not there without IPv6
        return in_file(TCP, self.host.read(TCP)), in_file(TCP6, six) if six else [0] * len(STATES)


def count(states: bytes) -> list[int]:
    """How many there are of each state, in the order of STATES; `states` has a byte for each connection."""
    found = [states.count(number) for number in range(1, NEW_SYN_RECV)]
    found[2] += states.count(NEW_SYN_RECV)
    return found


def in_file(path: str, text: str) -> list[int]:
    """How many lines of a file like /proc/net/tcp there are of each state."""
    header, _, lines = text.partition("\n")
    if header.split()[:2] != ["sl", "local_address"] or header.split()[3:4] != ["st"]:
        raise ValueError(f"{path} does not begin with the names of its columns: {header[:60]!r}")
    try:
        return count(bytes([int(line.split(None, 4)[3], 16) for line in lines.split("\n") if line]))
    except (IndexError, ValueError):
        raise ValueError(f"{path} has a line without a state") from None
