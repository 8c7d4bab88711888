"""The commands, as a user types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from agents import RunningAgent


def adamas(*words: str, cwd: Path | None = None, expect: int = 0) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run([sys.executable, "-m", "adamas", *words], capture_output=True, text=True, timeout=60, cwd=cwd)
    assert ran.returncode == expect, ran.stdout + ran.stderr
    return ran


@pytest.fixture
def config(tmp_path: Path) -> str:
    text = f'[agent]\nhostname = "h"\ndefaults = false\nstate_dir = "{tmp_path}/state"\n[collectors.loadavg]\n[collectors.cpu]\n'
    (tmp_path / "adamas.toml").write_text(text + "[web]\nenabled = false\n[history]\nenabled = false\n")
    return str(tmp_path / "adamas.toml")


def test_once_in_every_form(config: str) -> None:
    lines = adamas("once", "loadavg", "-c", config, "--as", "path").stdout.splitlines()
    assert lines[0].startswith("servers.h.loadavg.01 ")
    assert adamas("once", "loadavg", "-c", config, "--as", "diamond").stdout.startswith("servers.h.loadavg.01 ")
    page = adamas("once", "loadavg", "-c", config, "--as", "prometheus").stdout
    assert "# TYPE node_load1 gauge\nnode_load1 " in page
    otlp = json.loads(adamas("once", "loadavg", "-c", config, "--as", "otel").stdout)
    resource = otlp["resourceMetrics"][0]
    assert resource["resource"]["attributes"][0]["value"]["stringValue"] == "h"
    names = {m["name"] for m in resource["scopeMetrics"][0]["metrics"]}
    assert "system.cpu.load_average.1m" in names
    objects = [json.loads(line) for line in adamas("once", "loadavg", "-c", config).stdout.splitlines()]
    assert objects[0].keys() == {"name", "labels", "value", "kind", "unit", "time"}
    assert objects[0]["labels"] == {"minutes": "1"}


def test_once_twice_gives_rates(config: str) -> None:
    single = adamas("once", "cpu", "-c", config, "--as", "path").stdout
    twice = adamas("once", "cpu", "-c", config, "--as", "path", "--twice", "0.3").stdout
    assert "cpu.total.user" not in single
    assert "servers.h.cpu.total.user " in twice


def test_once_on_another_machines_tree(tmp_path: Path, config: str) -> None:
    (tmp_path / "other" / "proc").mkdir(parents=True)
    (tmp_path / "other" / "proc" / "loadavg").write_text("7.25 6.50 5.75 3/99 4242\n")
    lines = adamas("once", "loadavg", "-c", config, "--as", "path", "--root", str(tmp_path / "other")).stdout
    assert "servers.h.loadavg.01 7.25 " in lines
    missing = adamas("once", "cpu", "-c", config, "--root", str(tmp_path / "other"))
    assert missing.stdout == ""
    assert "no data: /proc/stat does not exist here" in missing.stderr


def test_a_wrong_name_gets_the_nearest(config: str) -> None:
    for words in (("once", "laodavg"), ("describe", "laodavg"), ("record", "laodavg", "x")):
        assert 'did you mean "loadavg"?' in adamas(*words, "-c", config, expect=1).stderr


def test_list_tells_what_finds_its_source(config: str) -> None:
    out = adamas("list", "-c", config).stdout
    rows = {line.split()[1]: line for line in out.splitlines() if line.startswith(("collector ", "output "))}
    assert "on, 8 series here" in rows["loadavg"]
    assert "graphite" in rows
    assert "\x1b" not in out


def test_describe(config: str) -> None:
    out = adamas("describe", "loadavg", "-c", config).stdout
    for words in ("simple", "node_load", "loadavg", "system.cpu.load_average"):
        assert words in out


def test_check(config: str, tmp_path: Path) -> None:
    assert "ok: 2 collectors" in adamas("check", config).stdout
    bad = tmp_path / "bad.toml"
    bad.write_text("[agent]\nintervall = 5\n")
    assert (
        f'{bad}:2: agent: there is no option "intervall"; did you mean "interval"?' in adamas("check", str(bad), expect=1).stdout
    )
    assert "cannot be read" in adamas("check", str(tmp_path / "none.toml"), expect=1).stdout
    ran = adamas("run", "-c", str(bad), expect=1)
    assert f"{bad}:2:" in ran.stderr


def test_status(config: str, tmp_path: Path) -> None:
    assert "no agent answers at" in adamas("status", "-c", config, expect=1).stderr
    running = RunningAgent(tmp_path, Path(config).read_text())
    try:
        running.wait(lambda s: all(c["runs"] for c in s["collectors"]))
        out = adamas("status", "-c", config).stdout
        assert "loadavg" in out
        assert "pid" in out
        assert json.loads(adamas("status", "-c", config, "--json").stdout)["pid"] == running.process.pid
        assert oct(os.stat(tmp_path / "state" / "control").st_mode & 0o777) == "0o600"
    finally:
        running.end()


def test_record_makes_a_case_that_replays(config: str, tmp_path: Path) -> None:
    folder = tmp_path / "case"
    out = adamas("record", "loadavg", str(folder), "-c", config, "--seconds", "0.2").stdout
    assert "8 series" in out
    assert (folder / "1" / "proc" / "loadavg").exists()
    assert json.loads((folder / "case.json").read_text())["elapsed"] == [0, 0.2]
    from cases import run_case

    from adamas.collectors.loadavg import LoadAverage

    given = run_case(LoadAverage, folder)
    assert (
        given["path"]["servers.host.loadavg.processes_total"]
        == (folder / "2" / "proc" / "loadavg").read_text().split()[3].split("/")[1]
    )


def test_a_recording_holds_no_secret(tmp_path: Path) -> None:
    from adamas.recording import Recorder, Replay

    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "x").write_text("password=hunter2\n")
    host = Recorder(str(tmp_path), ["hunter2"])
    assert host.read("/proc/x") == "password=hunter2\n"
    host.run(["echo", "hunter2"])
    host.save(str(tmp_path / "step"))
    kept = "".join(p.read_text() for p in (tmp_path / "step").rglob("*") if p.is_file())
    assert "hunter2" not in kept
    assert "password=***" in kept
    assert Replay(str(tmp_path / "step")).read("/proc/x") == "password=***\n"


def test_version_and_help() -> None:
    assert adamas("--version").stdout.startswith("adamas ")
    assert "collect now" in adamas("--help").stdout
    adamas("nonsense", expect=1)
