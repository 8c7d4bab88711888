"""`adamas spool`: what waits on disk for the outputs, looked at, checked, mended, thrown away or sent by hand.

Looking (`ls`, `show`, `verify`) works beside a running agent and changes nothing. What changes a spool (`repair`, `drop`,
`replay`) takes its lock, and is refused while an agent has it. Exit codes: 1 where something is wrong, 2 where points still wait.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time

from adamas import log
from adamas.cli import terminal
from adamas.cli.sampling import loaded
from adamas.naming import Naming, clean_node
from adamas.sender import SPOOLS, Sender, places
from adamas.spill import DIALECT
from adamas.spool import BLOCK, SMALLEST, Cursor, Disk, InUse, Scan, Spool, segments

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from adamas.config import Config
    from adamas.spool import Record

SHOWN = 64 << 10
MOMENT = 0.05


class Look:
    """A spool as it lies on disk, looked at without taking or changing it: also while an agent uses it.

    After `records` was walked to its end: good and waiting are points, damaged are bytes that no record is in, unreadable
    whether the disk did not give some of them, missing the points that wait by their numbers but are in no good record.
    """

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.good = self.waiting = self.damaged = self.read = self.missing = 0
        self.unreadable = False
        try:
            with open(self._path("cursor"), "rb") as file:
                self.cursor = Cursor(file.read(2 * BLOCK))
        except FileNotFoundError:
            self.cursor = Cursor(b"")
        self.firsts = segments(os.listdir(directory))
        self.acked = self.cursor.acked if self.cursor.sure else max(self.cursor.acked, *self.firsts[:1], 0)

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(os.path.getsize(path) for first in self.firsts if os.path.exists(path := self._segment(first)))

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _segment(self, first: int) -> str:
        return self._path(f"{first:016x}.seg")

    def records(self) -> Iterator[Record]:
        """Every good record, delivered ones too."""
        end = self.cursor.following
        for first, beyond in zip(self.firsts, [*self.firsts[1:], None]):
            try:
                fd = os.open(self._segment(first), os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                continue  # delivered and removed while we looked
            try:
                at, last = 0, beyond is None
                scan = Scan(Disk(), fd, os.fstat(fd).st_size, beyond, patient=False)
                while True:
                    if (found := scan.next(at)) is None:
                        if last and at < scan.size:
                            last = False  # an agent may be about to write the rest of it
                            time.sleep(MOMENT)
                            scan.size = os.fstat(fd).st_size
                            continue
                        break
                    record, after = found
                    self.damaged += after - at - len(record)
                    self.read += after - at
                    self.good += record.count
                    self.waiting += record.count if record.end > self.acked else 0
                    at, end = after, max(end, record.end)
                    yield record
                self.damaged += scan.size - at
                self.read += scan.size - at
                self.unreadable = self.unreadable or scan.unreadable is not None
            finally:
                os.close(fd)
        self.missing = max(0, end - self.acked - self.waiting)


def command(arguments: argparse.Namespace) -> int:
    """One of the actions; returns the exit code."""
    config = loaded(arguments.config)
    if config is None:
        return 1
    folder = os.path.join(config.state_dir, SPOOLS)
    try:
        names = sorted(n for n in os.listdir(folder) if os.path.isdir(os.path.join(folder, n)))
    except FileNotFoundError:
        names = []
    except OSError as error:
        return _bad(f"{folder}: {error.strerror}")
    if arguments.action == "ls":
        return _ls(config, folder, names)
    if arguments.output not in names:
        known = f"; there are: {', '.join(names)}" if names else ""
        return _bad(f'no spool of an output "{arguments.output}" in {folder}{known}')
    directory = os.path.join(folder, arguments.output)
    try:
        return ACTIONS[arguments.action](config, directory, arguments)
    except BrokenPipeError:
        raise
    except InUse:
        return _bad(f"{directory}: an agent uses it; stop it first")
    except OSError as error:
        return _bad(f"{error.filename or directory}: {error.strerror or error}")


def _bad(words: str) -> int:
    print(terminal.bad(words), file=sys.stderr)
    return 1


def _in_use(directory: str) -> bool:
    try:
        lock = os.open(os.path.join(directory, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _walked(directory: str, what: str) -> Look:
    """A look at every record, with a bar where it takes long."""
    look = Look(directory)
    progress = terminal.Progress(what, look.size)
    for _ in look.records():
        progress.at(look.read)
    progress.end()
    return look


def _lost(look: Look) -> str:
    return ", ".join(f"{points} {reason}" for reason, points in look.cursor.lost.items()) or "-"


def _ls(config: Config, folder: str, names: list[str]) -> int:
    outputs = set(map(clean_node, config.outputs))
    rows, code = [], 0
    for name in names:
        directory = os.path.join(folder, name)
        try:
            look = _walked(directory, f"reading {name}")
            state = "waits" if look.waiting else "empty"
            if name not in outputs:
                state = "its output is gone"
            if _in_use(directory):
                state = "in use"
        except OSError as error:
            code = _bad(f"{error.filename or directory}: {error.strerror}")
            continue
        damage = terminal.size(look.damaged) if look.damaged else "-"
        rows.append((name, str(look.waiting), terminal.size(look.size), damage, _lost(look), state))
    if rows:
        print(terminal.table(("output", "points", "on disk", "damaged", "ever lost", ""), rows))
    elif not code:
        print(f"nothing waits in {folder}")
    return code


def _show(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    look = Look(directory)
    left, shown = arguments.limit, 0
    for record in look.records():
        if record.end <= look.acked:
            continue
        if left <= 0:
            print(f"(there is more: --limit {2 * arguments.limit} shows twice as many records)", file=sys.stderr)
            break
        left -= 1
        shown += 1
        print(f"# points {record.first} to {record.end - 1}, {len(record.payload)} bytes")
        sys.stdout.write(record.payload[:SHOWN].decode("utf-8", "backslashreplace"))
        if len(record.payload) > SHOWN:
            print(f"\n# ... {len(record.payload) - SHOWN} bytes more", end="")
        if not record.payload.endswith(b"\n") or len(record.payload) > SHOWN:
            print()
    if not shown:
        print(f"nothing waits in {directory}")
    return 0


def _verify(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    look = _walked(directory, "verifying")
    words = f"{look.good} points in good records, {look.waiting} of them wait"
    if look.damaged:
        how = " (the disk does not give all of them)" if look.unreadable else ""
        print(f"{words}; {look.damaged} bytes are damaged{how}, {look.missing} points are missing")
        print("an agent steps over them and counts what was lost")
        return 1
    if look.missing and not _in_use(directory):
        print(f"{words}; nothing is damaged, but {look.missing} points are missing")
        return 1
    print(f"{words}; nothing is damaged")
    return 0


def _repair(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    """Copy what is good and waits into a new spool that takes the old one's place."""
    fresh, old = directory + ".repaired", directory + ".before"
    for leftover in (fresh, old):
        if os.path.exists(leftover):
            return _bad(f"{leftover} is in the way: an earlier repair was cut off; look at it and remove it")
    source = Spool(directory, SMALLEST)
    source.lock()
    try:
        look = Look(directory)
        progress = terminal.Progress("repairing", look.size)
        # Whoever types this may fill the disk.
        target = Spool(fresh, max(look.size * 4, 4 << 20), fullest=1.0, free=0)
        try:
            target.open()
            for record in look.records():
                if record.end > look.acked and not target.append(record.payload, record.count, sync=False):
                    return _bad(f"{fresh}: {target.error}")
                progress.at(look.read)
            target.lost = {**look.cursor.lost}
            if look.missing:
                target.lost["corrupt"] = target.lost.get("corrupt", 0) + look.missing
            target.close()
            if os.path.exists(kind := os.path.join(directory, DIALECT)):
                shutil.copy(kind, fresh)
            os.rename(directory, old)
            os.rename(fresh, directory)
        finally:
            progress.end()
            shutil.rmtree(fresh, ignore_errors=True)
    finally:
        source.close()
    shutil.rmtree(old)
    print(f"{look.waiting} points kept, {look.missing} lost, {look.damaged} damaged bytes left out")
    return 0


def _drop(config: Config, directory: str, arguments: argparse.Namespace) -> int:
    source = Spool(directory, SMALLEST)
    source.lock()
    try:
        look = _walked(directory, "counting")
        if not arguments.yes:
            print(f"{look.waiting} points would be thrown away for good; --yes does it", file=sys.stderr)
            return 1
        shutil.rmtree(directory)
    finally:
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
    output = instance.cls({**instance.values, "buffer": "spill"}, instance.name)
    naming = output.naming or type(output).default_naming
    output.spell(Naming(naming, config.prefix if naming in ("path", "diamond") else (), config.agent.labels))
    log.set_level("error")  # what goes wrong is said below
    sender = Sender(output, directory, places(config.state_dir, instance.name)[1])
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
            error = status["error"] or (spool["error"] if spool else "")
            if error and error != told:
                told = error
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
