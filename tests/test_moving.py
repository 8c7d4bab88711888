"""A Diamond host moves over: its configuration runs as it is, converts, reloads, and can be compared; the command `diamond`."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import RunningAgent, Sink, balanced
from test_names import CONFORMANCE, judge

from adamas.cli.compare import Comparison, Ours, Theirs
from adamas.naming import Naming

CONF = """\
[server]
handlers = diamond.handler.graphite.GraphiteHandler
pid_file = {folder}/diamond.pid
[handlers]
[[GraphiteHandler]]
port = {port}
[collectors]
[[default]]
hostname = h
interval = 1
[[LoadAverageCollector]]
enabled = True
[[UptimeCollector]]
enabled = True
[logger_root]
level = INFO
handlers = file
[handler_file]
class = handlers.TimedRotatingFileHandler
args = ('{folder}/diamond.log', 'midnight', 1, 7)
[adamas]
state_dir = {state}
[[web]]
enabled = no
[[history]]
enabled = no
"""

given = pytest.mark.skipif(not CONFORMANCE, reason="conformance corpus not given")


def adamas(*words: str, code: int = 0) -> tuple[str, str]:
    """What `adamas WORDS` printed, to standard output and standard error."""
    ran = subprocess.run([sys.executable, "-m", "adamas", *words], capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return ran.stdout, ran.stderr


@pytest.fixture
def sink() -> Iterator[Sink]:
    running = Sink()
    yield running
    running.kill()


@pytest.fixture
def conf(tmp_path: Path, sink: Sink) -> str:
    """CONF with this test's folder, state and sink."""
    return CONF.format(folder=tmp_path, port=sink.port, state=tmp_path / "state")


# the reference machine's configuration


@given
def test_the_reference_configuration_as_it_is(tmp_path: Path) -> None:
    file = f"{CONFORMANCE}/diamond-names.conf"
    out, errors = adamas("once", "--twice", "1", "-c", file, "--as", "diamond")
    assert errors == ""
    names = judge(out.splitlines())
    text, lost = adamas("convert", file)
    (tmp_path / "adamas.toml").write_text(text)
    out, _ = adamas("once", "--twice", "1", "-c", str(tmp_path / "adamas.toml"), "--as", "diamond")
    disks = re.compile(r"\.iostat\.")  # a disk that did nothing in between is not there
    assert {n for n in judge(out.splitlines()) if not disks.search(n)} == {n for n in names if not disks.search(n)}
    assert lost.splitlines() == [line[2:] for line in text.splitlines() if line.startswith(f"# {file}:")]
    assert len(lost.splitlines()) == 13
    out, _ = adamas("check", file)
    assert "ok: 11 collectors, outputs: graphite, file, as testhost" in out


@given
@pytest.mark.parametrize("converted", [False, True])
def test_the_reference_configuration_runs(tmp_path: Path, sink: Sink, converted: bool) -> None:
    """Only its port, its folder and its interval are this test's."""
    text = Path(f"{CONFORMANCE}/diamond-names.conf").read_text()
    text = text.replace("22003", str(sink.port)).replace("/srv", str(tmp_path)).replace("interval = 5", "interval = 1")
    text += "[adamas]\nstate_dir = {state}\n[[web]]\nenabled = no\n"
    if converted:
        (tmp_path / "diamond.conf").write_text(text.replace("{state}", str(tmp_path / "state")))
        text, _ = adamas("convert", str(tmp_path / "diamond.conf"))
    agent = RunningAgent(tmp_path, text, name="adamas.toml" if converted else "diamond.conf")
    try:
        agent.wait(lambda s: all(c["runs"] > 3 for c in s["collectors"]), 20)
        status = agent.wait(lambda s: all(balanced(o["ledger"]) and o["ledger"]["delivered"] > 300 for o in s["outputs"]))
        assert {o["name"]: o["naming"] for o in status["outputs"]} == {"graphite": "diamond", "file": "diamond"}
        assert agent.stop()[0] == 0
    finally:
        agent.end()
    assert not sink.bad
    judge(list({name: f"{name} {value} {stamp}" for name, value, stamp in sink.lines}.values()))
    archived = (tmp_path / "diamond.log").read_text().splitlines()
    assert {line.split()[0] for line in archived} == {name for name, _, _ in sink.lines}


# reload


