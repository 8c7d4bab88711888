"""What waits on disk: append-only segments of checksummed records, and a cursor that says what was delivered.

A record is a header and a payload: magic, version, how many points it holds, its length, the number of its first point, and a
CRC-32 over all of that. Points are numbered from 0 as they are appended, so that a damaged record is missed exactly: the next
good one says how many points are between. A segment is a file named after its first point; a full one is closed and a new one
begun. A record that reaches into the numbers of the next segment is what a failed write left behind: what counts was written
again there.

The cursor is one file of two slots, each in a disk block of its own, written in turn and allocated from the start, so that a full
disk can always be emptied. It is made durable before a segment that was delivered is removed, and it holds the points that were
ever lost, so that they and the place up to which they are counted change together.

Opening never refuses because of what it finds: a torn tail is cut off, damage is stepped over when the cursor passes it, and
counted then, once. Appending never raises: what finds no room is the caller's to keep. After a sync that failed nobody knows what
the disk has, and a second one may succeed without having written anything (https://lwn.net/Articles/752063/): so the segment is
closed, and what was in doubt is the caller's to append again.

What can be lost: nothing that `append` took, by the end of the process; nothing that was synced, by a power cut.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
import zlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

MAGIC = b"\xadA"
HEADER = struct.Struct("<2sHIIQI")
"""magic, version, points, length of the payload, number of the first point, CRC-32 of the header before it and the payload."""
VERSION = 1
CURSOR = struct.Struct("<4sIQQQQI")
"""magic, generation, number of the next point to deliver, number of the next point to append, points that had to make room,
points that were damaged, CRC-32 of what is before it."""
CURSOR_MAGIC = b"AdC2"
BLOCK = 4096
"""What a disk writes as a whole, at most; each slot of the cursor has one."""
OLD_CURSOR = struct.Struct("<4sIQQI")
"""The same without the losses, at 0 and 64: what version 0.1 wrote."""
OLD_MAGIC, OLD_SLOT = b"AdCu", 64
FULLEST, FREE = 0.95, 64 << 20
"""How full the disk may be, and how many bytes stay free, before nothing more is put on it."""
TRIES = 5
"""After so many failed readings of one place the disk may go on without it."""
MEDIUM = (errno.EIO, errno.ENODATA, errno.EUCLEAN, errno.EBADMSG)
"""How a disk says that it cannot give a block."""
SEGMENT = 8 << 20
SMALLEST = 1 << 20
MOST_PAYLOAD = 32 << 20
SUFFIX = ".seg"


class Disk:
    """The file system as the spool uses it; tests put a misbehaving one in its place."""

    def listdir(self, path: str) -> list[str]:
        """The names in a directory."""
        return os.listdir(path)

    def open(self, path: str, flags: int) -> int:
        """A descriptor."""
        return os.open(path, flags | os.O_CLOEXEC, 0o600)

    def close(self, fd: int) -> None:
        """Give it back."""
        os.close(fd)

    def size(self, fd: int) -> int:
        """Bytes of a file."""
        return os.fstat(fd).st_size

    def pread(self, fd: int, count: int, offset: int) -> bytes:
        """Bytes of a file, fewer at its end."""
        parts = []
        while count > 0 and (part := os.pread(fd, min(count, 1 << 20), offset)):
            parts.append(part)
            count -= len(part)
            offset += len(part)
        return b"".join(parts)

    def pwrite(self, fd: int, data: bytes, offset: int) -> None:
        """All of it; OSError where it does not go in."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def truncate(self, fd: int, size: int) -> None:
        """Cut a file."""
        os.ftruncate(fd, size)

    def sync(self, fd: int) -> None:
        """Have the data on the disk itself."""
        os.fdatasync(fd)

    def sync_names(self, path: str) -> None:
        """Have the names in a directory on the disk itself, where the file system can be asked to."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(fd)

    def unlink(self, path: str) -> None:
        """Remove a file."""
        os.unlink(path)

    def used(self, path: str) -> tuple[float, int]:
        """How full the file system is (0 to 1), and how many bytes are free."""
        v = os.statvfs(path)
        return 1 - v.f_bavail / max(1, v.f_blocks), v.f_bavail * v.f_frsize


class Record:
    """A payload on its way out: `first` and `count` number its points."""

    __slots__ = ("count", "first", "payload")

    def __init__(self, first: int, count: int, payload: bytes) -> None:
        self.first = first
        self.count = count
        self.payload = payload

    @property
    def end(self) -> int:
        """The number after its last point."""
        return self.first + self.count


class InUse(OSError):
    """Another process has the spool."""


class Cursor:
    """What the newest whole slot of a cursor file says; zeros where none is.

    sure: no newer one was damaged, so that what it says is the last that was said.
    """

    __slots__ = ("acked", "following", "generation", "lost", "sure")

    def __init__(self, data: bytes) -> None:
        self.generation = self.acked = self.following = full = corrupt = 0
        generations = []
        for at in (0, BLOCK, OLD_SLOT):
            for form, magic in ((CURSOR, CURSOR_MAGIC), (OLD_CURSOR, OLD_MAGIC)):
                slot = data[at : at + form.size]
                if slot[:4] != magic or len(slot) < form.size or zlib.crc32(slot[:-4]) != int.from_bytes(slot[-4:], "little"):
                    continue
                _, generation, acked, following, *losses, _ = form.unpack(slot)
                generations.append(generation)
                if generation >= self.generation:
                    self.generation, self.acked, self.following = generation, acked, following
                    full, corrupt = losses or (0, 0)
        self.sure = self.generation - 1 in generations or (self.generation <= 1 and not any(data[CURSOR.size :]))
        self.lost = {reason: points for reason, points in (("spool_full", full), ("corrupt", corrupt)) if points}


class Scan:
    """Finds whole records in an open segment of so many bytes.

    `beyond`: the number with which the next segment begins; a record that reaches past it does not count.
    `patient`: a block that the disk does not give is an OSError; else it is stepped over and `unreadable` is set.
    """

    def __init__(self, disk: Disk, fd: int, size: int, beyond: int | None = None, patient: bool = True) -> None:
        self.disk = disk
        self.fd = fd
        self.size = size
        self.beyond = beyond
        self.patient = patient
        self.unreadable: OSError | None = None

    def next(self, at: int) -> tuple[Record, int] | None:
        """The first whole record at or after an offset, and where it ends; None where there is none any more."""
        while at + HEADER.size <= self.size:
            try:
                record = self._record(at)
                if record is not None:
                    return record, at + HEADER.size + len(record.payload)
                at = self._next_magic(at + 1)
            except OSError as error:
                if self.patient or error.errno not in MEDIUM:
                    raise
                self.unreadable = error
                at += BLOCK - at % BLOCK
        return None

    def _record(self, at: int) -> Record | None:
        head = self.disk.pread(self.fd, HEADER.size, at)
        if len(head) < HEADER.size:
            return None
        magic, version, count, length, first, check = HEADER.unpack(head)
        if magic != MAGIC or version != VERSION or length > MOST_PAYLOAD or at + HEADER.size + length > self.size:
            return None
        if self.beyond is not None and first + count > self.beyond:
            return None
        payload = self.disk.pread(self.fd, length, at + HEADER.size)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[:-4])) != check:
            return None
        return Record(first, count, payload)

    def _next_magic(self, at: int) -> int:
        while at < self.size:
            data = self.disk.pread(self.fd, 1 << 16 if self.patient else BLOCK - at % BLOCK, at)
            found = data.find(MAGIC)
            if found >= 0:
                return at + found
            if data[-1:] == MAGIC[:1] and not self.patient:
                return at + len(data) - 1
            at += max(1, len(data) - self.patient)
        return self.size


class Spool:
    """One output's spool in one directory. One thread at a time.

    dropped: points given up since it was opened, by reason: `spool_full` (the oldest, for the newest), `corrupt`.
    """

    def __init__(self, directory: str, limit: int, disk: Disk | None = None, fullest: float = 0.95, free: int = 64 << 20) -> None:
        self.directory = directory
        self.limit = max(limit, SMALLEST)
        self.disk = disk or Disk()
        self.fullest = fullest
        self.free = free
        self.error = ""
        self.dropped: dict[str, int] = {}
        self.cut = 0
        """Bytes of a torn tail that opening cut off."""
        self.evicted_from = 0
        """The number of the first point of those that had to make room last."""
        self._segment = min(SEGMENT, self.limit // 4)
        self._generation = 0
        self._acked = self._next = self._read = 0
        self._sizes: dict[int, int] = {}
        self._writing: tuple[int, int] | None = None  # first point of the open segment, descriptor
        self._reading: tuple[int, int] | None = None
        self._offset = 0
        self._lock = -1
        self._cursor = -1
        self._dirty = False

    # what is in it

    @property
    def acked(self) -> int:
        """The number of the next point to deliver."""
        return self._acked

    @property
    def points(self) -> int:
        """Points that wait: appended and not acknowledged, damaged ones among them until the cursor passes."""
        return self._next - self._acked

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(self._sizes.values())

    def status(self) -> dict[str, Any]:
        """How it stands."""
        about = {"points": self.points, "bytes": self.size, "limit": self.limit, "segments": len(self._sizes)}
        return {**about, "dropped": dict(self.dropped), "error": self.error, "cut": self.cut}

    # life

    def open(self) -> None:
        """Take the directory and see what is in it. InUse where another process has it, OSError where it cannot be had."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self.lock()
        self._recover()

    def lock(self) -> None:
        """Take the directory and nothing more. InUse where another process has it."""
        self._lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._lock)
            self._lock = -1
            raise InUse(errno.EBUSY, "another process uses this spool", self.directory) from None

    def close(self) -> None:
        """Say where it ended, and let go. A clean end leaves a cursor that knows the last point."""
        if self._cursor >= 0:
            self._save()
            self.disk.close(self._cursor)
            self._cursor = -1
        for held in (self._writing, self._reading):
            if held is not None:
                self.disk.close(held[1])
        self._writing = self._reading = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _name(self, first: int) -> str:
        return self._path(f"{first:016x}{SUFFIX}")

    def _recover(self) -> None:
        disk = self.disk
        self._cursor = disk.open(self._path("cursor"), os.O_RDWR | os.O_CREAT)
        acked, known_next = self._load()
        firsts = []
        for name in disk.listdir(self.directory):
            stem = name.removesuffix(SUFFIX)
            if name != stem and len(stem) == 16:
                try:
                    firsts.append(int(stem, 16))
                except ValueError:
                    continue
        firsts.sort()
        for first in firsts:
            fd = disk.open(self._name(first), os.O_RDONLY)
            self._sizes[first] = disk.size(fd)
            disk.close(fd)
        end = self._cut_tail(firsts[-1]) if firsts else known_next
        # A clean end knew its last point: what the tail lacks of it is a gap, counted when the cursor passes it.
        self._next = max(end, known_next, acked)
        self._acked = min(acked, self._next)
        if firsts and self._acked < firsts[0]:
            self._count("corrupt", firsts[0] - self._acked)  # segments that are gone
            self._acked = firsts[0]
        self._remove_delivered()
        self._save()
        self.rewind()

    def _load(self) -> tuple[int, int]:
        """(next to deliver, next to append) of the newest slot that is whole."""
        data = self.disk.pread(self._cursor, 2 * SLOT, 0)
        self._generation, acked, following = newest(data)
        if len(data) < 2 * SLOT:
            self.disk.pwrite(self._cursor, bytes(2 * SLOT - len(data)), len(data))  # room that a full disk cannot take away
            self.disk.sync(self._cursor)
        return acked, following

    def _save(self) -> None:
        """The cursor, durable; OSError is told in `error` and the next save tries again."""
        self._generation += 1
        slot = CURSOR.pack(CURSOR_MAGIC, self._generation, self._acked, self._next, 0)[:-4]
        try:
            self.disk.pwrite(self._cursor, slot + struct.pack("<I", zlib.crc32(slot)), (self._generation & 1) * SLOT)
            self.disk.sync(self._cursor)
        except OSError as error:
            self.error = f"cursor: {error.strerror or error}"

    def _cut_tail(self, first: int) -> int:
        """Cut off what is torn at the end of the last segment; returns the number after its last good point."""
        fd = self.disk.open(self._name(first), os.O_RDWR)
        try:
            size = self._sizes[first]
            at, end, good = 0, first, 0
            while found := self._good(fd, at, size):
                record, at = found
                end, good = record.end, at
            if good < size:
                self.cut += size - good
                try:
                    self.disk.truncate(fd, good)
                    self._sizes[first] = good
                except OSError as error:
                    self.error = f"cutting a torn tail: {error.strerror or error}"
            return end
        finally:
            self.disk.close(fd)

    def _good(self, fd: int, at: int, size: int) -> tuple[Record, int] | None:
        """The first whole record at or after an offset, and where it ends; None where there is none any more."""
        while at + HEADER.size <= size:
            record = self._record(fd, at, size)
            if record is not None:
                return record, at + HEADER.size + len(record.payload)
            at = self._next_magic(fd, at + 1, size)
        return None

    def _record(self, fd: int, at: int, size: int) -> Record | None:
        head = self.disk.pread(fd, HEADER.size, at)
        if len(head) < HEADER.size:
            return None
        magic, version, count, length, first, check = HEADER.unpack(head)
        if magic != MAGIC or version != VERSION or length > MOST_PAYLOAD or at + HEADER.size + length > size:
            return None
        payload = self.disk.pread(fd, length, at + HEADER.size)
        if len(payload) < length or zlib.crc32(payload, zlib.crc32(head[:-4])) != check:
            return None
        return Record(first, count, payload)

    def _next_magic(self, fd: int, at: int, size: int) -> int:
        while at < size:
            data = self.disk.pread(fd, 1 << 16, at)
            found = data.find(MAGIC)
            if found >= 0:
                return at + found
            at += max(1, len(data) - 1)
        return size

    # in

    def append(self, payload: bytes, count: int, sync: bool = True) -> bool:
        """Take a payload of so many points; False where it cannot be had (disk full, broken, nearly full), said in `error`."""
        size = HEADER.size + len(payload)
        if len(payload) > MOST_PAYLOAD or size > self.limit // 2:
            self.error = f"a payload of {len(payload)} bytes is too large"
            return False
        try:
            if self._nearly_full():
                return False
            while self._sizes and self.size + size > self.limit:
                if not self._drop_oldest():
                    return False
            self._write(payload, count, size, sync)
        except OSError as error:
            self.error = error.strerror or str(error)
            self._seal()
            return False
        self.error = ""
        return True

    def _nearly_full(self) -> bool:
        full, free = self.disk.used(self.directory)
        if full > self.fullest or free < self.free:
            self.error = f"the disk is {full:.0%} full, {free >> 20} MiB are free: nothing more is put on it"
            return True
        return False

    def _write(self, payload: bytes, count: int, size: int, sync: bool) -> None:
        if self._writing is None or self._sizes[self._writing[0]] + size > self._segment:
            self._begin()
        assert self._writing is not None
        first, fd = self._writing
        at = self._sizes[first]
        head = HEADER.pack(MAGIC, VERSION, count, len(payload), self._next, 0)[:-4]
        head += struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))
        try:
            self.disk.pwrite(fd, head + payload, at)
            if sync:
                # A failed sync leaves it open what the disk has: the segment is sealed, and the caller keeps the payload.
                self.disk.sync(fd)
        except OSError:
            try:
                self.disk.truncate(fd, at)
            except OSError:
                pass  # read() steps over what is left there: its points have numbers that come again
            raise
        self._sizes[first] = at + size
        self._next += count

    def _begin(self) -> None:
        """A new segment, named after the next point. One of that name holds nothing that counts."""
        self._seal()
        fd = self.disk.open(self._name(self._next), os.O_RDWR | os.O_CREAT)
        try:
            self.disk.truncate(fd, 0)
        except OSError:
            self.disk.close(fd)
            raise
        self._sizes[self._next] = 0
        self._writing = (self._next, fd)

    def _seal(self) -> None:
        if self._writing is not None:
            self.disk.close(self._writing[1])
            self._writing = None

    def _drop_oldest(self) -> bool:
        """Make room: the oldest segment goes, what it held counted, the cursor durable before it is gone."""
        firsts = sorted(self._sizes)
        oldest = firsts[0]
        following = firsts[1] if len(firsts) > 1 else self._next
        lost = max(0, following - max(self._acked, oldest))
        self._count("spool_full", lost)
        self.evicted_from = max(self._acked, oldest)
        self._acked = max(self._acked, following)
        self._save()
        if self._read < self._acked:
            self.rewind()
        return self._unlink(oldest)

    def _unlink(self, first: int) -> bool:
        if self._writing is not None and self._writing[0] == first:
            self._seal()
        if self._reading is not None and self._reading[0] == first:
            self.disk.close(self._reading[1])
            self._reading = None
        try:
            self.disk.unlink(self._name(first))
        except FileNotFoundError:
            pass
        except OSError as error:
            self.error = f"removing a segment: {error.strerror or error}"
            return False
        self._sizes.pop(first, None)
        return True

    def _count(self, reason: str, points: int) -> None:
        if points:
            self.dropped[reason] = self.dropped.get(reason, 0) + points

    # out

    def read(self) -> Record | None:
        """The next payload that was not read yet; None where there is none. Raises OSError where the disk does not give it."""
        while self._read < self._next:
            firsts = sorted(self._sizes)
            current = [f for f in firsts if f <= self._read]
            if not current:
                if not firsts or firsts[0] >= self._next:
                    self._read = self._next  # nothing is left of it
                    return None
                self._read = firsts[0]
                continue
            first = current[-1]
            if self._reading is None or self._reading[0] != first:
                if self._reading is not None:
                    self.disk.close(self._reading[1])
                self._reading = (first, self.disk.open(self._name(first), os.O_RDONLY))
                self._offset = 0
            found = self._good(self._reading[1], self._offset, self._sizes[first])
            if found is None:
                later = [f for f in firsts if f > first]
                if not later:
                    self._read = self._next  # a damaged end: all that was in it is a gap
                    return None
                self._read = later[0]
                continue
            record, self._offset = found
            if record.end <= self._read:
                continue  # delivered before, or a second writing of the same points
            self._read = record.end
            return record
        return None

    def rewind(self, past: int = 0) -> None:
        """Read again from what was not acknowledged, or from the point of this number if that is later."""
        self._read = min(max(self._acked, past), self._next)
        if self._reading is not None:
            self.disk.close(self._reading[1])
        self._reading = None
        self._offset = 0

    def ack(self, record: Record) -> int:
        """This record arrived, and all before it; returns how many points between were damaged and are counted now."""
        missed = max(0, record.first - self._acked)
        self._count("corrupt", missed)
        self._acked = max(self._acked, record.end)
        self._settle()
        return missed

    def finish(self) -> int:
        """All that can be read was acknowledged: what is left are damaged points. Returns how many, counted now."""
        if self._read < self._next or self._acked >= self._next:
            return 0
        missed = self._next - self._acked
        self._count("corrupt", missed)
        self._acked = self._next
        self._settle()
        return missed

    def _settle(self) -> None:
        firsts = sorted(self._sizes)
        following = [*firsts[1:], self._next]
        if any(end <= self._acked for end in following):
            self._save()
            self._remove_delivered()
        else:
            self._dirty = True

    def flush(self) -> None:
        """Make the cursor durable, if it moved."""
        if self._dirty:
            self._dirty = False
            self._save()

    def _remove_delivered(self) -> None:
        firsts = sorted(self._sizes)
        for first, end in zip(firsts, [*firsts[1:], self._next]):
            if end > self._acked:
                break
            if not self._unlink(first):
                break
