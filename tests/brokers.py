"""What the tests of brokers share: bodies read back into points, all of them compared, restarts in the middle, and leaks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from agents import balanced
from roundtrip import Trip, batches
from servers import wait_until

from adamas import Batch
from adamas.registry import Registry

Points = dict[tuple[str, tuple[tuple[str, str], ...]], dict[float, float | int]]


def spelled(value: float | int) -> float | int:
    """A value as it is in text: floats have 12 significant digits."""
    return value if isinstance(value, int) else float(f"{value:.12g}")


def number(text: str) -> float | int:
    """A number as it was written."""
    return int(text) if re.fullmatch(r"-?\d+", text) else float(text)


def read_json(line: str) -> tuple[str, dict[str, str], float, float | int]:
    """(name, labels, time, value) of an object."""
    found = json.loads(line)
    return found["name"], found["labels"], found["time"], found["value"]


def read_graphite(line: str) -> tuple[str, dict[str, str], float, float | int]:
    """(name, labels, time, value) of a Graphite line."""
    series, value, stamp = line.split(" ")
    name, *tags = series.split(";")
    return name, dict(tag.split("=", 1) for tag in tags), int(stamp), number(value)


def read_influx(line: str) -> tuple[str, dict[str, str], float, float | int]:
    """(name, labels, time, value) of a line of InfluxDB's."""
    series, field, stamp = re.split(r"(?<!\\) ", line)
    name, *tags = re.split(r"(?<!\\),", series)
    pairs = [[re.sub(r"\\([ ,=])", r"\1", text) for text in re.split(r"(?<!\\)=", tag)] for tag in tags]
    assert field.startswith("value=")
    return re.sub(r"\\([ ,])", r"\1", name), dict(pairs), int(stamp) / 1e9, number(field[6:])


READERS = {"json": read_json, "graphite": read_graphite, "influx": read_influx}


def read(bodies: Iterable[bytes], format: str = "json") -> tuple[Points, int]:
    """The points of messages, and how many came more than once; a point that came with two values is an error."""
    found: Points = {}
    twice = 0
    for body in bodies:
        assert not body.endswith(b"\n")
        for line in body.decode().split("\n"):
            name, labels, stamp, value = READERS[format](line)
            times = found.setdefault((name, tuple(sorted(labels.items()))), {})
            twice += stamp in times
            assert times.setdefault(stamp, value) == value
    return found, twice


def expected(trip: Trip, sent: list[Batch]) -> Points:
    """What must have come."""
    return {
        (name, tuple(sorted(labels))): {stamp: spelled(value) for stamp, value in times.items()}
        for (name, labels), times in trip.points(sent).items()
    }


def same(trip: Trip, sent: list[Batch], bodies: Iterable[bytes], format: str = "json") -> int:
    """All that was sent is there and nothing else, every value alike; returns how many came more than once."""
    found, twice = read(bodies, format)
    wanted = expected(trip, sent)
    assert set(found) == set(wanted)
    assert found == wanted
    return twice


def survives(
    trip: Trip, die: Callable[[], None], back: Callable[[], None], before: Callable[[], Any] = lambda: None
) -> list[Batch]:
    """Send 10,000 samples while the server dies and comes back; returns when all are delivered.

    `before` comes when some were delivered, and before those are offered that the server dies with.
    """
    sent = batches()
    trip.sender.start()

    def offer(some: list[Batch]) -> None:
        for batch in some:
            trip.sender.offer(batch)
            trip.sender.ring()

    def delivered() -> int:
        ledger = trip.sender.ledger.snapshot()
        assert balanced(ledger), ledger
        return int(ledger["delivered"])

    offer(sent[:3])
    wait_until(lambda: delivered() > 0, 20, "a delivery before the fault")
    before()
    offer(sent[3:6])
    die()
    offer(sent[6:8])
    wait_until(lambda: trip.sender.failures > 0, 30, "a failure")
    back()
    offer(sent[8:])
    total = trip.sender.ledger.snapshot()["offered"]
    wait_until(lambda: delivered() == total, 60, "all delivered")
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)
    assert trip.sender.ledger.snapshot()["dropped"] == {}
    return sent


def keeps_nothing_open(
    trip: Trip, fails: type[Exception] | None = None, words: str = "Connection refused", cycles: int = 20
) -> None:
    """After so many connections there are as many threads and descriptors as after the first two; `fails`: nobody answers."""
    payload = trip.output.encode(batches(1))

    def once() -> None:
        if fails is not None:
            with pytest.raises(fails, match=words):
                trip.output.open()
        else:
            trip.output.open()
            trip.output.send(payload)
        trip.output.close()

    for _ in range(2):
        once()
    before = (threads(), len(os.listdir("/proc/self/fd")))
    for _ in range(cycles):
        once()
    wait_until(lambda: threads() <= before[0], 5, f"no thread more than {before[0]}")
    wait_until(lambda: len(os.listdir("/proc/self/fd")) <= before[1], 5, f"no descriptor more than {before[1]}")


def threads() -> int:
    """Threads of this process, those of libraries in C among them."""
    return len(os.listdir("/proc/self/task"))


def certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """A self-made certificate and its key."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    argv += ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(argv, check=True, capture_output=True, timeout=30)
    key.chmod(0o644)
    return cert, key


def complaints(type_name: str, options: dict[str, Any]) -> str:
    """What an output says of its options, a line for each complaint."""
    found = Registry().find("outputs", type_name)
    assert found is not None
    values = {name: found.cls.options[name].parse(value) for name, value in options.items()}  # type: ignore[attr-defined]
    return "\n".join(found.cls(values, "wrong").check())  # type: ignore[attr-defined,call-arg]


def letters(folder: Path) -> list[dict[str, Any]]:
    """What is in the dead-letter file of a trip."""
    path = folder / "letters.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
