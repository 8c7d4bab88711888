"""Soft interrupts: what the kernel puts off to do right after an interrupt, by kind and CPU, from /proc/softirqs (proc(5)).

Diamond's names are the numbers of the kinds, as they stand in the line of /proc/stat, and their total.
"""

from collections.abc import Iterator

from adamas import Collector, Counter, Rate, Raw, Sample

SOFTIRQS, STAT = "/proc/softirqs", "/proc/stat"


class SoftIrq(Collector):
    """How many soft interrupts each CPU serves, of which kind: network, block devices, timers, scheduler."""

    name = "softirq"
    diamond = "SoftInterruptCollector"
    needs = (SOFTIRQS, STAT)

    served = Counter(
        "{type}.cpu{cpu}",
        "Soft interrupts that a CPU served",
        diamond=None,
        prometheus=Raw("node_softirqs_functions_total"),
    )
    total = Counter("{type}.total", "Soft interrupts that all CPUs served", diamond=None, prometheus=None, otel=None)
    numbered = Counter(
        "{number}",
        "Soft interrupts of a kind, by its number, or of all (total)",
        path=None,
        diamond=Rate(),
        prometheus=None,
        otel=None,
    )

    _header = ""
    _cpus: tuple[str, ...] = ()
    _numbers: tuple[str, ...] = ()

    def collect(self) -> Iterator[Sample]:
        header, _, rest = self.host.read(SOFTIRQS, "").partition("\n")
        if header != self._header:
            self._cpus = tuple([word[3:] for word in header.split() if word.startswith("CPU")])
            self._header = header
        for line in rest.split("\n"):
            kind, colon, numbers = line.partition(":")
            if not colon:
                continue
            kind = kind.strip()
            try:
                counts = list(map(int, numbers.split()))
            except ValueError:
                raise ValueError(f"{SOFTIRQS}: {line[:60]!r} is not a kind and its numbers") from None
            if len(counts) != len(self._cpus):
                raise ValueError(f"{SOFTIRQS}: {kind} has {len(counts)} columns, and the header {len(self._cpus)}")
            yield self.served.row(counts, self._cpus, kind)
            yield self.total(sum(counts), kind)
        yield from self._in_stat(self.host.read(STAT))

    def _in_stat(self, text: str) -> Iterator[Sample]:
        line = text[text.rfind("\nsoftirq ") + 1 :].partition("\n")[0]
        words = line.split()
        if not words or words[0] != "softirq":  # Linux before 2.6.31
            return
        try:
            counts = list(map(int, words[1:]))
        except ValueError:
            raise ValueError(f"{STAT}: {line[:60]!r} is not a name and its numbers") from None
        if len(counts) != len(self._numbers):
            self._numbers = ("total", *map(str, range(len(counts) - 1)))
        yield self.numbered.row(counts, self._numbers)
