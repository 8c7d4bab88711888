"""Files that end too early, or are something else: a host collector says so by the file's name, or takes what is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_cases import ROOT, collector_class

from adamas.errors import NoData
from adamas.host import Host
from adamas.pipeline import Intake

FILES = {
    "cpu": "proc/stat",
    "memory": "proc/meminfo",
    "vmstat": "proc/vmstat",
    "proc": "proc/stat",
    "uptime": "proc/uptime",
    "filestat": "proc/sys/fs/file-nr",
    "pressure": "proc/pressure/io",
    "diskusage": "proc/diskstats",
    "entropy": "proc/sys/kernel/random/entropy_avail",
    "interrupt": "proc/interrupts",
    "mdstat": "proc/mdstat",
    "netstat": "proc/net/tcp",
    "slabinfo": "proc/slabinfo",
    "softirq": "proc/softirqs",
    "numa": "sys/devices/system/node/node0/meminfo",
}
"""Collector -> the file of its case `plain` that is spoilt."""

FOREIGN = (
    *(b"", b"\n", b"\n\n\n", b"0", b"1 2\n", b"a b c\n", b"<html><body>404</body></html>\n", b"\xff\xfe\x00\x01\n"),
    *(b"cpu\ncpu0 x\n", b"cpu 1\ncpu0 1\nintr\nctxt\n", b"some\nfull avg10=a\n"),
    *(b"MemTotal: 5 GB of RAM\n", b"8 0 sda 1 2 3\n8 0 sda\n"),
)


def collect(name: str, root: Path) -> str:
    """What came of two runs: "" where they went well, else what was said."""
    intake = Intake(collector_class(name)(Host(str(root))))
    for time in (1.0, 2.0):
        intake.collector.elapsed = time - 1
        intake.collector.host = Host(str(root))
        try:
            intake.publish(*intake.gather(), time, time)
        except (NoData, ValueError) as error:
            return str(error)
    assert not intake.removed
    return ""


@pytest.mark.parametrize("name", FILES)
def test_spoilt_file(name: str, tmp_path: Path) -> None:
    step = ROOT / name / "plain" / "1"
    spoilt = tmp_path / FILES[name]
    for file in step.rglob("*"):
        if file.is_file() and file.name != "calls.json":
            (tmp_path / file.relative_to(step)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / file.relative_to(step)).write_bytes(file.read_bytes())
    whole = spoilt.read_bytes()
    assert collect(name, tmp_path) == ""
    cuts = [whole[:end] for end in range(0, len(whole), max(1, len(whole) // 200))]
    for text in (*FOREIGN, *cuts):
        spoilt.write_bytes(text)
        said = collect(name, tmp_path)
        assert not said or f"/{FILES[name]}" in said or f"/{FILES[name].rpartition('/')[0]}" in said, f"{text[-60:]!r}: {said}"
    spoilt.unlink()
    assert FILES[name].rpartition("/")[0] in (collect(name, tmp_path) or "/proc/pressure"), "a missing file"
