"""Everything at once: a whole agent whose three backends and whose own life are disturbed at random, by a seed that is printed.

What must hold is stated without a tolerance: at every look the ledger of every output balances, and in the end each backend
has what was measured, sample for sample, but for what it refused itself, which is in the dead-letter file, payload for payload. What
was measured is in a file that a fourth output writes and that nobody disturbs.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from agents import RunningAgent, Sink, balanced
from http_sink import HttpSink, Reply, Request

SLOTS = 20
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
"""
OUTPUTS = """
[outputs.graphite]
address = "127.0.0.1:{graphite}"
timeout = "{patience}"
[outputs.http]
url = "http://127.0.0.1:{http}/take"
format = "json_lines"
naming = "path"
timeout = "1s"
buffer = "write_through"
[outputs.redis]
address = "127.0.0.1:{redis}"
timeout = "1s"
"""
NUMBER = f'''"""Numbers of which no two are equal, in any run of any agent."""
import time
from adamas import Collector, Gauge


class Number(Collector):
    """A number that no other run has, in each of some slots."""

    name = "number"
    value = Gauge("{{slot}}", "A number")
    slots = [str(slot) for slot in range({SLOTS})]
    run = int(time.time()) * 1000

    def collect(self):
        self.run += 1
        yield self.value.row([self.run] * {SLOTS}, self.slots)
'''

Arrived = set[tuple[int, int]]
"""(slot, number) of each sample."""


MOODS = ("wait", "busy", "fault", "refuse", "break before", "break after", "hang")
"""What an HTTP backend does instead of taking what it gets."""


class Taker:
    """An HTTP backend in some mood."""

    def __init__(self) -> None:
        self.mood = "take"
        self.bodies: list[bytes] = []
        self.sink = HttpSink(self.reply)

    def reply(self, request: Request) -> Reply:
        self.sink.requests.clear()
        mood = self.mood
        if mood in ("take", "break after"):
            self.bodies.append(request.body)
        if mood == "hang":
            time.sleep(1.5)
        if mood in ("hang", "break before", "break after"):
            raise ConnectionError(mood)
        status = {"take": 204, "wait": 429, "busy": 503, "fault": 500, "refuse": 400}[mood]
        return Reply(status, headers={"Retry-After": "1"} if mood == "wait" else {})


class Redis:
    """A real redis-server that writes everything to disk before it answers, killed and started again."""

    def __init__(self, folder: Path) -> None:
        servers.require("redis-server", "redis-cli")
        self.folder = folder
        self.port = servers.free_port()
        self.server: servers.Server | None = None
        self.start()

    def start(self) -> None:
        argv = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", ""]
        argv += ["--appendonly", "yes", "--appendfsync", "always"]
        self.server = servers.start(argv, self.folder, self.answers, timeout=30)

    def answers(self) -> bool:
        return self.ask("PING").strip() == "PONG"

    def ask(self, *words: str) -> str:
        argv = ["redis-cli", "-p", str(self.port), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False).stdout

    def kill(self) -> None:
        assert self.server is not None
        self.server.signal(signal.SIGCONT)
        self.server.kill()


