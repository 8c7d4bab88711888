"""`adamas spool`, on spools as an agent leaves them."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from agents import RunningAgent, Sink

from adamas.cli.spool import Look
from adamas.spool import Spool


@pytest.fixture
def config(tmp_path: Path) -> str:
    text = f'[agent]\nhostname = "h"\ndefaults = false\nstate_dir = "{tmp_path}/state"\n[web]\nenabled = false\n[history]\nenabled = false\n'
    (tmp_path / "adamas.toml").write_text(text)
    return str(tmp_path / "adamas.toml")


def fill(tmp_path: Path, records: int = 5) -> Path:
    directory = tmp_path / "state" / "spool" / "carbon"
    spool = Spool(str(directory), 1 << 20)
    spool.open()
    for number in range(records):
        assert spool.append(f"servers.h.x {number} {1_700_000_000 + number}\n".encode() * 2, 2)
    spool.close()
    return directory


def adamas(config: str, *words: str, expect: int = 0) -> str:
    argv = [sys.executable, "-m", "adamas", "spool", "-c", config, *words]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    assert ran.returncode == expect, ran.stdout + ran.stderr
    return ran.stdout + ran.stderr


def test_ls_show_and_verify(config: str, tmp_path: Path) -> None:
    assert "nothing waits" in adamas(config, "ls")
    fill(tmp_path)
    out = adamas(config, "ls")
    assert "carbon" in out
    assert " 10 " in out
    assert "its output is gone" in out
    shown = adamas(config, "show", "carbon", "--limit", "2")
    assert "servers.h.x 1 1700000001" in shown
    assert "servers.h.x 2" not in shown
    assert "nothing is damaged" in adamas(config, "verify", "carbon")
    assert "there are: carbon" in adamas(config, "verify", "nowhere", expect=1)


def test_repair_leaves_out_what_is_damaged(config: str, tmp_path: Path) -> None:
    directory = fill(tmp_path)
    segment = next(directory.glob("*.seg"))
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(data)
    (directory / "dialect").write_text("graphite\n")
    out = adamas(config, "verify", "carbon", expect=1)
    assert "bytes are damaged" in out
    assert "2 points are missing" in out
    assert "8 points kept, 2 lost" in adamas(config, "repair", "carbon")
    assert "8 points in good records, 8 of them wait; nothing is damaged" in adamas(config, "verify", "carbon")
    assert "2 corrupt" in adamas(config, "ls"), "what was lost stays known"
    assert (directory / "dialect").read_text() == "graphite\n"
    assert [p.name for p in directory.parent.iterdir()] == ["carbon"]


def test_looking_changes_nothing_and_needs_little(config: str, tmp_path: Path) -> None:
    """Without a lock or a cursor, with a delivered spool beside, and the file's name behind the action."""
    directory = fill(tmp_path)
    for name in ("lock", "cursor"):
        (directory / name).unlink()
    empty = Spool(str(directory.parent / "empty"), 1 << 20)
    empty.open()
    empty.close()
    before = {p: p.stat().st_mtime_ns for p in directory.parent.rglob("*")}
    argv = [sys.executable, "-m", "adamas", "spool"]
    for words in (["ls"], ["verify", "carbon"], ["show", "carbon"], ["show", "empty"]):
        ran = subprocess.run([*argv, *words, "-c", config], capture_output=True, text=True, timeout=60)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        assert "\r" not in ran.stdout + ran.stderr, "a bar is for a terminal"
        assert ran.stdout
    assert {p: p.stat().st_mtime_ns for p in directory.parent.rglob("*")} == before


def test_what_cannot_be_read_is_one_line(config: str, tmp_path: Path) -> None:
    directory = fill(tmp_path)
    user = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--"] if os.geteuid() == 0 else []
    for path in (directory / "cursor", directory.parent):
        path.chmod(0)
        for words in (["ls"], ["verify", "carbon"], ["drop", "carbon", "--yes"]):
            argv = [*user, sys.executable, "-m", "adamas", "spool", "-c", config, *words]
            ran = subprocess.run(argv, capture_output=True, text=True, timeout=60)
            assert ran.returncode == 1
            assert ran.stdout + ran.stderr == f"{path}: Permission denied\n"
        path.chmod(0o700)
    assert "10 points thrown away" in adamas(config, "drop", "carbon", "--yes")


def test_a_reader_that_has_seen_enough_hears_no_complaint(config: str, tmp_path: Path) -> None:
    fill(tmp_path, 3000)
    shell = f"{sys.executable} -m adamas spool -c {config} show carbon --limit 3000 | head -n 1"
    ran = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60)
    assert ran.stdout.startswith("# points 0 to 1")
    assert ran.stderr == ""


def test_a_record_that_is_just_being_written_is_no_damage(config: str, tmp_path: Path) -> None:
    directory = fill(tmp_path)
    segment = next(directory.glob("*.seg"))
    whole = segment.read_bytes()
    with segment.open("r+b") as file:
        file.truncate(len(whole) - 10)
        command = Look(str(directory))
        walk = command.records()
        seen = [next(walk) for _ in range(4)]
        later = threading.Timer(0.01, lambda: (file.seek(0), file.write(whole), file.flush()))
        later.start()
        seen += walk
        later.join()
    assert [r.first for r in seen] == [0, 2, 4, 6, 8]
    assert command.damaged == command.missing == 0


def test_drop_asks_first(config: str, tmp_path: Path) -> None:
    directory = fill(tmp_path)
    assert "10 points would be thrown away" in adamas(config, "drop", "carbon", expect=1)
    assert directory.exists()
    assert "10 points thrown away" in adamas(config, "drop", "carbon", "--yes")
    assert not directory.exists()


def test_replay_sends_what_waits(config: str, tmp_path: Path) -> None:
    fill(tmp_path, 50)
    assert 'no output "carbon"' in adamas(config, "replay", "carbon", expect=1)
    sink = Sink()
    with open(config, "a") as file:
        file.write(f'[outputs.carbon]\ntype = "graphite"\naddress = "127.0.0.1:{sink.port}"\n')
    assert "100 of 100 points delivered, 0 wait" in adamas(config, "replay", "carbon")
    assert {value for _, value, _ in sink.lines} == {str(n) for n in range(50)}
    sink.kill()
    fill(tmp_path, 3)
    out = adamas(config, "replay", "carbon", "--seconds", "1", expect=2)
    assert out.count("Connection refused") == 1, "said once, and by nobody else"
    assert "carbon: Connection refused; trying again" in out
    assert "6 wait" in out
    sink.restart()
    with open(config, "a") as file:
        file.write('buffer = "memory"\n')
    assert "6 of 6 points delivered, 0 wait" in adamas(config, "replay", "carbon")


def test_a_running_agent_keeps_its_spool(config: str, tmp_path: Path) -> None:
    sink = Sink()
    sink.kill()
    fill(tmp_path)
    text = Path(config).read_text() + f'[outputs.carbon]\ntype = "graphite"\naddress = "127.0.0.1:{sink.port}"\n'
    running = RunningAgent(tmp_path, text)
    try:
        running.wait(lambda s: s["outputs"][0]["spool"] and s["outputs"][0]["spool"]["open"])
        out = adamas(config, "ls")
        assert "in use" in out
        assert " 10 " in out
        for words in (("drop", "carbon", "--yes"), ("repair", "carbon"), ("replay", "carbon")):
            assert "stop it first" in adamas(config, *words, expect=1)
    finally:
        running.end()
