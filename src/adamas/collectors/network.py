"""Traffic of network interfaces, from /proc/net/dev.

What each column means stands in the kernel's Documentation/networking/statistics.rst: `errs` counts frames that were lost to
errors on the wire or in the device, `drop` those without an error that there was no room for or nobody to take, `fifo`
overruns of the device's queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Collector, Counter, Group, Otel, Rate, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

DEV = "/proc/net/dev"
RECEIVED = ["bytes", "packets", "errs", "drop", "fifo", "frame", "compressed", "multicast"]
TRANSMITTED = ["bytes", "packets", "errs", "drop", "fifo", "colls", "carrier", "compressed"]
ATTRIBUTES = {"bytes": "octets", "errs": "errors", "drop": "dropped", "colls": "collisions"}
ATTRIBUTES |= {column: column for column in ("packets", "fifo", "frame", "compressed", "multicast", "carrier")}
RX_TX = ["rx", "tx"]
SHORT = {"receive": "rx", "transmit": "tx"}
CONTAINERS = ["veth", "cali", "lxc[0-9a-f_]", "br-[0-9a-f]{12}$", "fw(br|ln|pr)"]
IDLE = ["ifb", "dummy", "nlmon", "(sit|tunl|gre|gretap|erspan|ip_vti|ip6_vti|ip6tnl|ip6gre)0$"]


def _in_diamond(column: str) -> str:
    return "errors" if column == "errs" else column


def _column(column: str, help: str, otel: str | None = None, device: str = "network.interface.name", unit: str = "") -> Counter:
    return Counter(
        f"{{device}}.{{direction}}_{_in_diamond(column)}",
        help,
        unit=unit,
        path=Rate(values={"direction": SHORT}),
        diamond=None,
        prometheus=f"node_network_{{direction}}_{column}_total",
        otel=Otel(otel, device=device, direction="network.io.direction"),
    )


class Network(Collector):
    """Bytes, packets, errors and losses of each network interface, received and transmitted."""

    name = "network"
    diamond = "NetworkCollector"
    needs = (DEV,)

    interfaces: list[str] = option(
        ["eth", "bond", "em", "p1p", "eno", "enp", "ens", "enx"],
        "The interfaces in Diamond's spelling, by what their names begin with",
        pattern=True,
    )
    greedy: bool = option(True, "Whether `interfaces` are beginnings of names (true) or whole names (false)")
    exclude: list[str] = option(
        CONTAINERS + IDLE,
        "The interfaces that other spellings leave out, by what their names begin with: by default those of single "
        "containers and those that carry nothing",
        pattern=True,
    )
    byte_unit: list[str] = option(["bit", "byte"], "The units of bytes in Diamond's spelling")

    octets = _column("bytes", "Bytes", "system.network.io", unit="By")
    packets = _column("packets", "Packets", "system.network.packet.count", "system.device")
    errors = _column("errs", "Packets that were lost to errors", "system.network.errors")
    dropped = _column("drop", "Packets that were dropped without an error", "system.network.packet.dropped")
    fifo = _column("fifo", "Overruns of the device's queue")
    frame = _column("frame", "Frames of a wrong length, form or alignment")
    compressed = _column("compressed", "Packets that the device had compressed")
    multicast = _column("multicast", "Packets to a multicast address")
    collisions = _column("colls", "Collisions on the wire")
    carrier = _column("carrier", "Packets that were lost with the carrier")
    listed_octets = Counter(
        "{device}.{direction}_bytes",
        "Bytes of an interface of `interfaces`, as Diamond gave them",
        unit="By",
        path=None,
        diamond=Rate("{device}.{direction}_{unit}", units="byte_unit"),
        prometheus=None,
        otel=None,
    )
    listed = Counter(
        "{device}.{column}",
        "A column of an interface of `interfaces`, as Diamond gave it",
        path=None,
        diamond=Rate(),
        prometheus=None,
        otel=None,
    )

    received = Group(octets, packets, errors, dropped, fifo, frame, compressed, multicast)
    transmitted = Group(octets, packets, errors, dropped, fifo, collisions, carrier, compressed)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        greed = r"\S*" if self.greedy else ""
        self._include = re.compile(f"(?:{'|'.join(self.interfaces)}){greed}")
        self._exclude = re.compile("|".join(self.exclude) or "(?!)")
        self._devices: dict[str, tuple[str, bool, bool]] = {}
        self._header = ""
        self._half = self._width = 0
        self._names: list[str] = []
        self._odd: list[tuple[str, str]] = []

    def collect(self) -> Iterator[Sample]:
        lines = self.host.read(DEV).split("\n")
        if len(lines) < 2 or lines[1] != self._header:
            self._learn(lines)
        half, width, devices = self._half, self._width, self._devices
        for line in lines[2:]:
            padded, colon, rest = line.rpartition(":")
            if not colon:
                continue
            device, native, listed = devices.get(padded) or self._meet(padded, len(lines))
            if not native and not listed:
                continue
            numbers = list(map(int, rest.split()))
            if len(numbers) != width:
                raise ValueError(f"{DEV}: {device} has {len(numbers)} columns, and the header {width}")
            if self._odd:
                yield from self._by_column(device, numbers, native, listed)
                continue
            if native:
                yield self.received(numbers[:half], device, "receive")
                yield self.transmitted(numbers[half:], device, "transmit")
            if listed:
                yield self.listed_octets.row((numbers[0], numbers[half]), RX_TX, device)
                yield self.listed.row(numbers[1:half] + numbers[half + 1 :], self._names, device)

    def _learn(self, lines: list[str]) -> None:
        """Take in the names of the columns."""
        parts = lines[1].split("|") if len(lines) > 1 else []
        if len(parts) != 3:
            raise ValueError(f"{DEV} has no line with the names of its columns")
        received, transmitted = parts[1].split(), parts[2].split()
        columns = [("receive", c) for c in received] + [("transmit", c) for c in transmitted]
        self._names = [f"{SHORT[direction]}_{_in_diamond(column)}" for direction, column in columns if column != "bytes"]
        self._half, self._width = len(received), len(columns)
        self._odd = [] if received == RECEIVED and transmitted == TRANSMITTED else columns
        self._header = lines[1]

    def _meet(self, padded: str, there: int) -> tuple[str, bool, bool]:
        """An interface's name, whether the native spellings have it, and whether Diamond's has."""
        if len(self._devices) > 2 * there:
            self._devices.clear()  # those of containers come and go
        device = padded.strip()
        found = device, not self._exclude.match(device), bool(self._include.fullmatch(device))
        self._devices[padded] = found
        return found

    def _by_column(self, device: str, numbers: list[int], native: bool, listed: bool) -> Iterator[Sample]:
        """The slow way, for a kernel with other columns than all have had since Linux 2.2."""
        for (direction, column), number in zip(self._odd, numbers):
            if native and column in ATTRIBUTES:
                yield getattr(self, ATTRIBUTES[column])(number, device, direction)
            if listed and column == "bytes":
                yield self.listed_octets(number, device, SHORT[direction])
            elif listed:
                yield self.listed(number, device, f"{SHORT[direction]}_{_in_diamond(column)}")
