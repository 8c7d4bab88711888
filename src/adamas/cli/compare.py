"""`adamas compare`: our names and values beside those of the daemon that runs today.

Its Graphite lines come from a file, or to a port that we listen on for a while; meanwhile our collectors run. Both measure at
their own moments. So a value counts as alike where the ranges that were seen touch, with a tolerance: a tenth for what is read
off directly, half for what is a rate of one interval.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time

from adamas.cli import terminal
from adamas.cli.sampling import Sampler, loaded
from adamas.host import split_address
from adamas.lines import Plan, text
from adamas.metric import RAW
from adamas.naming import Naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Sequence

    from adamas.config import Config
    from adamas.metric import Batch

TOLERANCE = 0.1
TOLERANCE_OF_RATES = 0.5
SHOWN = 5


class Theirs:
    """The lines of the other daemon: values by name, in the order in which they came."""

    def __init__(self) -> None:
        self.values: dict[str, list[float]] = {}
        self.bad = 0
        self._over = False
        self._lock = threading.Lock()

    def take(self, lines: Iterable[bytes]) -> None:
        """Lines of `name value time`; others are counted."""
        with self._lock:
            for line in () if self._over else lines:
                parts = line.decode("utf-8", "replace").split()
                try:
                    if len(parts) != 3:
                        raise ValueError
                    float(parts[2])
                    self.values.setdefault(parts[0], []).append(float(parts[1]))
                except ValueError:
                    self.bad += bool(parts)

    def stop(self) -> None:
        """Take no more."""
        with self._lock:
            self._over = True

    def listen(self, sock: socket.socket) -> None:
        """Take what is sent to this socket until it is closed."""
        while True:
            try:
                connection, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        with connection:
            while True:
                try:
                    data = connection.recv(65536)
                except OSError:
                    data = b""
                *whole, rest = (rest + data).split(b"\n")
                self.take(whole)
                if not data:
                    self.take([rest])
                    return


class Ours:
    """Our points: values by name, as their lines have them, and which of them are rates."""

    def __init__(self, naming: Naming) -> None:
        self.naming = naming
        self.values: dict[str, list[float]] = {}
        self.rates: set[str] = set()
        self.steps: dict[str, float] = {}

    def take(self, batches: Sequence[Batch]) -> None:
        """What one turn gave."""
        for batch in batches:
            for point, value in Plan(batch.shape, self.naming.spell).pairs(batch):
                self.values.setdefault(point.name, []).append(float(text(point, value)))
                self.steps[point.name] = 10.0 ** -(point.precision or 0)
                if point.conversion != RAW:
                    self.rates.add(point.name)


class Comparison:
    """What is on one side only, and what is on both with different values."""

    def __init__(self, ours: Ours, theirs: Theirs) -> None:
        self.missing = sorted(theirs.values.keys() - ours.values.keys())
        self.extra = sorted(ours.values.keys() - theirs.values.keys())
        self.both = sorted(ours.values.keys() & theirs.values.keys())
        self.different = [name for name in self.both if not self._alike(name, ours, theirs)]

    @staticmethod
    def _alike(name: str, ours: Ours, theirs: Theirs) -> bool:
        mine, other = ours.values[name], theirs.values[name]
        rate = name in ours.rates
        if rate and len(other) > 1 and other[0] == 0:
            other = other[1:]  # Diamond's first sample of a counter
        tolerance = TOLERANCE_OF_RATES if rate else TOLERANCE
        slack = tolerance * max(map(abs, (*mine, *other))) + ours.steps[name]
        return min(mine) <= max(other) + slack and min(other) <= max(mine) + slack


def compare(arguments: argparse.Namespace) -> int:
    """Say what differs between our names and values and those of another daemon; 1 where names do."""
    config = loaded(arguments.config)
    if config is None:
        return 1
    theirs = Theirs()
    listener = None
    intervals = [i.values.get("interval") or config.agent.interval for i in config.collectors.values()]
    if arguments.against == "-" or os.path.exists(arguments.against):
        try:
            source = sys.stdin.buffer if arguments.against == "-" else open(arguments.against, "rb")  # noqa: SIM115
            with source:
                theirs.take(source)
        except OSError as error:
            print(terminal.bad(f"{arguments.against}: {error.strerror}"), file=sys.stderr)
            return 1
        seconds = arguments.seconds or 2.0
        step = seconds
    else:
        seconds = arguments.seconds or 2 * max(intervals, default=10.0) + 5
        step = min([max(1.0, seconds / 4), *[i for i in intervals if i >= 1]])
        try:
            listener = socket.create_server(split_address(arguments.against))
        except (OSError, ValueError) as error:
            words = f"a file, or {error}" if isinstance(error, ValueError) else error.strerror
            print(terminal.bad(f"--against {arguments.against}: {words}"), file=sys.stderr)
            return 1
        threading.Thread(target=theirs.listen, args=(listener,), daemon=True).start()
        print(f"listening on {arguments.against} for {seconds:g} s: have the other daemon send its lines there", file=sys.stderr)
    ours = Ours(Naming(arguments.spelling, config.prefix, config.agent.labels))
    sampler = Sampler(config, list(config.collectors.values()))
    began = time.monotonic()
    try:
        ours.take(sampler.turn())
        while (left := began + seconds - time.monotonic()) > 0:
            time.sleep(min(left, step))
            ours.take(sampler.turn())
    finally:
        sampler.stop()
        theirs.stop()
        if listener is not None:
            listener.close()
    found = Comparison(ours, theirs)
    _tell(config, found, ours, theirs, seconds, arguments.details)
    if not theirs.values:
        print(terminal.bad(f"nothing came from {arguments.against}"), file=sys.stderr)
    return 1 if found.missing or found.extra else 2 if sampler.failed else 0


def _tell(config: Config, found: Comparison, ours: Ours, theirs: Theirs, seconds: float, details: bool) -> None:
    """A summary, then the names: all of them where details are wanted, else a few."""
    alike = len(found.both) - len(found.different)
    print(f"{len(theirs.values)} names there, {len(ours.values)} here, {len(found.both)} in both, in {seconds:g} s")
    print(f"missing here: {len(found.missing)}{_groups(config, found.missing)}")
    print(f"only here: {len(found.extra)}{_groups(config, found.extra)}")
    print(f"values: {alike} alike, {len(found.different)} different{_groups(config, found.different)}")
    if theirs.bad:
        print(f"{theirs.bad} lines there are not `name value time`")
    shown = None if details else SHOWN
    for title, names in (("missing here", found.missing), ("only here", found.extra), ("different in value", found.different)):
        if not names:
            continue
        print(f"\n{title}:")
        for name in names[:shown]:
            both = title.startswith("different")
            values = f"  there {_range(theirs.values[name])}, here {_range(ours.values[name])}" if both else ""
            print(f"  {name}{values}")
        if shown and len(names) > shown:
            print(f"  ... and {len(names) - shown} more: --details")


def _groups(config: Config, names: Sequence[str]) -> str:
    """How many of each collector."""
    front = ".".join(p for p in config.prefix if p)
    counts: dict[str, int] = {}
    for name in names:
        inside = name.removeprefix(front + ".")
        group = inside.partition(".")[0] if inside != name else "elsewhere"
        counts[group] = counts.get(group, 0) + 1
    return f" ({', '.join(f'{group} {count}' for group, count in sorted(counts.items()))})" if counts else ""


def _range(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:.12g}" if low == high else f"{low:.12g} to {high:.12g}"
