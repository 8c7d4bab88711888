"""Interrupts that each CPU has served, by what raised them, from /proc/interrupts (proc(5)).

A line has a number or a name (NMI, LOC, ...), a count for each CPU, and words about it: for numbers the controller, the kind of
trigger and the devices, for names what they stand for. ERR and MIS have one count for the whole machine.

Diamond made its names of a line's last words, in one of three ways that the length of the number or name decides; a line without
words got a name only on a machine where it was as long as there are columns. CPUs are those of the header, also when some are
offline.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Counter, Rate, Raw, Sample

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas.host import Host

INTERRUPTS = "/proc/interrupts"


class Interrupt(Collector):
    """How many interrupts each CPU serves, of which device or kind."""

    name = "interrupt"
    path = "interrupts"
    diamond = "InterruptCollector"
    needs = (INTERRUPTS,)

    served = Counter(
        "{irq}.{charted}.{type}.{info}.{devices}.cpu{cpu}",
        "Interrupts that a CPU served",
        path=Rate("{irq}.cpu{cpu}", drop=("charted", "type", "info", "devices")),
        diamond=Rate("{charted}.CPU{cpu}", drop=("irq", "type", "info", "devices")),
        prometheus=Raw("node_interrupts_total", drop=("irq", "charted")),
        otel=Raw("interrupt.served", drop=("irq", "charted")),
    )
    total = Counter(
        "{irq}.{charted}.total",
        "Interrupts that all CPUs served",
        path=Rate("{irq}.total", drop=("charted",)),
        diamond=Rate("{charted}.total", drop=("irq",)),
        prometheus=None,
        otel=None,
    )
    unnamed = Counter(
        "{irq}.cpu{cpu}",
        "Interrupts that a CPU served, of a kind that Diamond had no lasting name for",
        diamond=None,
        prometheus=None,
        otel=Raw("interrupt.served"),
    )
    unnamed_total = Counter(
        "{irq}.total", "Interrupts of such a kind that all CPUs served", diamond=None, prometheus=None, otel=None
    )
    mistakes = Counter("{irq}", "Interrupts that went wrong: ERR and MIS", diamond=Rate(), prometheus=None)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._header = ""
        self._cpus: tuple[str, ...] = ()
        self._lines: dict[str, tuple[str, list[Sample]]] = {}

    def collect(self) -> Iterator[Sample]:
        header, _, rest = self.host.read(INTERRUPTS).partition("\n")
        if header != self._header:
            self._learn(header)
        lines = self._lines
        seen = 0
        for line in rest.split("\n"):
            irq, colon, text = line.partition(":")
            if not colon:
                continue
            seen += 1
            last = lines.get(irq)
            # Most lines stay as they are: devices that do nothing, and those of other CPUs.
            if last is None or last[0] != text:
                last = lines[irq] = text, self._samples(irq.strip(), text)
            yield from last[1]
        if seen < len(lines):
            lines.clear()  # a device is gone

    def sweep(self, keep: Iterable[Any]) -> None:
        """As `Collector.sweep`; the samples of lines that stay as they are hold series, too."""
        super().sweep(keep)
        self._lines.clear()

    def _learn(self, header: str) -> None:
        names = header.split()
        if not names or not all(name[:3] == "CPU" and name[3:].isdigit() for name in names):
            raise ValueError(f"{INTERRUPTS} does not begin with the names of CPUs: {header[:60]!r}")
        self._cpus = tuple([name[3:] for name in names])
        self._lines.clear()
        self._header = header

    def _samples(self, irq: str, text: str) -> list[Sample]:
        cpus = len(self._cpus)
        words = text.split(None, cpus)
        try:
            counts = list(map(int, words[:cpus]))
        except ValueError:
            raise ValueError(f"{INTERRUPTS}: {irq} is not followed by numbers: {text.strip()[:60]!r}") from None
        if len(counts) == 1 and len(words) == 1:
            return [self.mistakes(counts[0], irq)]
        if len(counts) < cpus:
            raise ValueError(f"{INTERRUPTS}: {irq} has {len(counts)} columns, and the header {cpus}")
        about = words[cpus].strip() if len(words) > cpus else ""
        info, _, devices = about.partition(" ") if irq.isdigit() else (about, "", "")
        devices = " ".join(devices.split())
        trigger, _, names = devices.partition(" ")
        if names and trigger.partition("-")[0].isdigit():  # the controller's own number: 5-edge
            name = f"{irq}-{names}"
        else:
            name = f"{irq}-{devices}" if devices else irq
        charted = in_diamond(irq, about, cpus)
        if not charted:
            return [self.unnamed.row(counts, self._cpus, name), self.unnamed_total(sum(counts), name)]
        labels = name, charted
        return [
            self.served.row(counts, self._cpus, *labels, irq, " ".join(info.split()), devices),
            self.total(sum(counts), *labels),
        ]


def in_diamond(irq: str, about: str, cpus: int) -> str:
    """What Diamond called a line; nothing where it took counts for words."""
    if len(irq) == cpus + 1:
        return irq
    first, _, rest = about.partition(" ")
    rest = rest.strip()
    if not rest:
        return ""
    if len(irq) == 3:
        return f"{first} {rest}".replace(" ", "_")
    return f"{first}.{rest.replace(', ', '-').replace(' ', '_')}.{irq}"
