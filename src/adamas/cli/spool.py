"""`adamas spool`: what waits on disk for the outputs, looked at, checked, mended, thrown away or sent by hand.

Looking (`ls`, `show`, `verify`) works beside a running agent. What changes a spool (`repair`, `drop`, `replay`) takes its lock,
and is refused while an agent has it.
"""

from __future__ import annotations

import os
import shutil
import sys
import time

from adamas.cli import terminal
from adamas.cli.sampling import loaded
from adamas.naming import Naming, clean_node
from adamas.sender import Sender
from adamas.spool import InUse, Look, Spool

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from adamas.config import Config

SHOWN = 64 << 10


def command(arguments: argparse.Namespace) -> int:
    """One of the actions; returns the exit code."""
    config = loaded(arguments.config)
    if config is None:
        return 1
    folder = os.path.join(config.state_dir, "spool")
    names = sorted(n for n in (os.listdir(folder) if os.path.isdir(folder) else ()) if os.path.isdir(os.path.join(folder, n)))
    if arguments.action == "ls":
        return _ls(config, folder, names)
    if arguments.output not in names:
        known = f"; there are: {', '.join(names)}" if names else ""
        print(terminal.bad(f'no spool of an output "{arguments.output}" in {folder}{known}'), file=sys.stderr)
        return 1
    directory = os.path.join(folder, arguments.output)
    try:
        return ACTIONS[arguments.action](config, directory, arguments)
    except InUse:
        print(terminal.bad(f"{directory}: an agent uses it; stop it first"), file=sys.stderr)
    except OSError as error:
        print(terminal.bad(f"{directory}: {error.strerror or error}"), file=sys.stderr)
    return 1


def _in_use(directory: str) -> bool:
    spool = Spool(directory, 1 << 20)
    try:
        spool.lock()
    except InUse:
        return True
    spool.close()
    return False


def _ls(config: Config, folder: str, names: list[str]) -> int:
    outputs = set(map(clean_node, config.outputs))
    rows = []
    for name in names:
        directory = os.path.join(folder, name)
        look = Look(directory)
        for _ in look.records():
            pass
        state = "in use" if _in_use(directory) else "waits" if name in outputs else "its output is gone"
        damage = terminal.size(look.damaged) if look.damaged else "-"
        rows.append((name, str(look.waiting), terminal.size(look.size), damage, state))
    if rows:
        print(terminal.table(("output", "points", "on disk", "damaged", ""), rows))
    else:
        print(f"nothing waits in {folder}")
    return 0


def _show(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    look = Look(directory)
    acked, left = look.acked(), arguments.limit
    for record in look.records():
        if record.end <= acked:
            continue
        if left <= 0:
            print(f"(more; --limit shows more than {arguments.limit} records)", file=sys.stderr)
            break
        left -= 1
        print(f"# points {record.first} to {record.end - 1}, {len(record.payload)} bytes")
        sys.stdout.write(record.payload[:SHOWN].decode("utf-8", "backslashreplace"))
        if not record.payload.endswith(b"\n"):
            print()
    return 0


def _verify(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    look = Look(directory)
    progress = terminal.Progress("verifying", look.size)
    for _ in look.records():
        progress.at(look.read)
    progress.end()
    words = f"{look.good} points in good records, {look.waiting} of them wait"
    if look.damaged:
        print(f"{words}; {look.damaged} bytes are damaged: an agent steps over them and counts what was lost")
        return 1
    print(f"{words}; nothing is damaged")
    return 0


def _repair(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    """Copy what is good and waits into a new spool that takes the old one's place."""
    fresh, old = directory + ".repaired", directory + ".before"
    for leftover in (fresh, old):
        if os.path.exists(leftover):
            print(terminal.bad(f"{leftover} is in the way: look at it and remove it"), file=sys.stderr)
            return 1
    source = Spool(directory, 1 << 20)
    source.lock()
    look = Look(directory)
    acked, kept = look.acked(), 0
    target = Spool(fresh, max(look.size * 2, 4 << 20))
    target.open()
    progress = terminal.Progress("repairing", look.size)
    for record in look.records():
        if record.end > acked:
            if not target.append(record.payload, record.count, sync=False):
                print(terminal.bad(f"{fresh}: {target.error}"), file=sys.stderr)
                return 1
            kept += record.count
        progress.at(look.read)
    progress.end()
    target.close()
    os.rename(directory, old)
    os.rename(fresh, directory)
    source.close()
    shutil.rmtree(old)
    print(f"{kept} points kept, {look.damaged} damaged bytes left out")
    return 0


def _drop(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    source = Spool(directory, 1 << 20)
    source.lock()
    look = Look(directory)
    for _ in look.records():
        pass
    if not arguments.yes:
        print(f"{look.waiting} points would be thrown away for good; --yes does it", file=sys.stderr)
        source.close()
        return 1
    shutil.rmtree(directory)
    source.close()
    print(f"{look.waiting} points thrown away")
    return 0


def _replay(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    """Send what waits to its output, as a starting agent would."""
    name = os.path.basename(directory)
    instance = next((i for i in config.outputs.values() if clean_node(i.name) == name), None)
    if instance is None:
        print(terminal.bad(f'the configuration has no output "{name}" to send it to'), file=sys.stderr)
        return 1
    if _in_use(directory):
        raise InUse
    output = instance.cls(dict(instance.values), instance.name)
    naming = output.naming or type(output).default_naming
    output.spell(Naming(naming, config.prefix if naming in ("path", "diamond") else (), config.agent.labels))
    sender = Sender(output, directory)
    sender.start()
    end = time.monotonic() + arguments.seconds
    total, progress, told = 0, None, ""
    try:
        while time.monotonic() < end:
            status = sender.status()
            ledger, spool = status["ledger"], status["spool"]
            if spool and spool["open"] and progress is None:
                total = ledger["offered"]
                progress = terminal.Progress("sending", total)
            if progress is not None:
                progress.at(ledger["delivered"] + sum(ledger["dropped"].values()))
                if not ledger["spool"] and not ledger["flight"]:
                    break
            if status["error"] and status["error"] != told:
                told = status["error"]
                print(terminal.bad(f"{name}: {told}; trying again"), file=sys.stderr)
            time.sleep(0.05)
    finally:
        if progress is not None:
            progress.end()
        sender.stop(time.monotonic() + 2)
        sender.join(time.monotonic() + 3)
    ledger = sender.status()["ledger"]
    print(f"{ledger['delivered']} of {total} points delivered, {ledger['spool']} wait")
    return 0 if not ledger["spool"] else 2


ACTIONS = {"show": _show, "verify": _verify, "repair": _repair, "drop": _drop, "replay": _replay}
