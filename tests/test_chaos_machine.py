"""The machine and four backends at random: the agent killed with -9, stopped, suspended and reloaded, its disk full, by a seed.

At every look the ledger of every output balances. Where the agent is only ever stopped in peace, each backend has what was
measured, but for what it refused and for as many points as the log of a stop says it could not put away: no more, and fewer
where what was on its way arrived and nobody could say so. Where it is killed, each has all that was measured before a look at
which nothing of its output was in memory: what was on disk or confirmed then survives any death.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import servers
from agents import balanced
from chaos import Arrived, Chaos, from_json, seconds_and_seed
from databases import Postgres

WAITS = "disk_free = 0\ndisk_ratio = 1\n"
"""The disk is filled to its last byte, too."""


class Machine(Chaos):
    """Beside Graphite and HTTP a real PostgreSQL, and a file of SQLite on the disk that is full now and then."""

    outputs = (
        Chaos.outputs.replace("timeout", WAITS + "timeout")
        + """
[outputs.postgresql]
address = "127.0.0.1:%(postgresql)d"
password = "se'cret"
unique = true
timeout = "1s"
buffer = "write_through"
"""
        + WAITS
        + """
[outputs.sqlite]
path = "{state}/samples.db"
timeout = "500ms"
"""
        + WAITS
    )
    names = (*Chaos.names, "postgresql", "sqlite")

    def prepare(self) -> None:
        self.state = self.folder / "state"
        self.database = Path(tempfile.mkdtemp())  # not below pytest's, which only its own user may enter
        self.postgresql = Postgres(self.database)
        self.safe = dict.fromkeys(self.names, 0)
        """The last number that survives any death, for each output."""
        self.doubtful: dict[str, list[tuple[int, int]]] = {name: [] for name in self.names}
        """At each death: after which number, and up to which, an output may have lost what was in memory."""
        self.looking = threading.Lock()

    def places(self) -> dict[str, object]:
        return {**super().places(), "postgresql": self.postgresql.port}

    def acts(self) -> list[Callable[[random.Random], None]]:
        return [*super().acts(), self.trouble_postgresql, self.trouble_sqlite, self.trouble_disk]

    def trouble_postgresql(self, chance: random.Random) -> None:
        what = chance.choice(("cut", "lock", "kill"))
        self.note(f"postgresql: {what}")
        if what == "cut":
            self.postgresql.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'adamas'")
        elif what == "lock":
            table = self.postgresql.query("SELECT to_regclass('samples')") != [""]
            lock = "LOCK TABLE samples; " if table else ""
            self.postgresql.query(f"BEGIN; {lock}SELECT pg_sleep({chance.uniform(0.5, 2):.2f}); COMMIT")
        else:
            self.postgresql.server.kill()
            self.calm.wait(chance.uniform(0, 2))
            self.begin_postgresql()

    def begin_postgresql(self) -> None:
        """Start it again; what is left of the one that was killed may be in the way for a moment."""

        def started() -> bool:
            try:
                self.postgresql.start()
            except servers.ServerDied:
                return False
            return True

        servers.wait_until(started, 30, "PostgreSQL")

    def trouble_sqlite(self, chance: random.Random) -> None:
        self.note("sqlite is locked")
        connection = sqlite3.connect(self.state / "samples.db", timeout=5, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            self.calm.wait(chance.uniform(0.2, 2))
        except sqlite3.OperationalError:
            pass  # the disk is full, or there is no such file yet
        finally:
            connection.close()

    def trouble_disk(self, chance: random.Random) -> None:
        self.note("the disk is full")
        ballast = self.state / "ballast"
        with ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        self.calm.wait(chance.uniform(0.2, 3))
        ballast.unlink()
        self.calm.wait(chance.uniform(0, 3))

    def stop(self) -> None:
        super().stop()
        with self.looking:
            self.safe = dict.fromkeys(self.names, self.begun()[-1])  # or given up, in words

    def kill(self) -> None:
        with self.looking:
            super().kill()
            for name, places in self.doubtful.items():
                places.append((self.safe[name], self.begun()[-1]))

    def look(self) -> int:
        with self.looking:
            last = self.begun()[-1] if (self.folder / "begun").exists() else 0
            try:
                outputs = self.agent.status()["outputs"]
            except (OSError, ValueError):
                return 0
        for output in outputs:
            ledger, name = output["ledger"], output["name"]
            assert balanced(ledger), (name, ledger)
            # Runs come one after another: when this one began, those before had been offered.
            if name in self.safe and not ledger["memory"] and not ledger["flight"]:
                self.safe[name] = max(self.safe[name], last - 1)
        return len(outputs)

    def arrived(self) -> dict[str, Arrived]:
        rows = [line.split("|") for line in self.postgresql.query("SELECT value, labels->>'slot' FROM samples")]
        connection = sqlite3.connect(self.state / "samples.db", timeout=30)
        own = connection.execute("SELECT value, labels->>'slot' FROM samples").fetchall()
        connection.close()
        stored = {
            name: {(int(value), int(slot)) for value, slot in found} for name, found in (("postgresql", rows), ("sqlite", own))
        }
        return {**super().arrived(), **stored}

    def end(self) -> None:
        super().end()
        self.postgresql.server.kill()
        shutil.rmtree(self.database, ignore_errors=True)


class Deadly(Machine):
    """The agent is killed, too."""

    deeds = (*Machine.deeds, "kill", "kill", "kill")


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Callable[..., Machine]]:
    if os.geteuid() != 0:
        pytest.skip("mounting a tmpfs needs root")
    made: list[Machine] = []
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48m,mode=700", "tmpfs", str(state)], check=True)

    def begin(kind: type[Machine], seed: int) -> Machine:
        made.append(kind(tmp_path, seed))
        return made[-1]

    try:
        yield begin
        for one in made:
            one.end()
    finally:
        subprocess.run(["umount", "-l", str(state)], check=False)


@pytest.mark.parametrize("kind", [Machine, Deadly], ids=["stopped", "killed"])
@pytest.mark.parametrize("seconds", [15, pytest.param(1800, marks=pytest.mark.soak)])
def test_chaos_of_the_machine(chaos: Callable[..., Machine], kind: type[Machine], seconds: float) -> None:
    seconds, seed = seconds_and_seed(seconds)
    one = chaos(kind, seed)
    one.endure(seconds)
    measured, arrived, begun = one.measured(), one.arrived(), set(one.begun())
    refused = from_json(b"".join(one.http.refused))
    log = one.agent.log.read_text()
    print(f"{len(measured)} samples, {len(refused)} of them refused")
    for name, got in arrived.items():
        given_up = sum(int(n) for n in re.findall(rf" {name}\b.*stopped with (\d+) points that could not be delivered", log))
        missing = measured - got - (refused if name == "http" else set())
        print(f"{name}: {len(got)} arrived, {len(missing)} missing, {given_up} given up at stops")
        assert {number for number, _ in got} <= begun, "what was never measured"
        if kind is Deadly:
            doubtful = {s for s in measured if any(after < s[0] <= last for after, last in one.doubtful[name])}
            lost = missing - doubtful
            print(f"{name}: {len(doubtful)} were in memory at a death, for all that was seen")
            assert len(doubtful) < len(measured), "the rule says nothing"
            assert len(lost) <= given_up, f"{name} lacks {sorted(lost)[:20]}, though it was not in memory"
        else:
            assert len(missing) <= given_up, f"{name} lacks {sorted(missing)[:20]}"
    assert one.postgresql.query("SELECT count(*) FROM samples WHERE name = 'number_value'") == [str(len(arrived["postgresql"]))]
