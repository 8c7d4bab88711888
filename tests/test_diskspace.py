"""File systems that hang: who is asked, where, how long, and when again. And what a table of mounts may look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamas.collectors._mounts import mounts_of
from adamas.collectors.diskspace import DiskSpace, diamond_name
from adamas.errors import NoData
from adamas.host import FileSystem, Host
from adamas.metric import Series

LOCAL = "28 1 254:1 / / rw - ext4 /dev/vda1 rw\n"
REMOTE = "".join(f"{40 + i} 28 0:{50 + i} / /mnt/{name} rw - nfs4 10.0.0.9:/{name} rw\n" for i, name in enumerate("abc"))


class Mounts(Host):
    """A machine whose mounts are these, some of which hang: it keeps who was asked and takes the time that it would."""

    def __init__(self, folder: Path, text: str, hangs: set[str] = frozenset()) -> None:  # type: ignore[assignment]
        super().__init__(str(folder))
        self.hangs = set(hangs)
        self.known = False
        """Whether a child hangs there since before, so that asking takes no time."""
        self.now = 1000.0
        self.asked: list[tuple[str, bool, float]] = []
        self.mount(text)

    def mount(self, text: str) -> None:
        file = Path(self.root) / "proc/self/mountinfo"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        self._shared.clear()

    def clock(self) -> float:
        return self.now

    def statvfs(self, path: str, may_hang: bool = False, timeout: float = 2.0) -> FileSystem:
        self.asked.append((path, may_hang, timeout))
        if path in self.hangs:
            assert may_hang, f"{path} hangs, and the agent with it"
            self.now += 0.0 if self.known else timeout
            raise TimeoutError(f"{path} hangs")
        return FileSystem(100, 50, 50, 10, 5, 5)


def errors(collector: DiskSpace) -> dict[str, int]:
    """device_error by mount point, of one run."""
    found = {}
    for series, values in collector.collect():
        if isinstance(series, Series):
            continue
        for one, value in zip(series, values):  # type: ignore[arg-type]
            if one.declaration.name == "device_error":
                found[one.label_pairs()["mountpoint"]] = value
    return found


def run(collector: DiskSpace, host: Mounts, after: float) -> dict[str, int]:
    """One run so many seconds after the one before; what was asked before is forgotten."""
    host.asked.clear()
    host.now += after
    collector.elapsed = after
    return errors(collector)


@pytest.mark.parametrize(
    "fstype",
    [
        "nfs",
        "nfs4",
        "cifs",
        "smb3",
        "ceph",
        "glusterfs",
        "fuse",
        "fuseblk",
        "fuse.sshfs",
        "9p",
        "afs",
        "lustre",
        "beegfs",
        "virtiofs",
        "new",
    ],
)
def test_only_a_child_asks_what_may_hang(fstype: str, tmp_path: Path) -> None:
    host = Mounts(tmp_path, LOCAL + f"40 28 0:50 / /mnt/x rw - {fstype} x:/y rw\n")
    assert errors(DiskSpace(host)) == {"/": 0, "/mnt/x": 0}
    assert [(path, may_hang) for path, may_hang, _ in host.asked] == [("/", False), ("/mnt/x", True)]


def test_one_that_hangs_takes_nothing_from_the_others(tmp_path: Path) -> None:
    host = Mounts(tmp_path, REMOTE + LOCAL, {"/mnt/a", "/mnt/b"})
    collector = DiskSpace(host)
    assert run(collector, host, 0.0) == {"/mnt/a": 1, "/mnt/b": 1, "/mnt/c": 0, "/": 0}
    assert host.now - 1000 <= 2.0


def test_the_time_for_all_of_them_is_a_part_of_the_interval(tmp_path: Path) -> None:
    host = Mounts(tmp_path, REMOTE, {"/mnt/a", "/mnt/b", "/mnt/c"})
    collector = DiskSpace(host)
    start = host.now
    assert run(collector, host, 1.0) == {"/mnt/a": 1, "/mnt/b": 1, "/mnt/c": 1}
    assert host.now - start - 1.0 == pytest.approx(0.25)


def test_one_that_hangs_is_asked_less_often(tmp_path: Path) -> None:
    host = Mounts(tmp_path, LOCAL + REMOTE, {"/mnt/b"})
    collector = DiskSpace(host)
    asked = []
    for second in range(400):
        found = run(collector, host, 1.0)
        assert found == {"/": 0, "/mnt/a": 0, "/mnt/b": 1, "/mnt/c": 0}
        asked += [second for path, _, _ in host.asked if path == "/mnt/b"]
    assert 7 <= len(asked) <= 12
    assert asked[0] == 0 and 8 <= asked[1] <= 10
    host.hangs.clear()
    for _ in range(60):
        found = run(collector, host, 1.0)
    assert found == {"/": 0, "/mnt/a": 0, "/mnt/b": 0, "/mnt/c": 0}


def test_one_whose_child_hangs_since_before_is_seen_to_answer_at_once(tmp_path: Path) -> None:
    host = Mounts(tmp_path, LOCAL + REMOTE, {"/mnt/b"})
    collector = DiskSpace(host)
    assert run(collector, host, 1.0)["/mnt/b"] == 1
    host.known = True
    for _ in range(30):
        assert run(collector, host, 1.0)["/mnt/b"] == 1
    host.hangs.clear()
    assert run(collector, host, 1.0)["/mnt/b"] == 0


def test_the_table_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    host = Mounts(tmp_path, LOCAL)
    collector = DiskSpace(host)
    assert run(collector, host, 0.0) == {"/": 0}
    before = collector._mounts
    assert run(collector, host, 1.0) == {"/": 0}
    assert collector._mounts is before
    host.mount(LOCAL + REMOTE)
    assert run(collector, host, 1.0) == {"/": 0, "/mnt/a": 0, "/mnt/b": 0, "/mnt/c": 0}
    host.mount(REMOTE)
    assert run(collector, host, 1.0) == {"/mnt/a": 0, "/mnt/b": 0, "/mnt/c": 0}


def test_an_automount_that_waits_is_never_touched(tmp_path: Path) -> None:
    waiting = (
        LOCAL + "40 28 0:50 / /misc rw - autofs /etc/auto.misc rw,indirect\n41 28 0:51 / /data rw - autofs systemd-1 rw,direct\n"
    )
    host = Mounts(tmp_path, waiting)
    collector = DiskSpace(host, {"filesystems": ["autofs", "ext4"], "exclude_types": [], "exclude_mounts": []})
    assert run(collector, host, 0.0) == {"/": 0}
    assert [path for path, _, _ in host.asked] == ["/"]
    host.mount(waiting + "42 41 254:2 / /data rw - ext4 /dev/vda2 rw\n43 40 254:3 / /misc/cd rw - iso9660 /dev/sr0 ro\n")
    assert run(collector, host, 1.0) == {"/": 0, "/data": 0, "/misc/cd": 0}
    # By the time they are asked they may have gone, and the way to them starts the automounter.
    assert [(path, may_hang) for path, may_hang, _ in host.asked] == [("/", False), ("/data", True), ("/misc/cd", True)]


def test_what_is_mounted_below_a_root_that_may_hang_is_asked_here(tmp_path: Path) -> None:
    host = Mounts(tmp_path, "28 1 0:40 / / rw - nfs4 10.0.0.1:/root rw\n29 28 0:41 / /tmp rw - tmpfs tmpfs rw\n")
    errors(DiskSpace(host))
    assert [(path, may_hang) for path, may_hang, _ in host.asked] == [("/", True), ("/tmp", False)]


def test_lines_that_are_cut_short_are_left_out() -> None:
    assert [m.point for m in mounts_of(LOCAL + REMOTE[:-12])] == ["/", "/mnt/a", "/mnt/b"]


def test_a_foreign_table() -> None:
    with pytest.raises(ValueError, match="no line that is one"):
        mounts_of("nothing of the kind\n")


def test_nothing_to_measure(tmp_path: Path) -> None:
    with pytest.raises(NoData):
        list(DiskSpace(Host(str(tmp_path))).collect())
    with pytest.raises(NoData, match="nothing is mounted"):
        list(DiskSpace(Mounts(tmp_path, "23 28 0:22 / /proc rw - proc proc rw\n")).collect())


@pytest.mark.parametrize(
    ("raw", "name"),
    [("/", "root"), ("/tmp", "tmp"), ("/var/lib", "_var_lib"), ("/a.b/c", "_a_b_c"), (r"/my\040disk", "_my040disk")],
)
def test_the_names_of_diamond(raw: str, name: str) -> None:
    assert diamond_name(raw) == name
