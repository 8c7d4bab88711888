"""Running a recorded case: a collector over its steps, and what it gives in each spelling.

A case is a folder: `case.json` {"options": {...}, "elapsed": [0, 10]}, one folder a step ("1", "2", ...) as
`adamas.recording` describes it, and `expected.json` {spelling: {name: value}} of the last step.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from adamas.collector import Collector
from adamas.exposition import head
from adamas.lines import Plan, text
from adamas.metric import NAMINGS, Batch
from adamas.naming import Naming
from adamas.pipeline import Intake
from adamas.recording import Replay

PREFIX = ("servers", "host")


def parse_options(cls: type[Collector], options: dict[str, Any]) -> dict[str, Any]:
    """Options as a configuration file gives them."""
    return {name: cls.options[name].parse(value) for name, value in options.items()}


def run_steps(cls: type[Collector], options: dict[str, Any], steps: list[Path], elapsed: list[float]) -> list[Batch | None]:
    """The batches of a collector that runs once over each step, so many seconds apart."""
    moment = 0.0
    batches = []
    collector = None
    for directory, seconds in zip(steps, elapsed, strict=True):
        moment += seconds
        host = Replay(str(directory), moment)
        if collector is None:
            collector = cls(host, parse_options(cls, options))
            intake = Intake(collector)
        collector.host = host
        collector.elapsed = seconds
        series, values = intake.gather()
        batches.append(intake.publish(series, values, host.time(), moment))
    return batches


def spelled(batch: Batch | None, naming: str) -> dict[str, str]:
    """Every point's name (with its labels) and value as text: Graphite's in dotted spellings, exact in the others."""
    if batch is None:
        return {}
    plan = Plan(batch.shape, Naming(naming, PREFIX if naming in ("path", "diamond") else ()).spell)
    dotted = naming in ("path", "diamond")
    return {(p.name if dotted else head(p)): text(p, v) if dotted else repr(v) for p, v in plan.pairs(batch)}


def run_case(cls: type[Collector], case: Path) -> dict[str, dict[str, str]]:
    """What the last step of a case gives, in every spelling."""
    about = json.loads((case / "case.json").read_text())
    steps = [case / str(i + 1) for i in range(len(about["elapsed"]))]
    batch = run_steps(cls, about.get("options", {}), steps, about["elapsed"])[-1]
    return {naming: spelled(batch, naming) for naming in NAMINGS}
