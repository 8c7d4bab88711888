"""Time since the machine was started, from /proc/uptime (proc(5)), in seconds."""

from collections.abc import Iterator

from adamas import Collector, Gauge, Raw, Sample, option

UPTIME = "/proc/uptime"
UNITS: dict[str, float] = {"seconds": 1, "minutes": 60, "hours": 3600, "days": 86400, "weeks": 604800, "years": 31536000}
UNITS |= {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000, "milliseconds": 0.001, "ms": 0.001}


class Uptime(Collector):
    """How long the machine has been running."""

    name = "uptime"
    diamond = "UptimeCollector"
    needs = (UPTIME,)

    metric_name: str = option("minutes", "Diamond's name of it, which is its unit", choices=tuple(UNITS))

    seconds = Gauge("seconds", "Time since the machine was started", unit="s", diamond=None, otel="system.uptime")
    in_unit = Gauge(
        "{name}",
        "Time since the machine was started, in the unit that `metric_name` says",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(UPTIME)
        try:
            seconds = float(text.split()[0])
        except (IndexError, ValueError):
            raise ValueError(f"{UPTIME} does not begin with a number of seconds: {text[:40]!r}") from None
        yield self.seconds(seconds)
        yield self.in_unit(seconds / UNITS[self.metric_name], self.metric_name)
