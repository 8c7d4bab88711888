"""Children that can be killed: for isolated collectors, and for file systems that can hang.

A worker host is one small single-threaded process, started when the first child is wanted. It forks a child for each
request and gives it one end of a socket; the agent holds the other. Frames are a length (u32, big-endian) and JSON. When a
child ends, the host says how on that socket, and the socket closes: so an end of file means that the child is gone. A child
that SIGKILL does not end (state D: a dead mount) is abandoned, and asked no more until its end of file comes.

When the agent goes, the host's control socket closes: it kills its children and goes too.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import sys
import threading
import time
from itertools import count

from adamas import log
from adamas.errors import DeliveryError, NoData, Rejected, Retry
from adamas.host import Host
from adamas.metric import SURPLUS, Spelled, Stamped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from adamas.collector import Collector
    from adamas.metric import Declaration, Sample, Series
    from adamas.output import Output

MOST_FRAME = 64 << 20
KILL_PATIENCE = 2.0
START_PATIENCE = 10.0
"""Seconds for a child to be there, which its runs' deadline does not count."""
ANSWER_PATIENCE = 0.2
END_PATIENCE = 1.0
IDLE = 0.25
"""Seconds until a child looks at what its plugin forked, where there is something; then ever longer."""
MOST_CHILDREN = 256
MOST_SHAPES = 64
SHARED = ("adamas.pipeline", "adamas.registry")


class ChildGone(Exception):
    """The child ended; the message says how."""


def send_frame(sock: socket.socket, message: Any) -> None:
    """One frame out."""
    import json  # here and below: an agent without children does not need it

    data = json.dumps(message, separators=(",", ":"), default=str).encode()
    sock.sendall(struct.pack(">I", len(data)) + data)


class FrameReader:
    """Frames in, with a deadline each."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._buffer = bytearray()

    def read(self, deadline: float | None) -> Any:
        """The next frame; TimeoutError at the deadline (monotonic), ChildGone at the end of file."""
        import json

        header = self._exactly(4, deadline)
        (length,) = struct.unpack(">I", header)
        if length > MOST_FRAME:
            raise ChildGone(f"the child announced a frame of {length} bytes")
        try:
            return json.loads(self._exactly(length, deadline))
        except ValueError:
            raise ChildGone("the child ended in the middle of a frame") from None

    def _exactly(self, count: int, deadline: float | None) -> bytes:
        while len(self._buffer) < count:
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise TimeoutError
                self._socket.settimeout(left)
            else:
                self._socket.settimeout(None)
            try:
                data = self._socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                raise ChildGone("the child is gone")
            self._buffer += data
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken


class Child:
    """The agent's end of one child."""

    def __init__(self, worker: Worker, number: int, sock: socket.socket) -> None:
        self._worker = worker
        self._number = number
        self._socket = sock
        self._reader = FrameReader(sock)
        self.abandoned = False

    def ask(self, request: Any, deadline: float) -> Any:
        """One request, one answer; TimeoutError, or ChildGone when the child ended."""
        self._socket.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            send_frame(self._socket, request)
        except TimeoutError:
            raise
        except OSError:
            raise ChildGone(self._last_words()) from None
        return self.answer(deadline)

    def answer(self, deadline: float) -> Any:
        """The next frame from the child."""
        reply = self._reader.read(deadline)
        if isinstance(reply, dict) and "exit" in reply:
            raise ChildGone(reply["exit"])
        return reply

    def _last_words(self) -> str:
        try:
            reply = self._reader.read(time.monotonic() + ANSWER_PATIENCE)
            return str(reply.get("exit", "the child is gone"))
        except (TimeoutError, ChildGone, AttributeError):
            return "the child is gone"

    def kill(self, patience: float = KILL_PATIENCE) -> bool:
        """End the child; False where even SIGKILL does not: it is abandoned then, until `gone` says otherwise."""
        self._worker.command({"kill": self._number})
        self.abandoned = not self._wait_gone(patience)
        return not self.abandoned

    def gone(self) -> bool:
        """Whether an abandoned child has ended after all."""
        return self._wait_gone(0.0)

    def _wait_gone(self, patience: float) -> bool:
        deadline = time.monotonic() + patience
        while True:
            try:
                self._socket.settimeout(max(0.001, deadline - time.monotonic()))
                if not self._socket.recv(65536):
                    return True
            except (TimeoutError, BlockingIOError):
                if time.monotonic() >= deadline:
                    return False
            except OSError:
                return True

    def close(self) -> None:
        """Let go: the child reads an end of file and ends; one that does not is killed."""
        self._socket.close()
        self._worker.command({"kill": self._number})


