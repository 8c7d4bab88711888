"""Everything at once: a whole agent whose three backends and whose own life are disturbed at random, by a seed that is printed.

What must hold is stated without a tolerance: at every look the ledger of every output balances, and in the end each backend
has what was measured, sample for sample, but for what it refused itself, which is in the dead-letter file, payload for payload.
"""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from chaos import Arrived, Chaos, from_json, seconds_and_seed


class Redis:
    """A real redis-server that writes everything to disk before it answers, killed and started again."""

    def __init__(self, folder: Path) -> None:
        servers.require("redis-server", "redis-cli")
        self.folder = folder
        self.port = servers.free_port()
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
        self.server.signal(signal.SIGCONT)
        self.server.kill()


class WithRedis(Chaos):
    """Graphite, HTTP and a real Redis."""

    outputs = Chaos.outputs + '[outputs.redis]\naddress = "127.0.0.1:%(redis)d"\ntimeout = "1s"\n'
    names = (*Chaos.names, "redis")

    def prepare(self) -> None:
        self.redis = Redis(self.folder / "redis")

    def places(self) -> dict[str, object]:
        return {**super().places(), "redis": self.redis.port}

    def acts(self) -> list[Callable[[random.Random], None]]:
        return [*super().acts(), self.trouble_redis]

    def trouble_redis(self, chance: random.Random) -> None:
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

    def arrived(self) -> dict[str, Arrived]:
        entries = self.redis.ask("--raw", "XRANGE", "metrics", "-", "+")
        numbers = [line for line in entries.splitlines() if "number" in line]
        return {**super().arrived(), "redis": from_json("\n".join(numbers).encode())}

    def letters(self, name: str) -> Arrived:
        """What a backend refused, by the dead-letter file."""
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
                assert letter["points"] == sum(1 for part in body.splitlines() if part)
                found |= from_json(body)
        return found

    def end(self) -> None:
        super().end()
        self.redis.kill()


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Callable[[int], WithRedis]]:
    made: list[WithRedis] = []

    def begin(seed: int) -> WithRedis:
        made.append(WithRedis(tmp_path, seed))
        return made[-1]

    yield begin
    for one in made:
        one.end()


@pytest.mark.parametrize("seconds", [20, pytest.param(3600, marks=pytest.mark.soak)])
def test_chaos(chaos: Callable[[int], WithRedis], seconds: float) -> None:
    seconds, seed = seconds_and_seed(seconds)
    one = chaos(seed)
    one.endure(seconds)
    measured, arrived, refused = one.measured(), one.arrived(), one.letters("http")
    assert refused == from_json(b"".join(one.http.refused)), "what was refused is kept"
    print(f"{len(measured)} samples, {len(refused)} of them refused and kept")
    for name, got in arrived.items():
        print(f"{name}: {len(got)} arrived, {len(measured - got)} missing")
    for name, got in arrived.items():
        allowed = refused if name == "http" else set()
        assert measured - got <= allowed, f"{name} lacks {sorted(measured - got - allowed)[:20]}"
        assert got <= measured, f"{name} has what was never measured: {sorted(got - measured)[:20]}"
    assert not list((one.folder / "state" / "dead-letters").glob("graphite*"))
