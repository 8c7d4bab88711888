"""Collectors in Diamond's style that misbehave, well-behaved ones beside them, and what must come of both."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

HEAD = "import os, signal, subprocess, sys, time\nimport diamond.collector\n\n"

CULPRITS = {
    "Hangs": "time.sleep(10000)",
    "Swallows": "while True:\n    try:\n        time.sleep(10000)\n    except BaseException:\n        pass",
    "Deaf": "for number in range(1, 32):\n    try:\n        signal.signal(number, signal.SIG_IGN)\n    except OSError:\n        pass\ntime.sleep(10000)",
    "Leaks": "self.kept = getattr(self, 'kept', []) + [bytearray(40 << 20)]\nself.publish('x', len(self.kept))",
    "Forks": "for _ in range(5):\n    if os.fork() == 0:\n        time.sleep(60)\n        os._exit(0)\nself.publish('x', 1)",
    "Orphans": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(1)\n    os._exit(0)\nself.publish('x', 1)",
    "Exits": "os._exit(7)",
    "Quits": "sys.exit('enough')",
    "Prints": "for stream in (sys.stdout, sys.stderr):\n    stream.write('x' * (4 << 20))\n    stream.flush()\nself.publish('x', 1)",
    "Shouts": "for number in range(20000):\n    self.log.error('number %d: %s', number, 'x' * 200)\nself.publish('x', 1)",
    "Kills": "os.kill(os.getpid(), 11)",
    "Raises": "raise ValueError('no such luck')",
    "Floods": "for number in range(10000):\n    self.publish('x%d' % number, number)",
    "Closes": "os.closerange(3, 100)",
    "Mutes": "subprocess.Popen(['sleep', '1000'], preexec_fn=os.setsid)\nself.publish('x', 1)",
}
"""By name: what `collect` does."""


def write(folder: Path, good: int, bad: int) -> str:
    """Files for so many of each, and the tables of a configuration that runs them."""
    folder.mkdir()
    bodies = {
        f"Good{number}": "self.publish('x', self.run())\nself.publish_counter('c', time.time(), precision=1)"
        for number in range(good)
    }
    kinds = sorted(CULPRITS)
    for number in range(bad):
        kind = kinds[number % len(kinds)]
        bodies[f"{kind}{number}"] = CULPRITS[kind]
    tables = []
    for name, body in bodies.items():
        text = f"{HEAD}class {name}Collector(diamond.collector.Collector):\n    runs = 0\n\n    def run(self):\n        self.runs += 1\n        return self.runs\n\n"
        text += "    def collect(self):\n        " + body.replace("\n", "\n        ") + "\n"
        (folder / f"{name.lower()}.py").write_text(text)
        limits = 'memory_limit = "128MiB"\nseries_limit = 1000\n'
        tables.append(f'[collectors.{name}Collector]\ntype = "diamond"\nfile = "{folder}/{name.lower()}.py"\n{limits}')
    return "".join(tables)


def descendants(pid: int) -> dict[int, str]:
    """Every process below this one, with its state."""
    parents: dict[int, list[tuple[int, str]]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                state, parent = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            parents.setdefault(int(parent), []).append((int(entry), state))
    found: dict[int, str] = {}
    look = [pid]
    while look:
        for child, state in parents.get(look.pop(), []):
            found[child] = state
            look.append(child)
    return found


def zombies(pid: int) -> list[int]:
    """The processes below this one that are dead and not reaped."""
    return [child for child, state in descendants(pid).items() if state == "Z"]


def gaps(stamps: Callable[[str], list[int]], good: int, interval: int) -> dict[str, list[int]]:
    """The windows that a well-behaved collector has no value for; {} where none misses any."""
    found = {}
    for number in range(good):
        seen = stamps(f"servers.h.Good{number}Collector.x")
        if not seen:
            found[f"Good{number}"] = [0]
            continue
        lost = sorted(set(range(seen[0], seen[-1] + 1, interval)) - set(seen))
        if lost:
            found[f"Good{number}"] = lost
    return found


def states(status: dict[str, Any]) -> dict[str, str]:
    """What became of each collector, in words."""
    return {c["name"]: c["error"] or c["state"] for c in status["collectors"]}
