"""Diamond's class is made in the child, with its settings as a diamond.conf would give them; what it publishes becomes samples
under the complete names that Diamond would have sent, with the decimals of its text.

Python 2 source is translated when it is loaded. Deadline, memory limit, restart and backoff are those of every isolated
collector, so nothing in the class can swallow them. A counter's rate is made of the time that passed, and there is none for
its first sample or after a reset; `legacy_derivative = true` in `config` brings back Diamond's arithmetic.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable, Iterator

from adamas import Collector, Raw, Sample, log, option
from adamas.metric import Stamped
from adamas.naming import clean_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host
    from adamas.metric import Metric, Series

SLACK = 1.0
"""Seconds by which a stamp may lie beside the run and still mean now: Diamond's are whole seconds."""


class Diamond(Collector):
    """Runs a collector that was written for Diamond, in a child of its own.

    The table's name is its section in a diamond.conf; its first word is the class, unless `class` names one.
    """

    name = "diamond"
    path = "."
    needs = ("the extra adamas[diamond]",)
    complete_names = True
    preload = ("diamond.hosting", "adamas.translate.dialect", "adamas.translate.meaning", "adamas.translate.syntax")

    isolation: str = option("process", "Always in a killable child of its own", choices=("process",))
    class_: str = option("", "The class, or its dotted name where it is installed (default: the first word of the table's name)")
    file: str = option("", "The file that has the class")
    collectors_path: list[str] = option([], "Folders that are searched for the class, with those below them")
    config: dict[str, Any] = option({}, "Its settings, as in its section of a diamond.conf")

    _hosted: Any = None

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._known: dict[str, tuple[Metric, int]] = {}
        """By the path that Diamond's class gave: the metric, and the highest precision that it had."""

    def collect(self) -> Iterator[Sample]:
        """One run of Diamond's collector; what it published, under its own names."""
        if self._hosted is None:
            self._hosted = self._make()
        prefix = ".".join([part for part in self.host.prefix if part])
        metrics, began, ended = self._hosted.run()
        stamped: dict[float, list[tuple[Series, int | float]]] = {}
        for metric in metrics:
            series, value = self._sample(metric, prefix)
            if began - SLACK <= metric.timestamp <= ended + SLACK:
                yield series, value
            else:
                stamped.setdefault(float(metric.timestamp), []).append((series, value))
        for time, samples in stamped.items():
            yield Stamped(time, tuple([s for s, _ in samples])), [v for _, v in samples]

    def _make(self) -> Any:
        try:
            hosting = importlib.import_module("diamond.hosting")
        except ImportError as error:
            if error.name != "configobj":
                raise
            raise RuntimeError("collectors of Diamond need configobj: pip install 'adamas[diamond]'") from None
        return hosting.HostedCollector(
            self.instance,
            class_name=getattr(self, "class") or ("" if self.file else self.instance.split()[0]),
            file=os.path.expanduser(self.file),
            folders=[os.path.expanduser(folder) for folder in self.collectors_path],
            section=self.config,
            interval=float(self.interval or 300),
            prefix=self.host.prefix,
            log=lambda level, words: log.say(level, self.instance, words),
        )

    def _sample(self, metric: Any, prefix: str) -> tuple[Series, int | float]:
        """A published metric; its precision is the highest that its name had so far."""
        value: int | float = metric.value
        precision = metric.precision if isinstance(metric.precision, int) and metric.precision >= 0 else 0
        known = self._known.get(metric.path)
        if known is None or precision > known[1]:
            known = self._known[metric.path] = (self._declare(metric.path, prefix, precision, known is not None), precision)
            if len(self._known) > self.series_limit:
                self._known.clear()
        elif precision < known[1] and isinstance(value, float):
            value = float(f"{value:.{precision}f}")
        return known[0](value)

    def _declare(self, path: str, prefix: str, precision: int, anew: bool) -> Metric:
        name = clean_path(path)
        inside = bool(prefix) and name.startswith(prefix + ".")
        local = name[len(prefix) + 1 :] if inside else name
        if anew:
            self.undeclare(local)
        template = local.replace("{", "{{").replace("}", "}}")
        dotted = Raw(precision=precision, complete=not inside)
        return self.metric(local, template=template, path=dotted, diamond=dotted, prometheus=Raw(template), otel=Raw(template))

    def sweep(self, keep: Iterable[Any]) -> None:
        """Forget the series that are not in `keep`, and the metrics that were made of names."""
        super().sweep(keep)
        self._known.clear()
