"""`adamas convert`: a diamond.conf as a file of our own, and what could not be carried over."""

from __future__ import annotations

import os
import re
import sys

from adamas.cli.sampling import say
from adamas.config import PLUGIN_TABLES, TABLES, Config, build, diamond
from adamas.errors import ConfigError, Mistake
from adamas.option import Secret, toml

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from typing import Any

    from adamas.config.source import Tables


def convert(arguments: argparse.Namespace) -> int:
    """Print the configuration that a diamond.conf is for us; what it lost on the way also on standard error."""
    try:
        tables = diamond.read(arguments.file)
        config = build(tables, os.path.abspath(arguments.file))
    except ConfigError as error:
        say(error)
        return 1
    lost = remarks(config)
    sys.stdout.write(document(config, tables, lost))
    sys.stdout.flush()
    for remark in lost:
        print(remark, file=sys.stderr)
    return 0


def remarks(config: Config) -> list[Mistake]:
    """What is not the same, in the order of the files."""
    secret = [
        f"{instance.kind}.{instance.name}: {key}: the new file holds this secret: let nobody read it who may not read this one"
        for kind in PLUGIN_TABLES
        for instance in getattr(config, kind).values()
        for key, value in instance.values.items()
        if isinstance(value, Secret)
    ]
    held = [Mistake(config.path, 0, words) for words in secret]
    return sorted([*config.warnings, *config.notes, *held], key=lambda m: (m.file, m.line))


def document(config: Config, tables: Tables, lost: list[Mistake]) -> str:
    """The whole file."""
    out = [f"# Written from {config.path} by `adamas convert`.", ""]
    for name in TABLES:
        given = tables.data.get(name, {})
        if given:
            table = getattr(config, name)
            out += [f"[{name}]", *[_line(key, getattr(table, key)) for key in given], ""]
    for kind in PLUGIN_TABLES:
        for name, instance in getattr(config, kind).items():
            given = tables.data[kind][name]
            out.append(f"[{kind}.{_key(name)}]")
            if "type" in given:
                out.append(_line("type", given["type"]))
            set_here = instance.values.keys() - ({"interval"} - given.keys())
            out += [_line(key, value) for key, value in instance.values.items() if key in set_here]
            out.append("")
    if lost:
        out += ["# What Diamond's file said and this one does not, and why:", *[f"# {remark}" for remark in lost], ""]
    return "\n".join(out)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else toml(name)


def _line(key: str, value: Any) -> str:
    return f"{_key(key)} = {toml(str(value) if isinstance(value, Secret) else value)}"