def test_a_broken_file_changes_nothing(tmp_path: Path, sink: Sink, conf: str) -> None:
    agent = RunningAgent(tmp_path, conf, name="diamond.conf")
    try:
        agent.wait(lambda s: all(c["runs"] > 1 for c in s["collectors"]))
        pid = agent.process.pid
        agent.write(conf.replace("[[UptimeCollector]]", "[[UptimeCollector"))
        agent.hup()
        status = agent.wait(lambda s: not s["reload"]["ok"])
        assert "diamond.conf:13: not ConfigObj's syntax" in status["reload"]["message"]
        before = len(sink.stamps("servers.h.uptime.minutes"))
        agent.wait(lambda s: len(sink.stamps("servers.h.uptime.minutes")) > before)
        agent.write(conf.replace("interval = 1", "interval = never"))
        agent.hup()
        agent.wait(lambda s: "agent: interval" in s["reload"]["message"])
        assert {c["name"] for c in agent.status()["collectors"]} == {"loadavg", "uptime"}
        os.unlink(agent.file)
        agent.hup()
        agent.wait(lambda s: "No such file" in s["reload"]["message"])
        runs = agent.collector("loadavg")["runs"]
        agent.write(conf.replace("[[UptimeCollector]]", "[[CPUCollector]]"))
        agent.hup()
        status = agent.wait(lambda s: s["reload"]["ok"] and s["reload"]["message"])
        assert status["reload"]["message"] == "collector uptime removed, collector cpu added"
        assert agent.collector("loadavg")["runs"] >= runs
        agent.wait(lambda s: sink.stamps("servers.h.cpu.total.idle"))
        assert agent.process.pid == pid
        assert agent.stop()[0] == 0
    finally:
        agent.end()


OWN_COLLECTOR = """\
import diamond.collector


class OwnCollector(diamond.collector.Collector):
    def collect(self):
        self.publish("answer", int(self.config["answer"]))
"""

OWN_HANDLER = """\
from diamond.handler.Handler import Handler


class OwnHandler(Handler):
    def process(self, metric):
        with open(self.config["out"], "a") as file:
            file.write(str(metric))
"""


def test_collectors_and_handlers_of_the_users_own(tmp_path: Path, sink: Sink, conf: str) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "own.py").write_text(OWN_COLLECTOR)
    (tmp_path / "own" / "ownhandler.py").write_text(OWN_HANDLER)
    paths = "collectors_path = {folder}/own\nhandlers_path = {folder}/own\n[handlers]\n[[OwnHandler]]\nout = {folder}/out\n"
    text = conf.replace("GraphiteHandler\n", "GraphiteHandler, ownhandler.OwnHandler\n", 1).replace("[handlers]\n", paths, 1)
    sections = "[[OwnCollector]]\nenabled = yes\nanswer = 42\n[[OwnCollector two]]\nenabled = yes\nanswer = 43\npath = second\n[logger_root]"
    agent = RunningAgent(tmp_path, text.replace("[logger_root]", sections), name="diamond.conf")
    expected = {("servers.h.OwnCollector.answer", "42"), ("servers.h.second.answer", "43")}
    out = tmp_path / "out"
    try:
        until(lambda: expected <= {line[:2] for line in sink.lines}, 20)
        until(lambda: out.exists() and expected <= {tuple(line.split()[:2]) for line in out.read_text().splitlines()}, 20)
        assert {name for name, _, _ in sink.lines} >= {"servers.h.loadavg.01", "servers.h.uptime.minutes"}
        assert agent.stop()[0] == 0
    finally:
        agent.end()


# convert


