"""Those that are measured: how each is configured to do the same work, and started.

The work: the host's CPU, memory, load, disks, file systems, network and protocol counters, every second, to Graphite over TCP
(node_exporter: asked every second). No walk over processes, no page, no store beside what cannot be turned off.
"""

from __future__ import annotations

import getpass
import shutil
import socket
import time
from pathlib import Path

from ends import End, Page, Scraper, Sink, free_port

PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin"

GAUGES = '''"""Many gauges, for throughput."""
from adamas import Collector, Gauge


class Many(Collector):
    """Numbers that change every time."""

    name = "many"
    value = Gauge("{slot}", "A number")
    slots = [str(slot) for slot in range(COUNT)]
    run = 0

    def collect(self):
        self.run += 1
        yield self.value.row([self.run + slot / 7 for slot in range(COUNT)], self.slots)
'''


class Peer:
    """One agent. `steady` and `moving` write its configuration and give its command; both say how much arrives with `end`."""

    name = ""
    program = ""
    end_type: type[End] = Sink
    measures = True
    moves = True

    def __init__(self, program: str = "") -> None:
        self.argv0 = program or shutil.which(self.program, path=PATH) or ""

    def end(self) -> End:
        """Where its metrics go."""
        return self.end_type(free_port())

    def steady(self, directory: Path, port: int) -> list[str]:
        """Measure the host every second."""
        raise NotImplementedError

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        """Move so many metrics every second."""
        raise NotImplementedError

    def load(self, directory: Path, count: int) -> None:
        """Give it those metrics, where they do not come from a file."""


class Adamas(Peer):
    """The agent alone: collectors and one output."""

    name = "adamas"
    program = "adamas"
    web = "false"

    def steady(self, directory: Path, port: int) -> list[str]:
        return self._config(directory, port, "")

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        (directory / "plugins").mkdir()
        (directory / "plugins/many.py").write_text(GAUGES.replace("COUNT", str(count)))
        return self._config(directory, port, 'defaults = false\nplugins = ["plugins"]\n[collectors.many]\n')

    def _config(self, directory: Path, port: int, more: str) -> list[str]:
        conf = directory / "adamas.toml"
        conf.write_text(
            f'[web]\nenabled = {self.web}\nlisten = "127.0.0.1:{free_port()}"\n[history]\nenabled = {self.web}\n'
            f'[outputs.sink]\ntype = "graphite"\naddress = "127.0.0.1:{port}"\nnaming = "path"\n'
            f'[agent]\nhostname = "bench"\ninterval = "1s"\nstate_dir = "{directory}/state"\n{more}'
        )
        return [self.argv0, "run", "-c", str(conf)]


class AdamasPage(Adamas):
    """The agent with its page and its history."""

    name = "adamas, page and history"
    web = "true"
    moves = False


def send_gauges(port: int, count: int) -> None:
    """So many gauges over statsd, slowly enough that the kernel drops none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(("127.0.0.1", port))
        for first in range(0, count, 25):
            sock.send("\n".join(f"many.m{i}:{i}|g" for i in range(first, min(first + 25, count))).encode())
            if first % 500 == 0:
                time.sleep(0.004)


class Collectd(Peer):
    """collectd with one thread that reads and one that writes: its cheapest form."""

    name = "collectd"
    program = "collectd"
    host = """
LoadPlugin cpu
<Plugin cpu>
  ReportByCpu true
  ReportByState true
  ValuesPercentage true
</Plugin>
LoadPlugin memory
LoadPlugin load
LoadPlugin disk
LoadPlugin df
LoadPlugin interface
LoadPlugin vmem
<Plugin vmem>
  Verbose true
</Plugin>
LoadPlugin tcpconns
<Plugin tcpconns>
  ListeningPorts false
  AllPortsSummary true
