"""What the commands share that read a configuration and collect here and now."""

from __future__ import annotations

import sys
import time

from adamas.cli import terminal
from adamas.config import Config, Instance, load
from adamas.errors import ConfigError, NoData
from adamas.host import Host
from adamas.pipeline import Intake
from adamas.worker import Worker, isolate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Batch


def say(error: ConfigError) -> None:
    """Print every mistake of a configuration to standard error."""
    for mistake in error.mistakes:
        print(terminal.bad(str(mistake)), file=sys.stderr)


def loaded(path: str | None) -> Config | None:
    """The configuration, or None after its mistakes were printed."""
    try:
        return load(path)
    except ConfigError as error:
        say(error)
        return None


class Sampler:
    """Collectors that run when they are told to. `failed`: whether one of them raised something, which was printed."""

    def __init__(self, config: Config, instances: Sequence[Instance], root: str = "/") -> None:
        self.failed = False
        self._worker = Worker()
        host = Host(root)
        host.prefix = config.prefix
        host.ask_child = self._worker.ask
        self._intakes = [Intake(i.cls(host, dict(i.values), i.name)) for i in instances]
        for instance, intake in zip(instances, self._intakes):
            if intake.collector.isolation == "process":
                isolate(intake.collector, self._worker, instance.origin, instance.values)
            intake.rates.shortest = 0.0  # who asks for two runs knows how far apart they are
        self._before: dict[str, float] = {}
        self._said: set[str] = set()

    def turn(self) -> list[Batch]:
        """Run each of them once; what stands in the way of one is printed, the first time."""
        batches = []
        for intake in self._intakes:
            collector = intake.collector
            started = time.monotonic()
            collector.elapsed = started - self._before.get(collector.instance, started)
            self._before[collector.instance] = started
            try:
                series, values = intake.gather()
                batch = intake.publish(series, values, time.time(), started)
            except NoData as reason:
                self._say(f"{collector.instance}: no data: {reason}")
                continue
            except Exception as error:
                self.failed = True
                self._say(terminal.bad(f"{collector.instance}: {type(error).__name__}: {error}"))
                continue
            if batch is not None:
                batches.append(batch)
            batches += intake.others()
        return batches

    def _say(self, words: str) -> None:
        if words not in self._said:
            self._said.add(words)
            print(words, file=sys.stderr)

    def stop(self) -> None:
        """Let go of what they hold."""
        self._worker.stop()
