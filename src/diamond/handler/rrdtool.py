"""Files of rrdtool, one for each metric: basedir/host/collector/metric.rrd, made when it is first seen."""

from __future__ import annotations

import os
import re
import subprocess
from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.metric import Metric

ARCHIVES = [(steps, rows) for steps, rows in ((1, 8640), (6, 10080), (30, 8928), (180, 8784), (360, 17568))]
"""(steps of a row, rows): a day of ten seconds, a week of minutes, a month, a year, four years."""
KINDS = ("AVERAGE", "MIN", "MAX")
NAME = 19
_UNFIT = re.compile(r"[^A-Za-z0-9_-]")


class RRDHandler(BatchHandler):
    """Runs `rrdtool update` for what a flush finds."""

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.basedir = self.config["basedir"]
        self.step = int(self.config["step"])

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "basedir": "/var/lib/collectd/rrd", "batch": 1, "step": 10}

    def send_batch(self, metrics: list[Any]) -> None:
        """Update each metric's file. An update that is not later than the last is left out by rrdtool, and here."""
        values: dict[str, list[str]] = {}
        sources = {}
        for metric in metrics:
            path = self._path(metric)
            values.setdefault(path, []).append(f"{metric.timestamp}:{metric.value}")
            sources[path] = metric
        for path, updates in values.items():
            if not os.path.exists(path):
                self._create(path, sources[path])
            _run("update", "--skip-past-updates", path, *updates)

    def _path(self, metric: Metric) -> str:
        name = _UNFIT.sub("_", metric.getMetricPath().replace(".", "_"))[-NAME:]
        return os.path.join(self.basedir, metric.host or "localhost", metric.getCollectorPath(), f"{name}.rrd")

    def _create(self, path: str, metric: Metric) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        name = os.path.basename(path).removesuffix(".rrd")
        archives = [f"RRA:{kind}:0.5:{steps}:{rows}" for steps, rows in ARCHIVES for kind in KINDS]
        begin = str(int(metric.timestamp) - self.step)
        _run("create", path, "--step", str(self.step), "--start", begin, f"DS:{name}:GAUGE:{2 * self.step}:U:U", *archives)


def _run(*arguments: str) -> None:
    done = subprocess.run(["rrdtool", *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"rrdtool {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