</Plugin>
LoadPlugin protocols
LoadPlugin contextswitch
LoadPlugin uptime
LoadPlugin swap
"""

    def steady(self, directory: Path, port: int) -> list[str]:
        return self._config(directory, port, self.host)

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        self._statsd = free_port(socket.SOCK_DGRAM)
        plugin = f'LoadPlugin statsd\n<Plugin statsd>\n  Host "127.0.0.1"\n  Port "{self._statsd}"\n</Plugin>\n'
        return self._config(directory, port, plugin)

    def load(self, directory: Path, count: int) -> None:
        """Gauges over statsd: it keeps them and sends all of them every second."""
        send_gauges(self._statsd, count)

    def _config(self, directory: Path, port: int, plugins: str) -> list[str]:
        conf = directory / "collectd.conf"
        conf.write_text(
            f'Hostname "bench"\nFQDNLookup false\nBaseDir "{directory}"\nPIDFile "{directory}/collectd.pid"\n'
            f'TypesDB "/usr/share/collectd/types.db"\nInterval 1\nReadThreads 1\nWriteThreads 1\n{plugins}'
            f'LoadPlugin write_graphite\n<Plugin write_graphite>\n  <Node "sink">\n    Host "127.0.0.1"\n    Port "{port}"\n'
            '    Protocol "tcp"\n    StoreRates true\n    AlwaysAppendDS false\n  </Node>\n</Plugin>\n'
        )
        return [self.argv0, "-f", "-C", str(conf)]


class Netdata(Peer):
    """netdata with its internal plugins for the host alone, its store in memory."""

    name = "netdata"
    program = "netdata"
    moves = False
    off = (
        "apps cgroups tc idlejitter timex python.d charts.d go.d node.d ebpf perf slabinfo nfacct ioping xenstat freeipmi "
        "debugfs statsd checks loopsleepms"
    )

    def steady(self, directory: Path, port: int) -> list[str]:
        folders = ""
        for folder in ("config", "cache", "lib", "log"):
            (directory / folder).mkdir()
            folders += f"  {folder} = {directory}/{folder}\n"
        (directory / "config/netdata.conf").write_text(
            f"[global]\n  run as user = {getpass.getuser()}\n  update every = 1\n  hostname = bench\n"
            "[db]\n  mode = ram\n  retention = 300\n  update every = 1\n"
            f"[directories]\n{folders}  stock config = /usr/lib/netdata/conf.d\n"
            f"[logs]\n  debug = none\n  error = {directory}/log/error.log\n  access = none\n  health = none\n"
            f"[web]\n  default port = {free_port()}\n  bind to = 127.0.0.1\n"
            "[ml]\n  enabled = no\n[health]\n  enabled = no\n[cloud]\n  enabled = no\n[statsd]\n  enabled = no\n"
            f"[plugins]\n{''.join(f'  {plugin} = no' + chr(10) for plugin in self.off.split())}"
            "  netdata monitoring = no\n  netdata monitoring extended = no\n  enable running new plugins = no\n"
            "  check for new plugins every = 72000\n  proc = yes\n  diskspace = yes\n"
            "[plugin:proc:diskspace]\n  check for new mount points every = 60\n"
        )
        (directory / "config/exporting.conf").write_text(
            f"[exporting:global]\n  enabled = yes\n  update every = 1\n[graphite:sink]\n  enabled = yes\n"
            f"  destination = 127.0.0.1:{port}\n  data source = average\n  update every = 1\n"
        )
        (directory / "config/stream.conf").write_text("[stream]\n  enabled = no\n")
        return [self.argv0, "-D", "-c", str(directory / "config/netdata.conf")]


class NodeExporter(Peer):
    """node_exporter with the collectors of the same class, asked every second."""

    name = "node_exporter"
    program = "prometheus-node-exporter"
    end_type = Scraper
    collectors = "cpu meminfo loadavg diskstats filesystem netdev vmstat stat netstat sockstat"

    def steady(self, directory: Path, port: int) -> list[str]:
        chosen = [f"--collector.{name}" for name in self.collectors.split()]
        return [self.argv0, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults", *chosen]

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        lines = [f'many{{slot="{slot}"}} {slot}\n' for slot in range(count)]
        (directory / "many.prom").write_text("# TYPE many gauge\n" + "".join(lines))
        argv = [self.argv0, f"--web.listen-address=127.0.0.1:{port}", "--collector.disable-defaults"]
        return [*argv, "--collector.textfile", f"--collector.textfile.directory={directory}"]


class Vmagent(Peer):
    """vmagent, which scrapes a page every second and writes what it read to a remote store."""

    name = "vmagent"
    program = "vmagent"
    end_type = Page
    measures = False

    def end(self) -> End:
        self._page = Page(free_port())
        return self._page

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        lines = [f'many{{slot="{slot}"}} {slot}\n' for slot in range(count)]
        self._page.body = ("# TYPE many gauge\n" + "".join(lines)).encode()
        conf = directory / "scrape.yml"
        conf.write_text(
            "global:\n  scrape_interval: 1s\nscrape_configs:\n- job_name: bench\n  static_configs:\n"
            f"  - targets: ['127.0.0.1:{port}']\n"
        )
        return [
            self.argv0,
            f"-promscrape.config={conf}",
            f"-remoteWrite.url=http://127.0.0.1:{port}/write",
            f"-remoteWrite.tmpDataPath={directory}/queue",
            f"-httpListenAddr=127.0.0.1:{free_port()}",
            "-loggerLevel=ERROR",
        ]


class Statsd(Peer):
    """The statsd of npm: it keeps gauges and sends all of them every second."""

    name = "statsd"
    program = "node"
    measures = False
    script = Path(__file__).parent.parent / "node_modules/statsd/stats.js"

    def __init__(self, program: str = "") -> None:
        super().__init__(program)
        self.argv0 = self.argv0 if self.script.exists() else ""

    def moving(self, directory: Path, port: int, count: int) -> list[str]:
        self._statsd = free_port(socket.SOCK_DGRAM)
        conf = directory / "statsd.js"
        conf.write_text(
            f'{{ graphitePort: {port}, graphiteHost: "127.0.0.1", port: {self._statsd}, mgmt_port: {free_port()},\n'
            '  address: "127.0.0.1", mgmt_address: "127.0.0.1", flushInterval: 1000, deleteIdleStats: false,\n'
            '  backends: ["./backends/graphite"], graphite: { legacyNamespace: false } }\n'
        )
        return [self.argv0, str(self.script), str(conf)]

    def load(self, directory: Path, count: int) -> None:
        """Gauges, once."""
        send_gauges(self._statsd, count)
