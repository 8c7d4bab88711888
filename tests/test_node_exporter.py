"""node_exporter's own fixture machine, read by the collectors: its expected exposition must come out, to the label.

The machine is `$ADAMAS_CONFORMANCE/node-exporter-machine.tar.gz`, what is expected `node-exporter-expected.prom` beside
it. Each family is compared with what its collector gives: names, labels, types, and values within 1e-12.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import os
import re
import tarfile
from pathlib import Path

import pytest

from adamas.collector import Collector
from adamas.exposition import Exposition
from adamas.host import Host
from adamas.naming import Naming
from adamas.pipeline import Intake

GIVEN = os.environ.get("ADAMAS_CONFORMANCE", "")
if not GIVEN:
    pytest.skip("conformance corpus not given", allow_module_level=True)

FAMILIES = {
    r"node_cpu_(guest_)?seconds_total": "cpu",
    r"node_memory_(?!numa_)\w+": "memory",
    r"node_vmstat_\w+": "vmstat",
    r"node_disk_\w+": "diskusage",
    r"node_load\d+": "loadavg",
    r"node_(context_switches_total|boot_time_seconds|forks_total|intr_total|procs_\w+|softirqs_total)": "proc",
    r"node_sockstat_\w+": "sockstat",
    r"node_pressure_\w+": "pressure",
    r"node_filefd_\w+": "filestat",
    r"node_netstat_Tcp_\w+": "tcp",
    r"node_netstat_TcpExt_\w+": "tcp",
    r"node_netstat_Udp_\w+": "udp",
    r"node_netstat_Ip_\w+": "ip",
    r"node_netstat_IpExt_\w+": "ip",
    r"node_interrupts_total": "interrupt",
    r"node_softirqs_functions_total": "softirq",
    r"node_nf_conntrack_\w+": "conntrack",
    r"node_entropy_\w+": "entropy",
    r"node_md_\w+": "mdstat",
    r"node_hwmon_\w+": "lmsensors",
    r"node_ksmd_\w+": "ksm",
    r"node_slabinfo_\w+": "slabinfo",
    r"node_memory_numa_\w+": "numa",
}
"""Families of the expected page -> the collector that gives them."""

FILTERED = ("node_vmstat_", "node_netstat_")
"""node_exporter keeps a list of these fields; a collector may give more of them."""

Page = dict[str, tuple[str, dict[frozenset[tuple[str, str]], float]]]

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse(text: str) -> Page:
    """A page of text exposition as {family: (type, {labels: value})}; an empty label is no label."""
    page: Page = {}
    for line in text.split("\n"):
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            page[name] = (kind, {})
        elif line and not line.startswith("#"):
            head, _, value = line.rpartition(" ")
            name, _, inside = head.partition("{")
            labels = frozenset((key, text) for key, text in _LABEL.findall(inside) if text)
            samples = page.setdefault(name, ("untyped", {}))[1]
            assert labels not in samples, f"{head} is there twice"
            samples[labels] = float(value)
    return page


def family(page: Page, pattern: str) -> Page:
    """The families of a page whose name matches."""
    return {name: samples for name, samples in page.items() if re.fullmatch(pattern, name)}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The machine as a root to read from."""
    root = tmp_path_factory.mktemp("machine")
    with tarfile.open(Path(GIVEN) / "node-exporter-machine.tar.gz") as archive:
        # Its links loop and some lead nowhere, as those of a real /sys do: take it as it is.
        archive.extraction_filter = lambda member, path: member
        archive.extractall(root)
    (root / "run").mkdir()
    (root / "run" / "udev").symlink_to(root / "udev")
    return root


@pytest.fixture(scope="module")
def expected() -> Page:
    """What node_exporter gives for the machine."""
    return parse((Path(GIVEN) / "node-exporter-expected.prom").read_text())


def read(name: str, root: Path) -> Page:
    """What one of our collectors gives for the machine."""
    module = importlib.import_module(f"adamas.collectors.{name}")
    cls = next(c for c in vars(module).values() if isinstance(c, type) and issubclass(c, Collector) and c.name == name)
    intake = Intake(cls(Host(str(root))))
    batch = intake.publish(*intake.gather(), 1_700_000_000.0, 1.0)
    assert batch is not None, f"{name} gives nothing"
    assert not intake.removed, f"{name}: {intake.removed}"
    return parse(Exposition(Naming("prometheus")).render([batch]))


@pytest.mark.parametrize(("pattern", "name"), FAMILIES.items(), ids=[f"{n}-{p}" for p, n in FAMILIES.items()])
def test_family(pattern: str, name: str, machine: Path, expected: Page) -> None:
    if importlib.util.find_spec(f"adamas.collectors.{name}") is None:
        pytest.skip(f"there is no collector {name!r} yet")
    theirs, ours = family(expected, pattern), family(read(name, machine), pattern)
    assert theirs, f"nothing expected matches {pattern}"
    assert not set(theirs) - set(ours), "families are missing"
    if not pattern.startswith(FILTERED):
        assert not set(ours) - set(theirs), "families too many"
    for found, (kind, samples) in theirs.items():
        assert ours[found][0] == kind, f"the type of {found}"
        assert set(ours[found][1]) == set(samples), f"the labels of {found}"
        for labels, value in samples.items():
            assert math.isclose(ours[found][1][labels], value, rel_tol=1e-12), f"{found}{sorted(labels)}"
