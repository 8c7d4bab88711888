"""What a process tree uses: CPU exactly where a control group can be had, memory from smaps_rollup."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

CLOCK = os.sysconf("SC_CLK_TCK")
ROOTS = (Path("/sys/fs/cgroup/cpuacct"), Path("/sys/fs/cgroup"))


def _group() -> Path | None:
    """A new control group whose CPU is accounted: version 1's cpuacct, or any of version 2. None without the rights."""
    for root, there in zip(ROOTS, ("cpuacct.usage", "cgroup.controllers"), strict=True):
        if (root / there).exists():
            path = root / f"adamas-bench-{os.getpid()}-{time.monotonic_ns()}"
            try:
                path.mkdir()
                return path
            except OSError:
                pass
    return None


class Tree:
    """A started command with everything that it starts."""

    def __init__(self, argv: Sequence[str], directory: Path) -> None:
        self.group = _group()
        self.log = directory / "output.txt"
        enter = f"echo $$ > {self.group}/cgroup.procs || exit; " if self.group else ""
        self.started = time.monotonic()
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                ["sh", "-c", enter + 'exec "$@"', "sh", *argv],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    @property
    def exact(self) -> bool:
        """Whether the CPU is counted by the kernel, not sampled every 10 ms."""
        return self.group is not None

    def pids(self) -> list[int]:
        """The processes of the tree."""
        if self.group is not None:
            return [int(pid) for pid in (self.group / "cgroup.procs").read_text().split()]
        return [pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if self._session(pid) == self.process.pid]

    def cpu(self) -> float:
        """CPU seconds used so far."""
        if self.group is not None:
            usage = self.group / "cpuacct.usage"
            if usage.exists():
                return int(usage.read_text()) / 1e9
            return int((self.group / "cpu.stat").read_text().split()[1]) / 1e6
        return sum(sum(map(int, fields[11:15])) for pid in self.pids() if (fields := self._stat(pid))) / CLOCK

    def memory(self) -> tuple[float, float]:
        """(RSS, PSS) in MB."""
        totals = {"Rss:": 0, "Pss:": 0}
        for pid in self.pids():
            try:
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            for line in lines:
                words = line.split()
                if words[0] in totals:
                    totals[words[0]] += int(words[1])
        return totals["Rss:"] / 1024, totals["Pss:"] / 1024

    def stop(self) -> None:
        """End all of it."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        end = time.monotonic() + 5
        while self.pids() and time.monotonic() < end:
            self.process.poll()
            time.sleep(0.02)
        for pid in self.pids():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()
        while self.group is not None:
            try:
                self.group.rmdir()
                return
            except OSError:
                if time.monotonic() > end + 5:
                    return
                time.sleep(0.02)

    @staticmethod
    def _stat(pid: int) -> list[str]:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return []

    def _session(self, pid: int) -> int:
        fields = self._stat(pid)
        return int(fields[3]) if fields and fields[0] != "Z" else 0
