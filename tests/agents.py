"""A real agent in a process of its own, and a Graphite sink that can misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


class RunningAgent:
    """`adamas run` with this configuration; stopped by `stop`, killed at the latest when the test ends."""

    def __init__(
        self,
        folder: Path,
        config: str,
        env: dict[str, str] | None = None,
        name: str = "adamas.toml",
        confined: Sequence[str] = (),
        under: Sequence[str] = (),
    ) -> None:
        """`confined`: options of setpriv; `under`: what runs it, such as `ip netns exec NAME`."""
        self.folder = folder
        self.state = folder / "state"
        self.file = folder / name
        self.log = folder / "agent.log"
        self.write(config)
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    "setpriv",
                    "--pdeathsig",
                    "KILL",
                    *confined,
                    "--",
                    *under,
                    sys.executable,
                    "-m",
                    "adamas",
                    "run",
                    "-c",
                    str(self.file),
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, **(env or {})},
            )

    def write(self, config: str) -> None:
        """Another configuration; `{state}` stands for the state directory."""
        whole = self.file.with_suffix(".new")
        whole.write_text(config.replace("{state}", str(self.state)).replace("{folder}", str(self.folder)))
        whole.rename(self.file)  # the agent never sees half a file

    def status(self) -> dict[str, Any]:
        """What `adamas status` reads."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            sock.connect(str(self.state / "control"))
            answer: dict[str, Any] = json.loads(b"".join(iter(lambda: sock.recv(65536), b"")))
            return answer

    def collector(self, name: str) -> dict[str, Any]:
        """The status of one collector."""
        return next(c for c in self.status()["collectors"] if c["name"] == name)

    def output(self, name: str) -> dict[str, Any]:
        """The status of one output."""
        return next(o for o in self.status()["outputs"] if o["name"] == name)

    def wait(self, condition: Callable[[dict[str, Any]], Any], seconds: float = 10.0) -> dict[str, Any]:
        """The first status that fulfils the condition."""
        end = time.monotonic() + seconds
        status: dict[str, Any] = {}
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text()
            try:
                status = self.status()
            except (OSError, ValueError):
                time.sleep(0.02)
                continue
            if condition(status):
                return status
            time.sleep(0.02)
        raise AssertionError(f"not within {seconds} s: {json.dumps(status, indent=1)[:6000]}\n{self.log.read_text()[-3000:]}")

    def hup(self) -> None:
        """Ask it to read its configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """(exit code, seconds it took)."""
        began = time.monotonic()
        self.process.send_signal(number)
        code = self.process.wait(15)
        return code, time.monotonic() - began

    def end(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Sink:
    """Takes Graphite lines on a loopback port and keeps them: `stall`, `kill` and `restart` are its faults.

    `bound` makes its socket, bound to a port (0: any), where that is not on loopback; `timed`: it keeps when lines came, too.
    """

    def __init__(self, bound: Callable[[int], socket.socket] | None = None, timed: bool = False) -> None:
        self._bound = bound or _loopback
        self.timed = timed
        self.arrivals: list[tuple[str, str, float]] = []
        """Name, value and the time (wall) at which the line came."""
        self.accepted: list[float] = []
        """When (monotonic) connections came."""
        self.lines: list[tuple[str, str, int]] = []
        self.bad: list[str] = []
        self.stalled = False
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.port = 0
        self.restart()

    def __del__(self) -> None:
        """One that was killed lets its port go."""
        if self._listener is not None:
            self._listener.close()

    def restart(self) -> None:
        """Listen (again), on the same port."""
        listener = self._listener or self._bound(self.port)
        listener.listen(512)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with self._lock:
                self._connections.append(connection)
                self.accepted.append(time.monotonic())
            threading.Thread(target=self._read, args=(connection,), daemon=True).start()

    def _read(self, connection: socket.socket) -> None:
        rest = b""
        while True:
            while self.stalled:
                time.sleep(0.01)
            try:
                data = connection.recv(65536)
            except OSError:
                return
            if not data:
                connection.close()
                return
            now = time.time()
            *whole, rest = (rest + data).split(b"\n")
            for line in whole:
                parts = line.decode().split(" ")
                if len(parts) == 3 and parts[2].isdigit():
                    self.lines.append((parts[0], parts[1], int(parts[2])))
                    if self.timed:
                        self.arrivals.append((parts[0], parts[1], now))
                else:
                    self.bad.append(line.decode())

    def kill(self) -> None:
        """Vanish: connections are reset, whatever was not read is lost. Nobody else can take the port meanwhile."""
        assert self._listener is not None
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._listener = self._bound(self.port)
        with self._lock:
            for connection in self._connections:
                try:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    connection.shutdown(socket.SHUT_RD)
                    connection.close()
                except OSError:
                    pass
            self._connections.clear()

    def end(self) -> None:
        """Vanish for good: the port is let go."""
        self.kill()
        self._listener.close()

    def stamps(self, name: str) -> list[int]:
        """The times of a series, in the order in which they came."""
        return [stamp for path, _, stamp in list(self.lines) if path == name]


def _loopback(port: int) -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    return listener


def balanced(ledger: dict[str, Any]) -> bool:
    """The ledger's promise."""
    waiting = ledger["memory"] + ledger["flight"] + ledger["spool"]
    return bool(ledger["offered"] == ledger["delivered"] + waiting + sum(ledger["dropped"].values()))
