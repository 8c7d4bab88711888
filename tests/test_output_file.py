"""Samples in files: all of them, once, whatever is rotated, compressed, moved away or full on the way."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import servers
from roundtrip import Trip, batches

from adamas import Batch
from adamas.config import load
from adamas.lines import text
from adamas.naming import Naming
from adamas.outputs._rotation import Rotation
from adamas.outputs.file import File

POINTS = 9_950
"""Of 10,000 samples in a dotted naming: rates have no first one."""

Rows = dict[tuple[str, str], dict[float, float]]
"""(name, labels as JSON) -> time -> value."""


def content(path: Path) -> str:
    """What is in a file, or was before it was compressed."""
    return (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()


def parts(path: Path) -> list[Path]:
    """A file and those that were rotated from it, the oldest first."""
    return [Path(found) for _, found in Rotation(str(path), 0, 0, 0, False, "").rotated()] + [path] * path.exists()


def read(path: Path, form: str) -> Rows:
    """Everything in a file and its rotated ones, by readers that are not ours; no point twice."""
    found: Rows = {}

    def take(name: str, labels: str, moment: str | float, value: str | float) -> None:
        points = found.setdefault((name, labels), {})
        assert float(moment) not in points, f"{name} {labels} {moment} is there twice"
        points[float(moment)] = float(value)

    for part in parts(path):
        whole = content(part)
        if form == "csv":
            rows = list(csv.reader(io.StringIO(whole), strict=True))
            assert rows[0] == ["time", "name", "labels", "value"], part
            for moment, name, labels, value in rows[1:]:
                take(name, labels or "{}", moment, value)
        for line in whole.split("\n")[:-1] if form != "csv" else ():
            if form == "json":
                row = json.loads(line)
                take(row["name"], json.dumps(row["labels"], separators=(",", ":")), row["time"], row["value"])
                assert set(row) == {"name", "labels", "value", "time", "kind", "unit"}
            else:
                name, value, moment = line.split(" ")
                take(name, "{}", moment, value)
    return found


def expected(trip: Trip, sent: list[Batch], form: str) -> Rows:
    """What must be there: floats in text have 12 significant digits, those in JSON all of theirs."""
    made: Rows = {}
    for batch in sent:
        for point, value in trip.pairs(batch):
            key = (point.name, json.dumps(dict(point.labels), separators=(",", ":")))
            made.setdefault(key, {})[batch.time] = float(value) if form == "json" else float(text(point, value))
    return made


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize(("form", "naming"), [("lines", "path"), ("json", "prometheus"), ("csv", "otel"), ("csv", "diamond")])
def test_all_is_there_once_in_every_format(tmp_path: Path, form: str, naming: str, compress: bool) -> None:
    path = tmp_path / "samples"
    options = {"path": str(path), "format": form, "naming": naming, "batch": 1, "keep": 0}
    trip, sent = Trip(tmp_path, "file", {**options, "rotate_size": "128KiB", "compress": compress}), batches()
    ledger = trip.go(sent)
    assert ledger["delivered"] == (POINTS if naming in ("path", "diamond") else 10_000)
    assert read(path, form) == expected(trip, sent, form)
    rotated = parts(path)[:-1]
    assert len(rotated) >= 4
    assert all(len(content(part)) < (128 << 10) + 140_000 for part in parts(path))
    if compress:
        assert sum(part.suffix == ".gz" for part in rotated) >= len(rotated) - 2, "each send compresses what the one before left"
        for part in rotated:
            if part.suffix == ".gz":
                subprocess.run(["gzip", "--test", str(part)], check=True, timeout=10)
    assert not list(tmp_path.glob("*.part"))


def test_values_in_json_are_values(tmp_path: Path) -> None:
    trip, sent = Trip(tmp_path, "file", {"format": "json", "path": str(tmp_path / "x")}), batches(2)
    payload = trip.output.encode(sent)
    rows = [json.loads(line) for line in payload.splitlines()]
    exact = [(point.name, value) for batch in sent for point, value in trip.pairs(batch)]
    assert [(row["name"], row["value"]) for row in rows] == exact
    assert {type(row["value"]) for row in rows} == {int, float}
    assert any(row["value"] == 2**62 + 12345 for row in rows)
    assert trip.output.dialect != File({"format": "csv"}).dialect != File().dialect


def write(output: File, words: str) -> None:
    """One send."""
    output.open()
    output.send(f"{words}\n".encode())


def at(path: Path, moment: float) -> None:
    """Make it look as if the file was written then."""
    os.utime(path, (moment, moment))


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu", "America/New_York"])
def test_files_change_when_the_local_clocks_period_does(tmp_path: Path, zone: str) -> None:
    """In a process of its own, with that time zone; days end at local midnight, and the name says whose they were."""
    code = (
        "import os, sys, time\n"
        "from adamas.outputs.file import File\n"
        "folder = sys.argv[1]\n"
        "now = time.time(); local = time.localtime(now)\n"
        "midnight = time.mktime((*local[:3], 0, 0, 0, 0, 0, -1))\n"
        "yesterday = midnight - 30\n"
        "output = File({'path': folder + '/day', 'rotate_every': 86400.0})\n"
        "for words, moment in (('a', yesterday), ('b', yesterday), ('c', midnight)):\n"
        "    output.open(); output.send(words.encode() + b'\\n'); output.close(); os.utime(folder + '/day', (moment, moment))\n"
        "output.open(); output.send(b'd\\n'); output.close()\n"
        "print(time.strftime('%Y-%m-%d', time.localtime(yesterday)))"
    )
    env = {**os.environ, "TZ": zone}
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, env=env, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    yesterday = done.stdout.decode().strip()
    assert (tmp_path / f"day.{yesterday}").read_text() == "a\n"
    assert (tmp_path / f"day.{yesterday}.1").read_text() == "b\n"
    assert (tmp_path / "day").read_text() == "c\nd\n"


def test_periods_and_names() -> None:
    def named(every: float, moment: float) -> str:
        return Rotation("x", 0, every, 0, False, "").stamp(moment)

    sunday = 1_700_438_399.0 - time.localtime(1_700_438_399).tm_gmtoff  # 2023-11-19 23:59:59, on the local clock
    assert named(86400, sunday) == "2023-11-19"
    assert named(7 * 86400, sunday) == "2023-11-13", "the Monday before"
    assert named(7 * 86400, sunday + 1) == "2023-11-20"
    assert named(3600, sunday) == "2023-11-19_23"
    assert named(900, sunday) == "2023-11-19_23-45"
    assert named(10, sunday) == "2023-11-19_23-59-50"
    assert named(0, sunday) == "2023-11-19_23-59-59"
    days = Rotation("x", 0, 86400, 0, False, "")
    assert days.period(sunday + 1) == days.period(sunday) + 1
    weeks = Rotation("x", 0, 7 * 86400, 0, False, "")
    assert weeks.period(sunday + 1) == weeks.period(sunday) + 1
    assert weeks.period(sunday) == weeks.period(sunday - 6 * 86400)


def test_the_oldest_go_first(tmp_path: Path) -> None:
    path = tmp_path / "log"
    (tmp_path / "log.2001-01-01").write_text("by Diamond")
    (tmp_path / "log.2001-01-02.gz").write_text("by hand")
    (tmp_path / "log.old").write_text("another's")
    (tmp_path / "log2.2001-01-01").write_text("another's")
    output = File({"path": str(path), "rotate_size": 1, "keep": 4})
    for n in range(4):
        write(output, str(n))
    names = [part.name for part in parts(path)]
    assert names[0] == "log.2001-01-02.gz", "the oldest went when there were five"
    assert [content(part).strip() for part in parts(path)[1:]] == ["0", "1", "2", "3"]
    for n in range(4, 20):
        write(output, str(n))
    assert [content(part).strip() for part in parts(path)] == ["15", "16", "17", "18", "19"]
    assert (tmp_path / "log.old").exists()
    assert (tmp_path / "log2.2001-01-01").exists()


def test_compression_is_done_in_pieces_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    large = "".join(f"servers.h.count.{n} {n * n} 1700000000\n" for n in range(150_000))
    assert len(large) > 5 << 20
    path.write_text(large)
    output = File({"path": str(path), "rotate_size": 1 << 20, "compress": True})
    write(output, "one")
    write(output, "two")
    rotated = parts(path)[0]
    half = Path(f"{rotated}.gz.part")
    assert content(rotated) == large, "it is whole as long as its .gz is not"
    assert 0 < half.stat().st_size < 3 << 20
    output.close()
    assert not half.exists()
    half.write_text("what a kill left")
    done = rotated.with_name("log.2001-01-01")
    done.write_text("killed between the two")
    Path(f"{done}.gz").write_bytes(gzip.compress(b"killed between the two"))
    again = File({"path": str(path), "rotate_size": 1 << 20, "compress": True})
    for n in range(20):
        began = time.process_time()
        write(again, str(n))
        assert time.process_time() - began < 1, "a piece, not the whole"
    assert not half.exists()
    assert not rotated.exists()
    assert not done.exists()
    assert content(Path(f"{rotated}.gz")) == large
    assert path.read_text().split() == ["one", "two", *map(str, range(20))]
    again.close()


WRITES = """
import sys
from adamas.outputs.file import File
output = File({"path": sys.argv[1], "format": "csv", "rotate_size": 20_000, "compress": True, "keep": 0})
number = int(sys.argv[2])
while True:
    lines = "".join(f"1,{n},,0\\n" for n in range(number, number + 500))
    number += 500
    output.open()
    output.send(lines.encode())
    print(number, flush=True)
