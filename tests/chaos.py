"""A whole agent whose backends and whose own life are disturbed at random: what `test_chaos*.py` have in common.

Each sample has a number that no other has. What was measured is in a file that an output of its own writes and nobody disturbs.
The seed decides what happens in which order; when it meets what the agent does is up to the machine.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import servers
from agents import RunningAgent, Sink, balanced
from http_sink import HttpSink, Reply, Request

SLOTS = 10
SEED = 31
"""The seed of the quick run."""
HEAD = """
[agent]
hostname = "h"
interval = "200ms"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
defaults = false
[web]
enabled = false
[history]
enabled = false
[collectors.number]
[outputs.truth]
type = "file"
path = "{folder}/truth"
buffer = "memory"
"""
NUMBER = f'''"""Numbers of which no two are equal, in any run of any agent."""
import os
import time
from adamas import Collector, Gauge


class Number(Collector):
    """A number that no other run has, in each of some slots. It is in a file before it is anywhere else."""

    name = "number"
    value = Gauge("{{slot}}", "A number")
    slots = [str(slot) for slot in range({SLOTS})]
    last = 0
    begun = os.open(os.path.dirname(os.path.dirname(__file__)) + "/begun", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def collect(self):
        self.last = max(self.last + 1, int(time.time() * 1000) % 10**11)
        os.write(self.begun, b"%d\\n" % self.last)
        yield self.value.row([self.last] * {SLOTS}, self.slots)
'''

Arrived = set[tuple[int, int]]
"""(number, slot) of each sample."""

MOODS = ("wait", "busy", "fault", "refuse", "break before", "break after", "hang")
"""What an HTTP backend does instead of taking what it gets."""


class Taker:
    """An HTTP backend in some mood."""

    def __init__(self) -> None:
        self.mood = "take"
        self.bodies: list[bytes] = []
        self.refused: list[bytes] = []
        self.sink = HttpSink(self.reply)

    def reply(self, request: Request) -> Reply:
        """What it answers; it keeps what it took, and what it refused."""
        self.sink.requests.clear()
        mood = self.mood
        if mood in ("take", "break after"):
            self.bodies.append(request.body)
        if mood == "refuse":
            self.refused.append(request.body)
        if mood == "hang":
            time.sleep(1.5)
        if mood in ("hang", "break before", "break after"):
            raise ConnectionError(mood)
        status = {"take": 204, "wait": 429, "busy": 503, "fault": 500, "refuse": 400}[mood]
        return Reply(status, headers={"Retry-After": "1"} if mood == "wait" else {})


class Chaos:
    """What goes wrong, and when: each trouble maker has its own thread and its own part of the seed.

    Subclasses add backends (`outputs`, a % template of their tables, and `places`, its values) and trouble makers (`acts`).
    """

    outputs: ClassVar[str] = """
