"""What a disk does to the spool, and what the spool makes of it: killed at every call, full, failing, frozen, forbidden.

The faults are real ones: strace kills and fails the calls of real processes, a tmpfs is full of bytes or of inodes, an ext4 on a
loop device is frozen, directories are another's.
"""

from __future__ import annotations

import contextlib
import fcntl
import itertools
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from agents import RunningAgent, Sink, balanced
from servers import require, wait_until
from test_delivery_faults import COUNT, HEAD, emptied, gaps, ledger, to

from adamas.ledger import Ledger
from adamas.metric import Batch, Gauge, Series, Shape, Source
from adamas.output import Output
from adamas.queue import Queue
from adamas.sender import Sender
from adamas.spill import Spill
from adamas.spool import Disk, Record, Spool

LIMIT = 1 << 20
SBIN = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"}
ROOT = os.geteuid() == 0


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[Callable[..., RunningAgent]]:
    running: list[RunningAgent] = []

    def begin(output: str, slots: int = 50, confined: Sequence[str] = ()) -> RunningAgent:
        (tmp_path / "plugins").mkdir(exist_ok=True)
        (tmp_path / "plugins" / "count.py").write_text(COUNT.replace("SLOTS", str(slots)))
        running.append(RunningAgent(tmp_path, HEAD + output, confined=confined))
        return running[-1]

    yield begin
    for one in running:
        one.end()


def sink_of(status: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = status["outputs"][0]
    return found


def spooled(status: dict[str, Any]) -> int:
    return int(sink_of(status)["ledger"]["spool"])


def trouble(status: dict[str, Any]) -> str:
    spool = sink_of(status)["spool"]
    return str(spool["error"]) if spool else ""


@contextlib.contextmanager
def injected(pid: int, *faults: str) -> Iterator[None]:
    """As long as this lasts, strace does this to the calls of a running process and all its threads."""
    require("strace")
    argv = ["strace", "-f", "-p", str(pid), "-o", "/dev/null"]
    for fault in faults:
        argv += ["-e", f"trace={fault.split(':')[0]}", "-e", f"inject={fault}"]
    tracer = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "--", *argv], stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    try:
        said = tracer.stderr.readline()
        if "attached" not in said:
            pytest.skip(f"strace cannot attach here: {said.strip()}")
        drain = threading.Thread(target=tracer.stderr.read, daemon=True)
        drain.start()
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(10)
        drain.join(5)
        tracer.stderr.close()


