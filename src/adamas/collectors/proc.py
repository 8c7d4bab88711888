"""What the kernel has counted since it was started, from /proc/stat (proc(5)): context switches, processes, interrupts."""

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Otel, Rate, Raw, Sample

STAT = "/proc/stat"
VECTORS = ("hi", "timer", "net_tx", "net_rx", "block", "block_iopoll", "tasklet", "sched", "hrtimer", "rcu")
"""The columns of the softirq line after their sum, in the order of the kernel's include/linux/interrupt.h."""


class ProcessStat(Collector):
    """Context switches, new processes, interrupts, and how many processes run or are blocked."""

    name = "proc"
    diamond = "ProcessStatCollector"
    needs = (STAT,)

    context_switches = Counter("ctxt", "Context switches", diamond=Rate(), prometheus="node_context_switches_total")
    forks = Counter(
        "processes",
        "Processes and threads that were created",
        diamond=Rate(),
        prometheus="node_forks_total",
        otel="system.process.created",
    )
    interrupts = Counter("intr", "Interrupts that were served", diamond=None, prometheus="node_intr_total")
    softirqs = Counter("softirq.{vector}", "Soft interrupts that were served", diamond=None, prometheus="node_softirqs_total")
    boot_time = Gauge(
        "btime",
        "When the kernel was started, in seconds since 1970",
        unit="s",
        diamond=Raw(),
        prometheus="node_boot_time_seconds",
    )
    processes = Gauge(
        "procs_{state}",
        "Processes that can run now (running), or wait for I/O (blocked)",
        diamond=Raw(),
        prometheus="node_procs_{state}",
        otel=Otel("system.process.count", state="process.state"),
    )

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(STAT)
        at = text.find("\nintr ")
        end = text.find("\n", at + 6)
        if at < 0 or end < 0:
            raise NoData(f"{STAT} has no line of interrupts, or ends there")
        line = text[at + 1 : at + 40]
        try:
            yield self.interrupts(int(line.split()[1]))
            for line in text[end + 1 :].split("\n"):
                name, _, value = line.partition(" ")
                if name == "ctxt":
                    yield self.context_switches(int(value))
                elif name == "btime":
                    yield self.boot_time(int(value))
                elif name == "processes":
                    yield self.forks(int(value))
                elif name == "procs_running":
                    yield self.processes(int(value), "running")
                elif name == "procs_blocked":
                    yield self.processes(int(value), "blocked")
                elif name == "softirq":
                    counts = list(map(int, value.split()[1:11]))
                    yield self.softirqs.row(counts, VECTORS[: len(counts)])
        except (IndexError, ValueError):
            raise ValueError(f"{STAT}: {line[:60]!r} is not a name and its numbers") from None
