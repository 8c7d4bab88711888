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
MOST_POINTS = 1 << 62
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

    def __len__(self) -> int:
        """Its bytes on disk."""
        return HEADER.size + len(self.payload)


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
        self.sure = self.generation - 1 in generations or (self.generation == 1 and not any(data[:OLD_SLOT]))
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
                    return record, at + len(record)
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
            # Block by block where one may not be readable: what is before it counts.
            data = self.disk.pread(self.fd, 1 << 16 if self.patient else BLOCK - at % BLOCK, at)
            found = data.find(MAGIC)
            if found < 0 and data[-1:] == MAGIC[:1]:
                found = len(data) - 1  # its second byte may follow
            if found >= 0:
                return at + found
            if not data:
                break
            at += len(data)
        return self.size


class Spool:
    """One output's spool in one directory. One thread at a time.

    dropped: points given up since it was opened, by reason: `spool_full` (the oldest, for the newest), `corrupt`. lost: the same
    since there is this spool, over all restarts: what is numbered before `acked` and is not in it was delivered (or was on its
    way when it had to make room).
    """

    def __init__(self, directory: str, limit: int, disk: Disk | None = None, fullest: float = FULLEST, free: int = FREE) -> None:
        self.directory = directory
        self.limit = max(limit, SMALLEST)
        self.disk = disk or Disk()
        self.fullest = fullest
        self.free = free
        self.error = ""
        self.dropped: dict[str, int] = {}
        self.lost: dict[str, int] = {}
        self.cut = 0
        """Bytes of a torn tail that opening cut off."""
        self.unsure = 0
        """Points whose sync failed: they were not taken, and their segment was closed."""
        self.evicted_from = 0
        """The number of the first point of those that the last append made room of."""
        self._segment = min(SEGMENT, self.limit // 4)
        self._generation = 0
        self._acked = self._next = self._read = 0
        self._sizes: dict[int, int] = {}
        self._writing: tuple[int, int] | None = None  # first point of the open segment, descriptor
        self._unsynced = False
        self._reading: tuple[int, Scan] | None = None
        self._offset = 0
        self._tries = 0
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

    @property
    def largest(self) -> int:
        """Bytes of the largest payload that it takes."""
        return min(MOST_PAYLOAD, self.limit // 2 - HEADER.size)

    def status(self) -> dict[str, Any]:
        """How it stands."""
        about = {"points": self.points, "bytes": self.size, "limit": self.limit, "segments": len(self._sizes)}
        found = {"dropped": dict(self.dropped), "lost": dict(self.lost), "cut": self.cut, "unsure": self.unsure}
        return {**about, **found, "error": self.error}

    # life

    def open(self) -> None:
        """Take the directory and see what is in it. InUse where another process has it, OSError where it cannot be had."""
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        self.lock()
        try:
            self._recover()
        except BaseException:
            self._let_go()
            raise

    def lock(self) -> None:
        """Take the directory and nothing more. InUse where another process has it."""
        lock = os.open(self._path("lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise InUse(errno.EBUSY, "another process uses this spool", self.directory) from None
        self._lock = lock

    def close(self) -> None:
        """Say where it ended, and let go. A clean end leaves a cursor that knows the last point."""
        try:
            if self._cursor >= 0:
                try:
                    self._seal()
                finally:
                    self._save()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        held = [self._cursor, self._lock]
        if self._writing is not None:
            held.append(self._writing[1])
        if self._reading is not None:
            held.append(self._reading[1].fd)
        self._writing = self._reading = None
        self._cursor = self._lock = -1
        for fd in held:
            if fd >= 0:
                try:
                    self.disk.close(fd)
                except OSError as error:
                    self.error = f"closing: {error.strerror or error}"

    def _path(self, name: str) -> str:
        return os.path.join(self.directory, name)

    def _name(self, first: int) -> str:
        return self._path(f"{first:016x}{SUFFIX}")

    def _recover(self) -> None:
        disk = self.disk
        self._sizes = {}
        self._cursor = disk.open(self._path("cursor"), os.O_RDWR | os.O_CREAT)
        cursor = self._load()
        for first in segments(disk.listdir(self.directory)):
            fd = disk.open(self._name(first), os.O_RDONLY)
            self._sizes[first] = disk.size(fd)
            disk.close(fd)
        firsts = sorted(self._sizes)
        end = self._cut_tail(firsts[-1]) if firsts else cursor.following
        # What was said of the last point, once a second and at a clean end: what the tail lacks of it is a gap, counted when
        # the cursor passes it.
        self._next = max(end, cursor.following, cursor.acked)
        self._acked = cursor.acked
        self._generation = cursor.generation
        self.lost = cursor.lost
        start = firsts[0] if firsts else self._next
        if self._acked < start and (firsts or not cursor.sure):
            if cursor.sure:
                self._count("corrupt", start - self._acked)  # segments that are gone
            self._acked = start  # else a newer cursor was damaged, and they were delivered
        if self._save():
            self._remove_delivered()
        self.rewind()

    def _load(self) -> Cursor:
        data = self.disk.pread(self._cursor, 2 * BLOCK, 0)
        if len(data) < 2 * BLOCK:
            self.disk.pwrite(self._cursor, bytes(2 * BLOCK - len(data)), len(data))  # room that a full disk cannot take away
            self.disk.sync(self._cursor)
            self.disk.sync_names(self.directory)
            self.disk.sync_names(os.path.dirname(os.path.abspath(self.directory)))
        return Cursor(data)

    def _save(self) -> bool:
        """The cursor, durable; False where it is not, said in `error`: the next flush tries again, in the same slot."""
        generation = self._generation + 1
        lost = (self.lost.get("spool_full", 0), self.lost.get("corrupt", 0))
        slot = CURSOR.pack(CURSOR_MAGIC, generation, self._acked, self._next, *lost, 0)[:-4]
        try:
            self.disk.pwrite(self._cursor, slot + struct.pack("<I", zlib.crc32(slot)), (generation & 1) * BLOCK)
            self.disk.sync(self._cursor)
        except OSError as error:
            self.error = f"cursor: {error.strerror or error}"
            self._dirty = True
            # A file system that copies on write needs room to overwrite, which only removing gives. What is removed now is at
            # worst counted as damaged, though it was delivered, if the power fails before the next save.
            return error.errno in (errno.ENOSPC, errno.EDQUOT)
        self._generation = generation
        self._dirty = False
        return True

    def _cut_tail(self, first: int) -> int:
        """Cut off what is torn at the end of the last segment; returns the number after its last good point."""
        fd = self.disk.open(self._name(first), os.O_RDWR)
        try:
            size = self._sizes[first]
            scan = Scan(self.disk, fd, size, patient=self._tries < TRIES)
            at, end = 0, first
            try:
                while found := scan.next(at):
                    record, at = found
                    end = record.end
            except OSError:
                self._tries += 1  # who opens it tries again: the disk may only be away for a while
                raise
            self._tries = 0
            try:
                if at < size and scan.unreadable is None:
                    self.disk.truncate(fd, at)
                    self._sizes[first] = at
                    self.cut += size - at
                self.disk.sync(fd)  # who was killed may not have come to it
            except OSError as error:
                self.error = f"cutting a torn tail: {error.strerror or error}"
            return end
        finally:
            self.disk.close(fd)

    # in

    def append(self, payload: bytes, count: int, sync: bool = True) -> bool:
        """Take a payload of so many points; False where it cannot be had (disk full, broken, nearly full), said in `error`."""
        self.evicted_from = self._acked
        if len(payload) > self.largest:
            self.error = f"a payload of {len(payload)} bytes is too large"
            return False
        size = HEADER.size + len(payload)
        try:
            if not self.room():
                return False
            while self._sizes and self.size + size > self.limit:
                if not self._drop_oldest():
                    return False
            self._write(payload, count, size, sync)
        except OSError as error:
            self.error = error.strerror or str(error)
            self._abandon()
            return False
        self.error = ""
        self._dirty = True
        return True

    def room(self) -> bool:
        """Whether the disk is not too full to put more on it; else `error` says so."""
        full, free = self.disk.used(self.directory)
        if full > self.fullest or free < self.free:
            self.error = f"the disk is {full:.0%} full, {free >> 20} MiB are free: nothing more is put on it"
            return False
        return True

    def _write(self, payload: bytes, count: int, size: int, sync: bool) -> None:
        if self._writing is None or self._sizes[self._writing[0]] + size > self._segment:
            self._begin()
        assert self._writing is not None
        first, fd = self._writing
        at = self._sizes[first]
        head = HEADER.pack(MAGIC, VERSION, count, len(payload), self._next, 0)[:-4]
        head += struct.pack("<I", zlib.crc32(payload, zlib.crc32(head)))
        written = False
        try:
            self.disk.pwrite(fd, head + payload, at)
            written = True
            if sync:
                self.disk.sync(fd)
        except OSError:
            self.unsure += count if written else 0
            try:
                self.disk.truncate(fd, at)
            except OSError:
                pass  # what is left there reaches into the numbers of the next segment, which begins with them
            raise
        self._unsynced = not sync
        self._sizes[first] = at + size
        self._next += count

    def _begin(self) -> None:
        """A new segment, named after the next point. One of that name holds nothing that counts."""
        self._seal()
        fd = self.disk.open(self._name(self._next), os.O_RDWR | os.O_CREAT)
        try:
            self.disk.truncate(fd, 0)
            self.disk.sync_names(self.directory)
        except OSError:
            self.disk.close(fd)
            raise
        self._sizes[self._next] = 0
        self._writing = (self._next, fd)

    def _seal(self) -> None:
        """Close the open segment; OSError where its data did not get to the disk."""
        if self._writing is not None and self._unsynced:
            self._unsynced = False
            self.disk.sync(self._writing[1])
        self._abandon()

    def _abandon(self) -> None:
        if self._writing is not None:
            fd = self._writing[1]
            self._writing = None
            self._unsynced = False
            try:
                self.disk.close(fd)
            except OSError as error:
                self.error = f"closing: {error.strerror or error}"

    def _drop_oldest(self) -> bool:
        """Make room: the oldest segment goes, what it held counted, the cursor durable before it is gone."""
        firsts = sorted(self._sizes)
        oldest = firsts[0]
        following = firsts[1] if len(firsts) > 1 else self._next
        self._count("spool_full", max(0, following - max(self._acked, oldest)))
        self._acked = max(self._acked, following)
        if self._read < self._acked:
            self.rewind()
        return self._save() and self._unlink(oldest)

    def _unlink(self, first: int) -> bool:
        if self._writing is not None and self._writing[0] == first:
            self._abandon()
        if self._reading is not None and self._reading[0] == first:
            self._stop_reading()
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
            self.lost[reason] = self.lost.get(reason, 0) + points

    # out

    def read(self) -> Record | None:
        """The next payload that was not read yet; None where there is none.

        OSError where the disk does not give it. After some tries it is stepped over, as damage is, if the disk gives a later one:
        a disk that gives nothing at all may come back.
        """
        if self._read >= self._next:
            return None
        before = self._read
        patient = self._tries < TRIES
        unreadable: OSError | None = None
        try:
            while self._read < self._next:
                record, error = self._read_on(patient)
                unreadable = error or unreadable
                if record is not None:
                    self._tries = 0
                    return record
            if unreadable is not None:
                raise unreadable
        except OSError as error:
            if error.errno in MEDIUM:
                self._tries += 1
            self.rewind(before)
            raise
        return None

    def _read_on(self, patient: bool) -> tuple[Record | None, OSError | None]:
        """A step to the next record: it, or None with `_read` nearer to it; and what the disk did not give on the way."""
        firsts = sorted(self._sizes)
        current = [f for f in firsts if f <= self._read]
        if not current:
            self._read = min(firsts[0], self._next) if firsts else self._next
            return None, None
        first = current[-1]
        later = firsts[len(current)] if len(firsts) > len(current) else None
        if self._reading is None or self._reading[0] != first:
            self._stop_reading()
            fd = self.disk.open(self._name(first), os.O_RDONLY)
            self._reading = (first, Scan(self.disk, fd, 0, later))
            self._offset = 0
        scan = self._reading[1]
        scan.size, scan.patient, scan.unreadable = self._sizes[first], patient, None
        found = scan.next(self._offset)
        if found is None:
            self._read = self._next if later is None else later  # a damaged end: all that was in it is a gap
            return None, scan.unreadable
        record, self._offset = found
        if record.end <= self._read:
            return None, scan.unreadable  # delivered before
        self._read = record.end
        return record, scan.unreadable

    def rewind(self, past: int = 0) -> None:
        """Read again from what was not acknowledged, or from the point of this number if that is later."""
        self._read = min(max(self._acked, past), self._next)
        self._stop_reading()

    def _stop_reading(self) -> None:
        if self._reading is not None:
            self.disk.close(self._reading[1].fd)
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
        self._dirty = True
        firsts = sorted(self._sizes)
        following = [*firsts[1:], self._next]
        if any(end <= self._acked for end in following) and self._save():
            self._remove_delivered()

    def flush(self) -> None:
        """Make the cursor durable, if anything moved."""
        if self._dirty and self._save():
            self._remove_delivered()

    def _remove_delivered(self) -> None:
        firsts = sorted(self._sizes)
        for first, end in zip(firsts, [*firsts[1:], self._next]):
            if end > self._acked or not self._unlink(first):
                break


def segments(names: list[str]) -> list[int]:
    """The first points of the segments among the names in a spool's directory, sorted."""
    firsts = []
    for name in names:
        stem = name.removesuffix(SUFFIX)
        if name != stem and len(stem) == 16:
            try:
                first = int(stem, 16)
            except ValueError:
                continue
            if first < MOST_POINTS:
                firsts.append(first)
    return sorted(firsts)
