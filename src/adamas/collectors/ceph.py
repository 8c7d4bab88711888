"""Performance counters of Ceph's daemons (mon, mgr, osd, mds, rgw, clients), from the admin socket of each on this host.

Protocol (src/common/admin_socket.cc in Ceph's tree): connect, send `{"prefix": "perf dump"}` and a NUL, read a length (32 bits,
big-endian) and so many bytes. An answer is JSON; an error is text in the same frame (`ERROR: (22) Invalid argument`). `perf
schema` says what each counter is: type bits (src/common/perf_counters.h: 1 a time in seconds, 4 a long-running average,
8 a counter), units and a description. A daemon that starts answers with the sections that it has so far.

In dotted names a counter is `<daemon>.<section>.<counter>`, a long-running average two counters, `_sum` and `_count`: the rate of
one by the rate of the other is its mean over the interval. Diamond's names are the flattened dump's, values rounded as it did.

Prometheus names are those of Ceph's own exporter, ceph-exporter, and of the mgr's prometheus module: `ceph_<section>_<counter>`
with the label `ceph_daemon`, `::`, `.`, `-`, `/` and space as `_`, `+` as `_plus` (src/exporter/util.cc, `promethize`), and
`ceph_daemon_socket_up` (doc/monitoring/index.rst).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import accumulate

from adamas import Collector, Duration, Gauge, NoData, Raw, log, option
from adamas.metric import COUNTER, GAUGE
from adamas.naming import clean_diamond, clean_node, metric_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from adamas.host import Host, Stream
    from adamas.metric import Sample, Series, Spelled

TIME, COUNTS = 1, 8
AVERAGE = {"avgcount": ("_count", ", count"), "sum": ("_sum", ", sum")}
OTHER_FORM = "it answered in another form than Ceph's"


def labelled(name: str) -> Spelled:
    """A Prometheus name, with the daemon in the label that Ceph gives it."""
    return Raw(name, rename={"daemon": "ceph_daemon"})


def promethize(name: str) -> str:
    """A name as Ceph's own exporter writes it."""
    if name.endswith("-"):
        name = name[:-1] + "_minus"
    return metric_name("ceph_" + name.replace("::", "_").replace("+", "_plus").translate(str.maketrans("./ -", "____")))


class Daemon:
    """One admin socket and what its last answers had: their names, and the series that these became."""

    __slots__ = ("bucket_names", "bucket_series", "name", "names", "path", "series", "started", "trouble", "troubled")

    def __init__(self, path: str, name: str) -> None:
        self.path = path
        self.name = name
        self.started = 0.0
        self.trouble = self.troubled = ""
        self.forget()

    def forget(self) -> None:
        """Learn the counters anew from the next answers."""
        self.names: list[str] = []
        self.series: tuple[Series, ...] = ()
        self.bucket_names: list[str] = []
        self.bucket_series: tuple[Series, ...] = ()


