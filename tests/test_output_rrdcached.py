"""rrdcached has every value in its files, makes those that are missing, and nothing is counted as stored that is not."""

from __future__ import annotations

import math
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import servers

sys.path.insert(0, str(Path(__file__).parent))

from roundtrip import Trip, batches

from adamas.outputs.rrdcached import Rrdcached

SMALL = ["AVERAGE:0.5:1:200"]


class RunningRrdcached:
    """rrdcached with a journal, on a TCP port and a unix socket; values are asked for through it."""

    def __init__(self, directory: Path, *more: str) -> None:
        self.directory = directory
        for name in ("db", "journal"):
            (directory / name).mkdir(parents=True)
        self.port = servers.free_port()
        self.unix = f"unix:{directory}/socket"
        self.more = more
        self.start()

    def start(self) -> None:
        """Start it (again)."""
        own = ["-g", "-p", f"{self.directory}/pid", "-b", f"{self.directory}/db", "-B", "-j", f"{self.directory}/journal"]
        (self.directory / "pid").unlink(missing_ok=True)
        self.server = servers.start(
            ["rrdcached", *own, *self.more, "-l", f"127.0.0.1:{self.port}", "-l", self.unix],
            self.directory,
            lambda: self.ask("PING") == ["0 PONG"],
        )

    def ask(self, *commands: str) -> list[str]:
        """The answers to these commands, line by line."""
        lines = []
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock, sock.makefile("rw") as both:
            for command in commands:
                both.write(command + "\n")
                both.flush()
                lines.append(both.readline().rstrip("\n"))
                lines += [both.readline().rstrip("\n") for _ in range(int(lines[-1].split(" ")[0]))]
        return lines

    def values(self, names: list[str], first: float, last: float) -> dict[str, dict[int, float]]:
        """What it has of these files from one time to another, as FETCH gives it: file -> time -> value."""
        found: dict[str, dict[int, float]] = {}
        answer = iter(self.ask(*[f"FETCH {name}.rrd AVERAGE {int(first) - 10} {int(last)}" for name in names]))
        for name in names:
            count = int(next(answer).split(" ")[0])
            lines = [next(answer).partition(": ") for _ in range(max(0, count))]
            values = {int(stamp): float(value) for stamp, _, value in lines if stamp.isdigit()}
            found[name] = {stamp: value for stamp, value in values.items() if not math.isnan(value)}
        return found


@pytest.fixture
def rrdcached(tmp_path: Path) -> Iterator[Callable[..., RunningRrdcached]]:
    """`rrdcached("-R")`: a running one with these options beside its own."""
    servers.require("rrdcached")
    running: list[RunningRrdcached] = []

    def begin(*more: str) -> RunningRrdcached:
        running.append(RunningRrdcached(tmp_path / f"rrdcached{len(running)}", *more))
        return running[-1]

    yield begin
    for one in running:
        one.server.stop()


def compare(server: RunningRrdcached, trip: Trip, sent: list[Any]) -> int:
    """All that was sent is in the files; how much that is."""
    expected = {name: values for (name, _), values in trip.points(sent).items()}
    found = server.values(sorted(expected), sent[0].time, sent[-1].time)
    wrong = [
        (name, stamp, value, found[name].get(int(stamp)))
        for name, values in expected.items()
        for stamp, value in values.items()
        if not math.isclose(found[name].get(int(stamp), math.inf), value, rel_tol=1e-11)
    ]
    count = sum(map(len, expected.values()))
    print(f"{len(expected)} files, {count} values, {len(wrong)} different")
    assert not wrong
    assert sum(map(len, found.values())) == count
    return count


@pytest.mark.parametrize(("over", "folders"), [("tcp", False), ("unix", True)])
def test_every_value_is_in_its_file(rrdcached: Callable[..., RunningRrdcached], tmp_path: Path, over: str, folders: bool) -> None:
    server = rrdcached(*(["-R"] if folders else []))
    address = server.unix if over == "unix" else f"127.0.0.1:{server.port}"
    trip = Trip(tmp_path, "rrdcached", {"address": address, "folders": folders, "archives": SMALL})
    sent = batches()
    ledger = trip.go(sent)
    assert ledger["delivered"] == compare(server, trip, sent) == 9950  # a first run has no rates
    assert not ledger["dropped"]
    names = {name for name, _ in trip.points(sent)}
    assert len(names) == 1000
    files = [str(file.relative_to(server.directory / "db"))[:-4] for file in (server.directory / "db").rglob("*.rrd")]
    assert set(files) == names
    assert "servers/h/mixed/0/plain" in names if folders else "servers.h.mixed.0.plain" in names


