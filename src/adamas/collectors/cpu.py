"""CPU time by mode, of each CPU and of all together, from /proc/stat (proc(5)), in seconds.

The kernel counts ticks of USER_HZ, which is 100 a second on every machine that Linux tells user space about. Columns came
with the kernels: iowait, irq and softirq (2.6.0), steal (2.6.11), guest (2.6.24), guest_nice (2.6.33). Guest time is also in
user, guest_nice also in nice. Diamond's names carry ticks a second: 100 is one whole CPU.
"""

from collections.abc import Iterator
from operator import lt

from adamas import Collector, Counter, Gauge, NoData, Rate, Raw, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

STAT = "/proc/stat"
USER_HZ = 100
MODES = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
GUESTS = ("guest", "guest_nice")
ALL = MODES + GUESTS
TICKS = Rate(scale=USER_HZ, precision=2)
JUMP = 3.0


class Cpu(Collector):
    """How the CPUs spend their time: working for users or the kernel, waiting for disks, idle, or taken by the hypervisor."""

    name = "cpu"
    diamond = "CPUCollector"
    needs = (STAT,)

    percore: bool = option(True, "Each CPU too, not only all of them together")
    simple: bool = option(False, "Only one number: how busy all CPUs together are (user, nice and system against idle)")
    xenfix: bool = option(None, "Halve the idle time, which some kernels of Xen guests counted twice (default: where it is so)")
    normalize: bool = option(False, "Divide what all CPUs spend together by how many there are (dotted names)")

    time = Counter(
        "cpu{cpu}.{mode}",
        "Time the CPU spent in each mode",
        unit="s",
        diamond=TICKS,
        prometheus="node_cpu_seconds_total",
        otel=Raw(
            "system.cpu.time",
            rename={"cpu": "cpu.logical_number", "mode": "cpu.mode"},
            values={"mode": {"irq": "interrupt"}},
        ),
    )
    guest_time = Counter(
        "cpu{cpu}.{mode}",
        "Time the CPU spent in guests, which is also in user and nice",
        unit="s",
        diamond=TICKS,
        prometheus=Raw("node_cpu_guest_seconds_total", values={"mode": {"guest": "user", "guest_nice": "nice"}}),
        otel=Raw("cpu.guest_time", rename={"cpu": "cpu.logical_number", "mode": "cpu.mode"}),
    )
    total = Counter(
        "total.{mode}", "Time all CPUs together spent in each mode", unit="s", diamond=TICKS, prometheus=None, otel=None
    )
    total_time = Counter(
        "total.{mode}",
        "Time all CPUs together spent in each mode, where `percore` is off",
        unit="s",
        path=None,
        diamond=None,
        prometheus="node_cpu_seconds_total",
        otel=Raw("system.cpu.time", rename={"mode": "cpu.mode"}, values={"mode": {"irq": "interrupt"}}),
    )
    count = Gauge("cpu_count", "CPUs that are online", diamond=Raw(precision=2), prometheus=None, otel="system.cpu.logical.count")
    utilization = Gauge(
        "utilization",
        "The part of the time since the last run that the CPUs were busy, where `simple` is on",
        unit="1",
        diamond=Raw("percent", scale=100),
        otel="system.cpu.utilization",
    )

    def __init__(self, host: "Host", values: "dict[str, Any] | None" = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._before: dict[str, list[float]] = {}
        self._share: list[float] = []
        self._doubled = self.xenfix
        self._idle: dict[str, float] = {}

    def collect(self) -> Iterator[Sample]:
        # What follows the CPUs' lines, the interrupts, can be longer than all of them.
        lines = [line for line in self.host.read(STAT).partition("\nintr ")[0].split("\n") if line.startswith("cpu")]
        if not lines:
            raise NoData(f"{STAT} has no line of a CPU")
        if self.simple:
            yield from self._simple(lines[0])
            return
        if self._doubled is None:
            self._doubled = self._counts_twice(lines)
        for line in lines:
            cpu, times = parse(line)
            before = self._before.get(cpu, times)
            if self._doubled is not False and len(times) > 3:
                self._halve_idle(cpu, times, before)
            if any(map(lt, times, before)):
                times = steady(times, before)
            self._before[cpu] = times
            if not cpu:
                yield from self._total(times, before, len(lines) - 1)
            elif self.percore:
                yield self.time.row(times[:8], MODES[: len(times)], cpu)
                if len(times) > 8:
                    yield self.guest_time.row(times[8:], GUESTS[: len(times) - 8], cpu)
        yield self.count(len(lines) - 1)

    def _total(self, times: list[float], before: list[float], cpus: int) -> Iterator[Sample]:
        if not self.percore:
            yield self.total_time.row(times[:8], MODES[: len(times)])
        if self.normalize and cpus > 0:
            # Summed up run by run: a quotient of the totals would jump when a CPU comes or goes.
            share = self._share
            self._share = [s + (t - b) / cpus for s, t, b in zip(share, times, before)] if share else [t / cpus for t in times]
            times = self._share
        yield self.total.row(times, ALL[: len(times)])

    def _counts_twice(self, lines: list[str]) -> bool | None:
        """Whether a CPU of a Xen guest spends more time than there is (Red Hat bug 624756); None while that is not known."""
        if "" not in self._before and not self.host.exists("/proc/xen"):
            return False
        for cpu, times in map(parse, lines[1:2]):
            spent = sum(times) - sum(self._before.get(cpu, times))
            if spent > 0 and self.elapsed > 0:
                return spent > 1.1 * self.elapsed
        return None

    def _halve_idle(self, cpu: str, times: list[float], before: list[float]) -> None:
        idle = times[3]
        if self._doubled:
            times[3] = before[3] + (idle - self._idle.get(cpu, idle)) / 2
        self._idle[cpu] = idle

    def _simple(self, line: str) -> Iterator[Sample]:
        _, times = parse(line)
        before = self._before.get("", times)
        self._before[""] = times
        spent = [now - then for now, then in zip(times[:4], before)]
        if len(spent) == 4 and sum(spent) > 0 <= min(spent):
            yield self.utilization(1 - spent[3] / sum(spent))


def parse(line: str) -> tuple[str, list[float]]:
    """Which CPU ("" for all together), and its seconds in each mode."""
    name, *columns = line.split()
    try:
        return name[3:], [int(column) / USER_HZ for column in columns[:10]]
    except ValueError:
        raise ValueError(f"{STAT}: {line!r} is not a CPU and its times") from None


def steady(times: list[float], before: list[float]) -> list[float]:
    """Times that never go back a little: the kernel's idle and iowait do now and then, and would look like a reset.

    A jump back by seconds is one (the CPU was taken out and came again), and stays.
    """
    if any(b - t >= JUMP for t, b in zip(times, before)):
        return times
    return list(map(max, times, before))
