"""The spool against a model, with everything that disks, kills and power cuts do to it."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from adamas.spool import HEADER, SMALLEST, Disk, InUse, Record, Spool


class Faulty(Disk):
    """A real disk that fails when it is told to, and knows what of each file is synced."""

    def __init__(self) -> None:
        self.full = self.sync_fails = False
        self.synced: dict[str, int] = {}
        self.names: dict[int, str] = {}
        self.used_part = 0.5

    def open(self, path: str, flags: int) -> int:
        if self.full and flags & os.O_CREAT and not os.path.exists(path):
            raise OSError(errno.ENOSPC, "No space left on device")
        fd = super().open(path, flags)
        self.names[fd] = path
        return fd

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        if self.full and offset + len(data) > os.fstat(fd).st_size:
            super().pwrite(fd, data[: len(data) // 2], offset)  # as a real one: a part goes in
            raise OSError(errno.ENOSPC, "No space left on device")
        super().pwrite(fd, data, offset)

    def sync(self, fd: int) -> None:
        if self.sync_fails:
            self.sync_fails = False
            raise OSError(errno.EIO, "Input/output error")
        self.synced[self.names[fd]] = os.fstat(fd).st_size

    def used(self, path: str) -> tuple[float, int]:
        return self.used_part, 1 << 40


def new(directory: Path | str, disk: Disk | None = None, limit: int = SMALLEST) -> Spool:
    spool = Spool(str(directory), limit, disk)
    spool.open()
    return spool


def everything(spool: Spool) -> list[Record]:
    return list(iter(spool.read, None))


def let_go(spool: Spool) -> None:
    """What SIGKILL leaves: the lock is free, nothing was said or written."""
    for held in (spool._writing, spool._reading):
        if held is not None:
            os.close(held[1])
    os.close(spool._cursor)
    os.close(spool._lock)


class Machine(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.disk = Faulty()
        self.spool = new(self.directory, self.disk)
        self.appended: dict[int, tuple[int, bytes]] = {}
        self.total = 0
        self.delivered: set[int] = set()
        self.flight: list[Record] = []
        self.dropped = 0
        self.last_read = -1
        self.rot = self.cut = False

    def teardown(self) -> None:
        if hasattr(self, "directory"):
            self.spool.close()
            shutil.rmtree(self.directory)

    @rule(count=st.integers(1, 500), size=st.integers(0, 90_000), kind=st.binary(min_size=1, max_size=8))
    def append(self, count: int, size: int, kind: bytes) -> None:
        payload = (kind * (size // len(kind) + 1))[:size]
        first = self.spool._next
        if self.spool.append(payload, count):
            self.appended[first] = (count, payload)
            self.total += count
        else:
            assert self.disk.full or self.spool.error
            assert self.spool._next == first

    @rule(most=st.integers(1, 5))
    def read(self, most: int) -> None:
        for _ in range(most):
            record = self.spool.read()
            if record is None:
                break
            assert record.first in self.appended, "a record that was never appended"
            assert self.appended[record.first] == (record.count, record.payload), "not what was appended"
            if self.flight:
                assert record.first >= self.flight[-1].end, "out of order"
            self.flight.append(record)

    @precondition(lambda self: self.flight)
    @rule()
    def confirm(self) -> None:
        for record in self.flight:
            self.spool.ack(record)
            self.delivered.add(record.first)
        self.flight = []
        self.spool.finish()

    @rule()
    def fail(self) -> None:
        self.flight = []
        self.spool.rewind()

    @rule()
    def flush(self) -> None:
        self.spool.flush()

    @rule()
    def clean_restart(self) -> None:
        before = self._counts()
        self.spool.close()
        self.flight = []
        self.spool = new(self.directory, self.disk)
        self._restarted(before)

    def _counts(self) -> int:
        return sum(self.spool.dropped.values())

    def _restarted(self, before: int) -> None:
        self.dropped += before

    @rule()
    def kill(self) -> None:
        before = self._counts()
        acked = self.spool._acked
        let_go(self.spool)
        self.flight = []
        self.spool = new(self.directory, self.disk)
        self._restarted(before)
        if not self.rot and not self.cut:
            assert self.spool._next == self.total, "a kill lost something that append took"
        assert self.spool._acked <= acked, "it forgot what was not delivered"

    @rule(part=st.floats(0, 1))
    def power_cut(self, part: float) -> None:
        let_go(self.spool)
        before = self._counts()
        synced_next = self.spool._next
        for name in os.listdir(self.directory):
            path = os.path.join(self.directory, name)
            if name.endswith(".seg"):
                kept = self.disk.synced.get(path, 0)
                size = os.path.getsize(path)
                os.truncate(path, kept + int((size - kept) * part) if size > kept else size)
        self.flight = []
        self.spool = new(self.directory, self.disk)
        self._restarted(before)
        if not self.rot:
            assert self.spool._next == synced_next, "a power cut lost something that was synced"

    @precondition(lambda self: self.spool._sizes)
    @rule(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def bit_rot(self, where: float, bit: int) -> None:
        firsts = sorted(self.spool._sizes)
        path = self.spool._name(firsts[int(where * len(firsts))])
        size = os.path.getsize(path)
        if size:
            at = int(where * size)
            with open(path, "r+b") as file:
                file.seek(at)
                byte = file.read(1)[0]
                file.seek(at)
                file.write(bytes([byte ^ (1 << bit)]))
            self.rot = True

    @rule(full=st.booleans())
    def disk_full(self, full: bool) -> None:
        self.disk.full = full

    @rule()
    def sync_fails_once(self) -> None:
        self.disk.sync_fails = True

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "spool"):
            assert self.spool.size <= self.spool.limit
            on_disk = sum(
                os.path.getsize(os.path.join(self.directory, n)) for n in os.listdir(self.directory) if n.endswith(".seg")
            )
            assert on_disk <= self.spool.limit + 2 * 90_000 + HEADER.size

    @invariant()
    def conserved(self) -> None:
        """Points that wait, and those that the cursor passed, are all that were ever appended."""
        if hasattr(self, "spool"):
            assert self.spool._next <= self.total or self.rot
            assert 0 <= self.spool._acked <= self.spool._read <= self.spool._next
            assert self.spool.points == self.spool._next - self.spool._acked

    @invariant()
    def nothing_uncounted(self) -> None:
        """What the cursor passed was delivered or counted; with no damage, only the bound takes anything."""
        if hasattr(self, "spool") and not self.rot and not self.cut:
            passed = {f for f in self.appended if self.appended[f][0] + f <= self.spool._acked}
            lost = sum(self.appended[f][0] for f in passed - self.delivered)
            assert lost <= self.dropped + self._counts()


Machine.TestCase.settings = settings(
    max_examples=int(os.environ.get("SPOOL_EXAMPLES", "150")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestMachine = Machine.TestCase


def test_fifo_and_restart(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for number in range(10):
        assert spool.append(f"payload {number}".encode(), 3)
    assert spool.points == 30
    first = spool.read()
    assert first is not None
    spool.ack(first)
    spool.close()
    again = new(tmp_path)
    assert again.points == 27
    assert [r.payload for r in everything(again)] == [f"payload {n}".encode() for n in range(1, 10)]
    again.close()


def test_a_flipped_bit_costs_one_record_and_is_counted_once(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for number in range(10):
        spool.append(bytes([65 + number]) * 1000, 5)
    spool.close()
    segment = next(tmp_path.glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[(1000 + HEADER.size) * 4 + 500] ^= 8
    segment.write_bytes(data)
    for _ in range(2):
        spool = new(tmp_path)
        records = everything(spool)
        assert [r.payload[:1] for r in records] == [bytes([65 + n]) for n in range(10) if n != 4]
        spool.close()
    spool = new(tmp_path)
    for record in everything(spool):
        spool.ack(record)
    assert spool.dropped == {"corrupt": 5}
    assert spool.points == 0
    spool.close()
    again = new(tmp_path)
    assert again.dropped == {}
    assert again.points == 0
    again.close()


def test_a_torn_tail_is_cut_and_a_lost_one_counted(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for _ in range(4):
        spool.append(b"x" * 100, 2)
    spool.close()
    segment = next(tmp_path.glob("*.seg"))
    os.truncate(segment, segment.stat().st_size - 30)
    spool = new(tmp_path)
    assert spool.cut == 100 + HEADER.size - 30
    assert spool.points == 8, "the cursor of a clean end knew of all"
    for record in everything(spool):
        spool.ack(record)
    spool.finish()
    assert spool.dropped == {"corrupt": 2}
    assert spool.append(b"more", 1)
    record = spool.read()
    assert record is not None
    assert record.payload == b"more"
    spool.close()


@pytest.mark.parametrize("damage", ["garbage", "empty", "header", "cursor", "foreign", "all"])
def test_it_always_opens(tmp_path: Path, damage: str) -> None:
    spool = new(tmp_path)
    for number in range(50):
        spool.append(zlib.compress(os.urandom(2000)), number + 1)
    spool.close()
    segments = sorted(tmp_path.glob("*.seg"))
    if damage == "garbage":
        segments[0].write_bytes(os.urandom(5000))
    elif damage == "empty":
        segments[0].write_bytes(b"")
    elif damage == "header":
        segments[0].write_bytes(b"\0" * HEADER.size + segments[0].read_bytes()[HEADER.size :])
    elif damage == "cursor":
        (tmp_path / "cursor").write_bytes(b"nonsense")
    elif damage == "foreign":
        (tmp_path / "not-hexadecimal!.seg").write_bytes(b"x")
        (tmp_path / "readme").write_text("x")
    else:
        for segment in segments:
            segment.unlink()
    spool = new(tmp_path)
    points = spool.points
    assert points == 50 * 51 // 2 if damage != "cursor" else points > 0
    read = everything(spool)
    for record in read:
        spool.ack(record)
    spool.finish()
    assert sum(r.count for r in read) + sum(spool.dropped.values()) == points
    assert spool.append(b"after", 1)
    spool.close()


def test_the_bound_takes_the_oldest(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for number in range(60):
        assert spool.append(bytes([number]) * 50_000, 10)
        assert spool.size <= SMALLEST
    kept = [r.payload[0] for r in everything(spool)]
    assert kept == list(range(60 - len(kept), 60))
    assert spool.dropped == {"spool_full": 10 * (60 - len(kept))}
    assert spool.points == 10 * len(kept)
    spool.close()


def test_a_full_disk_can_be_emptied(tmp_path: Path) -> None:
    disk = Faulty()
    spool = new(tmp_path, disk)
    for _ in range(10):
        assert spool.append(b"y" * 1000, 1)
    disk.full = True
    assert not spool.append(b"z" * 1000, 1)
    assert "No space" in spool.error
    for record in everything(spool):
        spool.ack(record)
    assert spool.points == 0
    disk.full = False
    assert spool.append(b"again", 1)
    assert [r.payload for r in everything(spool)] == [b"again"]
    spool.close()


def test_a_nearly_full_disk_is_left_alone(tmp_path: Path) -> None:
    disk = Faulty()
    spool = new(tmp_path, disk)
    disk.used_part = 0.97
    assert not spool.append(b"x", 1)
    assert "97% full" in spool.error
    spool.close()


def test_two_processes_do_not_share_it(tmp_path: Path) -> None:
    spool = new(tmp_path)
    with pytest.raises(InUse):
        new(tmp_path)
    spool.close()
    new(tmp_path).close()


def test_opening_twice_changes_nothing(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for _ in range(5):
        spool.append(b"abc" * 100, 4)
    let_go(spool)

    def files() -> dict[str, Any]:
        return {p.name: p.read_bytes() for p in tmp_path.glob("*.seg")}

    first = new(tmp_path)
    state = (first._acked, first._next, files())
    let_go(first)
    second = new(tmp_path)
    assert (second._acked, second._next, files()) == state
    second.close()
