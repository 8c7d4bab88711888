"""A hundred collectors of Diamond's kind, thirty of which misbehave: the other seventy deliver every window, nothing is left."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import culprits
from agents import RunningAgent, Sink, balanced

pytestmark = pytest.mark.soak

HEAD = '[agent]\nhostname = "h"\ninterval = "5s"\nstate_dir = "{state}"\ndefaults = false\n[web]\nenabled = false\n[history]\nenabled = false\n'
GOOD, BAD, MINUTES = 70, 30, 3


def test_thirty_of_a_hundred_misbehave(tmp_path: Path) -> None:
    sink = Sink()
    tables = culprits.write(tmp_path / "c", GOOD, BAD)
    output = f'[outputs.sink]\ntype = "graphite"\nnaming = "diamond"\naddress = "127.0.0.1:{sink.port}"\n'
    running = RunningAgent(tmp_path, HEAD + output + tables)
    most_zombies = 0
    try:
        running.wait(lambda s: all(c["runs"] >= 2 for c in s["collectors"]), 120)
        end = time.monotonic() + 60 * MINUTES
        while time.monotonic() < end:
            stay = set(culprits.zombies(running.process.pid))
            time.sleep(2.5)
            most_zombies = max(most_zombies, len(stay & set(culprits.zombies(running.process.pid))))
            assert all(balanced(o["ledger"]) for o in running.status()["outputs"])
            time.sleep(2.5)
        status = running.status()
        good = [c for c in status["collectors"] if c["name"].startswith("Good")]
        assert {c["name"]: c["error"] for c in good if c["failures"] or c["missed"]} == {}
        late = sorted(c["late"] for c in good)
        processes = culprits.descendants(running.process.pid)
        memory = status["memory"]
        code, seconds = running.stop()
        print(f"processes {len(processes)}; late {late[-1] * 1000:.0f} ms at most; RSS {memory >> 20} MiB; stop {seconds:.2f} s")
        assert code == 0
        assert most_zombies == 0, "a zombie that is still there after 2.5 seconds"
        time.sleep(1)
        assert [pid for pid in processes if Path(f"/proc/{pid}").exists()] == [], "nothing outlives the agent"
        assert culprits.gaps(sink.stamps, GOOD, 5) == {}
        assert memory < 80e6
    finally:
        running.end()
