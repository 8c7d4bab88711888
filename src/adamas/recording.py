"""Recording what a collector reads, and playing it back.

A step is a folder: the files that were read, as a tree (`proc/loadavg`, ...), and `calls.json` for everything else, a list
of {"call", "args", "result"} or {"call", "args", "error", "message"}; bytes are written as latin-1 text. A case is a folder
of steps with a `case.json`; see `Case`.
"""

from __future__ import annotations

import json
import os

from adamas.answer import Answer
from adamas.errors import NoData
from adamas.host import FileSystem, Host, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from typing import Any

_KNOWN = (NoData, FileNotFoundError, PermissionError, TimeoutError, ConnectionError, ConnectionRefusedError, OSError, ValueError)
ERRORS: dict[str, type[Exception]] = {e.__name__: e for e in _KNOWN}


class Recorder(Host):
    """The real machine, writing down everything that is read. `save` makes a step of it and starts anew."""

    def __init__(self, root: str = "/", secrets: Sequence[str] = ()) -> None:
        super().__init__(root)
        self._secrets = [s for s in secrets if s]
        self._begin()

    def _begin(self) -> None:
        self.files: dict[str, bytes] = {}
        self.calls: list[dict[str, Any]] = []
        self._shared.clear()

    def _note(self, call: str, args: Sequence[Any], ask: Callable[[], Any], show: Callable[[Any], Any] = lambda r: r) -> Any:
        try:
            result = ask()
        except Exception as error:
            self.calls.append({"call": call, "args": list(args), "error": type(error).__name__, "message": str(error)})
            raise
        self.calls.append({"call": call, "args": list(args), "result": show(result)})
        return result

    def read_bytes(self, path: str) -> bytes:
        """As `Host.read_bytes`, kept as a file."""
        try:
            data = super().read_bytes(path)
        except OSError as error:
            if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
                self.calls.append({"call": "read", "args": [path], "error": type(error).__name__, "message": str(error)})
            raise
        self.files[path] = data
        return data

    def cpu_count(self) -> int:
        """As `Host.cpu_count`."""
        return int(self._note("cpu_count", (), super().cpu_count))

    def uid(self) -> int:
        """As `Host.uid`."""
        return int(self._note("uid", (), super().uid))

    def listdir(self, path: str) -> list[str]:
        """As `Host.listdir`."""
        return list(self._note("listdir", (path,), lambda: Host.listdir(self, path)))

    def glob(self, pattern: str) -> list[str]:
        """As `Host.glob`."""
        return list(self._note("glob", (pattern,), lambda: Host.glob(self, pattern)))

    def exists(self, path: str) -> bool:
        """As `Host.exists`."""
        return bool(self._note("exists", (path,), lambda: Host.exists(self, path)))

    def readlink(self, path: str) -> str:
        """As `Host.readlink`."""
        return str(self._note("readlink", (path,), lambda: Host.readlink(self, path)))

    def stat(self, path: str) -> dict[str, float]:
        """As `Host.stat`."""
        return dict(self._note("stat", (path,), lambda: Host.stat(self, path)))

    def remove(self, path: str) -> None:
        """As `Host.remove`: it is deleted."""
        self._note("remove", (path,), lambda: Host.remove(self, path))

    def netlink(self, family: int, kind: int, request: bytes, timeout: float = 2.0) -> list[bytes]:
        """As `Host.netlink`."""
        ask = lambda: Host.netlink(self, family, kind, request, timeout)  # noqa: E731
        show = lambda found: [payload.decode("latin-1") for payload in found]  # noqa: E731
        return list(self._note("netlink", (family, kind, request.decode("latin-1")), ask, show))

    def statvfs(self, path: str, may_hang: bool = False, timeout: float = 2.0) -> FileSystem:
        """As `Host.statvfs`."""
        found = self._note("statvfs", (path,), lambda: Host.statvfs(self, path, may_hang, timeout), FileSystem.fields)
        assert isinstance(found, FileSystem)
        return found

    def run(self, argv: Sequence[str], timeout: float = 10.0, input: bytes = b"") -> Answer:
        """As `Host.run`."""
        answer = self._note("run", tuple(argv), lambda: Host.run(self, argv, timeout, input), _show_answer)
        assert isinstance(answer, Answer)
        return answer

    def http(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 5.0,
    ) -> Answer:
        """As `Host.http`; the request's headers and body are not kept."""
        answer = self._note("http", (method, url), lambda: Host.http(self, url, method, headers, body, timeout), _show_answer)
        assert isinstance(answer, Answer)
        return answer

    def unix(self, path: str, timeout: float = 5.0) -> Stream:
        """As `Host.unix`; what is read is kept in order."""
        return self._talk("unix", path, lambda: Host.unix(self, path, timeout))

    def connect(self, address: str, timeout: float = 5.0) -> Stream:
        """As `Host.connect`; what is read is kept in order."""
        return self._talk("connect", address, lambda: Host.connect(self, address, timeout))

    def _talk(self, call: str, where: str, dial: Callable[[], Stream]) -> Stream:
        heard: list[str] = []
        stream = self._note(call, (where,), dial, lambda _: heard)
        return _RecordedStream(stream, heard)

    def save(self, directory: str) -> None:
        """Write what was read since the last `save` as a step, secrets as ***."""
        os.makedirs(directory, exist_ok=True)
        for path, data in self.files.items():
            target = os.path.join(directory, path.lstrip("/"))
            os.makedirs(os.path.dirname(target), exist_ok=True)
            with open(target, "wb") as file:
                file.write(self._redact(data.decode("latin-1")).encode("latin-1"))
        if self.calls:
            with open(os.path.join(directory, "calls.json"), "w") as out:
                out.write(self._redact(json.dumps(self.calls, indent=1)) + "\n")
        self._begin()

    def _redact(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***").replace(json.dumps(secret)[1:-1], "***")
        return text


class _RecordedStream(Stream):
    def __init__(self, real: Stream, heard: list[str]) -> None:
        self._real = real
        self._heard = heard
        self.deadline = real.deadline

    def fileno(self) -> int:
        return self._real.fileno()

    def close(self) -> None:
        self._real.close()

    def send(self, data: bytes) -> None:
        self._real.send(data)

    def exactly(self, count: int) -> bytes:
        return self._keep(self._real.exactly(count))

    def until(self, end: bytes) -> bytes:
        return self._keep(self._real.until(end))

    def rest(self) -> bytes:
        return self._keep(self._real.rest())

    def _keep(self, data: bytes) -> bytes:
        self._heard.append(data.decode("latin-1"))
        return data


def _show_answer(answer: Answer) -> dict[str, Any]:
    return {
        "status": answer.status,
        "body": answer.body.decode("latin-1"),
        "headers": {k: v for k, v in answer.headers.items() if k in ("content-type", "location")},
        "errors": answer.errors.decode("latin-1"),
    }


class Replay(Host):
    """A recorded step in place of the machine, at a moment of its own."""

    def __init__(self, directory: str, moment: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        super().__init__(directory)
        self._moment = moment
        self._wall = wall
        self._calls: dict[str, list[dict[str, Any]]] = {}
        try:
            with open(os.path.join(directory, "calls.json")) as file:
                calls = json.load(file)
        except FileNotFoundError:
            calls = []
        for call in calls:
            self._calls.setdefault(_key(call["call"], call["args"]), []).append(call)

    def _recall(self, call: str, args: Sequence[Any]) -> tuple[bool, Any]:
        """(True, the recorded answer) or (False, None); raises the recorded error."""
        found = self._calls.get(_key(call, args))
        if not found:
            return False, None
        entry = found.pop(0) if len(found) > 1 else found[0]
        if "error" in entry:
            raise ERRORS.get(entry["error"], OSError)(entry["message"])
        return True, entry["result"]

    def clock(self) -> float:
        """The step's moment."""
        return self._moment

    def time(self) -> float:
        """The step's wall-clock time."""
        return self._wall + self._moment

    def pid(self) -> int:
        """Always 1."""
        return 1

    def cpu_count(self) -> int:
        """What was recorded; 2 where nothing was."""
        known, count = self._recall("cpu_count", ())
        return int(count) if known else 2

    def uid(self) -> int:
        """What was recorded; a common user's where nothing was."""
        known, uid = self._recall("uid", ())
        return int(uid) if known else 1000

    def read_bytes(self, path: str) -> bytes:
        """The recorded file."""
        self._recall("read", (path,))
        return super().read_bytes(path)

    def listdir(self, path: str) -> list[str]:
        """The recorded listing, or the tree's."""
        known, names = self._recall("listdir", (path,))
        return list(names) if known else super().listdir(path)

    def glob(self, pattern: str) -> list[str]:
        """The recorded paths, or the tree's."""
        known, paths = self._recall("glob", (pattern,))
        return list(paths) if known else super().glob(pattern)

    def exists(self, path: str) -> bool:
        """What was recorded, or the tree's."""
        known, there = self._recall("exists", (path,))
        return bool(there) if known else super().exists(path)

    def readlink(self, path: str) -> str:
        """The recorded target, or the tree's."""
        known, target = self._recall("readlink", (path,))
        return str(target) if known else super().readlink(path)

    def stat(self, path: str) -> dict[str, float]:
        """What was recorded, or the tree's."""
        known, fields = self._recall("stat", (path,))
        return dict(fields) if known else super().stat(path)

    def remove(self, path: str) -> None:
        """Nothing, or the recorded error: a recording stays as it is."""
        self._recall("remove", (path,))

    def netlink(self, family: int, kind: int, request: bytes, timeout: float = 2.0) -> list[bytes]:
        """What was recorded; NoData where nothing was."""
        known, found = self._recall("netlink", (family, kind, request.decode("latin-1")))
        if not known:
            raise NoData("netlink was not recorded")
        return [payload.encode("latin-1") for payload in found]

    def statvfs(self, path: str, may_hang: bool = False, timeout: float = 2.0) -> FileSystem:
        """What was recorded; OSError where nothing was."""
        known, fields = self._recall("statvfs", (path,))
        if not known:
            raise OSError(f"statvfs of {path} was not recorded")
        return FileSystem(*fields)

    def run(self, argv: Sequence[str], timeout: float = 10.0, input: bytes = b"") -> Answer:
        """The recorded output; NoData where nothing was."""
        known, fields = self._recall("run", tuple(argv))
        if not known:
            raise NoData(f"{argv[0]} is not installed")
        return _answer(fields)

    def http(
        self,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout: float = 5.0,
    ) -> Answer:
        """The recorded answer; ConnectionRefusedError where nothing was."""
        known, fields = self._recall("http", (method, url))
        if not known:
            raise ConnectionRefusedError(f"{method} {url} was not recorded")
        return _answer(fields)

    def unix(self, path: str, timeout: float = 5.0) -> Stream:
        """The recorded conversation; NoData where there was none."""
        known, heard = self._recall("unix", (path,))
        if not known:
            raise NoData(f"{path} does not exist here")
        return _ReplayedStream(heard)

    def ready(self, streams: Iterable[Stream]) -> Iterator[Stream]:
        """All of them, in order."""
        return iter(streams)

    def connect(self, address: str, timeout: float = 5.0) -> Stream:
        """The recorded conversation; ConnectionRefusedError where there was none."""
        known, heard = self._recall("connect", (address,))
        if not known:
            raise ConnectionRefusedError(f"{address} was not recorded")
        return _ReplayedStream(heard)


class _ReplayedStream(Stream):
    def __init__(self, heard: Sequence[str]) -> None:
        self._heard = [h.encode("latin-1") for h in heard]

    def close(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        pass

    def _next(self) -> bytes:
        if not self._heard:
            raise ConnectionError("the peer hung up")
        return self._heard.pop(0)

    def exactly(self, count: int) -> bytes:
        return self._next()

    def until(self, end: bytes) -> bytes:
        return self._next()

    def rest(self) -> bytes:
        return self._next() if self._heard else b""


def _answer(fields: Mapping[str, Any]) -> Answer:
    return Answer(
        fields["status"], fields["body"].encode("latin-1"), fields.get("headers"), fields.get("errors", "").encode("latin-1")
    )


def _key(call: str, args: Sequence[Any]) -> str:
    return json.dumps([call, *args])
