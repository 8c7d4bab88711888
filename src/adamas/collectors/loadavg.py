"""Load averages and process counts, from /proc/loadavg (proc(5)) and the number of CPUs."""

from collections.abc import Iterator

from adamas import Collector, Gauge, Raw, Sample, option


class LoadAverage(Collector):
    """How many tasks run or wait for a CPU or a disk, averaged over 1, 5 and 15 minutes, and how many there are."""

    name = "loadavg"
    diamond = "LoadAverageCollector"
    needs = ("/proc/loadavg",)

    simple: bool = option(False, "Only the 1-minute average, as `load`")

    load = Gauge(
        "{minutes:02}",
        "Tasks running or waiting, averaged over so many minutes",
        precision=2,
        diamond=Raw(),
        prometheus="node_load{minutes}",
        otel="system.cpu.load_average.{minutes}m",
    )
    normalized = Gauge(
        "{minutes:02}_normalized",
        "Tasks running or waiting for each CPU, averaged over so many minutes",
        precision=2,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )
    simple_load = Gauge(
        "load",
        "Tasks running or waiting, averaged over a minute",
        precision=2,
        diamond=Raw(),
        prometheus="node_load1",
        otel="system.cpu.load_average.1m",
    )
    running = Gauge("processes_running", "Tasks that run now", diamond=Raw(), prometheus=None)
    total = Gauge("processes_total", "Tasks that exist now", diamond=Raw(), prometheus=None)

    def collect(self) -> Iterator[Sample]:
        one, five, fifteen, tasks, _ = self.host.read("/proc/loadavg").split()
        if self.simple:
            yield self.simple_load(float(one))
            return
        cpus = self.host.cpu_count()
        for minutes, text in ((1, one), (5, five), (15, fifteen)):
            load = float(text)
            yield self.load(load, minutes)
            yield self.normalized(load / cpus, minutes)
        running, _, total = tasks.partition("/")
        yield self.running(int(running))
        yield self.total(int(total))
