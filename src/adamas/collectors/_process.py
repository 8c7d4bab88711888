"""One process as /proc/<pid> has it: what it uses, and by which command it was started. Source: proc(5)."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container

    from adamas.host import Host
    from adamas.metric import Value

TICKS = 100
PAGE = os.sysconf("SC_PAGE_SIZE")
STATM = ("vms", "rss", "shared", "text", "lib", "data", "dirty")
MEMORY = {key: tuple([f"{key}.{what}" for what in STATM]) for key in ("memory_info_ex", "memory_info", "ext_memory_info")}
"""What psutil's versions call these sizes."""


class Usage:
    """What a process uses; `keys` say what is looked at.

    levels: memory (bytes), threads, open files; counters: CPU time (ticks), page faults, context switches, bytes of I/O;
    figures: the same as psutil calls it. What only root may see is left out for others.
    """

    __slots__ = ("counters", "figures", "levels")

    def __init__(self, host: Host, pid: str, stat: list[bytes], keys: Container[str], memory: int) -> None:
        user, system, threads = int(stat[11]), int(stat[12]), int(stat[17])
        self.levels: dict[str, int] = {"threads": threads}
        self.counters: dict[str, int] = {"user": user, "system": system, "minor": int(stat[7]), "major": int(stat[9])}
        self.figures: dict[str, Value] = {}
        folder = f"/proc/{pid}/"
        if "cpu_times" in keys:
            self.figures["cpu_times.user"], self.figures["cpu_times.system"] = user / TICKS, system / TICKS
        if "num_threads" in keys:
            self.figures["num_threads"] = threads
        # What /proc/<pid>/stat says of memory is late by some pages for each thread.
        text = host.read_bytes(folder + "statm")
        try:
            sizes = [int(count) * PAGE for count in text.split()]
        except ValueError:
            sizes = []
        if len(sizes) != len(STATM):
            raise ValueError(f"{folder}statm is not {len(STATM)} numbers: {text[:60]!r}")
        self.levels["virtual"], self.levels["resident"] = sizes[:2]
        if "memory_percent" in keys:
            self.figures["memory_percent"] = 100 * sizes[1] / memory
        for key, names in MEMORY.items():
            if key in keys:
                self.figures.update(zip(names, sizes))
        if "num_ctx_switches" in keys:
            self._status(host.read_bytes(folder + "status"))
        if "io_counters" in keys:
            self._io(host, folder)
        if "num_fds" in keys:
            try:
                self.levels["open_files"] = self.figures["num_fds"] = len(host.listdir(folder + "fd"))
            except PermissionError:
                pass

    def _status(self, status: bytes) -> None:
        voluntary, involuntary = field(status, b"\nvoluntary_ctxt_switches:"), field(status, b"\nnonvoluntary_ctxt_switches:")
        self.counters["voluntary"] = self.figures["num_ctx_switches.voluntary"] = voluntary
        self.counters["nonvoluntary"] = self.figures["num_ctx_switches.involuntary"] = involuntary
        self.levels["swapped"] = 1024 * field(status, b"\nVmSwap:")

    def _io(self, host: Host, folder: str) -> None:
        try:
            words = host.read_bytes(folder + "io").split()
        except PermissionError:
            return
        if len(words) >= 12:
            figures = self.figures
            figures["io_counters.read_count"], figures["io_counters.write_count"] = int(words[5]), int(words[7])
            self.counters["read"] = figures["io_counters.read_bytes"] = int(words[9])
            self.counters["write"] = figures["io_counters.write_bytes"] = int(words[11])


def field(status: bytes, name: bytes) -> int:
    """A number of /proc/<pid>/status; 0 where it is not there."""
    at = status.find(name)
    return int(status[at + len(name) :].split(None, 1)[0]) if at >= 0 else 0


def command_line(host: Host, pid: str) -> str:
    """The words that a process was started with; nothing where it has none (a thread of the kernel) or has ended."""
    try:
        data = host.read_bytes(f"/proc/{pid}/cmdline")
    except OSError:
        return ""
    return data.removesuffix(b"\0").replace(b"\0", b" ").decode("utf-8", "replace")


def uptime_of(host: Host) -> float:
    """Seconds since the machine started."""
    text = host.read("/proc/uptime")
    try:
        up, _ = map(float, text.split())
    except ValueError:
        raise ValueError(f"/proc/uptime is not two numbers: {text[:60]!r}") from None
    return up


def memory_of(host: Host) -> int:
    """Bytes of the machine's memory."""
    text = host.read("/proc/meminfo")
    words = text.split(None, 2)
    if len(words) < 2 or words[0] != "MemTotal:" or not words[1].isdigit():
        raise ValueError(f"/proc/meminfo does not begin with MemTotal: {text[:60]!r}")
    return 1024 * int(words[1])