class Ceph(Collector):
    """What the Ceph daemons on this host count: operations, latencies, bytes, stores, queues, messages."""

    name = "ceph"
    diamond = "CephCollector"
    diamond_path = "CephCollector"
    remote = True
    needs = ("/var/run/ceph/ceph-*.asok", "write permission on these sockets: root, or the user of the daemons")

    socket_path: str = option("/var/run/ceph", "The directory of the admin sockets, or a pattern: /var/run/ceph/* for cephadm")
    socket_prefix: str = option("ceph-", "How the names of the sockets begin")
    socket_ext: str = option("asok", "The extension of the sockets")
    ceph_binary: str = option("/usr/bin/ceph", "Asked instead where the agent may not connect, for 200 ms of CPU a daemon")
    timeout: Duration = option("2s", "The time limit of each daemon", minimum=0.01)
    histograms: bool = option(False, "Histograms too: operations by latency and by size, some 250 series an OSD")

    up = Gauge("{daemon}.up", "Whether the daemon answers on its socket", prometheus=labelled("ceph_daemon_socket_up"))

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._daemons: dict[str, Daemon] = {}

    def collect(self) -> Iterator[Sample]:
        daemons = self._present()
        answered = []
        for daemon, dump in self._ask(daemons, "perf dump"):
            answered.append(daemon)
            names, numbers = flatten(dump)
            if names == daemon.names:
                yield daemon.series, numbers
                continue
            for _, schema in self._ask([daemon], "perf schema"):
                try:
                    yield self._learn(daemon, names, dump, schema)
                except (AttributeError, TypeError):
                    daemon.trouble = f"perf schema: {OTHER_FORM}"
        if self.histograms:
            for daemon, dump in self._ask(answered, "perf histogram dump"):
                try:
                    yield from self._buckets(daemon, dump)
                except (AttributeError, KeyError, TypeError):
                    daemon.trouble = f"perf histogram dump: {OTHER_FORM}"
        yield self.up.row([int(daemon in answered) for daemon in daemons], [daemon.name for daemon in daemons])
        for daemon in daemons:
            if daemon.trouble and not daemon.troubled:
                log.warning(self.instance, f"{daemon.name}: {daemon.trouble}")
            elif daemon.troubled and not daemon.trouble:
                log.info(self.instance, f"{daemon.name}: it answers again")
            daemon.troubled = daemon.trouble

    def sweep(self, keep: Iterable[Any]) -> None:
        """As any collector's; a daemon's row goes with the first of its series that goes or found no room."""
        kept = set(keep)
        super().sweep(kept)
        for daemon in self._daemons.values():
            if not kept.issuperset(daemon.series) or not kept.issuperset(daemon.bucket_series):
                daemon.forget()

    def _present(self) -> list[Daemon]:
        pattern = f"{self.socket_path.rstrip('/')}/{self.socket_prefix}*.{self.socket_ext}"
        before, self._daemons = self._daemons, {}
        for path in self.host.glob(pattern):
            name = path.rpartition("/")[2].removesuffix(f".{self.socket_ext}").removeprefix(self.socket_prefix)
            daemon = self._daemons[path] = before.get(path) or Daemon(path, name)
            daemon.trouble = ""
            try:
                started = self.host.stat(path)["mtime"]  # a daemon makes its socket when it starts
            except OSError:
                started = 0.0
            if started != daemon.started:
                daemon.started = started
                daemon.forget()
        if not self._daemons:
            self.host.listdir(self.socket_path)  # to be told where it is closed to the agent
            raise NoData(f"there is no {pattern} here")
        return list(self._daemons.values())

    def _ask(self, daemons: Sequence[Daemon], command: str) -> Iterator[tuple[Daemon, dict[str, Any]]]:
        """What each answers, leaving out those that do not; why is in their `trouble`."""
        answers = self._hear(daemons, command)
        for daemon in daemons:
            answer = answers.pop(daemon, None)
            if answer is None:
                continue
            try:
                found = json.loads(answer)
            except ValueError:
                daemon.trouble = f"{command}: it answered {answer[:200].decode('utf-8', 'replace').strip()!r}"
                continue
            if found.__class__ is dict:
                yield daemon, found
            else:
                daemon.trouble = f"{command}: {OTHER_FORM}"

    def _hear(self, daemons: Sequence[Daemon], command: str) -> dict[Daemon, bytes]:
        """The answers. All are asked before one is heard: so they work side by side, and wait together for those that hang."""
        answers: dict[Daemon, bytes] = {}
        talks: dict[Stream, Daemon] = {}
        refused = []
        try:
            for daemon in daemons:
                try:
                    stream = self.host.unix(daemon.path, self.timeout)
                    talks[stream] = daemon
                    stream.send(b'{"prefix": "%s"}\0' % command.encode())
                except PermissionError:
                    refused.append(daemon)
                except (NoData, OSError) as error:
                    daemon.trouble = f"{command}: {error}"
            for stream in self.host.ready(talks):
                try:
                    answers[talks[stream]] = stream.exactly(int.from_bytes(stream.exactly(4), "big"))
                except OSError as error:
                    talks[stream].trouble = f"{command}: {error}"
        finally:
            for stream in talks:
                stream.close()
        for daemon in refused:
            try:
                answers[daemon] = self._run(daemon, command)
            except OSError as error:
                daemon.trouble = f"{command}: {error}"
        return answers

    def _run(self, daemon: Daemon, command: str) -> bytes:
        """The same by the program, which may have rights that the agent lacks."""
        refused = f"no permission to connect to {daemon.path}"
        try:
            answer = self.host.run([self.ceph_binary, "--admin-daemon", daemon.path, *command.split()], self.timeout)
        except NoData as error:
            raise PermissionError(f"{refused}, and {error}") from None
        if answer.status:
            said = answer.errors.decode("utf-8", "replace").strip()
            raise PermissionError(f"{refused}, and {self.ceph_binary} ended with {answer.status}: {said[-200:]}")
        return answer.body

    def _learn(self, daemon: Daemon, names: list[str], dump: dict[str, Any], schema: dict[str, Any]) -> Sample:
        """The row of a daemon whose counters are new. One that its schema does not have yet is left out until it does."""
        series: list[Series] = []
        numbers: list[Any] = []
        whole = True
        for section, counters in dump.items():
            if counters.__class__ is not dict:
                continue
            abouts = schema.get(section, {})
            for counter, value in counters.items():
                about = abouts.get(counter)
                if about is None:
                    whole = False
                    continue
                for part, number in value.items() if value.__class__ is dict else (("", value),):
                    series.append(self._counter(daemon, section, counter, part, about))
                    numbers.append(number)
        row = tuple(series)
        if whole:
            daemon.names = [sys.intern(name) for name in names]  # the daemons of a host share most of them
            daemon.series = row
        return row, numbers

    def _counter(self, daemon: Daemon, section: str, counter: str, part: str, about: dict[str, Any]) -> Series:
        """The series of a counter, or of a part of a long-running average."""
        suffix, what = AVERAGE.get(part, (f"_{part}" if part else "", ""))
        kind = COUNTER if part in AVERAGE or about.get("type", 0) & COUNTS else GAUGE
        name = f"{section}.{counter}{suffix}"
        key = (name, (daemon.name,))
        series = self.catalog.series.get(key)
        if series is not None and series.declaration.kind == kind:
            return series
        metric = self._dynamic.get(name)
        if metric is None or metric.declaration.kind != kind:  # Ceph's versions differ in what they call a counter
            self._dynamic.pop(name, None)
            unit = "s" if about.get("type", 0) & TIME else "By" if about.get("units") == "bytes" else ""
            full = clean_diamond(f"{section}.{counter}.{part}" if part else f"{section}.{counter}")
            spellings: dict[str, Any] = {"diamond": Raw("ceph.{daemon}." + full.replace("{", "{{").replace("}", "}}"))}
            if part == "avgtime":  # of all time; others than Diamond's have the rates of sum and count
                spellings |= dict.fromkeys(("path", "prometheus", "otel"))
            else:
                spellings["prometheus"] = labelled(promethize(f"{section}_{counter}") + suffix)
            unit = "" if part == "avgcount" else unit
            template = f"{{daemon}}.{clean_node(section)}.{clean_node(counter + suffix)}"
            metric = self.metric(name, kind, unit, about.get("description", "") + what, template, **spellings)
        self.catalog.series.pop(key, None)
        return self.catalog.resolve(metric.declaration, (daemon.name,))

    def _buckets(self, daemon: Daemon, dump: dict[str, Any]) -> Iterator[Sample]:
        """The row of a daemon's histograms: for each axis how many operations were at most at each bound."""
        names: list[str] = []
        counts: list[int] = []
        axes = list(marginals(dump))
        for section, counter, axis, numbers in axes:
            names += (section, counter, axis["name"], str(len(numbers)))
            counts += list(accumulate(numbers))[negative(axis) :]
        if names == daemon.bucket_names:
            yield daemon.bucket_series, counts
            return
        for _, schema in self._ask([daemon], "perf histogram schema"):
            series: list[Series] = []
            for section, counter, axis, _ in axes:
                series += self._bounds(daemon, section, counter, axis, schema[section][counter]["description"])
            if len(series) != len(counts):
                raise TypeError
            daemon.bucket_names, daemon.bucket_series = names, tuple(series)
            yield daemon.bucket_series, counts

    def _bounds(self, daemon: Daemon, section: str, counter: str, axis: dict[str, Any], about: str) -> list[Series]:
        along = axis["name"].partition("(")[0].strip().lower()
        name = f"{counter}_{along.replace(' ', '_')}_bucket"
        spellings: dict[str, Any] = {"diamond": None, "prometheus": labelled(promethize(f"{section}_{name}"))}
        template = f"{{daemon}}.{clean_node(section)}.{clean_node(name)}.{{le}}"
        metric = self.metric(f"{section}.{name}", COUNTER, "", f"{about}, by {along}", template, "le", **spellings)
        # Times are in nanoseconds, whatever the axis says (osd_perf_counters.cc: "values are in nanoseconds").
        tops = [bucket.get("max") for bucket in axis["ranges"][negative(axis) :]]
        bounds = ["+Inf" if top is None else repr((top + 1) / 1e9) if along == "latency" else str(top) for top in tops]
        return [self.catalog.resolve(metric.declaration, (daemon.name, bound)) for bound in bounds]


def negative(axis: dict[str, Any]) -> int:
    """How many buckets, at the start, are below zero: sizes and times have none there."""
    return sum(bucket.get("max", 0) < 0 for bucket in axis["ranges"])


def flatten(dump: dict[str, Any]) -> tuple[list[str], list[Any]]:
    """(names, numbers) of a dump: all its names and all its leaves, in order."""
    names: list[str] = []
    numbers: list[Any] = []
    for section, counters in dump.items():
        if counters.__class__ is not dict:
            continue
        names.append(section)
        for counter, value in counters.items():
            names.append(counter)
            if value.__class__ is dict:
                names += value
                numbers += value.values()
            else:
                numbers.append(value)
    return names, numbers


def marginals(dump: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], list[int]]]:
    """(section, counter, axis, counts) for each axis of each histogram; one of two axes is a matrix, first axis first."""
    for section, counters in dump.items():
        for counter, histogram in counters.items():
            axes, values = histogram["axes"], histogram["values"]
            if len(axes) == 1:
                yield section, counter, axes[0], values
            elif len(axes) == 2:
                yield section, counter, axes[0], [sum(row) for row in values]
                yield section, counter, axes[1], [sum(column) for column in zip(*values)]
