"""The only door to the outside world: files, directories, file systems, programs, sockets, HTTP, clocks.

A collector reads everything through `self.host`. So it can be pointed at another machine's tree (`Host(root)`), recorded
while it runs (`adamas.recording.Recorder`) and replayed in a test (`adamas.recording.Replay`), without being changed.

Reads of /proc and /sys keep the descriptor and use pread, and a reading is shared by those who ask for the same file within
20 ms: the collectors of one pass see one moment, and pay for it once.
"""

from __future__ import annotations

import os
import socket
import time

from adamas.answer import Answer
from adamas.errors import NoData

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

    class StatVfs(tuple[int, ...]):
        """What `statvfs` answers."""


SHARE = 0.02
KEPT = 128
SMALL = 2048
MOST_OUTPUT = 1 << 20
MOST_ANSWER = 16 << 20


class FileSystem:
    """Sizes of a mounted file system, as statvfs(3) gives them: bytes and inodes."""

    __slots__ = ("available", "files", "files_available", "files_free", "free", "size")

    def __init__(self, size: int, free: int, available: int, files: int, files_free: int, files_available: int) -> None:
        self.size = size
        self.free = free
        self.available = available
        self.files = files
        self.files_free = files_free
        self.files_available = files_available

    def fields(self) -> list[int]:
        """All of it, in order: for frames and recordings."""
        return [self.size, self.free, self.available, self.files, self.files_free, self.files_available]