@contextlib.contextmanager
def mounted(where: Path, *argv: str) -> Iterator[None]:
    if not ROOT:
        pytest.skip("mounting needs root")
    where.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(["mount", *argv, str(where)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"cannot mount here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(where)], check=False)


# D1: killed at a call

LIFE = """
import os, sys
sys.path.insert(0, sys.argv[1])
from adamas.spool import Spool

class Roomy(Spool):
    def room(self):
        return True

spool = Roomy(sys.argv[2], 1 << 20)
spool.open()
log = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
start = int(sys.argv[4])
for number in range(start, start + int(sys.argv[5])):
    assert spool.append(b"%08d" % number + bytes([number % 251]) * 30_000, 3), spool.error
    os.write(log, b"accepted %d\\n" % number)
    if number >= start + 4:
        record = spool.read()
        os.write(log, b"delivered %d\\n" % int(record.payload[:8]))
        spool.ack(record)
    if number % 7 == 6:
        spool.flush()
        os.write(log, b"flushed 0\\n")
spool.close()
os.write(log, b"closed 0\\n")
"""
CALLS = {"pwrite64": 60, "fdatasync": 60, "ftruncate": 8, "?unlink,unlinkat": 4, "fsync": 8, "close": 40}
"""How often each is called in a life, at least."""


class Lives:
    """One spool through the lives of processes that are killed."""

    def __init__(self, folder: Path) -> None:
        self.directory, self.log = folder / "spool", folder / "log"
        self.started = 0
        self.accepted: set[int] = set()
        self.delivered: set[int] = set()

    def live(self, call: str, nth: int, count: int = 40) -> bool:
        """Until the nth call of this name; whether it came that far. Then everything must be there that was accepted."""
        self.log.write_text("")
        source = str(Path(__file__).parent.parent / "src")
        program = [sys.executable, "-S", "-c", LIFE, source, str(self.directory), str(self.log), str(self.started), str(count)]
        strace = [
            "strace",
            "-f",
            "-qq",
            "-o",
            "/dev/null",
            "-e",
            f"trace={call}",
            "-e",
            f"inject={call}:signal=SIGKILL:when={nth}",
        ]
        done = subprocess.run([*strace, *program], capture_output=True, text=True, timeout=60)
        assert done.returncode in (0, -signal.SIGKILL), done.stderr
        self.started += count
        lines = [line.split() for line in self.log.read_text().splitlines()]
        assert (["closed", "0"] in lines) == (done.returncode == 0)
        self.accepted |= {int(number) for word, number in lines if word == "accepted"}
        delivered = {int(number) for word, number in lines if word == "delivered"}
        self.delivered |= delivered
        unflushed = list(itertools.takewhile(lambda line: line[0] != "flushed", reversed(lines)))
        self.accepted |= self.check(delivered, sum(word == "delivered" for word, _ in unflushed) if done.returncode else 0)
        return bool(done.returncode)

    def check(self, delivered: set[int], window: int) -> set[int]:
        """Returns what is there."""
        spool = Spool(str(self.directory), LIMIT)
        spool.open()
        waits = []
        for record in iter(spool.read, None):
            number = int(record.payload[:8])
            assert record.payload[8:] == bytes([number % 251]) * 30_000
            waits.append(number)
        assert waits == sorted(set(waits)), "out of order"
        self.lost = self.accepted - self.delivered - set(waits)
        self.twice = len(delivered & set(waits))
        assert not self.lost, "lost what was accepted"
        assert self.twice <= window, "delivered twice what the cursor had passed"
        assert len(set(waits) - self.accepted) <= 1, "only what was just being written may be there unasked"
        assert spool.dropped == {}
        spool._let_go()
        return set(waits)


@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_a_call_it_loses_nothing(tmp_path: Path, step: int) -> None:
    """SIGKILL at every so manieth call that touches the disk, each in a spool of its own."""
    require("strace")
    kills = most = 0
    for call, least in CALLS.items():
        reached = 0
        for nth in itertools.count(1, step if least > 20 else (step + 2) // 3):
            lives = Lives(tmp_path / f"{call}{nth}")
            (tmp_path / f"{call}{nth}").mkdir()
            killed = lives.live(call, nth)
            most = max(most, lives.twice)
            if not killed:
                break
            kills, reached = kills + 1, nth
        assert reached >= least // 2, f"{call} is hardly ever called: this does not test what it says"
    print(f"{kills} kills, one at each: 0 accepted records lost, {most} delivered twice at most")


@pytest.mark.parametrize("lives", [12, pytest.param(300, marks=pytest.mark.soak)])
def test_killed_again_and_again_it_loses_nothing(tmp_path: Path, lives: int) -> None:
    """One spool, and every life of it ends at some call, the recovery's own among them."""
    require("strace")
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    one = Lives(tmp_path)
    most = ended = 0
    for _ in range(lives):
        call, often = chance.choice(list(CALLS.items()))
        ended += one.live(call, chance.randint(1, 2 if often < 20 else 14), count=12)
        most = max(most, one.twice)
        spool = Spool(str(one.directory), LIMIT)
        spool.open()
        while spool.points > 30:  # so that it is never full
            record = spool.read()
            assert record is not None
            one.delivered.add(int(record.payload[:8]))
            spool.ack(record)
        spool.close()
    print(f"{ended} of {lives} lives killed: {len(one.accepted)} accepted, 0 lost, {most} delivered twice at most after one")


@pytest.mark.parametrize("kills", [2, pytest.param(60, marks=pytest.mark.soak)])
def test_an_agent_killed_at_a_call_loses_nothing_that_it_had_spooled(agent: Callable[..., RunningAgent], kills: int) -> None:
    sink = Sink()
    sink.kill()
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    most = 0
    for _ in range(kills):
        running = agent(to(sink))
        running.wait(lambda s, most=most: spooled(s) > most, 20)
        call = chance.choice(["pwrite64", "fdatasync"])
        with injected(running.process.pid, f"{call}:signal=SIGKILL:when={chance.randint(1, 8)}"):
            with contextlib.suppress(OSError, ValueError):
                while running.process.poll() is None:
                    most = max(most, spooled(running.status()))
            running.process.wait(20)
        assert running.process.returncode == -signal.SIGKILL
    sink.restart()
    running = agent(to(sink))
    running.wait(emptied, 60)
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    arrived = len(set(sink.lines))
    print(f"{kills} kills: {most} points spooled at the last look before the last kill, {arrived} different ones arrived")
    assert arrived >= most


# S3: no room


@pytest.mark.parametrize(
    "free",
    [
        2,
        pytest.param(0, marks=pytest.mark.soak),
        pytest.param(1, marks=pytest.mark.soak),
        pytest.param(3, marks=pytest.mark.soak),
    ],
)
def test_no_inode_is_left(agent: Callable[..., RunningAgent], tmp_path: Path, free: int) -> None:
    """The spool's directory, its lock, its cursor, a segment: whichever cannot be made, samples wait in memory until it can."""
    spools = tmp_path / "state" / "spool"
    with mounted(spools, "-t", "tmpfs", "-o", "size=256m,nr_inodes=40", "tmpfs"):
        for number in itertools.count():
            try:
                (spools / f"ballast{number}").touch()
            except OSError:
                break
        for spared in range(free):
            (spools / f"ballast{spared}").unlink()
        sink = Sink()
        sink.kill()
        running = agent(to(sink))
        status = running.wait(trouble)
        assert "No space left" in trouble(status)
        time.sleep(1.5)
        assert spooled(running.status()) == 0
        for ballast in spools.glob("ballast*"):
            ballast.unlink()
        began = time.monotonic()
        running.wait(spooled, 10)
        resumed = time.monotonic() - began
        sink.restart()
        status = running.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 20)
        assert status["collectors"][0]["failures"] == 0
        assert not ledger(running)["dropped"]
        assert running.stop()[0] == 0
        assert gaps(sink) == 0
        said = running.log.read_text()
        assert said.count("the spool does not work") == 1, said
        assert said.count("the spool works again") == 1, said
        print(f"{free} inodes: resumed {resumed:.1f} s after there were some")
        assert resumed < 5


@pytest.mark.parametrize(
    "fault",
    [
        "pwrite64:error=EDQUOT",
        pytest.param("pwrite64:error=EIO", marks=pytest.mark.soak),
        pytest.param("pwrite64:error=ENOSPC", marks=pytest.mark.soak),
        "openat:error=EMFILE",  # its very code cannot be read
        pytest.param("ftruncate:error=EIO", marks=pytest.mark.soak),
        pytest.param("statfs:error=EIO", marks=pytest.mark.soak),
    ],
)
def test_the_disk_refuses_for_a_while(agent: Callable[..., RunningAgent], fault: str) -> None:
    sink = Sink()
    running = agent(to(sink))
    running.wait(lambda s: sink_of(s)["ledger"]["delivered"] > 0)
    pid = running.process.pid
    with injected(pid, fault):
        sink.kill()
        running.wait(lambda s: trouble(s) or "no spool" in running.log.read_text(), 20)
        time.sleep(1)
        assert balanced(sink_of(running.status())["ledger"])
    began = time.monotonic()
    running.wait(lambda s: spooled(s) and not trouble(s), 10)
    resumed = time.monotonic() - began
    sink.restart()
    running.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 20)
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    assert gaps(sink) == gaps(sink, 49) == 0
    print(f"{fault}: resumed {resumed:.1f} s after it was over")
    assert resumed < 5


# S4: a sync that fails


@pytest.mark.parametrize("seconds", [1, pytest.param(60, marks=pytest.mark.soak)])
def test_syncs_that_fail_lose_nothing(agent: Callable[..., RunningAgent], seconds: int) -> None:
    """Every third sync fails, the cursor's too: what is in doubt is written again elsewhere, counted, and arrives."""
    sink = Sink()
    running = agent(to(sink))
    running.wait(lambda s: sink_of(s)["ledger"]["delivered"] > 0)
    sink.kill()
    running.wait(spooled, 20)
    with injected(running.process.pid, "fdatasync:error=EIO:when=1+3"):
        before = spooled(running.status())
        running.wait(lambda s: sink_of(s)["spool"]["unsure"] > 0, 20)
        time.sleep(seconds)
        status = running.wait(lambda s: spooled(s) > before, 20)
    found = sink_of(status)["spool"]
    sink.restart()
    running.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 60)
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    assert gaps(sink) == gaps(sink, 49) == 0
    print(f"{found['unsure']} points were in doubt and written again, in {found['segments']} segments; all arrived")