[outputs.graphite]
address = "127.0.0.1:%(graphite)d"
timeout = "%(patience)s"
[outputs.http]
url = "http://127.0.0.1:%(http)d/take"
format = "json_lines"
naming = "path"
timeout = "1s"
buffer = "write_through"
"""
    names: ClassVar[tuple[str, ...]] = ("graphite", "http")
    deeds: ClassVar[tuple[str, ...]] = ("same", "broken", "more", "patience", "suspend", "restart")
    """What happens to the agent."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.graphite, self.http = Sink(), Taker()
        self.calm, self.over = threading.Event(), threading.Event()
        self.quiet: list[threading.Event] = []
        self.count: dict[str, int] = {}
        self.errors: list[BaseException] = []
        self.patience = "1s"
        self.looks = 0
        self.took = 0.0
        (folder / "plugins").mkdir()
        (folder / "plugins" / "number.py").write_text(NUMBER)
        self.prepare()
        self.agent = self.begin()

    def prepare(self) -> None:
        """Start the other backends."""

    def places(self) -> dict[str, object]:
        """The values of `outputs`."""
        return {"graphite": self.graphite.port, "http": self.http.sink.port, "patience": self.patience}

    def acts(self) -> list[Callable[[random.Random], None]]:
        """The trouble makers."""
        return [self.trouble_graphite, self.trouble_http, self.trouble_agent]

    def config(self, more: str = "") -> str:
        return HEAD + self.outputs % self.places() + more

    def begin(self) -> RunningAgent:
        running = RunningAgent(self.folder, self.config())
        running.wait(lambda s: len(s["outputs"]) == 1 + len(self.names), 20)
        return running

    def endure(self, seconds: float) -> None:
        """Disturb for so long, looking all the time; then everything must be well again, and fresh samples come, and the agent stops."""
        for act in self.acts():
            chance, quiet = random.Random(self.chance.random()), threading.Event()
            self.quiet.append(quiet)
            threading.Thread(target=self._act, args=(act, chance, quiet), daemon=True).start()
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.errors:
            self.looks += self.look()
            time.sleep(0.1)
        self.calm.set()
        assert all(quiet.wait(60) for quiet in self.quiet)
        assert not self.errors, self.errors
        self.graphite.stalled, self.http.mood = False, "take"
        fresh = self.begun()[-1]
        began = time.monotonic()
        self.agent.wait(lambda s: all(o["ledger"]["spool"] == 0 and o["state"] == "ok" for o in s["outputs"]), 120)
        servers.wait_until(lambda: all(max(got)[0] > fresh for got in self.arrived().values()), 70, "a fresh sample")
        self.took = time.monotonic() - began
        self.looks += self.look()
        memory = self.agent.status()["memory"]
        assert self.agent.stop()[0] == 0
        print(f"{seconds:.0f} s, {sum(self.count.values())} troubles: {dict(sorted(self.count.items()))}")
        print(f"{self.looks} ledgers balanced; all well again after {self.took:.1f} s; {memory / 1e6:.0f} MB")
        assert self.looks > seconds

    def _act(self, act: Callable[[random.Random], None], chance: random.Random, quiet: threading.Event) -> None:
        try:
            while not self.calm.wait(chance.uniform(0.2, 3)):
                act(chance)
        except BaseException as error:
            self.errors.append(error)
        quiet.set()
        self.over.wait()  # what a thread started dies with it

    def note(self, what: str) -> None:
        self.count[what] = self.count.get(what, 0) + 1
        with (self.folder / "troubles").open("a") as file:
            file.write(f"{int(time.time() * 1000) % 10**11} {what}\n")

    def trouble_graphite(self, chance: random.Random) -> None:
        self.graphite.stalled = chance.random() < 0.4
        self.note("graphite stalls" if self.graphite.stalled else "graphite is away")
        if self.graphite.stalled:
            self.calm.wait(chance.uniform(0.2, 3))
        if not self.graphite.stalled or chance.random() < 0.5:
            self.graphite.kill()
            self.graphite.stalled = False
            self.calm.wait(chance.uniform(0, 3))
            self.graphite.restart()
        self.graphite.stalled = False

    def trouble_http(self, chance: random.Random) -> None:
        self.http.mood = chance.choice(MOODS)
        self.note(f"http: {self.http.mood}")
        self.calm.wait(chance.uniform(0.1, 0.7 if self.http.mood == "refuse" else 3))
        self.http.mood = "take"

    def trouble_agent(self, chance: random.Random) -> None:
        what = chance.choice(self.deeds)
        self.note(f"agent: {what}")
        if what in ("restart", "kill"):
            self.stop() if what == "restart" else self.kill()
            time.sleep(0.4)  # two lives must not measure in one window: many backends have place for one value there
            self.agent = self.begin()
            return
        if what == "suspend":
            self.agent.process.send_signal(signal.SIGSTOP)
            self.calm.wait(chance.uniform(0.2, 2))
            self.agent.process.send_signal(signal.SIGCONT)
            return
        if what == "patience":
            self.patience = "1500ms" if self.patience == "1s" else "1s"
        more = {"broken": "[outputs.nonsense]\ntypo = 1\n", "more": "[collectors.loadavg]\nallow = ['nothing']\n"}.get(what, "")
        self.agent.write(self.config(more))
        self.agent.hup()
        self.calm.wait(0.5)
        self.agent.write(self.config())

    def stop(self) -> None:
        """Stop the agent in peace."""
        code, _ = self.agent.stop()
        assert code == 0, self.agent.log.read_text()[-3000:]

    def kill(self) -> None:
        """Kill the agent."""
        self.agent.end()

    def look(self) -> int:
        """Every ledger balances now; returns how many were looked at (none while the agent is not there)."""
        try:
            outputs = self.agent.status()["outputs"]
        except (OSError, ValueError):
            return 0
        for output in outputs:
            assert balanced(output["ledger"]), (output["name"], output["ledger"])
        return len(outputs)

    def begun(self) -> list[int]:
        """Every number that was measured, whatever became of it then."""
        return [int(line) for line in (self.folder / "begun").read_bytes().split(b"\n")[:-1]]

    def measured(self) -> Arrived:
        """What the undisturbed file has."""
        return from_lines((self.folder / "truth").read_text().splitlines())

    def arrived(self) -> dict[str, Arrived]:
        """What each backend has."""
        lines = [" ".join(map(str, line)) for line in list(self.graphite.lines)]
        return {"graphite": from_lines(lines), "http": from_json(b"".join(self.http.bodies))}

    def end(self) -> None:
        """End everything that was started."""
        self.calm.set()
        self.over.set()
        self.agent.end()
        self.http.sink.stop()
        self.graphite.end()


def from_lines(lines: Iterable[str]) -> Arrived:
    """The samples of Graphite lines."""
    parts = [line.split(" ") for line in lines if ".number." in line]
    return {(int(value), int(name.rpartition(".")[2])) for name, value, _ in parts}


def from_json(body: bytes) -> Arrived:
    """The samples of JSON lines."""
    samples = [json.loads(line) for line in body.splitlines() if line]
    return {(int(s["value"]), int(s["name"].rpartition(".")[2])) for s in samples if ".number." in s["name"]}


def seconds_and_seed(seconds: float) -> tuple[float, int]:
    """How long and by which seed: the long run's is another each time; both may be given (ADAMAS_CHAOS_SECONDS, ADAMAS_CHAOS_SEED)."""
    seed = int(os.environ.get("ADAMAS_CHAOS_SEED", SEED if seconds < 60 else random.randrange(10**6)))
    print(f"seed {seed}")
    return float(os.environ.get("ADAMAS_CHAOS_SECONDS", seconds)), seed