class Worker:
    """The agent's side of the worker host; started with the first child."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._control: socket.socket | None = None
        self._process: Any = None
        self._count = 0
        self._stuck: dict[str, Child] = {}
        self._askers: dict[str, Child] = {}
        self._mounts = threading.Lock()

    def _start(self) -> socket.socket:
        import subprocess

        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "adamas.worker", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        return ours

    def command(self, message: Any, fds: Sequence[int] = ()) -> None:
        """Tell the host; it is started again if it is gone."""
        import json

        data = json.dumps(message).encode()
        frame = struct.pack(">I", len(data)) + data
        with self._lock:
            for fresh in (False, True):
                if self._control is None or fresh:
                    if not fds:
                        return  # nothing to kill in a host that is not there
                    if self._control is not None:
                        self._control.close()
                        self._process.wait()
                    self._control = self._start()
                try:
                    socket.send_fds(self._control, [frame[:4]], list(fds))
                    self._control.sendall(frame[4:])
                    return
                except OSError:
                    if not fds:
                        return
        raise ChildGone("the worker host cannot be started")

    def child(self, request: dict[str, Any]) -> Child:
        """A new child for this kind of work: see `_serve`."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._count += 1
            number = self._count
            self.command({"spawn": number, **request}, [theirs.fileno()])
        return Child(self, number, ours)

    def ask(self, call: str, path: str, timeout: float) -> Any:
        """One answer about a path that may hang, from a child that is kept for it; TimeoutError when it hangs.

        At most one child hangs on a path: while it does, asking again fails at once.
        """
        with self._mounts:
            stuck = self._stuck.get(path)
            if stuck is not None:
                if not stuck.gone():
                    raise TimeoutError(f"{path} hangs since before")
                del self._stuck[path]
            child = self._askers.pop(path, None)
        deadline = time.monotonic() + timeout
        if child is None:
            child = self.child({"kind": "calls"})
        try:
            reply = child.ask({"call": call, "path": path}, deadline)
        except TimeoutError:
            if not child.kill(ANSWER_PATIENCE):
                with self._mounts:
                    self._stuck[path] = child
            raise TimeoutError(f"{path} hangs") from None
        except ChildGone as gone:
            child.close()
            raise OSError(f"{path} could not be asked: the child {gone}") from None
        with self._mounts:
            self._askers[path] = child
        if "error" in reply:
            raise OSError(reply["errno"], reply["error"], path)
        return reply["result"]

    def stop(self) -> None:
        """End the host and all children."""
        with self._lock:
            if self._control is not None:
                self._control.close()
                self._control = None
                try:
                    self._process.wait(2)
                except Exception:
                    self._process.kill()


