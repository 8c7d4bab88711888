"""A mount whose server is dead: nothing in the agent hangs on it, no other mount loses a sample, and the agent can stop."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agents import RunningAgent, Sink

HERE = Path(__file__).parent
CONFIG = """
[agent]
hostname = "h"
interval = "1s"
state_dir = "{state}"
defaults = false
[web]
enabled = false
[history]
enabled = false
[collectors.diskspace]
[collectors.loadavg]
[outputs.sink]
type = "graphite"
"""


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        pytest.skip("mounting FUSE needs root and /dev/fuse")
    where = tmp_path / "hangs_here"
    where.mkdir()
    server = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, str(HERE / "hanging_mount.py"), str(where)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    assert server.stdout.readline() == "mounted\n"
    yield where, server
    server.kill()
    server.wait()
    server.stdout.close()
    ctypes.CDLL(None).umount2(str(where).encode(), 2)  # MNT_DETACH


def _state(pid: str) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_hanging_mount(tmp_path: Path, mount: tuple[Path, subprocess.Popen[str]]) -> None:
    where, server = mount
    sink = Sink()
    running = RunningAgent(tmp_path, CONFIG + f'address = "127.0.0.1:{sink.port}"\n')
    try:
        running.wait(lambda s: all(c["runs"] >= 4 for c in s["collectors"]), 20)
        status = running.status()
        states = {c["name"]: c for c in status["collectors"]}
        assert states["diskspace"]["state"] == "ok", states["diskspace"]
        assert states["loadavg"]["missed"] == 0
        tasks = list(Path(f"/proc/{running.process.pid}/task").iterdir())
        assert all(_state(f"{running.process.pid}/task/{t.name}") != "D" for t in tasks), "a thread of the agent hangs"
        began = time.monotonic()
        assert running.stop()[0] == 0
        assert time.monotonic() - began < 3, "it could not stop"
        names = {name for name, _, _ in sink.lines}
        assert "servers.h.diskspace.root.free" in names or any(n.startswith("servers.h.diskspace.root.") for n in names)
        hung = {n.rsplit(".", 1)[1] for n in names if where.name in n}
        assert hung == {"device_error", "readonly"}, "what the mount table says, and that the mount does not answer"
        roots = [n for n in names if n.startswith("servers.h.diskspace.root.")]
        stamps = sorted(set(sink.stamps(roots[0])))
        assert len(stamps) >= 3
        assert stamps == list(range(stamps[0], stamps[0] + len(stamps))), "the mount that works missed a window"
    finally:
        server.kill()
        server.wait()
        running.end()
