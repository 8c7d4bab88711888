"""The names that the original Diamond sent from a machine with eleven collectors: ours for the same settings, and no others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

CONFORMANCE = os.environ.get("ADAMAS_CONFORMANCE", "")

CONFIG = """
[agent]
hostname = "testhost"
defaults = false
[collectors.cpu]
[collectors.diskspace]
filesystems = "ext2, ext3, ext4, xfs, btrfs, overlay, tmpfs"
[collectors.diskusage]
[collectors.loadavg]
[collectors.memory]
[collectors.vmstat]
[collectors.network]
interfaces = "eth, lo"
[collectors.tcp]
[collectors.sockstat]
[collectors.uptime]
[collectors.proc]
"""
"""What diamond-names.conf sets, in TOML."""

REASONS = (
    (r"cpu\.cpu\d+\.", "another number of CPUs", lambda: True),
    (r"diskspace\.", "other mounts", lambda: True),
    (r"iostat\.", "other disks, or disks that did nothing in between", lambda: True),
    (r"network\.eth0\.", "no eth0 here", lambda: not os.path.exists("/sys/class/net/eth0")),
    (r"memory\.", "the kernel's meminfo has no such field", lambda: True),
    (r"vmstat\.", "the kernel's vmstat has no such field", lambda: True),
    (r"tcp\.", "the kernel's netstat has no such field", lambda: True),
)
"""Why this machine cannot give some of them. A name that nothing excuses is missing."""


@pytest.mark.skipif(not CONFORMANCE, reason="conformance corpus not given")
def test_diamonds_names(tmp_path: Path) -> None:
    (tmp_path / "adamas.toml").write_text(CONFIG)
    argv = [sys.executable, "-m", "adamas", "once", "-c", str(tmp_path / "adamas.toml"), "--twice", "1", "--as", "diamond"]
    ran = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert ran.stderr == ""
    judge(ran.stdout.splitlines())


def judge(lines: list[str]) -> set[str]:
    """The names of these lines, which must be those that Diamond sent, but for what this machine does not have."""
    expected = set((Path(CONFORMANCE) / "diamond-names.txt").read_text().split())
    given = {line.split(" ")[0] for line in lines}
    assert len(lines) == len(given)
    assert all(re.fullmatch(r"\S+ -?[0-9.]+ \d{10}", line) for line in lines), "as Diamond wrote its lines"
    missing: dict[str, list[str]] = {}
    for name in sorted(expected - given):
        local = name.removeprefix("servers.testhost.")
        reason = next((words for pattern, words, applies in REASONS if re.match(pattern, local) and applies()), "")
        if "kernel" in reason and _here(local):
            reason = ""
        missing.setdefault(reason, []).append(local)
    print(
        f"{len(expected & given)} of {len(expected)} names; not here: "
        + "; ".join(f"{len(n)} {r}" for r, n in missing.items() if r)
    )
    assert not missing.get("", []), "a name that this machine could give"
    more = sorted(name.removeprefix("servers.testhost.") for name in given - expected)
    shapes = {
        re.sub(r"(cpu)\d+|(iostat|network|diskspace)\.[^.]+", r"\1\2", n.removeprefix("servers.testhost.")) for n in expected
    }
    new = [n for n in more if re.sub(r"(cpu)\d+|(iostat|network|diskspace)\.[^.]+", r"\1\2", n) not in shapes]
    assert not new, "names that Diamond never sent"
    return given


def _here(local: str) -> bool:
    """Whether the kernel has the field that a name of memory, vmstat or tcp is made of."""
    files = {"memory": "/proc/meminfo", "vmstat": "/proc/vmstat", "tcp": "/proc/net/netstat"}
    collector, _, field = local.partition(".")
    return re.search(rf"\b{re.escape(field)}\b", Path(files[collector]).read_text()) is not None