# S5: a disk that hangs


@contextlib.contextmanager
def frozen(where: Path) -> Iterator[Callable[[], None]]:
    """No write to this file system comes back until what is given is called, or this is over, or two minutes are."""
    require("fsfreeze")
    rescue = subprocess.Popen(["sh", "-c", f"sleep 120; exec fsfreeze -u {where}"], stderr=subprocess.DEVNULL, env=SBIN)

    def thaw() -> None:
        subprocess.run(["fsfreeze", "-u", str(where)], stderr=subprocess.DEVNULL, check=False, env=SBIN)

    done = subprocess.run(["fsfreeze", "-f", str(where)], capture_output=True, text=True, env=SBIN)
    try:
        if done.returncode:
            pytest.skip(f"cannot freeze here: {done.stderr.strip()}")
        yield thaw
    finally:
        thaw()
        rescue.kill()
        rescue.wait()


def test_a_disk_that_hangs_holds_up_nothing_else(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    require("mkfs.ext4")
    image, spools = tmp_path / "image", tmp_path / "state" / "spool"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, env=SBIN)
    with mounted(spools, "-o", "loop", str(image)):
        sink = Sink()
        running = agent(to(sink, more='disk_free = "1MiB"\n'))
        running.wait(lambda s: sink_of(s)["ledger"]["delivered"] > 0)
        sink.kill()
        running.wait(spooled, 20)
        with frozen(spools) as thaw:
            began = time.monotonic()
            status = running.wait(lambda s: "has not answered" in trouble(s), 20)
            noticed = time.monotonic() - began
            sink.restart()
            sink.lines.clear()
            runs = status["collectors"][0]["runs"]
            delivered = sink_of(status)["ledger"]["delivered"]
            status = running.wait(
                lambda s: sink_of(s)["ledger"]["delivered"] > delivered + 1000 and sink_of(s)["state"] == "ok", 70
            )
            running.wait(lambda s: s["collectors"][0]["runs"] > runs + 10)
            assert "has not answered" in trouble(status)
            assert status["collectors"][0]["failures"] == 0
            assert balanced(sink_of(status)["ledger"])
            live = len(sink.lines)
            thaw()
        running.wait(lambda s: emptied(s) and not trouble(s), 20)
        assert not ledger(running)["dropped"]
        assert gaps(sink) == gaps(sink, 49) == 0
        said = running.log.read_text()
        assert said.count("has not answered") == 1, said
        assert said.count("disk answers again") == 1, said
        # Now it hangs while the agent is told to stop.
        sink.kill()
        running.wait(lambda s: sink_of(s)["state"] == "retrying" and spooled(s), 20)
        with frozen(spools) as thaw:
            waits = spooled(running.status())
            running.wait(lambda s: sink_of(s)["ledger"]["memory"] > 200, 20)
            assert spooled(running.status()) <= waits + 50
            began = time.monotonic()
            running.process.send_signal(signal.SIGTERM)
            task = Path(f"/proc/{running.process.pid}/task/{running.process.pid}/stat")
            wait_until(lambda: re.search(r"\) [ZX] ", task.read_text()) or running.process.poll() is not None, 15, "the end")
            stopped = time.monotonic() - began
            thaw()
        assert running.process.wait(5) == 0
        print(f"alarm after {noticed:.1f} s; {live} points sent while it hung; stopped in {stopped:.1f} s")
        assert stopped < 2 + 2 + 1.5
        # Whatever came to the disk after that is whole.
        again = agent(to(sink, more='disk_free = "1MiB"\n'))
        again.wait(lambda s: sink_of(s)["spool"] and sink_of(s)["spool"]["open"])
        sink.restart()
        again.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 70)
        assert not ledger(again)["dropped"]
        assert again.stop()[0] == 0


