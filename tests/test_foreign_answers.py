"""Programs that fail, or answer something else: a collector says which program, how it ended and what it said."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from test_cases import collector_class

from adamas.errors import NoData
from adamas.pipeline import Intake
from adamas.recording import Replay

TRACKING = "7F000001,127.0.0.1,4,1795372619.6,-0.1,-0.1,0.1,-0.1,-0.1,0.1,0.1,0.1,1.0,Normal\n"
CHRONYC = ["chronyc", "-c", "-m", "tracking", "sources", "sourcestats"]
PEERS = "     remote           refid      st t when poll reach   delay   offset   jitter\n=====\n"

Call = tuple[list[str], int, str, str]
"""A program with its arguments, its exit code, what it wrote, and what it wrote to its standard error."""

ANSWERS: dict[str, tuple[str, list[Call], str]] = {
    "chronyd is away": (
        "chrony",
        [(CHRONYC, 1, "506 Cannot talk to daemon\n", "")],
        "chronyc: it ended with 1: 506 Cannot talk to daemon",
    ),
    "chronyc without CSV": (
        "chrony",
        [(CHRONYC, 0, "Reference ID    : 7F7F0101 ()\n", "")],
        "chronyc: 'Reference ID    : 7F7F0101 ()' is not a line of tracking, sources or sourcestats",
    ),
    "chronyc with words for numbers": (
        "chrony",
        [(CHRONYC, 0, TRACKING.replace("-0.1", "slow"), "")],
        f"chronyc: {TRACKING.replace('-0.1', 'slow')[:80]!r} is not a line of tracking, sources or sourcestats",
    ),
    "chronyc that forbids": (
        "chrony",
        [(CHRONYC, 0, TRACKING, ""), (["chronyc", "sourcestats"], 1, "501 Not authorised\n", "")],
        "chronyc: it ended with 1: 501 Not authorised",
    ),
    "ntpdate without a network": (
        "ntp",
        [(["ntpdate", "-q", "pool.ntp.org"], 1, "", "Can't find host pool.ntp.org\n")],
        "ntpdate -q pool.ntp.org: it ended with 1: Can't find host pool.ntp.org",
    ),
    "ntpdate with a word for its offset": (
        "ntp",
        [(["ntpdate", "-q", "pool.ntp.org"], 0, "2026-11-22 18:29:41 (+0000) none +/- 0.1 pool.ntp.org\n", "")],
        "ntpdate: 'none' is not an offset: '2026-11-22 18:29:41 (+0000) none +/- 0.1 pool.ntp.org'",
    ),
    "ntpd is away": (
        "ntpd",
        [(["ntpq", "-np"], 0, "", "ntpq: read: Connection refused\n")],
        "ntpq -np: it ended with 0: ntpq: read: Connection refused",
    ),
    "ntpq with another table": (
        "ntpd",
        [(["ntpq", "-np"], 0, PEERS + "*LOCAL(0)  .LOCL.  five l  2  8  177  0.0  0.0  0.0\n", "")],
        "ntpq -np: '*LOCAL(0)  .LOCL.  five l  2  8  177  0.0  0.0  0.0' is not a peer and its figures",
    ),
    "ntpd that keeps its variables to itself": (
        "ntpd",
        [(["ntpq", "-np"], 0, PEERS, ""), (["ntpq", "-c", "rv"], 0, "", "***Request timed out\n")],
        "ntpq -c rv: it ended with 0: ***Request timed out",
    ),
    "ntpd with words for numbers": (
        "ntpd",
        [(["ntpq", "-np"], 0, PEERS, ""), (["ntpq", "-c", "rv"], 0, "leap=00, stratum=3, offset=none\n", "")],
        "ntpq -c rv: no number of this kind: could not convert string to float: 'none'",
    ),
    "smartctl without the right": (
        "smart",
        [(["smartctl", "-A", "/dev/sda"], 2, "Smartctl open device: /dev/sda failed: Permission denied\n", "")],
        "smartctl finds nothing: /dev/sda: it ended with 2: Smartctl open device: /dev/sda failed: Permission denied",
    ),
    "no program": ("ntp", [], "ntpdate is not installed"),
}


def told(name: str, step: Path, options: dict[str, Any]) -> str:
    """What a collector says of a step; "" where it goes well."""
    cls = collector_class(name)
    intake = Intake(cls(Replay(str(step)), {key: cls.options[key].parse(value) for key, value in options.items()}))
    try:
        intake.publish(*intake.gather(), 1.0, 1.0)
    except (NoData, ValueError, ConnectionError) as error:
        return str(error)
    return ""


@pytest.mark.parametrize("what", ANSWERS)
def test_answer(what: str, tmp_path: Path) -> None:
    name, answers, words = ANSWERS[what]
    calls: list[dict[str, Any]] = [{"call": "listdir", "args": ["/dev"], "result": ["null", "sda"]}]
    for argv, status, body, errors in answers:
        calls.append({"call": "run", "args": argv, "result": {"status": status, "body": body, "errors": errors}})
    (tmp_path / "calls.json").write_text(json.dumps(calls))
    assert told(name, tmp_path, {}) == words


def test_numactl_that_fails(tmp_path: Path) -> None:
    answer = {"status": 1, "body": "No NUMA available on this system\n", "errors": ""}
    calls = [{"call": "run", "args": ["numactl", "--hardware"], "result": answer}]
    (tmp_path / "calls.json").write_text(json.dumps(calls))
    words = "numactl --hardware shows no node; it ended with 1: No NUMA available on this system"
    assert told("numa", tmp_path, {"bin": "numactl"}) == words


def test_files_beside_each_other(tmp_path: Path) -> None:
    folder = tmp_path / "proc/sys/net/netfilter"
    folder.mkdir(parents=True)
    (folder / "nf_conntrack_count").write_text("many\n")
    assert told("conntrack", tmp_path, {}) == "/proc/sys/net/netfilter/nf_conntrack_count is not a number: 'many\\n'"
    (folder / "nf_conntrack_count").write_text("5\n")
    assert told("conntrack", tmp_path, {}) == ""
    stat = tmp_path / "proc/net/stat"
    stat.mkdir(parents=True)
    (stat / "nf_conntrack").write_text("entries found\n00000001 0000000g\n")
    assert "is not a table of hexadecimal numbers" in told("conntrack", tmp_path, {})
    assert told("conntrack", tmp_path, {"files": "nf_conntrack_buckets"}).startswith("files: 'nf_conntrack_buckets' does not end")
    (tmp_path / "ksm").mkdir()
    (tmp_path / "ksm/run").write_text("<html>\n")
    assert told("ksm", tmp_path, {"ksm_path": "/ksm"}) == "/ksm has no file with a number"
    assert told("lmsensors", tmp_path, {}) == "/sys/class/hwmon does not exist here"
