"""Space and inodes of mounted file systems, from /proc/self/mountinfo (proc(5)) and statvfs(3).

A file system that is mounted more than once is measured at its first mount point. One that can hang (network, FUSE, and
whatever is mounted below such a one) is only ever asked in a child with a time limit: if it does not answer, it has
`device_error` 1 and no sizes, and takes no more of the agent's time for 10 s, then for longer, up to a minute. An automount
that waits to be used is never touched.
"""

from __future__ import annotations

import os.path
import re
from collections.abc import Iterator

from adamas import Collector, Gauge, Group, NoData, Otel, Raw, Sample, Spelled, option
from adamas.collectors._mounts import Mount, mounts_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import FileSystem, Host

MOUNTINFO, MOUNTS, BY_LABEL = "/proc/self/mountinfo", "/proc/mounts", "/dev/disk/by-label"
_PSEUDO = (
    "binfmt_misc bpf cgroup cgroup2 configfs debugfs devpts devtmpfs efivarfs erofs fuse.gvfsd-fuse fuse.lxcfs fuse.portal "
    "fuse.snapfuse fusectl hugetlbfs iso9660 mqueue nfsd nsfs overlay proc pstore ramfs rootfs rpc_pipefs securityfs selinuxfs "
    "squashfs sysfs tracefs"
)
PASSING = [
    "/dev$",
    "/(proc|sys)(/|$)",
    "/run/(user|credentials|containerd|docker|netns|lock|snapd)(/|$)",
    "/var/lib/(docker|containers|containerd|kubelet|snapd)(/|$)",
]
LISTED = ["ext2", "ext3", "ext4", "xfs", "glusterfs", "nfs", "nfs4", "ntfs", "hfs", "fat32", "fat16", "btrfs"]
STATES = ["used", "free", "reserved"]
PATIENCE = 2.0
PAUSE, LONGEST_PAUSE = 10.0, 60.0
NEVER = (0.0, 0.0)


def _segment(mountpoint: str) -> str:
    name = mountpoint.strip("/").replace("/", "_")
    return {"": "root", "root": "_root"}.get(name, name)


def _attributes(name: str | None, **more: str) -> Spelled:
    attributes = {"device": "system.device", "fstype": "system.filesystem.type", "mountpoint": "system.filesystem.mountpoint"}
    return Otel(name, **attributes, **more)


def _native(name: str, help: str, prometheus: str | None, otel: Spelled | None, unit: str = "") -> Gauge:
    return Gauge(
        f"{{device}}.{{fstype}}.{{mountpoint}}.{name}",
        help,
        unit=unit,
        path=Raw(f"{{mountpoint}}.{name}", drop=("device", "fstype"), values={"mountpoint": _segment}),
        diamond=None,
        prometheus=prometheus,
        otel=otel,
    )


def _listed(name: str, help: str, units: str = "", precision: int = 0) -> Gauge:
    how = Raw(f"{{mount}}.{name}", units=units, precision=precision)
    return Gauge(
        f"{{mount}}.{name.replace('{unit}', 'byte')}",
        help,
        unit="By" if units else "",
        path=None,
        diamond=how,
        prometheus=None,
        otel=None,
    )


