"""What chosen processes use: CPU time, memory, I/O, threads, open files, context switches. From /proc/<pid>, proc(5).

Processes belong together under a name when one of its regular expressions is found in their program (`exe`), their name
(`name`) or their command line (`cmdline`), or when they are the agent itself (`selfmon`). A process can belong to several names.
Each process is looked at once a run, for 10 to 15 us, and in full only where it belongs to a name. Without root (or
CAP_SYS_PTRACE) the program, the I/O and the open files of other users' processes cannot be seen and are left out.

Counters of a name go on when its processes are replaced: each process adds what it has used since the run before, or since its
start. What a process uses between the last run and its end is not seen. Context switches are those of the main threads. The
kernel adds the I/O of a child that has ended to its parent's; what was counted as the child's is not counted again.

Prometheus names are those of process-exporter. In Diamond's spelling the processes' own figures are added up, as psutil gave
them; `cpu_percent` is 100 for one CPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, NoData, Otel, Raw, Sample, log, option
from adamas.collectors._process import TICKS, Usage, command_line, memory_of, uptime_of
from adamas.option import parse_bool, suggest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host
    from adamas.metric import Value

KERNEL_THREAD = 0x00200000
COMM = 15
"""A name in /proc/<pid>/stat is cut at so many bytes."""
FOREVER = float("inf")
LOOK_AGAIN = 60.0
"""Seconds after which a process's program and command line are looked at again, or its age, where that is less."""

INFO_KEYS = ["num_ctx_switches", "cpu_percent", "cpu_times", "io_counters", "num_threads", "num_fds"]
INFO_KEYS += ["memory_percent", "memory_info_ex"]
RULES = ("exe", "name", "cmdline")
KEYS = (*RULES, "selfmon", "count_workers")
MODES, KINDS, FAULTS, WAYS = ["user", "system"], ["voluntary", "nonvoluntary"], ["minor", "major"], ["read", "write"]

LABEL = {"process": "groupname"}


class Watched:
    """A name, what belongs to it, and what its processes have used in all."""

    __slots__ = ("count", "count_workers", "cpu", "figures", "io", "levels", "name", "oldest", "rules", "selfmon", "totals")

    def __init__(self, name: str, about: object) -> None:
        if not isinstance(about, dict):
            raise ValueError(f'process.{name}: expected a table, such as {{name = "^postgres"}}, not {about!r}')
        self.name = name
        self.rules: dict[str, list[re.Pattern[str]]] = {}
        for key, value in about.items():
            if key not in KEYS:
                raise ValueError(f'process.{name}: there is no "{key}"{suggest(key, KEYS)}; it has {", ".join(KEYS)}')
            if key in RULES:
                try:
                    self.rules[key] = [re.compile(one) for one in (value if isinstance(value, list) else [value])]
                except (re.error, TypeError) as error:
                    raise ValueError(
                        f"process.{name}: {key}: expected a regular expression or some, not {value!r}: {error}"
                    ) from None
        try:
            self.selfmon = parse_bool(about.get("selfmon", False))
            self.count_workers = parse_bool(about.get("count_workers", False))
        except ValueError as error:
            raise ValueError(f"process.{name}: selfmon, count_workers: expected {error}") from None
        if not self.selfmon and not any(self.rules.values()):
            raise ValueError(f"process.{name}: expected one of {', '.join(RULES)} or selfmon")
        self.totals: dict[str, int] = {}
        self.begin()

    def begin(self) -> None:
        """A new run."""
        self.count = 0
        self.cpu = 0
        self.oldest = 0.0
        self.levels = {"resident": 0, "virtual": 0, "swapped": 0, "threads": 0, "open_files": 0}
        self.figures: dict[str, Value] = {}


class Process:
    """A process: whose it is, when that is decided anew, its parent, and its counters in the last run."""

    __slots__ = ("again", "comm", "last", "parent", "start", "watched")

    def __init__(self, start: bytes) -> None:
        self.start = start
        self.comm = b""
        self.again = 0.0
        self.parent = ""
        self.watched: list[Watched] = []
        self.last: dict[str, int] | None = None


