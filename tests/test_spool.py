"""The spool against a model, with everything that disks, kills and power cuts do to it."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import tempfile
import time
import zlib
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from adamas.spool import BLOCK, HEADER, SMALLEST, TRIES, Cursor, Disk, InUse, Record, Scan, Spool

SECTOR = 512


class Faulty(Disk):
    """A real disk that fails when it is told to, and knows what a power cut would leave of it.

    As a kernel does it: writes make pages dirty, a sync writes them, a sync that fails marks them clean without having written
    them (so that the next one succeeds), and names are only sure once their directory was synced.
    """

    def __init__(self) -> None:
        self.full = self.sync_fails = self.failed = False
        self.used_part = 0.5
        self.durable: dict[str, bytearray] = {}
        self.dirty: dict[str, set[int]] = {}
        self.sure: set[str] = set()
        """Files whose names are on the disk."""
        self.gone: dict[str, bytearray] = {}
        """Removed ones, whose names may still be."""
        self.unreadable: set[tuple[str, int]] = set()
        """Blocks (file, number) that it does not give."""
        self.names: dict[int, str] = {}

    def open(self, path: str, flags: int) -> int:
        new = not os.path.exists(path)
        if self.full and flags & os.O_CREAT and new:
            raise OSError(errno.ENOSPC, "No space left on device")
        fd = super().open(path, flags)
        self.names[fd] = path
        if new:
            self.durable[path], self.dirty[path] = bytearray(), set()
        return fd

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        for block in range(offset // BLOCK, (offset + max(count, 1) - 1) // BLOCK + 1):
            if (self.names[fd], block) in self.unreadable and block * BLOCK < os.fstat(fd).st_size:
                raise OSError(errno.EIO, "Input/output error")
        return super().pread(fd, count, offset)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        whole = len(data)
        if self.full and offset + whole > os.fstat(fd).st_size:
            data = data[: whole // 2]  # as a real one: a part goes in
        super().pwrite(fd, data, offset)
        self.dirty[self.names[fd]] |= set(range(offset // BLOCK, (offset + len(data) + BLOCK - 1) // BLOCK))
        if len(data) < whole:
            raise OSError(errno.ENOSPC, "No space left on device")

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        self.dirty[self.names[fd]] |= {size // BLOCK}

    def sync(self, fd: int) -> None:
        path = self.names[fd]
        dirty, self.dirty[path] = self.dirty[path], set()
        if self.sync_fails:
            self.sync_fails = False
            self.failed = True
            raise OSError(errno.EIO, "Input/output error")
        now = Path(path).read_bytes()
        durable = self.durable[path]
        durable[len(now) :] = bytes(max(0, len(now) - len(durable)))
        for page in dirty:
            durable[page * BLOCK : (page + 1) * BLOCK] = now[page * BLOCK : (page + 1) * BLOCK]

    def sync_names(self, path: str) -> None:
        self.sure = set(self.dirty)
        self.gone.clear()

    def unlink(self, path: str) -> None:
        super().unlink(path)
        self.dirty.pop(path)
        durable = self.durable.pop(path)
        if path in self.sure:
            self.sure.remove(path)
            self.gone[path] = durable

    def used(self, path: str) -> tuple[float, int]:
        return self.used_part, 1 << 40

    def power_cut(self, chance: Random) -> None:
        """Of what was not synced any sector may be there or not, any length between, any name."""
        for path in list(self.dirty):
            old, now = self.durable[path], Path(path).read_bytes()
            size = chance.choice((len(old), len(now), chance.randint(*sorted((len(old), len(now))))))
            left = bytearray(old[:size]) + bytes(max(0, size - len(old)))
            for page in self.dirty[path]:
                for at in range(page * BLOCK, min((page + 1) * BLOCK, size, len(now)), SECTOR):
                    if chance.random() < 0.5:
                        part = now[at : min(at + SECTOR, size)]
                        left[at : at + len(part)] = part
            if path not in self.sure and chance.random() < 0.5:
                os.unlink(path)
                del self.durable[path], self.dirty[path]
            else:
                Path(path).write_bytes(left)
                self.durable[path], self.dirty[path] = left, set()
        for path, content in self.gone.items():
            if path not in self.dirty and chance.random() < 0.5:
                Path(path).write_bytes(content)
                self.durable[path], self.dirty[path] = content, set()
        self.sure = set(self.dirty)
        self.gone.clear()

    def flip(self, path: str, bit: int) -> int:
        """One bit of a file is wrong, on the disk and in memory; returns the offset of its byte."""
        data = bytearray(Path(path).read_bytes())
        at = bit // 8 % len(data)
        data[at] ^= 1 << bit % 8
        with open(path, "r+b") as file:
            file.write(data)
        if path in self.durable and at < len(self.durable[path]):
            self.durable[path][at] ^= 1 << bit % 8
        return at


def new(directory: Path | str, disk: Disk | None = None, limit: int = SMALLEST) -> Spool:
    spool = Spool(str(directory), limit, disk)
    spool.open()
    return spool


def everything(spool: Spool) -> list[Record]:
    return list(iter(spool.read, None))


def let_go(spool: Spool) -> None:
    """What SIGKILL leaves: the lock is free, nothing was said or written."""
    spool._let_go()


def records_of(path: str, beyond: int | None) -> list[tuple[int, Record]]:
    """(offset, record) of all good ones in a segment."""
    fd = os.open(path, os.O_RDONLY)
    try:
        scan, at, found = Scan(Disk(), fd, os.fstat(fd).st_size, beyond), 0, []
        while one := scan.next(at):
            record, at = one
            found.append((at - len(record), record))
        return found
    finally:
        os.close(fd)


class Machine(RuleBasedStateMachine):
    """I1 to I11 and I18, I19 of a spool's promises, whatever happens in whatever order.

    model: the payload of every number that was taken. damaged: those of them that a flipped bit hit. maybe: those that a power
    cut may have taken, because they were not synced. confirmed: those that were delivered before the cursor passed them.
    """

    @initialize()
    def begin(self) -> None:
        self.directory = tempfile.mkdtemp()
        self.disk = Faulty()
        self.spool = new(self.directory, self.disk)
        self.model: dict[int, tuple[int, bytes]] = {}
        self.tried: set[tuple[int, int, bytes]] = set()
        self.damaged: set[int] = set()
        self.maybe: set[int] = set()
        self.confirmed: set[int] = set()
        self.arrived: set[int] = set()
        self.synced = 0
        self.unknown = 0
        self.flight: list[Record] = []
        self.cursor_rot = self.cut = False

    def teardown(self) -> None:
        if not hasattr(self, "directory"):
            return
        try:
            self.disk.full = self.disk.sync_fails = False
            self.drain()
            assert self.spool.points == 0
            assert self.spool.append(b"fresh", 1), "it does not recover"
            record = self.spool.read()
            assert record is not None
            assert record.payload == b"fresh"
            self.spool.close()
        finally:
            shutil.rmtree(self.directory)

    # what its user does

    @rule(count=st.integers(1, 500), size=st.integers(0, 90_000), kind=st.binary(min_size=1, max_size=8), sync=st.booleans())
    def append(self, count: int, size: int, kind: bytes, sync: bool) -> None:
        payload = (kind * (size // len(kind) + 1))[:size]
        first = self.spool._next
        self.tried.add((first, count, payload))
        if self.spool.append(payload, count, sync):
            self.model[first] = (count, payload)
            if sync:
                self.synced = self.spool._next
        else:
            assert self.spool.error
            assert self.spool._next == first
            self.in_doubt()

    def in_doubt(self) -> None:
        """After a sync that failed, what was never synced may be on the disk or not, whatever a later one says."""
        if self.disk.failed:
            self.disk.failed = False
            self.maybe |= {first for first, (count, _) in self.model.items() if first + count > self.synced}

    @rule(most=st.integers(1, 5))
    def read(self, most: int) -> None:
        for _ in range(most):
            record = self.spool.read()
            if record is None:
                break
            assert record.first in self.model, "a record that was never appended"
            assert self.model[record.first] == (record.count, record.payload), "not what was appended"
            if self.flight:
                assert record.first >= self.flight[-1].end, "out of order"
            self.flight.append(record)

    @precondition(lambda self: self.flight)
    @rule()
    def confirm(self) -> None:
        for record in self.flight:
            if record.end > self.spool.acked:
                self.confirmed.add(record.first)
                self.arrived.add(record.first)
            self.spool.ack(record)
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
    def drain(self) -> None:
        """All that waits comes, in order and byte for byte, but for what a flipped bit or a power cut hit."""
        self.fail()
        acked = self.spool.acked
        read = everything(self.spool)
        assert [r.first for r in read] == sorted(r.first for r in read)
        assert all(self.model[r.first] == (r.count, r.payload) for r in read)
        wanted = {first for first, (count, _) in self.model.items() if first + count > acked}
        missing = wanted - {r.first for r in read}
        assert missing <= self.damaged | self.maybe, "a record is gone"
        self.flight = read
        if read:
            self.confirm()
        self.spool.finish()
        assert self.spool.points == 0

    # what happens to it

    @rule()
    def clean_restart(self) -> None:
        acked, following, cursor_rot = self.spool.acked, self.spool._next, self.cursor_rot
        try:
            self.spool.close()
        except OSError:
            self.in_doubt()
        else:
            self.synced = following
        self.reopen()
        if not cursor_rot and not self.disk.full:
            assert self.spool.acked == acked, "delivered once more after a clean end"
            assert self.spool._next == following

    @rule()
    def kill(self) -> None:
        acked = self.spool.acked
        said = Cursor((Path(self.directory) / "cursor").read_bytes())
        let_go(self.spool)
        self.reopen()
        assert self.spool.acked <= acked, "it forgot what was not delivered"
        assert self.spool.acked >= said.acked, "more is delivered twice than the cursor did not say"

    @rule()
    def opened_twice(self) -> None:
        """Recovery is done when it is done."""
        self.kill()
        state = (self.spool.acked, self.spool._next, dict(self.spool._sizes), dict(self.spool.lost))
        let_go(self.spool)
        self.reopen()
        assert (self.spool.acked, self.spool._next, dict(self.spool._sizes), dict(self.spool.lost)) == state

    @rule(seed=st.integers(0, 2**32))
    def power_cut(self, seed: int) -> None:
        let_go(self.spool)
        self.disk.power_cut(Random(seed))
        self.cut = True
        self.maybe |= {first for first, (count, _) in self.model.items() if first + count > self.synced}
        synced = self.synced
        self.reopen()
        # What was not synced is what can be read of it, and was tried to be written once.
        firsts = sorted(self.spool._sizes)
        for first, beyond in zip(firsts, [*firsts[1:], None]):
            for _, record in records_of(self.spool._name(first), beyond):
                if record.end > synced:
                    assert (record.first, record.count, record.payload) in self.tried
                    self.model[record.first] = (record.count, record.payload)

    @precondition(lambda self: self.spool._sizes)
    @rule(which=st.integers(0, 100), bit=st.integers(0, 2**40))
    def bit_rot(self, which: int, bit: int) -> None:
        firsts = sorted(self.spool._sizes)
        number = which % len(firsts)
        path = self.spool._name(firsts[number])
        if os.path.getsize(path):
            before = records_of(path, None)
            at = self.disk.flip(path, bit)
            self.damaged |= {record.first for start, record in before if start <= at < start + len(record)}

    @rule(slot=st.sampled_from([0, BLOCK]), bit=st.integers(0, 8 * 48 - 1))
    def cursor_rots(self, slot: int, bit: int) -> None:
        self.disk.flip(os.path.join(self.directory, "cursor"), slot * 8 + bit)
        self.cursor_rot = True

    @rule(full=st.booleans())
    def disk_full(self, full: bool) -> None:
        self.disk.full = full

    @rule()
    def sync_fails_once(self) -> None:
        self.disk.sync_fails = True

    def reopen(self) -> None:
        self.flight = []
        self.disk.sync_fails = False
        self.spool = new(self.directory, self.disk)
        acked = self.spool.acked
        if self.cursor_rot:
            self.maybe |= self.arrived & set(self.model)  # an older cursor may have it wait again
        lost_numbers = {first for first in self.model if first >= self.spool._next}
        assert lost_numbers <= self.damaged | self.maybe, "it lost something that append took"
        for first in lost_numbers:  # they come again
            del self.model[first]
        for kept in (self.damaged, self.maybe):
            kept -= lost_numbers
        self.confirmed = {first for first in self.confirmed if first in self.model and first + self.model[first][0] <= acked}
        self.synced = self.spool._next
        if self.cursor_rot:
            self.cursor_rot = False
            self.unknown = acked - self._settled()

    def _settled(self) -> int:
        delivered = sum(self.model[first][0] for first in self.confirmed)
        return delivered + sum(self.spool.lost.values())

    # what always holds

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "spool"):
            sizes = [os.path.getsize(os.path.join(self.directory, n)) for n in os.listdir(self.directory) if n.endswith(".seg")]
            assert self.spool.size <= self.spool.limit or self.cut
            assert sum(sizes) <= self.spool.limit + (2 * 90_000 if self.cut else 0)

    @invariant()
    def conserved(self) -> None:
        """Over all restarts: every number that the cursor passed was delivered, or is counted as lost, once."""
        if hasattr(self, "spool"):
            assert 0 <= self.spool.acked <= self.spool._read <= self.spool._next
            assert self.spool.acked == self._settled() + self.unknown

    @invariant()
    def only_what_was_damaged(self) -> None:
        if hasattr(self, "spool"):
            hit = sum(count for first, (count, _) in self.model.items() if first in self.damaged | self.maybe)
            if not self.cut and not self.unknown:
                assert self.spool.lost.get("corrupt", 0) <= hit, "more is counted as damaged than was"


def settings_of(examples: int) -> settings:
    return settings(
        max_examples=examples, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
    )


Machine.TestCase.settings = settings_of(150)
TestMachine = Machine.TestCase


@pytest.mark.soak
def test_the_machine_for_long() -> None:
    """Thousands of lives; SPOOL_EXAMPLES says how many."""
    examples = int(os.environ.get("SPOOL_EXAMPLES", "1000"))
    steps = 0

    class Counted(Machine):
        def check_invariants(self, *args: Any, **how: Any) -> None:
            nonlocal steps
            steps += 1
            super().check_invariants(*args, **how)

    began = time.monotonic()
    run_state_machine_as_test(Counted, settings=settings_of(examples))
    print(f"{examples} examples, {steps} steps, {time.monotonic() - began:.0f} s: nothing lost, nothing uncounted")


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


def test_a_cursor_of_which_a_slot_is_damaged_counts_nothing_as_lost(tmp_path: Path) -> None:
    """What was delivered and removed is not damage, only because the cursor that said so is."""
    for damage in ("newest slot", "both slots", "no file"):
        directory = tmp_path / damage
        spool = new(directory)
        for number in range(40):
            assert spool.append(bytes([number]) * 50_000, 10)
        left = everything(spool)
        for record in left[:10]:
            spool.ack(record)
        spool.flush()
        spool.close()
        said = Cursor((directory / "cursor").read_bytes())
        assert said.sure
        assert said.lost == {"spool_full": left[0].first}
        data = bytearray((directory / "cursor").read_bytes())
        for slot in (said.generation & 1,) if damage == "newest slot" else (0, 1):
            data[slot * BLOCK + 9] ^= 1
        (directory / "cursor").write_bytes(data)
        if damage == "no file":
            (directory / "cursor").unlink()
        spool = new(directory)
        assert spool.dropped == {}, damage
        assert spool.acked <= said.acked
        again = everything(spool)
        assert [r.payload[0] for r in again][10 - len(left) :] == [r.payload[0] for r in left][10:]
        assert again[-1].end - spool.acked == sum(r.count for r in again)
        spool.close()


def test_a_cursor_of_version_0_1_is_understood(tmp_path: Path) -> None:
    spool = new(tmp_path)
    for number in range(4):
        spool.append(b"%d" % number, 5)
    spool.close()
    old = struct.pack("<4sIQQ", b"AdCu", 7, 10, 20)
    newer = struct.pack("<4sIQQ", b"AdCu", 8, 15, 20)
    slots = [part + struct.pack("<I", zlib.crc32(part)) for part in (newer, old)]
    (tmp_path / "cursor").write_bytes(slots[0].ljust(64, b"\0") + slots[1].ljust(64, b"\0"))
    spool = new(tmp_path)
    assert [r.payload for r in everything(spool)] == [b"3"]
    for record in [Record(15, 5, b"3")]:
        spool.ack(record)
    spool.close()
    again = new(tmp_path)
    assert again.points == 0
    assert again.dropped == {}
    again.close()


def test_a_sync_that_fails_has_the_payload_written_again_elsewhere(tmp_path: Path) -> None:
    """The second sync would succeed without having written it: the segment is closed and a power cut then takes nothing."""
    disk = Faulty()
    spool = new(tmp_path, disk)
    assert spool.append(b"before" * 100, 3)
    disk.sync_fails = True
    assert not spool.append(b"doubt" * 100, 4)
    assert spool.unsure == 4
    assert "Input/output" in spool.error
    assert spool.append(b"doubt" * 100, 4)
    assert len(spool._sizes) == 2, "it went on in the segment whose sync had failed"
    let_go(spool)
    disk.power_cut(Random(1))
    again = new(tmp_path, disk)
    assert [r.payload for r in everything(again)] == [b"before" * 100, b"doubt" * 100]
    again.close()


class Undying(Faulty):
    """After a failed sync the disk does not even take a cut."""

    stubborn = False

    def truncate(self, fd: int, size: int) -> None:
        if self.stubborn:
            raise OSError(errno.EIO, "Input/output error")
        super().truncate(fd, size)


def test_what_a_failed_write_left_behind_is_not_delivered_beside_what_replaced_it(tmp_path: Path) -> None:
    """Not even where damage before it has the reader look for the next good record."""
    disk = Undying()
    spool = new(tmp_path, disk)
    assert spool.append(b"a" * 50, 5)
    disk.stubborn = disk.sync_fails = True
    assert not spool.append(b"b" * 50, 7)
    disk.stubborn = False
    assert spool.append(b"c" * 80, 3)  # the queue gave up some meanwhile
    assert spool.append(b"d" * 10, 9)
    for damage in (False, True):
        let_go(spool)
        if damage:
            disk.flip(str(tmp_path / f"{0:016x}.seg"), 8 * (HEADER.size + 10))
        spool = new(tmp_path, disk)
        assert [(r.first, r.payload[:1]) for r in everything(spool)] == [(0, b"a"), (5, b"c"), (8, b"d")][damage:]
    spool.close()


class Torn(Disk):
    """The power fails in the middle of the next write to the cursor."""

    armed = False

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        if self.armed and len(data) < 100:
            super().pwrite(fd, data[:20] + os.urandom(len(data) - 20), offset)
            raise KeyboardInterrupt
        super().pwrite(fd, data, offset)

    def used(self, path: str) -> tuple[float, int]:
        return 0.5, 1 << 40


def test_a_cursor_that_was_just_being_written_leaves_the_one_before(tmp_path: Path) -> None:
    disk = Torn()
    spool = new(tmp_path, disk)
    for number in range(10):
        assert spool.append(b"%d" % number, 5)
    for number in range(8):
        disk.armed = False
        record = spool.read()
        assert record is not None
        assert record.payload == b"%d" % number
        spool.ack(record)
        spool.flush()
        ahead = spool.read()
        assert ahead is not None
        spool.ack(ahead)
        disk.armed = True
        with pytest.raises(KeyboardInterrupt):
            spool.flush()
        let_go(spool)
        disk.armed = False
        spool = new(tmp_path, disk)
        assert spool.acked == record.end
        assert spool.dropped == {}
    spool.close()


def test_an_opening_that_failed_lets_go(tmp_path: Path) -> None:
    """Else the next try would find the directory in use: by itself."""
    disk = Faulty()
    disk.full = True
    spool = Spool(str(tmp_path), SMALLEST, disk)
    for _ in range(3):
        with pytest.raises(OSError, match="No space"):
            spool.open()
    disk.full = False
    spool.open()
    assert spool.append(b"x", 1)
    spool.close()


@pytest.mark.parametrize("which", [2, 5, 9])
def test_a_bad_sector_costs_its_record_and_is_counted(tmp_path: Path, which: int) -> None:
    """The disk gives all but a block: after some tries the rest comes. Where it gives nothing more, it is waited for."""
    disk = Faulty()
    spool = new(tmp_path, disk)
    for number in range(10):
        assert spool.append(bytes([65 + number]) * 20_000, 5)
    segment = str(tmp_path / f"{0:016x}.seg")
    disk.unreadable.add((segment, which * (20_000 + HEADER.size) // BLOCK + 2))
    read = [spool.read() for _ in range(which)]
    for _ in range(TRIES):
        with pytest.raises(OSError, match="Input/output"):
            spool.read()
    if which == 9:
        for _ in range(3 * TRIES):
            with pytest.raises(OSError, match="Input/output"):
                spool.read()
        assert spool.append(b"more", 1), "appending goes on"
        disk.unreadable.clear()
    read += everything(spool)
    assert [r.payload[:1] for r in read if r] == [bytes([65 + n]) for n in range(10) if n != which or which == 9] + [b"m"] * (
        which == 9
    )
    for record in read:
        assert record is not None
        spool.ack(record)
    assert spool.points == 0
    assert spool.dropped == ({"corrupt": 5} if which != 9 else {})
    spool.close()