class DiskSpace(Collector):
    """How big the mounted file systems are and how much of them is used: space, inodes, and whether they answer at all."""

    name = "diskspace"
    diamond = "DiskSpaceCollector"
    needs = (MOUNTINFO,)

    filesystems: list[str] = option(LISTED, "The types of file systems that Diamond's spelling has")
    exclude_filters: list[str] = option(
        ["^/export/home"], "Mount points that no spelling has; a pattern may match anywhere in them", pattern=True
    )
    byte_unit: list[str] = option(["byte"], "The units of sizes in Diamond's spelling")
    exclude_types: list[str] = option(
        _PSEUDO.split(), "The types of file systems that the other spellings leave out, unless mounted on /"
    )
    exclude_mounts: list[str] = option(
        PASSING, "The mount points that the other spellings leave out; a pattern matches from their beginning", pattern=True
    )

    size = _native("size", "Size", "node_filesystem_size_bytes", _attributes("system.filesystem.limit"), "By")
    used = _native("used", "Space that is used", None, None, "By")
    free = _native("free", "Space that is free", "node_filesystem_free_bytes", None, "By")
    available = _native("available", "Space that is free for others than root", "node_filesystem_avail_bytes", None, "By")
    used_ratio = _native(
        "used_ratio",
        "The used part of what is used or available, as df(1) gives it",
        None,
        _attributes("system.filesystem.utilization"),
        "1",
    )
    files = _native("inodes", "Inodes", "node_filesystem_files", _attributes(None))
    files_used = _native("inodes_used", "Inodes that are used", None, None)
    files_free = _native("inodes_free", "Inodes that are free", "node_filesystem_files_free", _attributes(None))
    readonly = _native("readonly", "1 where it cannot be written", "node_filesystem_readonly", _attributes(None))
    device_error = _native(
        "device_error", "1 where it does not answer, or only with an error", "node_filesystem_device_error", _attributes(None)
    )
    usage = Gauge(
        "{device}.{fstype}.{mountpoint}.{state}",
        "Space by what it is: used, free for all, or reserved for root",
        unit="By",
        path=None,
        diamond=None,
        prometheus=None,
        otel=_attributes("system.filesystem.usage", state="system.filesystem.state"),
    )
    listed_percent = Gauge(
        "{mount}.{byte_unit}_percentfree",
        "Percent of space that is free, of a file system of `filesystems`, as Diamond gave it",
        unit="%",
        path=None,
        diamond=Raw(precision=2),
        prometheus=None,
        otel=None,
    )
    listed_used = _listed("{unit}_used", "Space that is used, as Diamond gave it", "byte_unit", 2)
    listed_free = _listed("{unit}_free", "Space that is free, as Diamond gave it", "byte_unit", 2)
    listed_avail = _listed("{unit}_avail", "Space that is free for others than root, as Diamond gave it", "byte_unit", 2)
    listed_files_percent = _listed("inodes_percentfree", "Percent of inodes that are free, as Diamond gave it")
    listed_files_used = _listed("inodes_used", "Inodes that are used, as Diamond gave them")
    listed_files_free = _listed("inodes_free", "Inodes that are free, as Diamond gave them")
    listed_files_avail = _listed("inodes_avail", "Inodes that are free for others than root, as Diamond gave them")

    state = Group(readonly, device_error)
    space = Group(size, used, free, available, used_ratio, files, files_used, files_free)
    listed = Group(listed_used, listed_free, listed_avail, listed_files_used, listed_files_free, listed_files_avail)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._excluded = re.compile("|".join(self.exclude_filters) or "(?!)")
        self._passing = re.compile("|".join(self.exclude_mounts) or "(?!)")
        self._text = ""
        self._mounts: list[tuple[Mount, bool, str]] = []
        self._hung: dict[str, tuple[float, float]] = {}
        self._until = 0.0
        self._asks = 0

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(MOUNTINFO, "") or self.host.read(MOUNTS)
        if text != self._text:
            self._mounts = self._chosen(mounts_of(text))
            points = {mount.point for mount, _, _ in self._mounts}
            self._hung = {point: when for point, when in self._hung.items() if point in points}
            self._text = text
        if not self._mounts:
            raise NoData("nothing is mounted that is to be measured")
        now = self.host.clock()
        self._asks = sum([m.may_hang and self._hung.get(m.point, NEVER)[0] <= now for m, _, _ in self._mounts])
        # A quarter of the time there is, so that a mount that hangs costs no window: none has passed in the first run.
        self._until = now + min(PATIENCE, (self.elapsed or self.interval or 4 * PATIENCE) / 4)
        for mount, shown, segment in self._mounts:
            found = self._ask(mount)
            if shown:
                yield from self._native_rows(mount, found)
            if segment and found is not None and found.size:
                yield from self._listed_rows(segment, found)

    def _native_rows(self, mount: Mount, found: FileSystem | None) -> Iterator[Sample]:
        labels = (mount.device, mount.fstype, mount.point)
        if found is None:
            yield self.state((mount.readonly, 1), *labels)
            return
        size, free, available, files, files_free = found.size, found.free, found.available, found.files, found.files_free
        if not size:
            return  # nothing that could fill up
        used = size - free
        ratio = used / (used + available) if used + available > 0 else 0.0
        yield self.state((mount.readonly, 0), *labels)
        yield self.space((size, used, free, available, ratio, files, files - files_free, files_free), *labels)
        yield self.usage.row((used, available, free - available), STATES, *labels)

    def _listed_rows(self, segment: str, found: FileSystem) -> Iterator[Sample]:
        size, free, files, files_free = found.size, found.free, found.files, found.files_free
        yield self.listed_percent.row([free / size * 100] * len(self.byte_unit), self.byte_unit, segment)
        yield self.listed(
            (size - free, free, found.available, files - files_free, files_free, found.files_available),
            segment,
        )
        if files > 0:
            yield self.listed_files_percent(files_free / files * 100, segment)

    def _ask(self, mount: Mount) -> FileSystem | None:
        """What a file system says of itself; nothing where it does not answer, or not in time."""
        if not mount.may_hang:
            try:
                return self.host.statvfs(mount.point)
            except OSError:
                return None
        now = self.host.clock()
        again, pause = self._hung.get(mount.point, NEVER)
        if now < again:
            return None
        # Those that hang share the time of a run, so that none takes that of the others.
        share = (self._until - now) / max(1, self._asks)
        self._asks -= 1
        try:
            found = self.host.statvfs(mount.point, may_hang=True, timeout=max(0.05, share))
        except TimeoutError:
            if self.host.clock() - now > share / 2:  # else its child hangs since before, and to know that takes no time
                pause = min(2 * pause or PAUSE, LONGEST_PAUSE)
                self._hung[mount.point] = (now + pause, pause)
            return None
        except OSError:
            found = None
        self._hung.pop(mount.point, None)
        return found

    def _chosen(self, mounts: list[Mount]) -> list[tuple[Mount, bool, str]]:
        """The mounts to measure: whether the native spellings have each, and its node in Diamond's, if it has one."""
        natives: set[str] = set()
        listed: set[str] = set()
        labels: dict[str, str] | None = None
        chosen = []
        for mount in mounts:
            if mount.covered or mount.fstype == "autofs" or self._excluded.search(mount.raw):
                continue
            shown = mount.fstype not in self.exclude_types or mount.point == "/"
            shown = shown and not self._passing.match(mount.point)
            wanted = mount.fstype in self.filesystems and ("/" in mount.device or mount.device == "tmpfs")
            if not shown and not wanted:
                continue
            dev = self._dev(mount)
            shown = shown and dev not in natives
            segment = ""
            if wanted and dev not in listed:
                labels = self._labels() if labels is None else labels
                segment = labels.get(self._real(mount.device)) or diamond_name(mount.raw)
                listed.add(dev)
            if shown:
                natives.add(dev)
            if shown or segment:
                chosen.append((mount, shown, segment))
        return chosen

    def _dev(self, mount: Mount) -> str:
        # Each subvolume of btrfs has a st_dev of its own, that mountinfo does not show, and so a name of its own in Diamond.
        if mount.fstype == "btrfs" and not mount.may_hang:
            try:
                return str(self.host.stat(mount.point)["dev"])
            except OSError:
                pass
        return mount.dev

    def _labels(self) -> dict[str, str]:
        """Labels by the device that they are on."""
        try:
            names = self.host.listdir(BY_LABEL)
        except (NoData, OSError):
            return {}
        return {self._real(f"{BY_LABEL}/{name}"): name for name in names}

    def _real(self, device: str) -> str:
        """The device behind the links below /dev."""
        for _ in range(8):
            if not device.startswith("/dev/"):
                break
            try:
                device = os.path.normpath(os.path.join(os.path.dirname(device), self.host.readlink(device)))
            except OSError:
                break
        return device


def diamond_name(raw: str) -> str:
    """A mount point, as the kernel writes it, as Diamond's node."""
    name = raw.replace("/", "_").replace(".", "_").replace("\\", "")
    return {"_": "root", "_tmp": "tmp"}.get(name, name)