def test_convert_carries_over_what_there_is(tmp_path: Path) -> None:
    text = """\
[server]
handlers = diamond.handler.archive.ArchiveHandler, mine.FifoHandler
handlers_path = /opt/h
collectors_path = /opt/c
[handlers]
[[ArchiveHandler]]
log_file = /tmp/it's \\"here\\"
[[FifoHandler]]
path = a, b
[collectors]
[[default]]
hostname_method = uname_short
path_suffix = rack
interval = 90
[[CPUCollector]]
enabled = True
[[CPUCollector two]]
enabled = True
path = zwei
interval = 5
metrics_whitelist = total\\.(user|system)$
[[MemoryCollector]]
enabled = True
hostname = db
byte_unit = megabyte
gone = 1
[[OddCollector with words]]
enabled = True
[[[nested]]]
a b = "c, d"
"""
    file = tmp_path / "diamond.conf"
    file.write_text(text)
    out, errors = adamas("convert", str(file))
    (tmp_path / "adamas.toml").write_text(out)
    from adamas.config import load

    before, after = load(str(file)), load(str(tmp_path / "adamas.toml"))
    assert not after.warnings
    for kind in ("collectors", "outputs"):
        ours, theirs = getattr(after, kind), getattr(before, kind)
        assert {n: (i.cls, i.values, i.digest) for n, i in ours.items()} == {
            n: (i.cls, i.values, i.digest) for n, i in theirs.items()
        }
    assert (after.prefix, vars(after.agent)) == (before.prefix, vars(before.agent))
    assert vars(after.web) == vars(before.web)
    assert f"{file}:26: MemoryCollector: gone: Adamas' memory has no such option" in errors
    assert '[collectors."cpu two"]\ntype = "cpu"\n' in out
    names = adamas("once", "cpu two", "memory", "--twice", "0.2", "-c", str(tmp_path / "adamas.toml"), "--as", "diamond")[0]
    host = os.uname().nodename.split(".")[0]
    assert {line.split()[0] for line in names.splitlines() if "zwei" in line} == {
        f"servers.{host}.rack.zwei.total.user",
        f"servers.{host}.rack.zwei.total.system",
    }
    assert "servers.db.rack.memory.MemTotal " in names
    by_section = adamas("once", "MemoryCollector", "-c", str(file), "--as", "diamond")[0]
    assert by_section.startswith("servers.db.rack.memory.MemTotal ")


def test_convert_of_a_broken_file(tmp_path: Path) -> None:
    (tmp_path / "diamond.conf").write_text("[server]\nhandlers = diamond.handler.nonsense.NonsenseHandler\n")
    out, errors = adamas("convert", str(tmp_path / "diamond.conf"), code=1)
    assert out == ""
    assert "diamond.conf:2: NonsenseHandler" in errors


# compare


def test_compare_with_a_file(tmp_path: Path, conf: str) -> None:
    (tmp_path / "diamond.conf").write_text(conf)
    out, _ = adamas("once", "-c", str(tmp_path / "diamond.conf"), "--as", "diamond")
    theirs = tmp_path / "lines"
    theirs.write_text(out)
    out, errors = adamas("compare", "-c", str(tmp_path / "diamond.conf"), "--against", str(theirs), "--seconds", "0.3")
    assert errors == ""
    assert out.startswith("9 names there, 9 here, 9 in both, in 0.3 s\nmissing here: 0\nonly here: 0\nvalues: ")
    words = [
        sys.executable,
        "-m",
        "adamas",
        "compare",
        "-c",
        str(tmp_path / "diamond.conf"),
        "--against",
        "-",
        "--seconds",
        "0.1",
    ]
    with theirs.open() as file:
        piped = subprocess.run(words, stdin=file, capture_output=True, text=True, timeout=30, check=True)
    assert "9 in both" in piped.stdout
    lines = theirs.read_text().replace("uptime.minutes ", "uptime.minutes 9").replace("loadavg.05 ", "loadavg.5 ")
    theirs.write_text(lines + "servers.h.cpu.total.idle 3 1\nrubbish\nelse.where 1 1\n")
    out, _ = adamas(
        "compare", "-c", str(tmp_path / "diamond.conf"), "--against", str(theirs), "--seconds", "0.3", "--details", code=1
    )
    assert "11 names there, 9 here, 8 in both" in out
    assert "missing here: 3 (cpu 1, elsewhere 1, loadavg 1)\nonly here: 1 (loadavg 1)" in out
    assert "1 lines there are not `name value time`" in out
    assert "missing here:\n  else.where\n  servers.h.cpu.total.idle\n  servers.h.loadavg.5\n" in out
    assert "only here:\n  servers.h.loadavg.05\n" in out
    assert re.search(r"different in value:\n(?:  .*\n)*?  servers.h.uptime.minutes  there 9\d+, here [0-9.]+", out)


def test_compare_with_what_is_sent_to_a_port(tmp_path: Path, conf: str) -> None:
    """An agent that runs stands for the other daemon."""
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "diamond.conf").write_text(conf.replace("[[UptimeCollector]]", "[[CPUCollector]]"))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    agent = RunningAgent(tmp_path, re.sub(r"port = \d+", f"port = {port}", conf), name="diamond.conf")
    try:
        words = ("compare", "-c", str(tmp_path / "ours" / "diamond.conf"), "--against", f"127.0.0.1:{port}", "--seconds", "4")
        out, errors = adamas(*words, code=1)
    finally:
        agent.end()
    assert errors.startswith(f"listening on 127.0.0.1:{port} for 4 s")
    assert "missing here: 1 (uptime 1)" in out
    assert re.search(r"only here: \d+ \(cpu \d+\)", out)
    assert "8 in both" in out


