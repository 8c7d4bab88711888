"""The commands besides `run`."""

from __future__ import annotations

import json
import os
import sys
import time

from adamas import control, log
from adamas.cli import terminal
from adamas.cli.compare import compare
from adamas.cli.convert import convert
from adamas.cli.sampling import Sampler, loaded
from adamas.cli.spool import command as spool
from adamas.config import Config, Instance, load
from adamas.errors import ConfigError, NoData
from adamas.exposition import Exposition
from adamas.host import Host
from adamas.lines import LineEncoder
from adamas.metric import Batch
from adamas.naming import Naming
from adamas.option import Secret, suggest
from adamas.otlp import Json, OtlpEncoder
from adamas.pipeline import Intake
from adamas.recording import Recorder
from adamas.registry import PluginError, Registry
from adamas.worker import Worker

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from adamas.collector import Collector


def _instances(config: Config, names: list[str]) -> list[Instance] | None:
    """The collectors of these names, from the configuration or with their defaults; None after a mistake was printed."""
    if not names:
        return list(config.collectors.values())
    registry = Registry(_plugin_folders(config))
    chosen = []
    for name in names:
        instance = config.collectors.get(config.sections.get(name, name))
        if instance is None:
            try:
                found = registry.find("collectors", name)
            except PluginError as error:
                print(terminal.bad(str(error)), file=sys.stderr)
                return None
            if found is None:
                words = f'there is no collector "{name}"{suggest(name, registry.names("collectors"))}'
                print(terminal.bad(words), file=sys.stderr)
                return None
            instance = Instance("collectors", name, found.cls, {"interval": config.agent.interval}, found.origin, "")
        chosen.append(instance)
    return chosen


def _plugin_folders(config: Config) -> list[str]:
    base = os.path.dirname(os.path.abspath(config.path)) if config.path else os.getcwd()
    return [os.path.join(base, folder) for folder in config.agent.plugins]


def once(arguments: argparse.Namespace) -> int:
    """Collect now and print the samples."""
    config = loaded(arguments.config)
    instances = _instances(config, arguments.names) if config is not None else None
    if config is None or instances is None:
        return 1
    sampler = Sampler(config, instances, arguments.root)
    try:
        batches = sampler.turn()
        if arguments.twice:
            time.sleep(arguments.twice)
            batches = sampler.turn()
    finally:
        sampler.stop()
    sys.stdout.write(_spell(config, batches, arguments.spelling))
    return 2 if sampler.failed else 0


def _spell(config: Config, batches: list[Batch], spelling: str) -> str:
    """The samples as the user asked for them."""
    labels = config.agent.labels
    if spelling in ("path", "diamond"):
        return LineEncoder(Naming(spelling, config.prefix, labels)).encode(batches).decode()
    if spelling == "prometheus":
        return Exposition(Naming("prometheus", (), labels)).render(batches)
    if spelling == "otel":
        return _otlp(config, batches)
    naming = Naming("path", (), labels)
    out = []
    for batch in batches:
        for series, value in zip(batch.shape.series, batch.values):
            points = naming.spell(series)
            if points:
                declared = series.declaration
                about = {"kind": declared.kind, "unit": declared.unit, "time": batch.time}
                out.append(json.dumps({"name": points[0].name, "labels": series.label_pairs(), "value": value, **about}) + "\n")
    return "".join(out)


def _otlp(config: Config, batches: list[Batch]) -> str:
    """The samples as OTLP's JSON encoding."""
    naming = Naming("otel", (), config.agent.labels, config.hostname)
    encoder = OtlpEncoder(LineEncoder(naming), naming, {}, Json())
    for batch in batches:
        encoder.starts.note(batch)
    return json.dumps(json.loads(encoder.encode(batches)), indent=2) + "\n"


def check(arguments: argparse.Namespace) -> int:
    """Print every mistake of a configuration; 1 where there is one."""
    path = arguments.file or arguments.config
    try:
        config = load(path)
    except ConfigError as error:
        for mistake in error.mistakes:
            print(terminal.mistake(mistake))
        count = len(error.mistakes)
        print(f"{count} mistake{'s' if count != 1 else ''}", file=sys.stderr)
        return 1
    for remark in sorted((*config.warnings, *config.notes), key=lambda m: (m.file, m.line)):
        print(terminal.mistake(remark))
    outputs = ", ".join(config.outputs) or "none"
    print(f"ok: {len(config.collectors)} collectors, outputs: {outputs}, as {config.hostname or 'no host'}")
    return 0


