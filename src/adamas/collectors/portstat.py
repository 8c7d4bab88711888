"""Sockets of chosen ports of this machine by their state, from the kernel's sock_diag (sock_diag(7)), else from /proc/net.

The kernel is asked for the sockets of these ports only, so that those of other ports cost no more than its look at them. Where
it cannot be asked (the module inet_diag is missing, or the tree is another machine's), all of /proc/net/tcp, tcp6, udp and udp6
is read, which takes three to ten times as long.

A port is counted where it is the local one, for IPv4 and IPv6 together; UDP has no states and counts as `none`. Diamond's names
leave out the states that no socket is in.
"""

from __future__ import annotations

import struct
from collections import Counter as Tally
from collections.abc import Iterator

from adamas import Collector, Gauge, NoData, Raw, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

STATES = ["established", "syn_sent", "syn_recv", "fin_wait1", "fin_wait2", "time_wait"]
STATES += ["close", "close_wait", "last_ack", "listen", "closing"]
"""From number 1 on, as include/net/tcp_states.h has them."""
NEW_SYN_RECV, SYN_RECV = 12, 3
NONE = len(STATES) + 1
NAMES = [*STATES, "none"]

NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY = 4, 20
AF_INET, AF_INET6 = 2, 10
TCP, UDP = 6, 17
REQUEST = struct.Struct("=BBBxI48x")
"""struct inet_diag_req_v2: family, protocol, extensions, states; no socket in particular."""
ATTRIBUTE = struct.Struct("=HH")
BYTECODE = 1
OPERATION = struct.Struct("=BBH")
"""struct inet_diag_bc_op: code, bytes to go on by if it holds, and if it does not."""
JUMP, AT_LEAST, AT_MOST = 1, 2, 3
BLOCK = 20
MOST_PORTS = 1000

TABLES = (("tcp", TCP), ("tcp6", TCP), ("udp", UDP), ("udp6", UDP))


class PortStat(Collector):
    """How many sockets a port has in each state."""

    name = "portstat"
    path = "port"
    diamond = "PortStatCollector"
    needs = ("the kernel's sock_diag, or /proc/net/tcp",)

    port: dict[str, Any] = option({}, "The ports, each under a name of its own: {web = {number = 80}}, or {web = 80}")

    sockets = Gauge("{port}.{state}", "Sockets of the port in a state", diamond=None)
    there = Gauge(
        "{port}.{state}",
        "The same, where there are any, as Diamond gave them",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._ports = {name: number_of(name, about) for name, about in self.port.items()}
        if len(self._ports) > MOST_PORTS:
            raise ValueError(f"port: at most {MOST_PORTS} ports")
        self._filter = bytecode(sorted(set(self._ports.values())))

    def collect(self) -> Iterator[Sample]:
        if not self._ports:
            raise NoData("`port` names no port")
        try:
            found = self._asked()
        except NoData:
            found = self._read()
        for name, number in self._ports.items():
            counts = [found[number, state] for state in range(1, NONE + 1)]
            yield self.sockets.row(counts, NAMES, name)
            for state, count in zip(NAMES, counts):
                if count:
                    yield self.there(count, name, state)

    def _asked(self) -> Tally[tuple[int, int]]:
        """Sockets by port and state, from sock_diag."""
        found: Tally[tuple[int, int]] = Tally()
        for protocol in (TCP, UDP):
            for family in (AF_INET, AF_INET6):
                request = REQUEST.pack(family, protocol, 0, 0xFFFFFFFF) + self._filter
                for message in self.host.netlink(NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, request):
                    found[message[4] << 8 | message[5], state_of(protocol, message[1])] += 1
        return found

    def _read(self) -> Tally[tuple[int, int]]:
        """The same from the tables in /proc/net."""
        wanted = set(self._ports.values())
        found: Tally[tuple[int, int]] = Tally()
        tables = 0
        for table, protocol in TABLES:
            path = f"/proc/net/{table}"
            header, _, rows = self.host.read(path, "").partition("\n")
            if not header:
                continue
            tables += 1
            try:
                for row in rows.splitlines():
                    _, local, _, state, _ = row.split(None, 4)
                    port = int(local.rpartition(":")[2], 16)
                    if port in wanted:
                        found[port, state_of(protocol, int(state, 16))] += 1
            except ValueError:
                raise ValueError(f"{path} is not a table of sockets: {row[:100]!r}") from None
        if not tables:
            raise NoData("neither sock_diag nor /proc/net/tcp is here")
        return found


def state_of(protocol: int, state: int) -> int:
    """A state's number, with one for UDP and one for the two that are both syn_recv."""
    if protocol == UDP:
        return NONE
    return SYN_RECV if state == NEW_SYN_RECV else state


def number_of(name: str, about: object) -> int:
    """The number of a port as the user wrote it; ValueError that says what was expected."""
    given = about.get("number") if isinstance(about, dict) else about
    text = str(given)
    if isinstance(about, dict) and about.keys() - {"number"}:
        raise ValueError(f"port.{name}: expected only `number`, not {', '.join(sorted(about.keys() - {'number'}))}")
    if isinstance(given, bool) or not text.isascii() or not text.isdigit() or not 0 < int(text) < 65536:
        raise ValueError(f"port.{name}: expected a port from 1 to 65535, such as {{number = 80}}, not {given!r}")
    return int(text)


def bytecode(ports: list[int]) -> bytes:
    """The kernel's filter for these local ports (net/ipv4/inet_diag.c, inet_diag_bc_run).

    A block for each: at least the port and at most the port, then to the end, which is yes; else to the next block, and after
    the last past the end, which is no.
    """
    code = b""
    for number, port in enumerate(ports):
        left = (len(ports) - number) * BLOCK
        next_block = BLOCK if number < len(ports) - 1 else BLOCK + 4
        code += OPERATION.pack(AT_LEAST, 8, next_block) + OPERATION.pack(0, 0, port)
        code += OPERATION.pack(AT_MOST, 8, next_block - 8) + OPERATION.pack(0, 0, port)
        code += OPERATION.pack(JUMP, 4, left - 16)
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(code), BYTECODE) + code