"""


def test_kill_9_loses_and_doubles_nothing(tmp_path: Path) -> None:
    """Whatever it was at: writing, rotating, or in the middle of a .gz."""
    path = tmp_path / "log"
    acknowledged: list[range] = []
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    chance = random.Random(seed)
    for life in range(8):
        start = life * 10**6
        argv = [sys.executable, "-c", WRITES, str(path), str(start)]
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            last = process.stdout.readline()
            end = time.monotonic() + chance.uniform(0.01, 0.15)
            while time.monotonic() < end:
                last = process.stdout.readline()
            process.kill()
            last = (process.stdout.read().splitlines() or [last])[-1]
        acknowledged.append(range(start, int(last)))
    write(File({"path": str(path), "format": "csv", "rotate_size": 20_000, "compress": True, "keep": 0}), "1,-1,,0")
    whole = "".join(map(content, parts(path)))
    found = [int(row[1]) for row in csv.reader(io.StringIO(whole)) if row[-1] == "0" and len(row) == 4]
    broken = [row for row in csv.reader(io.StringIO(whole)) if len(row) != 4 or row[-1] not in ("0", "value")]
    print(f"{len(found)} lines in {len(parts(path))} files, {len(broken)} broken")
    assert len(found) == len(set(found)), "nothing is there twice"
    assert set().union(*acknowledged) <= set(found), "nothing that was delivered is lost"
    assert len(broken) <= 8
    assert len(parts(path)) > 20
    assert not list(tmp_path.glob("*.part"))


def test_half_a_line_gets_an_end(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("a 1 2\nb 1")
    output = File({"path": str(path)})
    write(output, "c 1 2")
    write(output, "d 1 2")
    assert path.read_text() == "a 1 2\nb 1\nc 1 2\nd 1 2\n"


def test_a_folder_that_takes_no_new_name_stops_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The rotated file's name would be too long: the file grows on, and it is said once a minute."""
    path = tmp_path / ("x" * 250)
    output = File({"path": str(path), "rotate_size": 1})
    for n in range(5):
        write(output, str(n))
    assert path.read_text().split() == list("01234")
    assert capfd.readouterr().err.count("cannot rotate") == 1


