"""The table of mounts: /proc/self/mountinfo, or /proc/mounts where a kernel has no better (proc(5)).

It tells which file systems may hang, so that they are never asked where that would hurt: all but those that are known to
answer from memory or from a disk of this machine, and whatever is mounted below one of them. Pure: nothing is asked here.
"""

from __future__ import annotations

import re

_LOCAL = (
    "adfs affs apfs bcachefs befs bpf btrfs cgroup cgroup2 configfs cramfs debugfs devpts devtmpfs efivarfs erofs exfat ext2 "
    "ext3 ext4 f2fs hfs hfsplus hugetlbfs iso9660 jffs2 jfs minix mqueue msdos nilfs2 nsfs ntfs ntfs3 overlay proc pstore ramfs "
    "reiserfs romfs rootfs securityfs selinuxfs squashfs sysfs tmpfs tracefs ubifs udf ufs vfat xfs zfs"
)
LOCAL = frozenset(_LOCAL.split())
"""What answers from memory or from a disk of this machine. Whatever else there is, now or in a later kernel, may hang."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount:
    """One mounted file system.

    raw: the mount point as the kernel writes it, with octal escapes, and point: as it is; dev: what is the same for all mounts
    of one file system; covered: another one is mounted on top of it; may_hang: asking it may take for ever.
    """

    __slots__ = ("covered", "dev", "device", "fstype", "may_hang", "point", "raw", "readonly")

    def __init__(self, device: str, raw: str, fstype: str, readonly: bool, dev: str = "") -> None:
        self.device = _decoded(device)
        self.raw = raw
        self.point = _decoded(raw)
        self.fstype = fstype
        self.readonly = int(readonly)
        self.dev = dev or (device if "/" in device else raw)
        self.covered = False
        self.may_hang = fstype not in LOCAL


def mounts_of(text: str) -> list[Mount]:
    """The mounts of either table, in its order."""
    found: dict[str, Mount] = {}
    parents: dict[str, str] = {}
    for line in text.split("\n"):
        head, separator, tail = line.partition(" - ")
        first, rest = head.split(" "), tail.split(" ")
        if separator and len(first) >= 6 and len(rest) >= 3:
            number, parent, dev, _, point, options = first[:6]
            readonly = "ro" in options.split(",") or "ro" in rest[2].split(",")
            found[number] = Mount(rest[1], point, rest[0], readonly, dev)
            parents[number] = parent
        elif not separator and len(first) == 6:
            found[str(len(found))] = Mount(first[0], first[1], first[2], "ro" in first[3].split(","))
    if not found and text:
        raise ValueError("the table of mounts has no line that is one")
    for number, parent in parents.items():
        if parent in found and found[parent].point == found[number].point:
            found[parent].covered = True
    if not parents:
        last = {m.point: m for m in found.values()}
        for mount in found.values():
            mount.covered = last[mount.point] is not mount
    # The way to a mount leads through those above it. An autofs is one of them: by the time that what it mounted is asked,
    # it may be gone, and the way to it mounts it again. What hangs at / hangs the agent anyway.
    above = tuple([m.point.rstrip("/") + "/" for m in found.values() if m.may_hang and m.point != "/"])
    for mount in found.values():
        mount.may_hang = mount.may_hang or (mount.point + "/").startswith(above)
    return list(found.values())


def _decoded(text: str) -> str:
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), text) if "\\" in text else text