def read_file(path: str, most: int) -> bytes:
    """A file's bytes, at most so many. Read piece by piece: one large buffer would teach malloc to keep memory for good."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while most > 0 and (part := os.read(fd, min(most, 32768))):
            parts.append(part)
            most -= len(part)
    finally:
        os.close(fd)
    return b"".join(parts)


def file_system(path: str) -> FileSystem:
    """statvfs(3) of a path, in bytes. Blocks as long as the file system does."""
    v = os.statvfs(path)
    return FileSystem(v.f_blocks * v.f_frsize, v.f_bfree * v.f_frsize, v.f_bavail * v.f_frsize, v.f_files, v.f_ffree, v.f_favail)


class Stream:
    """A conversation over a socket, with a deadline for all of it and a bound on what is read."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._socket = sock
        self.deadline = deadline
        """When it must be over, on the monotonic clock."""
        self._buffer = bytearray()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def fileno(self) -> int:
        """The descriptor of its socket."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """Say this."""
        self._socket.settimeout(self._left())
        self._socket.sendall(data)

    def _left(self) -> float:
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("the peer took too long")
        return left

    def _more(self) -> bool:
        self._socket.settimeout(self._left())
        data = self._socket.recv(65536)
        self._buffer += data
        if len(self._buffer) > MOST_ANSWER:
            raise ConnectionError(f"the peer sent more than {MOST_ANSWER} bytes")
        return bool(data)

    def exactly(self, count: int) -> bytes:
        """The next `count` bytes; ConnectionError where the peer hangs up before."""
        if count > MOST_ANSWER:
            raise ConnectionError(f"the peer announced {count} bytes")
        while len(self._buffer) < count:
            if not self._more():
                raise ConnectionError(f"the peer hung up after {len(self._buffer)} of {count} bytes")
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def until(self, end: bytes) -> bytes:
        """All up to and with `end`; ConnectionError where the peer hangs up before."""
        searched = 0
        while (at := self._buffer.find(end, searched)) < 0:
            searched = max(0, len(self._buffer) - len(end))
            if not self._more():
                raise ConnectionError(f"the peer hung up before {end!r}")
        return self.exactly(at + len(end))

    def rest(self) -> bytes:
        """All that comes until the peer hangs up."""
        while self._more():
            pass
        return self.exactly(len(self._buffer))


class Host:
    """This machine, or another machine's tree below `root`."""

    def __init__(self, root: str = "/") -> None:
        self.root = root.rstrip("/")
        self._kept: dict[str, tuple[int, int]] = {}
        self._shared: dict[str, tuple[float, str]] = {}
        # Doors that other layers open: file systems that can hang are asked from a child (see worker), and the
        # agent's own figures come from the agent.
        self.ask_child: Callable[[str, str, float], Any] | None = None
        self.agent: Callable[[], dict[str, Any]] | None = None
        self.prefix = ("", "", "")
        """How dotted names of this host begin: path_prefix, the host's name and path_suffix, as the agent has them."""

    def close(self) -> None:
        """Close the kept descriptors."""
        for fd, _ in self._kept.values():
            os.close(fd)
        self._kept.clear()

    # clocks

    def clock(self) -> float:
        """Monotonic seconds, for elapsed time."""
        return time.monotonic()

    def time(self) -> float:
        """Wall-clock seconds since 1970."""
        return time.time()

    def cpu_count(self) -> int:
        """CPUs that are online."""
        return os.cpu_count() or 1

    def pid(self) -> int:
        """This process."""
        return os.getpid()

    def uid(self) -> int:
        """The user as whom this process reads and runs."""
        return os.geteuid()

    # files

    def path(self, path: str) -> str:
        """Where a path of the watched machine lies on this one."""
        return self.root + path if self.root else path

    def read(self, path: str, default: str | None = None) -> str:
        """The text of a file, or `default` where it does not exist; NoData without a default."""
        now = time.monotonic()
        shared = self._shared.get(path)
        if shared is not None and now - shared[0] < SHARE:
            return shared[1]
        try:
            text = self.read_bytes(path).decode("utf-8", "surrogateescape")
        except (FileNotFoundError, NotADirectoryError):
            if default is not None:
                return default
            raise NoData(f"{path} does not exist here") from None
        if path.startswith("/proc/"):
            self._shared[path] = (now, text)
            if len(self._shared) > KEPT:
                self._shared.clear()
        return text

    def read_bytes(self, path: str) -> bytes:
        """The bytes of a file; OSError where it cannot be read."""
        if self.root or not path.startswith(("/proc/", "/sys/")) or path[6:7].isdigit():
            return read_file(self.path(path), MOST_ANSWER)
        kept = self._kept.get(path)
        if kept is not None:
            try:
                return self._pread(path, *kept)
            except OSError:  # the device behind it went and came again
                if self._kept.pop(path, None) is kept:
                    os.close(kept[0])
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        if len(self._kept) >= KEPT:
            try:
                return self._pread(path, fd, 4096, keep=False)
            finally:
                os.close(fd)
        return self._pread(path, fd, 4096)

    def _pread(self, path: str, fd: int, size: int, keep: bool = True) -> bytes:
        data = os.pread(fd, size, 0)
        # A short read of a seq_file is not its end: it gives a page of whole records at a time.
        if len(data) >= SMALL:
            offset = len(data)
            parts = [data]
            while part := os.pread(fd, 65536, offset):
                parts.append(part)
                offset += len(part)
                if offset > MOST_ANSWER:
                    break
            if len(parts) > 1:
                data = b"".join(parts)
                size = min(len(data) + 8192, 1 << 20)
        if keep:
            self._kept[path] = (fd, max(size, SMALL))
        return data

    def listdir(self, path: str) -> list[str]:
        """The names in a directory, sorted; NoData where it does not exist."""
        try:
            return sorted(os.listdir(self.path(path)))
        except (FileNotFoundError, NotADirectoryError):
            raise NoData(f"{path} does not exist here") from None

    def glob(self, pattern: str) -> list[str]:
        """The paths that match a shell pattern, sorted."""
        import glob

        found = glob.glob((glob.escape(self.root) if self.root else "") + pattern)
        return sorted(p[len(self.root) :] for p in found)

    def exists(self, path: str) -> bool:
        """Whether something is there."""
        return os.path.exists(self.path(path))

    def readlink(self, path: str) -> str:
        """Where a symbolic link points; OSError where it is none."""
        return os.readlink(self.path(path))

    def stat(self, path: str) -> dict[str, float]:
        """mode, size, blocks (of 512 bytes), uid, gid, mtime, dev, rdev, ino of a path; OSError where it does not exist."""
        s = os.stat(self.path(path))
        return {
            "mode": s.st_mode,
            "size": s.st_size,
            "blocks": s.st_blocks,
            "uid": s.st_uid,
            "gid": s.st_gid,
            "mtime": s.st_mtime,
            "dev": s.st_dev,
            "rdev": s.st_rdev,
            "ino": s.st_ino,
        }

    def remove(self, path: str) -> None:
        """Delete a file that the collector is told to use up; OSError where it may not."""
        os.unlink(self.path(path))

    def statvfs(self, path: str, may_hang: bool = False, timeout: float = 2.0) -> FileSystem:
        """Sizes of the file system at `path`. `may_hang` (network, FUSE): asked in a child, TimeoutError when it hangs."""
        if may_hang:
            if self.ask_child is None:
                raise TimeoutError(f"{path} could hang, and there is no child to ask in")
            return FileSystem(*self.ask_child("statvfs", self.path(path), timeout))
        return file_system(self.path(path))

    # programs and peers

    def run(self, argv: Sequence[str], timeout: float = 10.0, input: bytes = b"") -> Answer:
        """Run a program, never through a shell; NoData where it does not exist, TimeoutError past the limit.

        It gets a process group of its own, all of which is killed at the limit; output is cut at 1 MiB.
        """
        from adamas.process import run_program

        return run_program(argv, timeout, input, MOST_OUTPUT)

    def netlink(self, family: int, kind: int, request: bytes, timeout: float = 2.0) -> list[bytes]:
        """What the kernel dumps over a netlink family, a payload a message; NoData where it has no such family.

        Of this machine only: another machine's tree has no kernel to ask.
        """
        if self.root:
            raise NoData("netlink asks this machine's kernel, not a tree")
        from adamas.netlink import dump

        return dump(family, kind, request, timeout)

    def unix(self, path: str, timeout: float = 5.0) -> Stream:
        """A conversation over a unix socket; NoData where it does not exist."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            sock.settimeout(timeout)
            sock.connect(self.path(path))
        except FileNotFoundError:
            sock.close()
            raise NoData(f"{path} does not exist here") from None
        except OSError:
            sock.close()
            raise
        return Stream(sock, time.monotonic() + timeout)

    def ready(self, streams: Iterable[Stream]) -> Iterator[Stream]:
        """Those that were asked something, as their peers begin to answer; one that stays silent comes at its deadline.

        So a collector of many peers asks them all, and waits for the slow ones once.
        """
        import select

        poll = select.poll()
        waiting = {stream.fileno(): stream for stream in streams}
        for fd in waiting:
            poll.register(fd, select.POLLIN)
        while waiting:
            left = min([stream.deadline for stream in waiting.values()]) - time.monotonic()
            heard = [fd for fd, _ in poll.poll(max(0.0, left) * 1000)]
            now = time.monotonic()
            for fd in heard or [fd for fd, stream in waiting.items() if stream.deadline <= now]:
                poll.unregister(fd)
                yield waiting.pop(fd)

    def connect(self, address: str, timeout: float = 5.0) -> Stream:
        """A conversation over TCP with "host:port"."""
        host, port = split_address(address)
        sock = dial(host, port, timeout)
        return Stream(sock, time.monotonic() + timeout)

    def http(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 5.0,
    ) -> Answer:
        """One HTTP request; certificates are verified. OSError where the server cannot be reached."""
        from adamas.http import request

        return request(url, method, headers or {}, body, timeout, MOST_ANSWER)


def dial(host: str, port: int, timeout: float) -> socket.socket:
    """A TCP connection, the name resolved now; OSError where there is none."""
    # As bytes, an ASCII name skips the international names' codec and its tables (0.7 MB).
    name: str | bytes = host.encode() if host.isascii() else host
    return socket.create_connection((name, port), timeout)  # type: ignore[arg-type]


def split_address(address: str, port: int | None = None) -> tuple[str, int]:
    """("host", port) of "host:port" or "[v6]:port"; ValueError that says what was expected."""
    host, colon, text = address.rpartition(":")
    if not colon or "]" in text:
        if port is None:
            raise ValueError(f'an address such as "127.0.0.1:2003", not {address!r}')
        host, text = address, str(port)
    if not text.isdigit() or not 0 <= int(text) <= 65535:
        raise ValueError(f"a port from 0 to 65535, not {address!r}")
    return host.strip("[]"), int(text)