# S6: a directory that is not ours


@pytest.mark.parametrize(
    ("how", "buffer"),
    [
        ("no writing", "spill"),
        ("another's", "write_through"),
        pytest.param("another's", "spill", marks=pytest.mark.soak),
        pytest.param("no writing", "write_through", marks=pytest.mark.soak),
        pytest.param("file system", "spill", marks=pytest.mark.soak),
        pytest.param("file system", "write_through", marks=pytest.mark.soak),
    ],
)
def test_a_spool_that_cannot_be_written(agent: Callable[..., RunningAgent], tmp_path: Path, how: str, buffer: str) -> None:
    """It starts, collects and sends from memory, says so once, and uses the disk as soon as it may."""
    spools = tmp_path / "state" / "spool"
    spools.mkdir(parents=True)
    with contextlib.ExitStack() as stack:
        if how == "no writing":
            spools.chmod(0o500)
        elif not ROOT:
            pytest.skip("mounting and giving away need root")
        elif how == "another's":
            (spools / "sink").mkdir(mode=0o700)
            os.chown(spools / "sink", 12345, 12345)
        else:
            stack.enter_context(mounted(spools, "-t", "tmpfs", "-o", "size=256m,ro", "tmpfs"))
        sink = Sink()
        # Root without capabilities has the rights of any user.
        running = agent(to(sink, buffer), confined=("--bounding-set=-all", "--inh-caps=-all") if ROOT else ())
        running.wait(lambda s: sink_of(s)["ledger"]["delivered"] > 0)
        sink.kill()
        status = running.wait(lambda s: trouble(s) and sink_of(s)["ledger"]["memory"] > 500, 20)
        assert re.search("Permission denied|Read-only file system", trouble(status)), trouble(status)
        assert str(spools) in trouble(status)
        time.sleep(1.2)
        assert running.log.read_text().count("the spool does not work") == 1
        if how == "no writing":
            spools.chmod(0o700)
        elif how == "another's":
            os.chown(spools / "sink", 0, 0)
        else:
            subprocess.run(["mount", "-o", "remount,rw", str(spools)], check=True)
        running.wait(spooled, 5)
        sink.restart()
        running.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 20)
        assert not ledger(running)["dropped"]
        assert running.stop()[0] == 0
        assert gaps(sink) == gaps(sink, 49) == 0