def test_logrotates_way(tmp_path: Path) -> None:
    """Renamed by someone else, deleted, or both beside rotation here: the file is made anew."""
    path = tmp_path / "log"
    output = File({"path": str(path), "format": "csv", "rotate_size": 100})
    write(output, "1")
    path.rename(tmp_path / "log.1")
    write(output, "2")
    path.unlink()
    write(output, "3")
    assert (tmp_path / "log.1").read_text() == "time,name,labels,value\n1\n"
    assert path.read_text() == "time,name,labels,value\n3\n"
    write(output, "x" * 200)
    assert [content(part)[:26].split() for part in parts(path)] == [
        ["time,name,labels,value", "3"],
        ["time,name,labels,value", "xxx"],
    ]


def test_a_full_disk_takes_the_partial_write_back(tmp_path: Path) -> None:
    """A file system of 2 MiB: what does not fit is not there in part, and nothing is lost or doubled once there is room."""
    servers.require("mount", "umount")
    disk = tmp_path / "disk"
    disk.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)]
    if subprocess.run(argv, capture_output=True, check=False, timeout=10).returncode:
        pytest.skip("not allowed to mount a file system")
    try:
        filler = disk / "filler"
        filler.write_bytes(bytes(1_700_000))
        path = disk / "samples"
        trip, sent = Trip(tmp_path, "file", {"path": str(path), "batch": 1, "format": "csv"}), batches()
        trip.sender.start()
        for batch in sent:
            trip.sender.offer(batch)
        trip.sender.ring()
        servers.wait_until(lambda: trip.sender.failures)
        assert trip.sender.error == "No space left on device"
        servers.wait_until(lambda: content(path).endswith("\n"))
        delivered = trip.sender.ledger.snapshot()["delivered"]
        assert 0 < delivered < POINTS
        assert sum(map(len, read(path, "csv").values())) == delivered
        filler.unlink()
        servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] == POINTS, 30)
        trip.sender.stop(time.monotonic() + 5)
        trip.sender.join(time.monotonic() + 5)
        assert read(path, "csv") == expected(trip, sent, "csv")
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True, timeout=10)