def list_(arguments: argparse.Namespace) -> int:
    """Show what there is, and which collectors find their source here."""
    config = loaded(arguments.config)
    if config is None:
        return 1
    registry = Registry(_plugin_folders(config))
    log.set_level("error")  # what a source lacks here is in the table
    worker = Worker()
    host = Host()
    host.ask_child = worker.ask
    rows = []
    for kind in ("collectors", "outputs"):
        for name in registry.names(kind):
            try:
                found = registry.find(kind, name)
            except PluginError as error:
                rows.append((kind[:-1], name, "cannot be loaded", str(error)))
                continue
            assert found is not None
            about = (found.cls.__doc__ or "").strip().split("\n")[0]
            configured = name in getattr(config, kind)
            state = ("on" if configured else "off") + (_finds(found.cls, host) if kind == "collectors" else "")
            rows.append((kind[:-1], name, state, about))
    worker.stop()
    print(terminal.table(("", "name", "state", "what it is"), rows))
    return 0


def _finds(cls: type[Collector], host: Host) -> str:
    """Whether one run gives samples here."""
    if cls.name == "adamas":
        return ""
    try:
        series, _ = Intake(cls(host)).gather()
    except NoData:
        return ", no data here"
    except Exception as error:
        return f", fails here ({type(error).__name__})"
    return f", {len(series)} series here"


def describe(arguments: argparse.Namespace) -> int:
    """Show a collector or an output: options, metrics, an example."""
    from adamas.describe import describe as tell

    config = loaded(arguments.config)
    if config is None:
        return 1
    registry = Registry(_plugin_folders(config))
    for kind in ("collectors", "outputs"):
        try:
            found = registry.find(kind, arguments.name)
        except PluginError as error:
            print(terminal.bad(str(error)), file=sys.stderr)
            return 1
        if found is not None:
            sys.stdout.write(tell(found.cls))
            return 0
    known = {*registry.names("collectors"), *registry.names("outputs")}
    print(terminal.bad(f'there is no collector or output "{arguments.name}"{suggest(arguments.name, known)}'), file=sys.stderr)
    return 1


def status(arguments: argparse.Namespace) -> int:
    """Show what a running agent does."""
    config = loaded(arguments.config)
    if config is None:
        return 1
    path = os.path.join(config.state_dir, control.NAME)
    try:
        answer = control.ask(path)
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        print(terminal.bad(f"no agent answers at {path}: {words}"), file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps(answer, indent=2))
    else:
        sys.stdout.write(terminal.status(answer))
    return 0


def record(arguments: argparse.Namespace) -> int:
    """Capture what a collector reads as a test case: two runs, their inputs and what came of them."""
    config = loaded(arguments.config)
    instances = _instances(config, [arguments.name]) if config is not None else None
    if config is None or instances is None:
        return 1
    instance = instances[0]
    values = dict(instance.values)
    host = Recorder(secrets=[v for v in values.values() if isinstance(v, Secret)])
    worker = Worker()
    host.ask_child = worker.ask
    intake = Intake(instance.cls(host, values, instance.name))
    try:
        for step in (1, 2):
            try:
                series, _ = intake.gather()
            except Exception as error:
                print(terminal.bad(f"{arguments.name}: {type(error).__name__}: {error}"), file=sys.stderr)
                return 1
            host.save(os.path.join(arguments.directory, str(step)))
            if step == 1:
                time.sleep(arguments.seconds)
    finally:
        worker.stop()
    options = {k: ("***" if isinstance(v, Secret) else v) for k, v in values.items() if k != "interval"}
    with open(os.path.join(arguments.directory, "case.json"), "w") as file:
        json.dump({"options": options, "elapsed": [0, arguments.seconds]}, file, indent=1)
        file.write("\n")
    print(f"{len(series)} series of {arguments.name} recorded in {arguments.directory}")
    return 0


def translate(arguments: argparse.Namespace) -> int:
    """Print an old file as it is run."""
    from adamas.translate import command

    return command(arguments)


COMMANDS = {
    "once": once,
    "check": check,
    "list": list_,
    "describe": describe,
    "status": status,
    "record": record,
    "convert": convert,
    "translate": translate,
    "compare": compare,
    "spool": spool,
}
