"""Sockets in use and the memory that they take, from /proc/net/sockstat and /proc/net/sockstat6 (proc(5)).

`mem` is counted in pages, and FRAG's `memory` in bytes. TCP's orphans, time-waits, memory and allocated sockets are those of
IPv4 and IPv6 together; `inuse` of TCP, UDP, UDPLITE and RAW is that of IPv4, with IPv6's in TCP6, UDP6 and so on.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from adamas import Collector, Gauge, Raw, Sample
from adamas.metric import SURPLUS, Series, picker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from adamas.host import Host

SOCKSTAT, SOCKSTAT6 = "/proc/net/sockstat", "/proc/net/sockstat6"
PAGE = os.sysconf("SC_PAGE_SIZE")
STATES = {"orphan", "tw", "alloc"}
LOWER = {"protocol": str.lower}


class Sockstat(Collector):
    """How many sockets of each protocol there are, in which state, and the memory that they take."""

    name = "sockstat"
    path = "sockets"
    diamond = "SockstatCollector"
    needs = (SOCKSTAT,)

    used = Gauge("used", "Sockets of all kinds", diamond=Raw(), prometheus="node_sockstat_sockets_used")
    number = Gauge(
        "{protocol}_{field}",
        "Sockets of a protocol in use (inuse); memory of fragments that wait for the rest, in bytes (memory)",
        path=Raw(values=LOWER),
        diamond=None,
        prometheus="node_sockstat_{protocol}_{field}",
        otel=Raw("sockstat.{field}", values=LOWER),
    )
    state = Gauge(
        "{protocol}_{field}",
        "Sockets of TCP that no process holds (orphan), that wait for stragglers (tw), and all of them (alloc)",
        path=Raw(values=LOWER),
        diamond=Raw(values=LOWER),
        prometheus="node_sockstat_{protocol}_{field}",
        otel=Raw("sockstat.{field}", values=LOWER),
    )
    pages = Gauge(
        "{protocol}_mem",
        "Memory of a protocol's buffers, in pages",
        path=None,
        diamond=Raw(values=LOWER),
        prometheus="node_sockstat_{protocol}_mem",
        otel=None,
    )
    memory = Gauge(
        "{protocol}_mem_bytes",
        "Memory of a protocol's buffers",
        unit="By",
        path=Raw(values=LOWER),
        diamond=None,
        prometheus="node_sockstat_{protocol}_mem_bytes",
        otel=Raw("sockstat.memory", values=LOWER),
    )
    both = Gauge(
        "{protocol}_inuse",
        "Sockets of TCP and of UDP in use, IPv4 and IPv6 together, as Diamond gave them",
        path=None,
        diamond=Raw(values=LOWER),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._names: Sequence[str] = ()
        self._length = 0
        self._series: tuple[Series, ...] = ()
        self._pages: list[int] = []
        self._sums: list[list[int]] = []
        self._pick_names: Callable[[Sequence[str]], Sequence[str]]
        self._pick_values: Callable[[Sequence[str]], Sequence[str]]

    def collect(self) -> Iterator[Sample]:
        words = (self.host.read(SOCKSTAT) + self.host.read(SOCKSTAT6, "")).split()
        if len(words) != self._length or self._pick_names(words) != self._names:
            self._learn(words)
        numbers = list(map(int, self._pick_values(words)))
        numbers += [numbers[i] * PAGE for i in self._pages] + [sum([numbers[i] for i in some]) for some in self._sums]
        yield self._series, numbers

    def _learn(self, words: list[str]) -> None:
        """Find the numbers between the names, and the series of each."""
        names: list[int] = []
        values: list[int] = []
        keys: list[tuple[str, str]] = []
        protocol = ""
        for position, word in enumerate(words):
            if word.isdigit() and names and not words[position - 1].endswith(":"):
                values.append(position)
                keys.append((protocol, words[position - 1]))
            else:
                names.append(position)
                protocol = word[:-1] if word.endswith(":") else protocol
        whole = len(words) == len(values) * 2 + sum([word.endswith(":") for word in words])
        if not whole or not all(protocol for protocol, _ in keys):
            raise ValueError(f"{SOCKSTAT} and {SOCKSTAT6} hold something else than a number after each name")
        samples = [self._sample(protocol, field) for protocol, field in keys]
        self._pages = [i for i, (_, field) in enumerate(keys) if field == "mem"]
        samples += [self.memory(0, keys[i][0]) for i in self._pages]
        self._sums = []
        for protocol in ("TCP", "UDP"):
            some = [i for i, key in enumerate(keys) if key in ((protocol, "inuse"), (protocol + "6", "inuse"))]
            if some:
                self._sums.append(some)
                samples.append(self.both(0, protocol))
        self._series = tuple([series for series, _ in samples if isinstance(series, Series)])
        self._pick_names, self._pick_values = picker(names), picker(values)  # type: ignore[assignment]
        self._names = self._pick_names(words)
        # Where the series limit left some out, the next run asks again: there may be room by then.
        self._length = 0 if SURPLUS in self._series else len(words)

    def _sample(self, protocol: str, field: str) -> Sample:
        if protocol == "sockets":
            return self.used(0)
        if field == "mem":
            return self.pages(0, protocol)
        return (self.state if field in STATES else self.number)(0, protocol, field)