@pytest.mark.parametrize("form", ["lines", "json", "csv"])
def test_pipes_and_devices_are_only_written(tmp_path: Path, form: str) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    output = File({"path": str(pipe), "format": form, "rotate_size": 1, "rotate_every": 1.0, "compress": True})
    write(output, "a")
    write(output, "b")
    output.close()
    assert os.read(reader, 1000).split()[-1] == b"b"
    os.close(reader)
    assert [found.name for found in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.parametrize(
    ("values", "wrong"),
    [
        ({"rotate_size": 1}, "the terminal cannot be rotated"),
        ({"path": "x", "rotate_every": 0.5}, "at least 1s"),
        ({"path": "x", "naming": "otel"}, "take json or csv"),
    ],
)
def test_options_that_do_not_go_together(values: dict[str, Any], wrong: str) -> None:
    assert wrong in " ".join(File(values).check())


@pytest.mark.parametrize(
    ("settings", "every", "keep", "told"),
    [
        ("", 86400, 7, []),
        ("when = Midnight\ndays = 0\n", 86400, 0, []),
        ("when = midnight\nrollover_interval = 2\n", 86400, 7, ["rollover_interval: the file is rotated at each midnight"]),
        ("when = H\nrollover_interval = 6\n", 21600, 7, ["rollover_interval: the file is rotated at the clock's multiples"]),
        ("when = W6\nrollover_interval = 1\ndays = 4\n", 604800, 4, ["rollover_interval: weeks begin on Mondays"]),
        ("when = never\n", 0, 7, ["when: there is no such interval"]),
    ],
)
def test_archive_handlers_rotation(tmp_path: Path, settings: str, every: int, keep: int, told: list[str]) -> None:
    """A diamond.conf's ArchiveHandler rotates as it did."""
    head = "[server]\nhandlers = diamond.handler.archive.ArchiveHandler\n[handlers]\n[[ArchiveHandler]]\nlog_file = /tmp/a.log\n"
    path = tmp_path / "diamond.conf"
    path.write_text(f"{head}{settings}[collectors]\n[[default]]\nhostname = h\n")
    config = load(str(path))
    values: dict[str, Any] = config.outputs["file"].values
    assert (values.get("rotate_every", 0), values["keep"], values["path"]) == (every, keep, "/tmp/a.log")
    found = [note.message.removeprefix("ArchiveHandler: ") for note in config.notes if "ArchiveHandler" in note.message]
    assert len(found) == len(told)
    assert all(note.startswith(start) for note, start in zip(found, told, strict=True)), found


def test_an_earlier_rotation_is_not_taken_for_another(tmp_path: Path) -> None:
    """A gap in the numbers (the oldest were deleted) is not filled: the order stays that of time."""
    path = tmp_path / "log"
    rotation = Rotation(str(path), 1, 86400, 2, False, "")
    for n in range(6):
        path.write_text(str(n))
        assert rotation.rotate(os.stat(path), 1)
    assert [(key[1], content(Path(found))) for key, found in rotation.rotated()] == [(4, "4"), (5, "5")]
    shutil.copy(rotation.rotated()[0][1], path)
    assert rotation.rotate(os.stat(path), 1)
    assert [key[1] for key, _ in rotation.rotated()] == [5, 6]


def test_lines_are_the_namings(tmp_path: Path) -> None:
    """Commas, quotes and whatever else a label holds come out of CSV as they went in."""
    output = File({"path": str(tmp_path / "x"), "format": "csv", "naming": "prometheus"})
    output.spell(Naming("prometheus", (), {"note": 'with "quotes", commas\nand lines'}))
    (batch,) = batches(1)
    rows = list(csv.reader(io.StringIO(output.encode([batch]).decode()), strict=True))
    assert len(rows) == 1000
    assert {json.loads(row[2])["note"] for row in rows} == {'with "quotes", commas\nand lines'}
    assert {json.loads(row[2])["item"] for row in rows if row[1] == "mixed_level_bytes"} >= {'quo"te', "a=b,c", "new\nline"}