class ProcessResources(Collector):
    """What chosen processes use of the machine, added up by name."""

    name = "processresources"
    path = "process"
    diamond = "ProcessResourcesCollector"
    needs = ("/proc", "root (or CAP_SYS_PTRACE), for programs, I/O and open files of other users' processes")

    process: dict[str, Any] = option(
        {},
        "The names, each a table of regular expressions (exe, name, cmdline: one or a list), selfmon and count_workers: "
        '{postgres = {exe = "/postgres$", count_workers = true}}',
    )
    info_keys: list[str] = option(
        INFO_KEYS, "What is measured, as psutil called it", choices=(*INFO_KEYS, "memory_info", "ext_memory_info")
    )
    unit: str = option("B", "Has no effect: as in Diamond, which published bytes whatever it said")

    processes = Gauge(
        "{process}.processes",
        "Processes now",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_num_procs", rename=LABEL),
        otel=Otel("process.count", process="process.group"),
    )
    cpu_time = Counter(
        "{process}.cpu.{mode}",
        "CPU time",
        unit="s",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_cpu_seconds_total", rename=LABEL),
        otel=Otel("process.cpu.time", process="process.group", mode="cpu.mode"),
    )
    memory = Gauge(
        "{process}.memory.{kind}",
        "Memory, added up: what is shared between processes counts in each",
        unit="By",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_memory_bytes", rename={**LABEL, "kind": "memtype"}),
        otel=Raw("process.memory.{kind}", rename={"process": "process.group"}, values={"kind": {"resident": "usage"}}),
    )
    threads = Gauge(
        "{process}.threads",
        "Threads",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_num_threads", rename=LABEL),
        otel=Otel("process.thread.count", process="process.group"),
    )
    open_files = Gauge(
        "{process}.open_files",
        "Open file descriptors",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_open_filedesc", rename=LABEL),
        otel=Otel("process.unix.file_descriptor.count", process="process.group"),
    )
    io = Counter(
        "{process}.{direction}_bytes",
        "Bytes that reached or came from the disk",
        unit="By",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_{direction}_bytes_total", rename=LABEL),
        otel=Otel("process.disk.io", process="process.group", direction="disk.io.direction"),
    )
    context_switches = Counter(
        "{process}.context_switches.{kind}",
        "Context switches",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_context_switches_total", rename={**LABEL, "kind": "ctxswitchtype"}),
        otel=Raw(
            "process.context_switches",
            rename={"process": "process.group", "kind": "process.context_switch.type"},
            values={"kind": {"nonvoluntary": "involuntary"}},
        ),
    )
    page_faults = Counter(
        "{process}.page_faults.{kind}",
        "Page faults; major ones waited for a disk",
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_{kind}_page_faults_total", rename=LABEL),
        otel=Otel("process.paging.faults", process="process.group", kind="system.paging.fault.type"),
    )
    uptime = Gauge(
        "{process}.uptime",
        "Age of the oldest process",
        unit="s",
        diamond=None,
        prometheus=None,
        otel=Otel("process.uptime", process="process.group"),
    )
    started = Gauge(
        "{process}.started",
        "When the oldest process started, in seconds since 1970",
        unit="s",
        path=None,
        diamond=None,
        prometheus=Raw("namedprocess_namegroup_oldest_start_time_seconds", rename=LABEL),
        otel=None,
    )
    figure = Gauge(
        "{process}.{figure}",
        "A figure of `info_keys`, added up, as Diamond gave it",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._watched = [Watched(name, about) for name, about in self.process.items()]
        self._needed = {rule for watched in self._watched for rule in watched.rules}
        self._keys = frozenset(self.info_keys)
        self._known: dict[str, Process] = {}
        self._before = 0.0
        self._memory = 0
        self._blind = False

    def collect(self) -> Iterator[Sample]:
        if not self._watched:
            raise NoData("`process` names no process")
        host, known = self.host, self._known
        uptime = uptime_of(host)
        self._memory = self._memory or memory_of(host)
        for watched in self._watched:
            watched.begin()
        pids = [name for name in host.listdir("/proc") if name.isdigit()]
        self._bury(known.keys() - pids)
        for pid in pids:
            try:
                data = host.read_bytes(f"/proc/{pid}/stat")
            except (FileNotFoundError, ProcessLookupError):
                continue
            end = data.rfind(b")")
            fields = data[end + 2 :].split(b" ", 22)
            if len(fields) < 23:
                raise ValueError(f"/proc/{pid}/stat is not as proc(5) has it: {data[:100]!r}")
            process = known.get(pid)
            if process is None or process.start != fields[19]:
                process = known[pid] = Process(fields[19])
            comm = data[data.find(b"(") + 1 : end]
            if comm != process.comm or uptime >= process.again:
                self._decide(pid, process, comm, uptime, int(fields[6]))
            if process.watched:
                self._measure(pid, process, fields, uptime)
        before, self._before = self._before, uptime
        now = host.time()
        for watched in self._watched:
            yield from self._samples(watched, now, uptime - before if before else 0.0)

    def _bury(self, gone: set[str]) -> None:
        """Forget processes that have ended. What was counted of their I/O now is in their parents' and must not count again."""
        dead = {pid: self._known.pop(pid) for pid in gone}
        for process in dead.values():
            heir = process.parent
            while heir in dead:
                heir = dead[heir].parent
            counted = self._known[heir].last if heir in self._known else None
            if process.last and counted:
                for way in WAYS:
                    if way in process.last and way in counted:
                        counted[way] += process.last[way]

    def _decide(self, pid: str, process: Process, comm: bytes, uptime: float, flags: int) -> None:
        """Find the names that a process belongs to."""
        process.comm = comm
        name = comm.decode("utf-8", "replace")
        program = line = ""
        if "cmdline" in self._needed or len(comm) >= COMM:
            line = command_line(self.host, pid)
            whole = line.split(" ", 1)[0].rpartition("/")[2]
            if len(comm) >= COMM and whole.startswith(name):
                name = whole
        if "exe" in self._needed:
            try:
                program = self.host.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
            except PermissionError:
                if not self._blind and not flags & KERNEL_THREAD:
                    self._blind = True
                    log.warning(self.instance, "exe: no permission to see the programs of other users' processes")
            except OSError:
                pass  # it has none (a thread of the kernel), or is gone
        texts = {"exe": program, "name": name, "cmdline": line}
        own = int(pid) == self.host.pid()
        process.watched = [
            w
            for w in self._watched
            if (own and w.selfmon) or any(p.search(texts[rule]) for rule, patterns in w.rules.items() for p in patterns)
        ]
        # A young process may be about to become another program, without another name.
        age = max(0.0, uptime - int(process.start) / TICKS)
        process.again = uptime + min(LOOK_AGAIN, age) if self._needed - {"name"} else FOREVER

    def _measure(self, pid: str, process: Process, stat: list[bytes], uptime: float) -> None:
        """Add what a process uses to the names that it belongs to."""
        try:
            usage = Usage(self.host, pid, stat, self._keys, self._memory)
        except (FileNotFoundError, ProcessLookupError, NoData):
            return  # it has ended
        age = usage.figures["uptime"] = max(0.0, uptime - int(process.start) / TICKS)
        process.parent = stat[1].decode("ascii", "replace")
        last = process.last
        if last is None:
            # One that is new here but not new itself, because its name changed, begins to count now.
            fresh = int(process.start) >= int(self._before * TICKS)
            last = {} if fresh else usage.counters
        process.last = usage.counters
        used = {key: max(0, value - last.get(key, 0)) for key, value in usage.counters.items()}
        cpu = used["user"] + used["system"]
        for watched in process.watched:
            watched.count += 1
            watched.cpu += cpu
            watched.oldest = max(watched.oldest, age)
            add(watched.levels, usage.levels)
            add(watched.totals, used)
            add(watched.figures, usage.figures)

    def _samples(self, watched: Watched, now: float, elapsed: float) -> Iterator[Sample]:
        name, levels, totals = watched.name, watched.levels, watched.totals
        yield self.processes(watched.count, name)
        yield self.threads(levels["threads"], name)
        yield self.memory.row((levels["resident"], levels["virtual"]), ("resident", "virtual"), name)
        if totals:
            yield self.cpu_time.row((totals["user"] / TICKS, totals["system"] / TICKS), MODES, name)
            yield self.page_faults.row((totals["minor"], totals["major"]), FAULTS, name)
        if "num_ctx_switches" in self._keys:
            yield self.memory(levels["swapped"], name, "swapped")
        if "voluntary" in totals:
            yield self.context_switches.row((totals["voluntary"], totals["nonvoluntary"]), KINDS, name)
        if "read" in totals:
            yield self.io.row((totals["read"], totals["write"]), WAYS, name)
        if "num_fds" in self._keys and ("num_fds" in watched.figures or not watched.count):
            yield self.open_files(levels["open_files"], name)
        figures = watched.figures
        if watched.count:
            yield self.uptime(watched.oldest, name)
            yield self.started(now - watched.oldest, name)
            if "cpu_percent" in self._keys:
                figures["cpu_percent"] = 100 * watched.cpu / TICKS / elapsed if elapsed > 0 else 0.0
        if watched.count_workers:
            figures["workers_count"] = watched.count
        if figures:
            yield self.figure.row(list(figures.values()), list(figures), name)


def add(sums: dict[str, Any], more: dict[str, Any]) -> None:
    """Add numbers by name."""
    for key, value in more.items():
        sums[key] = sums.get(key, 0) + value