def test_a_second_agent_refuses_and_the_first_goes_on(agent: Callable[..., RunningAgent]) -> None:
    sink = Sink()
    first = agent(to(sink))
    first.wait(lambda s: sink_of(s)["ledger"]["delivered"] > 0)
    second = agent(to(sink))
    assert second.process.wait(10) == 1
    assert "another agent uses" in second.log.read_text()
    delivered = ledger(first)["delivered"]
    first.wait(lambda s: sink_of(s)["ledger"]["delivered"] > delivered)
    assert first.stop()[0] == 0


def test_a_spool_that_another_process_holds_is_waited_for(agent: Callable[..., RunningAgent], tmp_path: Path) -> None:
    directory = tmp_path / "state" / "spool" / "sink"
    directory.mkdir(parents=True)
    sink = Sink()
    sink.kill()
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        running = agent(to(sink))
        status = running.wait(trouble)
        assert "another process uses this spool" in trouble(status)
        assert spooled(status) == 0
    running.wait(spooled, 5)
    sink.restart()
    running.wait(lambda s: emptied(s) and sink_of(s)["state"] == "ok", 20)
    assert not ledger(running)["dropped"]
    assert running.stop()[0] == 0
    assert gaps(sink) == 0


# the way to the spool, by itself


class Nowhere(Output):
    """A backend that is away."""

    name = "nowhere"

    def points(self, batch: Batch) -> int:
        return len(batch.values)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        return "".join(f"{batch.time} {value}\n" for batch in batches for value in batch.values).encode()

    def open(self) -> None:
        raise ConnectionRefusedError(111, "Connection refused")