def test_what_counts_as_alike() -> None:
    def different(mine: list[float], other: list[float], rate: bool, step: float = 0.01) -> bool:
        ours, theirs = Ours(Naming("diamond")), Theirs()
        ours.values["n"], ours.steps["n"] = mine, step
        ours.rates |= {"n"} if rate else set()
        theirs.take([f"n {value} 1".encode() for value in other])
        theirs.stop()
        theirs.take([b"n 0 1", b"other 0 1"])
        return bool(Comparison(ours, theirs).different)

    assert not different([100], [109], rate=False)
    assert different([100], [120], rate=False)
    assert not different([100], [150], rate=True)
    assert different([10], [90, 100], rate=True)
    assert different([10], [0, 90, 100], rate=True), "the first 0 of a counter is no measurement"
    assert not different([10], [0], rate=True, step=10)
    assert not different([3], [4], rate=False, step=1), "the last digit may differ"
    assert not different([1, 50], [20, 30], rate=False), "ranges that touch"
    assert not different([-5], [-5], rate=False)
    assert different([-5], [5], rate=False)


def test_compare_needs_something_to_compare_with(tmp_path: Path, conf: str) -> None:
    (tmp_path / "diamond.conf").write_text(conf)
    _, errors = adamas("compare", "-c", str(tmp_path / "diamond.conf"), "--against", "/nowhere/lines", code=1)
    assert "--against /nowhere/lines: a file, or an address such as" in errors
    _, errors = adamas("compare", "-c", str(tmp_path / "diamond.conf"), "--against", os.devnull, "--seconds", "0.1", code=1)
    assert f"nothing came from {os.devnull}" in errors


# the command `diamond`


