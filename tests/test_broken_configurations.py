"""Thirty configurations that cannot be used: none starts an agent, none changes one that runs, and each says where it is wrong."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import RunningAgent, Sink

GOOD = """[agent]
hostname = "h"
interval = "200ms"
state_dir = "{state}"
defaults = false
[web]
enabled = false
[history]
enabled = false
[collectors.loadavg]
[outputs.sink]
type = "graphite"
address = "127.0.0.1:{port}"
"""
LAST = GOOD.count("\n")

BROKEN: dict[str, tuple[str, int]] = {
    "a value is missing": ("[collectors.cpu]\ninterval =\n", 2),
    "a quote is open": ('[collectors.cpu]\ninterval = "5s\n', 2),
    "a bracket is open": ("[collectors.cpu\n", 1),
    "a list is open": ('[collectors.cpu]\nallow = ["a"\n', 2),
    "no TOML at all": ("<collectors><cpu/></collectors>\n", 1),
    "a table twice": ("[collectors.loadavg]\n", 1),
    "a key twice": ('[collectors.cpu]\ninterval = "1s"\ninterval = "2s"\n', 3),
    "merge marks": ("<<<<<<< HEAD\n[collectors.cpu]\n", 1),
    "an unknown table": ("[colectors.cpu]\n", 1),
    "an unknown collector": ("[collectors.cpuu]\n", 1),
    "an unknown output": ("[outputs.grafite]\n", 1),
    "an unknown type": ('[outputs.other]\ntype = "grafite"\n', 2),
    "an unknown option": ("[collectors.cpu]\nintervall = 5\n", 2),
    "an unknown option of an output": ('[outputs.file]\npath = "-"\npaht = "-"\n', 3),
    "a time that is none": ('[collectors.cpu]\ninterval = "often"\n', 2),
    "no time at all": ("[collectors.cpu]\ninterval = 0\n", 2),
    "a size that is none": ('[outputs.file]\npath = "-"\nmemory = "64 apples"\n', 3),
    "too small": ('[outputs.file]\npath = "-"\nspool = "1KiB"\n', 3),
    "a choice that is none": ('[outputs.file]\npath = "-"\nbuffer = "disk"\n', 3),
    "a naming that is none": ('[outputs.file]\npath = "-"\nnaming = "prometeus"\n', 3),
    "no address": ('[outputs.other]\ntype = "graphite"\naddress = "carbon.example.org:nothing"\n', 3),
    "a port that is none": ('[outputs.other]\ntype = "graphite"\naddress = "127.0.0.1:99999"\n', 3),
    "no pattern": ('[collectors.cpu]\nallow = ["("]\n', 2),
    "a list instead of a word": ('[outputs.file]\npath = ["-"]\n', 2),
    "a word instead of a table": ('[collectors]\ncpu = "on"\n', 2),
    "neither true nor false": ('[collectors.cpu]\nenabled = "perhaps"\n', 2),
    "a variable that is not there": ('[outputs.file]\npath = "${env:NOT_THERE_AT_ALL}"\n', 2),
    "a file that is not there": ('[outputs.file]\npath = "${file:/not/there/at/all}"\n', 2),
    "a number of tables": ("[[collectors.cpu]]\n[[collectors.cpu]]\n", 1),
    "not text": ('[outputs.file]\npath = "\udcff"\n', 2),
}
"""What stands behind a good configuration, and in which of these lines it is wrong."""


def write(file: Path, text: str) -> None:
    whole = file.with_suffix(".new")
    whole.write_bytes(text.encode("utf-8", "surrogateescape"))
    whole.rename(file)


def test_a_broken_file_starts_nothing(tmp_path: Path) -> None:
    file = tmp_path / "adamas.toml"
    running: list[tuple[str, int, subprocess.Popen[str]]] = []
    wrong = []

    def judge() -> None:
        name, line, process = running.pop(0)
        said = process.communicate(timeout=30)[1]
        if process.returncode != 1 or f"{process.args[-1]}:{LAST + line}: " not in said or "Traceback" in said:  # type: ignore[index]
            wrong.append((name, process.returncode, said))

    for number, (name, (text, line)) in enumerate(BROKEN.items()):
        file = tmp_path / f"{number}.toml"
        write(file, GOOD.replace("{state}", str(tmp_path / "state")).replace("{port}", "1") + text)
        argv = [sys.executable, "-m", "adamas", "run", "-c", str(file)]
        running.append((name, line, subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)))
        if len(running) == 2:
            judge()
    while running:
        judge()
    print(f"{len(BROKEN)} broken files: {len(BROKEN) - len(wrong)} end with status 1, file and line")
    assert not wrong
    assert not (tmp_path / "state").exists()


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunningAgent]:
    sink = Sink()
    one = RunningAgent(tmp_path, GOOD.replace("{port}", str(sink.port)))
    yield one
    one.end()


def test_a_broken_file_changes_nothing_at_a_reload(running: RunningAgent) -> None:
    status = running.wait(lambda s: s["outputs"] and s["outputs"][0]["ledger"]["delivered"] > 0)
    good = running.file.read_text()
    before = [c["name"] for c in status["collectors"]], [o["name"] for o in status["outputs"]]
    kept = 0
    for text, line in BROKEN.values():
        since, runs = status["reload"]["time"], status["collectors"][0]["runs"]
        write(running.file, good + text)
        running.hup()
        status = running.wait(lambda s, since=since: s["reload"]["time"] > since)
        assert not status["reload"]["ok"]
        assert re.search(rf"adamas\.toml:{LAST + line}: ", status["reload"]["message"]), (text, status["reload"]["message"])
        assert ([c["name"] for c in status["collectors"]], [o["name"] for o in status["outputs"]]) == before
        assert status["collectors"][0]["runs"] >= runs
        assert status["collectors"][0]["interval"] == 0.2
        kept += 1
    first = status["collectors"][0]["runs"]
    status = running.wait(lambda s: s["collectors"][0]["runs"] > first + 2)
    print(f"{kept} reloads of broken files: the configuration before was kept by all")
    assert status["collectors"][0]["missed"] == status["collectors"][0]["failures"] == 0
    assert status["outputs"][0]["reconnects"] == 0
    assert running.stop()[0] == 0