def batch(time: float, count: int = 10) -> Batch:
    declared = Gauge("n{number}")
    declared.name = "n"
    source = Source("t", "t", "t")
    return Batch(
        time, Shape(tuple(Series(source, declared, (str(n),)) for n in range(count)), None), list(range(count)), (), 1.0, 0
    )


def test_many_ask_for_the_spool_at_once_and_one_is_made(tmp_path: Path) -> None:
    """Each lane rings at the end of its pass, beside the sender's own thread: two spools would share one directory."""
    for turn in range(8):
        sender = Sender(Nowhere({}, f"turn{turn}"), str(tmp_path / str(turn)))
        sender.failures = 1
        sender.offer(batch(turn))
        gate = threading.Barrier(8)

        def lane(sender: Sender = sender, gate: threading.Barrier = gate) -> None:
            gate.wait()
            sender.ring()

        lanes = [threading.Thread(target=lane) for _ in range(8)]
        for one in lanes:
            one.start()
        for one in lanes:
            one.join()
        spools = [t for t in threading.enumerate() if t.name == f"spool turn{turn}"]
        assert len(spools) == 1
        sender.start()
        sender.stop(0.0)
        sender.join(10.0)
        spools[0].join(5)
        assert not spools[0].is_alive()
        assert sender.ledger.snapshot()["spool"] == 10


