"""Pressure stall information (PSI): how much time tasks lost for want of CPU, memory, I/O or to interrupts.

From /proc/pressure/{cpu,memory,io,irq}, Linux 4.20 and later (irq: 6.1), with CONFIG_PSI and without psi=0. `some` is the time
in which at least one task waited, `full` the time in which all that could have worked did. Totals are in seconds; the kernel's
averages over 10, 60 and 300 seconds are ratios from 0 to 1. Source: the kernel's Documentation/accounting/psi.rst.
"""

from collections.abc import Iterator
from errno import EOPNOTSUPP

from adamas import Collector, Counter, Gauge, Group, NoData, Otel, Raw, Sample

RESOURCES = ("cpu", "io", "memory", "irq")
KINDS = {"some": "waiting", "full": "stalled"}


class Pressure(Collector):
    """How much time tasks lose because the machine is short of CPU, memory or I/O."""

    name = "pressure"
    needs = ("/proc/pressure (Linux 4.20 with CONFIG_PSI)",)

    avg10 = Gauge("{resource}.{kind}.avg10", "Part of the last 10 seconds that was lost", unit="1")
    avg60 = Gauge("{resource}.{kind}.avg60", "Part of the last minute that was lost", unit="1")
    avg300 = Gauge("{resource}.{kind}.avg300", "Part of the last 5 minutes that was lost", unit="1")
    total = Counter(
        "{resource}.{kind}.total",
        "Time that was lost: by some tasks, or by all that could have worked",
        unit="s",
        prometheus=Raw("node_pressure_{resource}_{kind}_seconds_total", values={"kind": KINDS}),
        otel=Otel("pressure.stall_time"),
    )
    line = Group(avg10, avg60, avg300, total)

    _here: tuple[str, ...] = RESOURCES

    def collect(self) -> Iterator[Sample]:
        texts = {resource: self._read(f"/proc/pressure/{resource}") for resource in self._here}
        # irq came later than the others; what is not there now does not come before the next boot.
        self._here = tuple(resource for resource, text in texts.items() if text) or RESOURCES
        if not any(texts.values()):
            raise NoData("/proc/pressure is not there: the kernel is older than 4.20, or PSI is off")
        for resource, text in texts.items():
            for line in text.splitlines():
                kind, _, rest = line.partition(" ")
                # Not defined for the whole machine: the kernel writes zeros for the sake of old readers.
                if kind not in KINDS or (kind == "full" and resource == "cpu"):
                    continue
                try:
                    ten, sixty, five_minutes, total = [float(pair.partition("=")[2]) for pair in rest.split()[:4]]
                except ValueError:
                    raise ValueError(f"/proc/pressure/{resource}: {line!r} is not a line of PSI") from None
                yield self.line((ten / 100, sixty / 100, five_minutes / 100, total / 1e6), resource, kind)

    def _read(self, path: str) -> str:
        try:
            return self.host.read(path, "")
        except OSError as error:
            if error.errno == EOPNOTSUPP:  # booted with psi=0
                return ""
            raise