class Chaos:
    """What goes wrong, and when: each trouble maker has its own thread and its own part of the seed."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.chance = random.Random(seed)
        self.graphite, self.http, self.redis = Sink(), Taker(), Redis(folder / "redis")
        self.calm, self.over = threading.Event(), threading.Event()
        self.quiet: list[threading.Event] = []
        self.count: dict[str, int] = {}
        self.errors: list[BaseException] = []
        self.patience = 1.0
        (folder / "plugins").mkdir()
        (folder / "plugins" / "number.py").write_text(NUMBER)
        self.agent = self.begin()

    def config(self, more: str = "") -> str:
        ports = {"graphite": self.graphite.port, "http": self.http.sink.port, "redis": self.redis.port}
        return HEAD + OUTPUTS.format(**ports, patience=f"{self.patience}s") + more

    def begin(self) -> RunningAgent:
        running = RunningAgent(self.folder, self.config())
        running.wait(lambda s: len(s["outputs"]) == 4, 20)
        return running

    def disturb(self) -> None:
        """Begin; everything ends once it is `calm`."""
        for act in (self.trouble_graphite, self.trouble_http, self.trouble_redis, self.trouble_agent):
            chance, quiet = random.Random(self.chance.random()), threading.Event()
            self.quiet.append(quiet)
            threading.Thread(target=self._act, args=(act, chance, quiet), daemon=True).start()

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

    def trouble_graphite(self, chance: random.Random) -> None:
        if chance.random() < 0.4:
            self.note("graphite stalls")
            self.graphite.stalled = True
            self.calm.wait(chance.uniform(0.2, 3))
            if chance.random() < 0.5:
                self.graphite.kill()
                self.graphite.stalled = False
                self.graphite.restart()
            self.graphite.stalled = False
        else:
            self.note("graphite is away")
            self.graphite.kill()
            self.calm.wait(chance.uniform(0, 3))
            self.graphite.restart()

    def trouble_http(self, chance: random.Random) -> None:
        self.http.mood = chance.choice(MOODS)
        self.note(f"http: {self.http.mood}")
        self.calm.wait(chance.uniform(0.1, 0.7 if self.http.mood == "refuse" else 3))
        self.http.mood = "take"

    def trouble_redis(self, chance: random.Random) -> None:
        assert self.redis.server is not None
        if chance.random() < 0.5:
            self.note("redis stops for a while")
            self.redis.server.signal(signal.SIGSTOP)
            self.calm.wait(chance.uniform(0.2, 3))
            self.redis.server.signal(signal.SIGCONT)
        else:
            self.note("redis is killed")
            self.redis.kill()
            self.calm.wait(chance.uniform(0, 2))
            self.redis.start()

    def trouble_agent(self, chance: random.Random) -> None:
        what = chance.choice(("same", "broken", "more", "patience", "suspend", "restart"))
        self.note(f"agent: {what}")
        if what == "restart":
            code, _ = self.agent.stop()
            assert code == 0, self.agent.log.read_text()[-3000:]
            self.agent = self.begin()
            return
        if what == "suspend":
            self.agent.process.send_signal(signal.SIGSTOP)
            self.calm.wait(chance.uniform(0.2, 2))
            self.agent.process.send_signal(signal.SIGCONT)
            return
        if what == "patience":
            self.patience = 1.5 if self.patience == 1.0 else 1.0
        more = {"broken": "[outputs.nonsense]\ntypo = 1\n", "more": "[collectors.loadavg]\nallow = ['nothing']\n"}.get(what, "")
        self.agent.write(self.config(more))
        self.agent.hup()
        self.calm.wait(0.5)
        self.agent.write(self.config())

    def look(self) -> int:
        """Every ledger balances now; returns how many were looked at (none while the agent is not there)."""
        try:
            outputs = self.agent.status()["outputs"]
        except (OSError, ValueError):
            return 0
        for output in outputs:
            assert balanced(output["ledger"]), (output["name"], output["ledger"])
        return len(outputs)

    def measured(self) -> Arrived:
        """What the undisturbed file has."""
        return from_lines((self.folder / "truth").read_bytes())

    def arrived(self) -> dict[str, Arrived]:
        """What each backend has."""
        entries = self.redis.ask("--raw", "XRANGE", "metrics", "-", "+")
        numbers = [line for line in entries.splitlines() if "number" in line]
        return {
            "graphite": {(int(n.rpartition(".")[2]), int(v)) for n, v, _ in self.graphite.lines if ".number." in n},
            "http": from_json(b"".join(self.http.bodies)),
            "redis": from_json("\n".join(numbers).encode()),
        }

    def letters(self, name: str) -> Arrived:
        """What a backend refused."""
        found: Arrived = set()
        for path in (self.folder / "state" / "dead-letters").glob(f"{name}.jsonl*"):
            for line in path.read_text().splitlines():
                letter = json.loads(line)
                if "text" in letter:
                    body = letter["text"].encode()
                else:
                    import base64
                    import gzip

                    body = gzip.decompress(base64.b64decode(letter["base64"]))
                samples = from_json(body)
                assert letter["points"] == sum(1 for part in body.splitlines() if part)
                found |= samples
        return found

    def end(self) -> None:
        self.over.set()
        self.agent.end()
        self.redis.kill()
        self.http.sink.stop()
        self.graphite.kill()


def from_lines(body: bytes) -> Arrived:
    parts = [line.split(b" ") for line in body.splitlines() if b".number." in line]
    return {(int(name.rpartition(b".")[2]), int(value)) for name, value, _ in parts}


def from_json(body: bytes) -> Arrived:
    samples = [json.loads(line) for line in body.splitlines() if line]
    return {(int(s["name"].rpartition(".")[2]), int(s["value"])) for s in samples if ".number." in s["name"]}


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Callable[[int], Chaos]]:
    made: list[Chaos] = []

    def begin(seed: int) -> Chaos:
        made.append(Chaos(tmp_path, seed))
        return made[-1]

    yield begin
    for one in made:
        one.end()
    shutil.rmtree(tmp_path, ignore_errors=True)


@pytest.mark.parametrize("seconds", [20, pytest.param(3600, marks=pytest.mark.soak)])
def test_chaos(chaos: Callable[[int], Chaos], seconds: float) -> None:
    seconds = float(os.environ.get("CHAOS_SECONDS", seconds))
    seed = int(os.environ.get("CHAOS_SEED", random.randrange(10**6)))
    print(f"seed {seed}")
    one = chaos(seed)
    one.disturb()
    end, looks = time.monotonic() + seconds, 0
    while time.monotonic() < end and not one.errors:
        looks += one.look()
        time.sleep(0.1)
    one.calm.set()
    assert all(quiet.wait(40) for quiet in one.quiet)
    assert not one.errors, one.errors
    one.graphite.stalled, one.http.mood = False, "take"
    fresh = max(number for _, number in one.measured())
    began = time.monotonic()
    one.agent.wait(lambda s: all(o["ledger"]["spool"] == 0 and o["state"] == "ok" for o in s["outputs"]), 120)
    servers.wait_until(lambda: all(max(n for _, n in got) > fresh for got in one.arrived().values()), 70, "a fresh sample")
    took = time.monotonic() - began
    last = one.agent.status()
    assert one.agent.stop()[0] == 0
    measured, arrived = one.measured(), one.arrived()
    refused = one.letters("http")
    print(f"{seconds:.0f} s, {len(measured)} samples, {sum(one.count.values())} troubles: {dict(sorted(one.count.items()))}")
    print(
        f"{looks} ledgers balanced; {len(refused)} samples refused and kept; calm after {took:.1f} s; {last['memory'] / 1e6:.0f} MB"
    )
    for name, got in arrived.items():
        print(f"{name}: {len(got)} arrived, {len(measured - got)} missing")
    assert looks > seconds
    for name, got in arrived.items():
        allowed = refused if name == "http" else set()
        assert measured - got <= allowed, f"{name} lacks {sorted(measured - got - allowed)[:20]}"
        assert got <= measured, f"{name} has what was never measured: {sorted(got - measured)[:20]}"
    assert not list((one.folder / "state" / "dead-letters").glob("graphite*"))