class Daemon:
    """`diamond` with this configuration, and the process that its pid file names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.pid_file = folder / "diamond.pid"
        self.pids: set[int] = set()

    def command(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "adamas.cli.diamond", "-c", str(self.folder / "diamond.conf"), *words]
        ran = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False)
        if self.pid_file.exists() and self.pid_file.read_text().strip().isdigit():
            self.pids.add(int(self.pid_file.read_text()))
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran

    def pid(self) -> int:
        return int(self.pid_file.read_text())

    def gone(self, pid: int, seconds: float = 10) -> bool:
        end = time.monotonic() + seconds
        while _runs(pid) and time.monotonic() < end:
            time.sleep(0.05)
        return not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def daemon(tmp_path: Path, conf: str) -> Iterator[Daemon]:
    (tmp_path / "diamond.conf").write_text(conf)
    one = Daemon(tmp_path)
    yield one
    for pid in one.pids - {os.getpid()}:
        if b"adamas" in (Path(f"/proc/{pid}/cmdline").read_bytes() if os.path.exists(f"/proc/{pid}") else b""):
            os.kill(pid, signal.SIGKILL)


def until(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def test_the_command_diamond(daemon: Daemon, sink: Sink, tmp_path: Path) -> None:
    daemon.command()
    pid = daemon.pid()
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    parent, session = int(fields[1]), int(fields[3])
    assert parent != os.getpid()
    assert session not in (pid, os.getsid(0)), "in a session of its own that it does not lead: no terminal can become its own"
    assert os.readlink(f"/proc/{pid}/cwd") == "/"
    assert os.readlink(f"/proc/{pid}/fd/0") == os.devnull
    until(lambda: len(sink.stamps("servers.h.loadavg.01")) > 1)
    assert "Pidfile exists. Server already running?" in daemon.command(code=1).stderr
    assert daemon.pid() == pid
    os.kill(pid, signal.SIGHUP)
    until(lambda: "nothing changed" in (tmp_path / "diamond.log").read_text())
    os.kill(pid, signal.SIGTERM)
    assert daemon.gone(pid)
    assert not daemon.pid_file.exists()
    log = (tmp_path / "diamond.log").read_text()
    assert "runs 2 collectors, 1 outputs as h" in log
    assert "adamas: stops" in log


def test_a_pid_file_that_was_left_behind(daemon: Daemon) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    daemon.pid_file.write_text(f"{ended.pid}\n")
    assert f"left behind by process {ended.pid}" in daemon.command().stderr
    pid = daemon.pid()
    assert pid != ended.pid
    os.kill(pid, signal.SIGTERM)
    assert daemon.gone(pid)


def test_a_pid_file_of_a_process_that_lives(daemon: Daemon) -> None:
    daemon.pid_file.write_text(str(os.getpid()))
    assert f"process {os.getpid()}" in daemon.command(code=1).stderr
    assert daemon.pid_file.read_text() == str(os.getpid())
    daemon.pid_file.unlink()
    assert "cannot be written" in daemon.command("-p", "/nowhere/pid", code=1).stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
@pytest.mark.parametrize("by", ["file", "flags", "skipped"])
def test_it_becomes_the_user(daemon: Daemon, tmp_path: Path, conf: str, by: str) -> None:
    (tmp_path / "home").mkdir()
    os.chmod(tmp_path / "home", 0o777)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        os.chmod(folder, 0o755)
    text = re.sub("state_dir = .*", f"state_dir = {tmp_path}/home/state", conf)
    if by != "flags":
        text = text.replace("[handlers]", "user = nobody\ngroup = daemon\n[handlers]", 1)
    (tmp_path / "diamond.conf").write_text(text)
    daemon.command(*{"file": [], "flags": ["-u", "nobody", "-g", "daemon"], "skipped": ["--skip-change-user"]}[by])
    pid = daemon.pid()
    status = Path(f"/proc/{pid}/status").read_text()
    import grp
    import pwd

    uid, gid = (0, 0) if by == "skipped" else (pwd.getpwnam("nobody").pw_uid, grp.getgrnam("daemon").gr_gid)
    assert f"Uid:\t{uid}\t{uid}\t{uid}\t{uid}\n" in status
    assert f"Gid:\t{gid}\t{gid}\t{gid}\t{gid}\n" in status
    if by != "skipped":
        groups = set(re.search(r"Groups:\t(.*)", status)[1].split())  # type: ignore[index]
        assert groups == {str(g) for g in os.getgrouplist("nobody", gid)}
        assert os.stat(tmp_path / "diamond.log").st_uid == uid
    until(lambda: "runs 2 collectors" in (tmp_path / "diamond.log").read_text())
    os.kill(pid, signal.SIGTERM)
    assert daemon.gone(pid)
    # The folder is root's: who may not remove the file empties it, and the next start does not mind.
    assert not daemon.pid_file.exists() or daemon.pid_file.read_text() == ""


def test_users_that_are_not_there(daemon: Daemon) -> None:
    assert "there is no user nobody-at-all" in daemon.command("-u", "nobody-at-all", code=1).stderr
    assert "there is no group none-at-all" in daemon.command("-g", "none-at-all", code=1).stderr
    if os.getuid() != 0:
        assert "only root can become" in daemon.command("-u", "root", code=1).stderr


def test_in_the_foreground(daemon: Daemon, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "adamas.cli.diamond", "-c", str(tmp_path / "diamond.conf"), "-f", "-l", "--skip-pidfile"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(20, process.kill)
        timer.start()
        assert process.stdout is not None
        assert "runs 2 collectors" in process.stdout.readline()
        assert not daemon.pid_file.exists()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        timer.cancel()


def test_one_collector_once(daemon: Daemon) -> None:
    def names(*words: str) -> set[str]:
        return {line.split()[0] for line in daemon.command(*words).stdout.splitlines()}

    assert names("-r", "UptimeCollector") == {"servers.h.uptime.minutes"}
    assert {"servers.h.cpu.total.idle", "servers.h.cpu.cpu_count"} <= names("--run", "CPUCollector"), "enabled or not, with rates"
    assert "SpecialCollector" in daemon.command("-r", "SpecialCollector", code=1).stderr
    assert "there is no collector Sausage" in daemon.command("-r", "Sausage", code=1).stderr
    assert not daemon.pid_file.exists()


def test_words_of_the_command(daemon: Daemon, tmp_path: Path, conf: str) -> None:
    assert re.fullmatch(r"Diamond version [0-9.]+ \(Adamas\)\n", daemon.command("-v").stdout)
    missing = daemon.command("-c", "/nowhere/diamond.conf", code=1).stderr
    assert missing.startswith("Config file: /nowhere/diamond.conf does not exist")
    assert "--skip-change-user" in missing
    assert daemon.command("--nonsense", code=1).stderr
    (tmp_path / "diamond.conf").write_text(conf + "[[colectors]]\n")
    assert "diamond.conf:" in daemon.command(code=1).stderr
    assert not daemon.pid_file.exists()