class Isolated:
    """A collector that runs in a child: stands in its place before the runner and gives the samples that the child sends."""

    def __init__(self, collector: Collector, worker: Worker, origin: str, values: dict[str, Any]) -> None:
        self._collector = collector
        self._worker = worker
        self._request = {
            "kind": "collector",
            "origin": origin,
            "module": type(collector).__module__,
            "class": type(collector).__qualname__,
            "options": values,
            "instance": collector.instance,
            "root": collector.host.root,
            "memory": collector.memory_limit,
            "prefix": collector.host.prefix,
            "preload": collector.preload,
        }
        self._child: Child | None = None
        self._shapes: dict[int, tuple[Series, ...]] = {}
        self._described: dict[str, Any] = {}

    def collect(self) -> Iterator[Sample]:
        """Have the child collect once. Raises what it raised; past the deadline it is killed and TimeoutError raised."""
        collector = self._collector
        if self._child is not None and self._child.abandoned:
            if not self._child.gone():
                raise TimeoutError("its child cannot be killed: it hangs in the kernel")
            self._forget()
        limit = collector.deadline or collector.interval
        try:
            if self._child is None:
                self._child = self._worker.child(self._request)
                self._child.answer(time.monotonic() + START_PATIENCE)
            reply = self._child.ask({"elapsed": collector.elapsed}, time.monotonic() + limit)
        except TimeoutError:
            if self._child is not None and self._child.kill():
                self._forget()
            raise TimeoutError(f"its child took longer than {limit:g} s and was killed") from None
        except ChildGone as gone:
            self._forget()
            raise RuntimeError(f"its child {gone}") from None
        _repeat_log(reply)
        if reply.get("ends"):
            self._forget()
        if reply.get("no_data"):
            raise NoData(reply["no_data"])
        if reply.get("error"):
            raise RuntimeError(reply["error"])
        if reply.get("forget"):
            self._shapes.clear()
        for number, series in reply["new"]:
            self._shapes[number] = tuple([self._series(*described) for described in series])
        collector.catalog.refused += reply["surplus"]
        yield self._shapes[reply["shape"]], reply["values"]
        for stamp, shape, values in reply["stamped"]:
            yield Stamped(stamp, self._shapes[shape]), values

    def _series(self, name: str, labels: list[str], dynamic: dict[str, Any] | None) -> Series:
        collector = self._collector
        declaration = collector.declarations.get(name)
        if declaration is None:
            if self._described.setdefault(name, dynamic) != dynamic:
                collector.undeclare(name)
                self._described[name] = dynamic
            declaration = collector.metric(name, **_declaration(dict(dynamic or {}))).declaration
        return collector.catalog.resolve(declaration, labels)

    def _forget(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None
        self._shapes.clear()

    def close(self) -> None:
        """End the child."""
        self._forget()


def isolate(collector: Collector, worker: Worker, origin: str, values: dict[str, Any]) -> None:
    """Have this collector collect in a child from now on."""
    isolated = Isolated(collector, worker, origin, values)
    collector.collect = isolated.collect  # type: ignore[method-assign]
    collector.close = isolated.close  # type: ignore[method-assign]


def _describe(series: Series, declared: dict[str, Declaration]) -> list[Any]:
    """A series for a frame: its declaration's name and labels, and the declaration itself where it was made at run time."""
    d = series.declaration
    if d.name in declared:
        return [d.name, list(series.labels), None]
    spelled: dict[str, list[Any] | None] = {}
    for naming, s in d.spelled.items():
        name = s.name.text if s is not None and s.name is not None else None
        how = None if s is None else [s.conversion, s.scale, s.precision, s.kind, s.rename, sorted(s.drop), s.complete]
        spelled[naming] = how and [name, *how]
    about = {"kind": d.kind, "unit": d.unit, "help": d.help, "template": d.template.text, "spelled": spelled}
    return [d.name, list(series.labels), about]


def _declaration(fields: dict[str, Any]) -> dict[str, Any]:
    spelled = {
        naming: None
        if s is None
        else Spelled(s[0], conversion=s[1], scale=s[2], precision=s[3], kind=s[4], rename=s[5], drop=s[6], complete=s[7])
        for naming, s in fields.pop("spelled", {}).items()
    }
    return {**fields, **spelled}


class IsolatedOutput:
    """An output that sends from a child: stands in its place before the sender."""

    def __init__(self, output: Output, worker: Worker, origin: str, values: dict[str, Any]) -> None:
        self._output = output
        self._worker = worker
        self._request = {
            "kind": "output",
            "origin": origin,
            "module": type(output).__module__,
            "class": type(output).__qualname__,
            "options": values,
            "instance": output.instance,
            "memory": output.memory_limit,
            "preload": output.preload,
        }
        self._child: Child | None = None

    def open(self) -> None:
        """Have a child; Retry where the one before cannot be killed."""
        if self._child is not None and self._child.abandoned:
            if not self._child.gone():
                raise Retry("its child cannot be killed: it hangs in the kernel")
            self._forget()
        if self._child is not None:
            return
        try:
            self._child = self._worker.child(self._request)
            self._child.answer(time.monotonic() + START_PATIENCE)
        except TimeoutError:
            if self._child is not None and self._child.kill():
                self._forget()
            raise Retry("its child did not start") from None
        except ChildGone as gone:
            self._forget()
            raise Retry(f"its child {gone}") from None

    def send(self, payload: bytes) -> None:
        """Have the child open and send. Past the timeout it is killed; Retry then, and where it ended or says so."""
        limit = self._output.timeout
        assert self._child is not None
        try:
            reply = self._child.ask({"send": payload.decode("latin-1")}, time.monotonic() + limit)
        except TimeoutError:
            if self._child.kill():
                self._forget()
            raise Retry(f"its child took longer than {limit:g} s and was killed") from None
        except ChildGone as gone:
            self._forget()
            raise Retry(f"its child {gone}") from None
        _repeat_log(reply)
        if reply.get("ends"):
            self._forget()
        if "rejected" in reply:
            raise Rejected(reply["rejected"], reply["points"])
        if "error" in reply:
            raise Retry(reply["error"], reply.get("after", 0.0))

    def close(self) -> None:
        """End the child: the next one begins anew."""
        if self._child is not None and not self._child.abandoned:
            self._forget()

    def _forget(self) -> None:
        if self._child is not None:
            self._child.close()
        self._child = None


def isolate_output(output: Output, worker: Worker, origin: str, values: dict[str, Any]) -> None:
    """Have this output send from a child from now on."""
    isolated = IsolatedOutput(output, worker, origin, values)
    output.open = isolated.open  # type: ignore[method-assign]
    output.send = isolated.send  # type: ignore[method-assign]
    output.close = isolated.close  # type: ignore[method-assign]


def _repeat_log(reply: dict[str, Any]) -> None:
    """What the child had to say, in the agent's own log."""
    for level, who, message in reply.get("log", ()):
        log.say(level, who, message, "said by its child")


# In the worker host and its children


def main() -> None:
    """The worker host: `python -m adamas.worker FD`."""
    _host(socket.socket(fileno=int(sys.argv[1])))


def _host(control: socket.socket) -> None:
    import gc
    import json
    import signal

    wake, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the agent's business
    signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
    _prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: what a child leaves behind comes here, and is reaped
    gc.collect()
    gc.freeze()
    children: dict[int, tuple[int, socket.socket]] = {}
    numbers: dict[int, int] = {}
    poll = select.poll()
    poll.register(control, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        events = dict(poll.poll())
        if wake in events:
            os.read(wake, 4096)
            _reap(children, numbers)
        if control.fileno() in events:
            try:
                header, fds, _, _ = socket.recv_fds(control, 4, 4)
            except OSError:
                header, fds = b"", []
            if len(header) < 4:
                _end(children)
                os._exit(0)
            (length,) = struct.unpack(">I", header)
            message = json.loads(_all(control, length))
            if "kill" in message:
                pid = numbers.get(message["kill"])
                if pid is not None:
                    _kill(pid)
                continue
            sock = socket.socket(fileno=fds[0])
            if message.get("module"):
                _preload([*message["preload"], *SHARED, *([] if message["origin"] else [message["module"]])])
            if len(children) >= MOST_CHILDREN:
                send_frame(sock, {"exit": f"was refused: {MOST_CHILDREN} children are there"})
                sock.close()
                continue
            pid = os.fork()
            if pid == 0:
                _become_child(sock, message, [control, *[s for _, s in children.values()]], [wake, alarm])
            children[pid] = (message["spawn"], sock)
            numbers[message["spawn"]] = pid


def _preload(modules: Sequence[str]) -> None:
    """Import what children share, before they are forked: it costs its time and memory once."""
    import gc

    for name in modules:
        if name not in sys.modules:
            try:
                __import__(name)
            except Exception:
                pass  # the child finds out, and says so
            gc.freeze()


def _all(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            os._exit(0)
        data += part
    return data


def _kill(pid: int) -> None:
    for end in (os.killpg, os.kill):
        try:
            end(pid, 9)
        except (ProcessLookupError, PermissionError):
            pass


def _reap(children: dict[int, tuple[int, socket.socket]], numbers: dict[int, int]) -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        if pid not in children:
            continue
        try:
            os.killpg(pid, 9)  # what the child left behind in its group
        except (ProcessLookupError, PermissionError):
            pass
        number, sock = children.pop(pid)
        numbers.pop(number, None)
        code = os.waitstatus_to_exitcode(status)
        words = f"was ended by signal {-code}" if code < 0 else f"exited with status {code}"
        sock.setblocking(False)
        try:
            send_frame(sock, {"exit": words})
        except OSError:
            pass
        sock.close()


def _end(children: dict[int, tuple[int, socket.socket]]) -> None:
    """Kill the children and all that they left behind, wherever it fled to, and reap it: nothing of ours stays."""
    for pid in children:
        _kill(pid)
    end = time.monotonic() + END_PATIENCE
    while time.monotonic() < end:
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return
        for pid in _children():
            _kill(pid)
        time.sleep(0.002)


def _children() -> list[int]:
    """The children of this process, orphans that came to it among them; none where the kernel has no such list."""
    try:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []


def _become_child(sock: socket.socket, message: dict[str, Any], others: list[socket.socket], pipes: list[int]) -> None:
    import signal

    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGCHLD, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        for other in others:
            other.close()
        for pipe in pipes:
            os.close(pipe)
        _die_with_parent()
        null = os.open(os.devnull, os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        if message.get("memory"):
            import resource

            resource.setrlimit(resource.RLIMIT_AS, (message["memory"], message["memory"]))
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _serve(sock, message)
    except (ChildGone, BrokenPipeError, ConnectionError):
        os._exit(0)
    except BaseException:
        os._exit(70)
    os._exit(0)


def _die_with_parent() -> None:
    _prctl(1, 9)  # PR_SET_PDEATHSIG, SIGKILL: also when the host itself is killed


def _prctl(option: int, argument: int) -> None:
    import ctypes

    ctypes.CDLL(None).prctl(option, argument)


def _serve(sock: socket.socket, message: dict[str, Any]) -> None:
    reader = FrameReader(sock)
    if message["kind"] == "calls":
        while True:
            request = reader.read(None)
            send_frame(sock, _call(request["call"], request["path"]))
    said: list[tuple[str, str, str]] = []
    log.diverted = said
    try:
        run = (_sending if message["kind"] == "output" else _collecting)(message)
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        run = lambda _: {"error": words}  # noqa: E731
    send_frame(sock, {})
    dead: set[int] = set()
    while True:
        dead = _idle(sock, dead)
        request = reader.read(None)
        try:
            reply = run(request)
        except MemoryError:
            reply = {"error": "reached the limit of its memory; its child is made anew", "ends": True}
        if said:
            reply["log"] = said[:]
            said.clear()
        send_frame(sock, reply)
        if reply.get("ends"):
            return


def _plugin(message: dict[str, Any]) -> Any:
    """The class that a request names."""
    from adamas.registry import load

    found: Any = load(message["module"], message["origin"])
    for part in message["class"].split("."):
        found = getattr(found, part)
    return found


def _sending(message: dict[str, Any]) -> Any:
    output = _plugin(message)(message["options"], message["instance"])

    def run(request: dict[str, Any]) -> dict[str, Any]:
        try:
            output.open()
            output.send(request["send"].encode("latin-1"))
        except Rejected as error:
            return {"rejected": str(error), "points": error.points}
        except MemoryError:
            raise
        except Exception as error:
            known = isinstance(error, (OSError, DeliveryError)) and str(error)
            words = str(error) if known else f"{type(error).__name__}: {error}"
            return {"error": words[:2000], "after": getattr(error, "after", 0.0)}
        return {}

    return run


def _call(call: str, path: str) -> dict[str, Any]:
    from adamas.host import file_system

    assert call == "statvfs"
    try:
        return {"result": file_system(path).fields()}
    except OSError as error:
        return {"error": error.strerror, "errno": error.errno}


def _idle(sock: socket.socket, dead: set[int]) -> set[int]:
    """Wait until there is a request. What a plugin forked and left dead is reaped meanwhile, never during its run."""
    wait = IDLE
    while _children() and not select.select([sock], [], [], wait)[0]:
        dead = _bury(dead)
        wait = min(2.0, 1.5 * wait)
    return dead


def _bury(before: set[int]) -> set[int]:
    """Reap what was dead before and is not waited for by its owner. Returns who else is dead."""
    dead = set()
    try:
        for pid in _children():
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    dead.add(pid)
        for child in dead & before:
            os.waitpid(child, os.WNOHANG)
    except OSError:
        pass  # its owner has just waited for it
    return dead - before


def _collecting(message: dict[str, Any]) -> Any:
    from adamas.pipeline import Intake

    host = Host(message["root"])
    host.prefix = tuple(message["prefix"])
    collector = _plugin(message)(host, message["options"], message["instance"])
    intake = Intake(collector)
    known: dict[tuple[Series, ...], int] = {}
    numbers = count()

    def shape_of(series: tuple[Series, ...], new: list[Any]) -> int:
        if series not in known:
            known[series] = next(numbers)
            new.append([known[series], [_describe(s, collector.declarations) for s in series]])
        return known[series]

    def run(request: dict[str, Any]) -> dict[str, Any]:
        collector.elapsed = request["elapsed"]
        try:
            series, values = intake.gather()
        except NoData as error:
            return {"no_data": str(error) or "no data"}
        except MemoryError:
            raise
        except Exception as error:
            return {"error": f"{type(error).__name__}: {error}"[:2000]}
        kept = [(s, v) for s, v in zip(series, values) if s is not SURPLUS]
        surplus = len(series) - len(kept) + intake.removed.pop("surplus", 0)
        new: list[Any] = []
        reply: dict[str, Any] = {"values": [v for _, v in kept], "surplus": surplus, "new": new}
        if len(known) >= MOST_SHAPES:
            known.clear()
            reply["forget"] = True
        key = tuple([s for s, _ in kept])
        reply["shape"] = shape_of(key, new)
        reply["stamped"] = [[stamp, shape_of(others, new), list(theirs)] for stamp, others, theirs in intake.stamped]
        if collector.catalog.full:
            collector.sweep(key)
            known.clear()
        return reply

    return run


if __name__ == "__main__":
    main()
