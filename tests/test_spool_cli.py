"""`adamas spool`, on spools as an agent leaves them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from agents import RunningAgent, Sink

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
    assert "bytes are damaged" in adamas(config, "verify", "carbon", expect=1)
    assert "8 points kept" in adamas(config, "repair", "carbon")
    assert "8 points in good records, 8 of them wait; nothing is damaged" in adamas(config, "verify", "carbon")


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
    assert "Connection refused; trying again" in out
    assert "6 wait" in out


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