class Slow(Disk):
    """A disk whose syncs take as long as somebody wants."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.free.set()
        self.waits = threading.Event()

    def sync(self, fd: int) -> None:
        self.waits.set()
        assert self.free.wait(30)
        super().sync(fd)

    def used(self, path: str) -> tuple[float, int]:
        return 0.5, 1 << 40


class Way:
    """A spill with its queue and ledger, and whether batches are to go to disk."""

    def __init__(self, directory: Path, limit: int = LIMIT) -> None:
        self.ledger = Ledger()
        self.queue = Queue(64 << 20, self.ledger)
        self.wanted = True
        self.disk = Slow()
        output = Nowhere({}, "way")
        self.spill = Spill(
            "way",
            str(directory),
            limit,
            self.queue,
            self.ledger,
            output.encode,
            lambda: self.wanted and bool(self.queue),
            lambda: None,
        )
        wait_until(lambda: self.spill.open)
        self.spill.spool.disk = self.disk

    def offer(self, time: float, count: int = 10) -> None:
        self.queue.put(batch(time, count), count)
        self.spill.ring()

    def spooled(self) -> bool:
        return not self.queue and self.ledger.snapshot()["memory"] == 0

    def take(self) -> Record:
        record: Record = wait_until(self.spill.take)
        return record

    def places(self) -> dict[str, int]:
        found = self.ledger.snapshot()
        assert balanced(found), found
        assert min(found[place] for place in ("memory", "flight", "spool")) >= 0, found
        return {**found, **found["dropped"]}


def test_what_comes_back_while_the_disk_hangs_is_next_again(tmp_path: Path) -> None:
    """The backend fails and is back before the disk has answered: nothing that was on its way is passed over."""
    way = Way(tmp_path)
    for number in range(3):
        way.offer(number)
        wait_until(way.spooled)
    first, second = way.take(), way.take()
    way.disk.waits.clear()
    way.disk.free.clear()
    way.offer(3)
    assert way.disk.waits.wait(10)
    way.spill.restore([first, second])
    records = [way.take() for _ in range(3)]
    assert [r.first for r in records] == [0, 10, 20]
    way.ledger.deliver(30)
    way.spill.confirm(records)
    way.disk.free.set()
    record = way.take()
    assert record.first == 30
    way.ledger.deliver(10)
    way.spill.confirm([record])
    wait_until(lambda: way.spill.spool.points == 0)
    assert way.places()["delivered"] == 40
    assert not way.ledger.snapshot()["dropped"]
    way.spill.stop(time.monotonic() + 5)


@pytest.mark.parametrize("arrives", [True, False])
def test_what_makes_room_while_it_is_on_its_way_is_counted_once(tmp_path: Path, arrives: bool) -> None:
    way = Way(tmp_path)
    way.offer(0, 5000)
    wait_until(way.spooled)
    record = way.take()
    for number in range(1, 100):
        way.offer(number, 5000)
        wait_until(way.spooled)
        if way.spill.spool.dropped.get("spool_full", 0) > 20_000:
            break
    else:
        raise AssertionError("it never made room")
    wait_until(lambda: way.spill.status()["dropped"]["spool_full"] == way.places()["spool_full"] + 5000)
    if arrives:
        way.ledger.deliver(5000)
        way.spill.confirm([record])
        assert way.places()["delivered"] == 5000
    else:
        way.spill.restore([record])
        wait_until(lambda: way.places()["spool_full"] == way.spill.spool.dropped["spool_full"])
    found = way.places()
    assert found["flight"] == 0
    records = []
    while found["spool"]:
        records.append(way.take())
        way.ledger.deliver(records[-1].count)
        way.spill.confirm(records[-1:])
        found = way.places()
    assert [r.first for r in records] == sorted(r.first for r in records)
    wait_until(lambda: way.spill.spool.points == 0)
    way.spill.stop(time.monotonic() + 5)


def test_a_batch_that_is_too_large_for_the_spool_stops_nothing(tmp_path: Path) -> None:
    """Many are put as fewer; one that alone is too large is given up, counted."""
    way = Way(tmp_path)
    way.wanted = False
    for number in range(20):
        way.offer(1_700_000_000.123456 + number, 2000)
    way.offer(99, 60_000)
    way.offer(100, 10)
    way.wanted = True
    way.spill.ring()
    wait_until(way.spooled)
    found = way.places()
    assert found["too_large"] == 60_000
    assert found["spool"] == 40_010
    way.spill.stop(time.monotonic() + 5)


def test_what_was_lost_before_is_not_owed_by_this_life(tmp_path: Path) -> None:
    """Segments that are gone at the start are counted, and the sum is right nevertheless."""
    way = Way(tmp_path)
    for number in range(60):
        way.offer(number, 5000)
        wait_until(way.spooled)
        if len(way.spill.spool.status()) and way.spill.status()["segments"] > 2:
            break
    way.spill.stop(time.monotonic() + 5)
    whole = way.places()["spool"]
    min(tmp_path.glob("*.seg")).unlink()
    again = Way(tmp_path)
    found = again.places()
    assert found["corrupt"] > 0
    assert found["offered"] == whole
    assert found["spool"] == whole - found["corrupt"]
    again.spill.stop(time.monotonic() + 5)
