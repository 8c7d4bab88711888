"""The agent's own figures: runs of the collectors, the ledger of each output, its memory and CPU time."""

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Sample

PLACES = ("offered", "delivered")
WAITING = ("memory", "flight", "spool")


class Self(Collector):
    """How the agent does. For every output: offered = delivered + waiting (memory, flight, spool) + dropped."""

    name = "adamas"

    memory = Gauge("memory", "Resident memory of the agent", unit="By", prometheus="adamas_memory_bytes")
    cpu = Counter("cpu", "CPU time that the agent used", unit="s", prometheus="adamas_cpu_seconds_total")
    threads = Gauge("threads", "Threads of the agent", prometheus="adamas_threads")
    uptime = Gauge("uptime", "Time since the agent started", unit="s", prometheus="adamas_uptime_seconds")
    reload = Gauge("reload_ok", "Whether the configuration that was read last is in use", prometheus="adamas_reload_ok")

    runs = Counter("collector.{name}.runs", "Runs of a collector", prometheus="adamas_collector_runs_total")
    failures = Counter(
        "collector.{name}.failures", "Runs of a collector that failed", prometheus="adamas_collector_failures_total"
    )
    overruns = Counter(
        "collector.{name}.overruns", "Runs that passed their deadline", prometheus="adamas_collector_overruns_total"
    )
    missed = Counter("collector.{name}.missed", "Windows without a run", prometheus="adamas_collector_missed_total")
    duration = Gauge(
        "collector.{name}.duration", "How long the last run took", unit="s", prometheus="adamas_collector_duration_seconds"
    )
    late = Gauge(
        "collector.{name}.late",
        "How long after its window the last run began",
        unit="s",
        prometheus="adamas_collector_late_seconds",
    )
    series = Gauge("collector.{name}.series", "Series of a collector", prometheus="adamas_collector_series")
    samples = Counter("collector.{name}.samples", "Samples of a collector", prometheus="adamas_collector_samples_total")
    removed = Counter(
        "collector.{name}.removed.{reason}", "Samples that did not get through", prometheus="adamas_collector_removed_total"
    )

    points = Counter("output.{name}.{place}", "Points offered and delivered", prometheus="adamas_output_points_total")
    waiting = Gauge("output.{name}.{place}", "Points that wait", prometheus="adamas_output_waiting_points")
    dropped = Counter("output.{name}.dropped.{reason}", "Points given up", prometheus="adamas_output_dropped_points_total")
    queue = Gauge("output.{name}.queue", "Memory of the queue", unit="By", prometheus="adamas_output_queue_bytes")
    spool_size = Gauge(
        "output.{name}.spool_size", "Disk that waiting points take", unit="By", prometheus="adamas_output_spool_bytes"
    )
    spool_ok = Gauge(
        "output.{name}.spool_ok",
        "Whether the spool's disk does what it is asked, where it is used",
        prometheus="adamas_output_spool_ok",
    )
    unfit = Gauge("output.{name}.unfit", "Names that the backend cannot take", prometheus="adamas_output_unfit_names")
    reconnects = Counter(
        "output.{name}.reconnects", "Failed deliveries, each with a new connection", prometheus="adamas_output_reconnects_total"
    )

    def collect(self) -> Iterator[Sample]:
        if self.host.agent is None:
            raise NoData("no agent runs here")
        status = self.host.agent()
        yield self.memory(status["memory"])
        yield self.cpu(status["cpu_seconds"])
        yield self.threads(status["threads"])
        yield self.uptime(status["now"] - status["started"])
        yield self.reload(int(status["reload"]["ok"]))
        for c in status["collectors"]:
            name = c["name"]
            yield self.runs(c["runs"], name)
            yield self.failures(c["failures"], name)
            yield self.overruns(c["overruns"], name)
            yield self.missed(c["missed"], name)
            yield self.duration(c["last_duration"], name)
            yield self.late(c["late"], name)
            yield self.series(c["series"], name)
            yield self.samples(c["samples"], name)
            for reason, count in c["removed"].items():
                yield self.removed(count, name, reason)
        for o in status["outputs"]:
            name, ledger = o["name"], o["ledger"]
            yield self.points.row([ledger[p] for p in PLACES], PLACES, name)
            yield self.waiting.row([ledger[p] for p in WAITING], WAITING, name)
            for reason, count in ledger["dropped"].items():
                yield self.dropped(count, name, reason)
            yield self.queue(o["queue"]["bytes"], name)
            if o["spool"] is not None:
                yield self.spool_size(o["spool"]["bytes"], name)
                yield self.spool_ok(int(not o["spool"]["error"]), name)
            yield self.unfit(len(o["unfit"]), name)
            yield self.reconnects(o["reconnects"], name)
