"""Collectors of Diamond's kind that misbehave cost the others nothing: each culprit once, three others beside them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import culprits
from agents import RunningAgent, Sink, balanced

HEAD = '[agent]\nhostname = "h"\ninterval = "1s"\nstate_dir = "{state}"\ndefaults = false\n[web]\nenabled = false\n[history]\nenabled = false\n'


def test_each_culprit_once(tmp_path: Path) -> None:
    sink = Sink()
    tables = culprits.write(tmp_path / "c", 3, len(culprits.CULPRITS))
    output = f'[outputs.sink]\ntype = "graphite"\nnaming = "diamond"\naddress = "127.0.0.1:{sink.port}"\n'
    running = RunningAgent(tmp_path, HEAD + output + tables)
    try:
        running.wait(lambda s: all(c["runs"] >= 2 for c in s["collectors"]), 60)
        time.sleep(6)
        status = running.status()
        found = {
            name.rstrip("0123456789"): words
            for name, words in ((n.removesuffix("Collector"), w) for n, w in culprits.states(status).items())
        }
        for name in ("Hangs", "Swallows", "Deaf"):
            assert "took longer than 1 s and was killed" in found[name]
        assert "exited with status 7" in found["Exits"]
        assert "enough" in found["Quits"] or "exited" in found["Quits"]
        assert "no such luck" in found["Raises"]
        assert "signal 11" in found["Kills"]
        assert found["Prints"] == found["Forks"] == found["Orphans"] == found["Good"] == "ok"
        flood = next(c for c in status["collectors"] if c["name"].startswith("Floods"))
        assert flood["series"] == 1000 and flood["removed"]["surplus"] >= 9_000
        assert all(balanced(o["ledger"]) for o in status["outputs"])
        assert status["memory"] < 60e6
        processes = list(culprits.descendants(running.process.pid))
        code, seconds = running.stop()
        assert code == 0 and seconds < 4
        time.sleep(0.5)
        left = [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        assert left == [], "nothing of ours outlives the agent, not even what fled into a session of its own"
        assert culprits.gaps(sink.stamps, 3, 1) == {}
        assert not sink.bad
        log = running.log.read_text()
        assert log.count("number 0: ") >= 1 and len(log) < 200_000, "a flood of words is cut"
    finally:
        running.end()