def test_a_new_file_is_laid_out_as_the_options_say(rrdcached: Callable[..., RunningRrdcached], tmp_path: Path) -> None:
    server = rrdcached()
    options = {"address": f"127.0.0.1:{server.port}", "step": "30s", "heartbeat": "95s", "directory": f"{server.directory}/db/"}
    trip = Trip(tmp_path, "rrdcached", {**options, "allow": r"mixed\.0\.plain$"})
    trip.go(batches(1))
    info = server.ask("INFO servers.h.mixed.0.plain.rrd")
    said = {line.split(" ")[0]: line.split(" ", 2)[2] for line in info[1:]}
    assert said["step"] == "30"
    assert said["ds[value].type"] == "GAUGE"
    assert said["ds[value].minimal_heartbeat"] == "95"
    rows = [(said[f"rra[{i}].cf"], said[f"rra[{i}].pdp_per_row"], said[f"rra[{i}].rows"]) for i in range(5)]
    assert [":".join((cf, "0.5", steps, count)) for cf, steps, count in rows] == trip.output.archives


def test_a_killed_daemon_loses_nothing_that_it_answered_for(rrdcached: Callable[..., RunningRrdcached], tmp_path: Path) -> None:
    """It has a journal; what it did not answer for is sent again."""
    server = rrdcached()
    trip = Trip(tmp_path, "rrdcached", {"address": f"127.0.0.1:{server.port}", "archives": SMALL})
    trip.sender.start()
    sent = batches()
    for number, batch in enumerate(sent):
        if number == 5:
            servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] > 0)
            server.server.kill()
        trip.sender.offer(batch)
        trip.sender.ring()
    servers.wait_until(lambda: trip.sender.failures > 0)
    server.start()
    servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == 9950, 30)
    assert not trip.sender.ledger.snapshot()["dropped"]
    compare(server, trip, sent)
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)


class Deaf:
    """Stands before the daemon, and hangs up in place of its first answers to a batch's end."""

    def __init__(self, port: int, times: int) -> None:
        self.to = port
        self.times = times
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self.listener.accept()
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self.to))
            threading.Thread(target=self._pass, args=(near, far), daemon=True).start()
            threading.Thread(target=self._back, args=(far, near), daemon=True).start()

    def _pass(self, near: socket.socket, far: socket.socket) -> None:
        try:
            while data := near.recv(65536):
                far.sendall(data)
        except OSError:
            pass
        with far:
            far.close()

    def _back(self, far: socket.socket, near: socket.socket) -> None:
        with far, near:
            try:
                while data := far.recv(65536):
                    if b" errors\n" in data and self.times:
                        self.times -= 1
                        near.shutdown(socket.SHUT_RDWR)
                        return
                    near.sendall(data)
            except OSError:
                pass


def test_what_was_stored_before_its_answer_was_lost_is_delivered(
    rrdcached: Callable[..., RunningRrdcached], tmp_path: Path
) -> None:
    server = rrdcached()
    sent = batches()
    trip = Trip(tmp_path, "rrdcached", {"address": f"127.0.0.1:{server.port}", "archives": SMALL})
    trip.go(sent[:2])
    between = Deaf(server.port, 1)
    again = Trip(tmp_path, "rrdcached", {"address": between.address, "archives": SMALL})
    ledger = again.go(sent[2:])
    between.listener.close()
    assert between.times == 0
    assert again.sender.reconnects == 1
    assert ledger["delivered"] == 8000
    assert not ledger["dropped"]
    compare(server, trip, sent)


def test_what_comes_too_late_is_refused_and_kept_as_a_letter(rrdcached: Callable[..., RunningRrdcached], tmp_path: Path) -> None:
    server = rrdcached()
    options = {"address": f"127.0.0.1:{server.port}", "archives": SMALL}
    sent = batches(3)
    Trip(tmp_path, "rrdcached", options).go([sent[0], sent[2]])
    trip = Trip(tmp_path, "rrdcached", options)
    ledger = trip.go([sent[1]])
    assert ledger["dropped"] == {"rejected": 1000}
    assert ledger["delivered"] == 0
    assert "illegal attempt" in (tmp_path / "letters.jsonl").read_text()


@pytest.mark.parametrize(
    ("options", "words"), [({"folders": True}, "does rrdcached run with -R"), ({"directory": "/elsewhere"}, "Permission denied")]
)
def test_what_the_daemon_does_not_allow_is_said_and_tried_again(
    rrdcached: Callable[..., RunningRrdcached], tmp_path: Path, options: dict[str, Any], words: str
) -> None:
    server = rrdcached()
    trip = Trip(tmp_path, "rrdcached", {"address": f"127.0.0.1:{server.port}", **options})
    trip.sender.start()
    trip.sender.offer(batches(1)[0])
    trip.sender.ring()
    servers.wait_until(lambda: words in trip.sender.error)
    ledger = trip.sender.ledger.snapshot()
    assert ledger["memory"] + ledger["spool"] + ledger["flight"] == ledger["offered"]
    assert not ledger["dropped"]
    trip.sender.stop(time.monotonic() + 1)
    trip.sender.join(time.monotonic() + 1)


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"archives": []}, "archives"),
        ({"archives": ["1:2 3"]}, "archives"),
        ({"directory": "a b"}, "directory"),
        ({"address": ["x:y"]}, "address"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(options: dict[str, Any], word: str) -> None:
    (wrong,) = Rrdcached(options).check()
    assert word in wrong
