"""Processes by name, on this machine's own and on trees that are not as they should be."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import parse_options, spelled
from servers import wait_until

from adamas.collectors.processresources import ProcessResources
from adamas.errors import NoData
from adamas.host import Host
from adamas.pipeline import Intake

CASE = Path(__file__).parent / "collectors/processresources/plain/1"
BURN = (
    "import time; end = time.process_time() + float(input())\nwhile time.process_time() < end: pass\nprint(flush=True); input()"
)


class Watch:
    """A collector that runs when it is told, and what it gave last."""

    def __init__(self, root: str = "/", **options: Any) -> None:
        self.collector = ProcessResources(Host(root), parse_options(ProcessResources, options))
        self.intake = Intake(self.collector)
        self.time = 0.0

    def run(self, naming: str = "prometheus") -> dict[str, float]:
        self.time += 1
        batch = self.intake.publish(*self.intake.gather(), self.time, self.time)
        return {
            re.sub(r"^servers\.host\.process\.|namedprocess_namegroup_", "", n): float(v)
            for n, v in spelled(batch, naming).items()
        }


@pytest.fixture
def child() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def begin(*argv: str, **how: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **how)
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            pipe.close()


def say(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()


def burn(process: subprocess.Popen[str], seconds: float) -> None:
    say(process, str(seconds))
    assert process.stdout is not None
    process.stdout.readline()


def cpu(given: dict[str, float]) -> float:
    return sum(given[f'cpu_seconds_total{{groupname="it",mode="{mode}"}}'] for mode in ("user", "system"))


def test_what_a_real_process_uses(child: Callable[..., subprocess.Popen[str]]) -> None:
    mark = f"mark-{os.getpid()}-a"
    watch = Watch(process={"it": {"cmdline": mark, "count_workers": True}})
    assert watch.run()['num_procs{groupname="it"}'] == 0
    begin = time.monotonic()
    process = child(sys.executable, "-c", BURN, mark)
    burn(process, 0.3)
    given = watch.run()
    assert 0.28 <= cpu(given) <= 0.6
    fields = Path(f"/proc/{process.pid}/statm").read_text().split()
    assert given['memory_bytes{groupname="it",memtype="resident"}'] == int(fields[1]) * os.sysconf("SC_PAGE_SIZE")
    assert given['open_filedesc{groupname="it"}'] == len(os.listdir(f"/proc/{process.pid}/fd"))
    assert given['num_threads{groupname="it"}'] == 1
    figures = watch.run("diamond")
    assert figures["it.workers_count"] == 1 and figures["it.num_threads"] == 1
    assert 0 <= figures["it.uptime"] <= time.monotonic() - begin + 1


def test_counters_go_on_when_processes_are_replaced(child: Callable[..., subprocess.Popen[str]]) -> None:
    mark = f"mark-{os.getpid()}-b"
    watch = Watch(process={"it": {"cmdline": mark}})
    watch.run()
    before = 0.0
    for _ in range(3):
        process = child(sys.executable, "-c", BURN, mark)
        burn(process, 0.1)
        total = cpu(watch.run())
        assert before + 0.05 <= total <= before + 0.4
        before = total
        process.kill()
        process.wait()
        assert cpu(watch.run()) == before
    assert watch.run("path")["it.cpu.user"] == 0


def test_a_process_that_becomes_another(child: Callable[..., subprocess.Popen[str]]) -> None:
    mark = f"mark-{os.getpid()}-c"
    watch = Watch(process={"it": {"cmdline": [mark]}})
    process = child("sh", "-c", 'read x; exec sh -c "$SCRIPT"', env={**os.environ, "SCRIPT": f"read y; : {mark}"})
    assert watch.run()['num_procs{groupname="it"}'] == 0
    say(process, "go")
    assert wait_until(lambda: watch.run()['num_procs{groupname="it"}'] == 1, 5, "the new command line")


def test_itself() -> None:
    figures = Watch(process={"me": {"selfmon": "true"}}).run("diamond")
    assert figures["me.memory_info_ex.rss"] > 10_000_000 and figures["me.num_threads"] >= 1


def test_what_info_keys_leave_out() -> None:
    given = Watch(process={"me": {"selfmon": True}}, info_keys="num_threads, memory_info").run("diamond")
    assert {name.split(".")[1] for name in given} == {"num_threads", "memory_info", "uptime"}


@pytest.mark.parametrize(
    ("about", "words"),
    [
        ("postgres", "process.db: expected a table"),
        ({"nmae": "x"}, 'process.db: there is no "nmae"; did you mean "name"'),
        ({"name": "("}, "process.db: name: expected a regular expression"),
        ({"exe": 5}, "process.db: exe: expected a regular expression"),
        ({"name": "x", "selfmon": "perhaps"}, "expected true or false"),
        ({"count_workers": True}, "expected one of exe, name, cmdline or selfmon"),
    ],
)
def test_options_that_cannot_be(about: Any, words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        Watch(process={"db": about})


def test_no_process_is_named() -> None:
    with pytest.raises(NoData):
        Watch().run()


def copy(target: Path) -> None:
    for file in CASE.rglob("*"):
        if file.is_file() and file.name != "calls.json":
            (target / file.relative_to(CASE)).parent.mkdir(parents=True, exist_ok=True)
            (target / file.relative_to(CASE)).write_bytes(file.read_bytes())
    for process in (target / "proc").glob("[1-9]*"):
        (process / "fd").mkdir()


@pytest.mark.parametrize("file", ["proc/uptime", "proc/meminfo", "proc/100/stat", "proc/100/statm"])
@pytest.mark.parametrize("text", [b"", b"\n", b"x", b"<html>", b"1 2", b"100 (postgres) S 1 2 3\n", b"\xff\xfe\x00"])
def test_a_foreign_file(file: str, text: bytes, tmp_path: Path) -> None:
    copy(tmp_path)
    (tmp_path / file).write_bytes(text)
    if (file, text) == ("proc/uptime", b"1 2"):
        return  # it could be
    with pytest.raises(ValueError, match=f"/{file}"):
        Watch(str(tmp_path), process={"it": {"name": "postgres"}}).run()


@pytest.mark.parametrize("file", ["stat", "statm", "status"])
def test_a_process_that_ends_while_it_is_looked_at(file: str, tmp_path: Path) -> None:
    copy(tmp_path)
    (tmp_path / "proc/101" / file).unlink()
    watch = Watch(str(tmp_path), process={"it": {"name": "postgres"}})
    assert watch.run()['num_procs{groupname="it"}'] == 2
