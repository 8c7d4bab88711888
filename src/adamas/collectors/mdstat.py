"""Software RAID: disks and state of each array, and how far a rebuild is. From /proc/mdstat and /sys/block/md*/md.

What the lines mean stands in md(4) and in the kernel's drivers/md/md.c, what the files in its Documentation/admin-guide/md.rst.
A block of node_md_blocks is 1024 bytes; other sizes are in bytes. Of a recovery or a check the kernel tells how much of it is
done, of one that has to wait nothing: then no block counts as synced.

Diamond's names are the words of /proc/mdstat. It gave a bitmap's page and chunk in KiB, an array's chunk and rounding in bytes,
the time that is left in milliseconds, and of the work on an array only a recovery.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Collector, Gauge, Group, NoData, Raw, Sample

MDSTAT, BLOCKS = "/proc/mdstat", "/sys/block"
BLOCK = 1024
MEMBER = re.compile(r".\[\d+\]((?:\([A-Z]\))*)$")
SIZE = re.compile(r"(\d+) blocks\b")
COUNTED = re.compile(r"\[(\d+)/(\d+)\]")
STATUS = re.compile(
    r"(?P<blocks>\d+) blocks (?:super (?P<superblock_version>\d\.\d) )?"
    r"(?:level (?P<raid_level>\d), (?P<chunk_size>\d+)k chunk, algorithm (?P<algorithm>\d) )?"
    r"(?:\[(?P<total_members>\d+)/(?P<actual_members>\d+)\])?(?:(?P<rounding_factor>\d+)k rounding)?"
)
BITMAP = re.compile(
    r"bitmap: (?P<allocated_pages>\d+)/(?P<total_pages>\d+) pages \[(?P<page_size>\d+)KB\], (?P<chunk_size>\d+)KB chunk"
)
WORK = re.compile(
    r"\] +(?P<what>\w+) = +(?P<percent>[\d.]+)% \((?P<done>\d+)/\d+\) finish=(?P<minutes>[\d.]+)min speed=(?P<speed>\d+)K/sec"
)
WAITS = re.compile(r"(\w+)\s*=\s*(?:DELAYED|PENDING|REMOTE)")
IN_KIB = ("chunk_size", "rounding_factor")
STATES = ("active", "inactive", "recovering", "resync", "check")
WORK_STATE = {"recovery": "recovering", "recover": "recovering", "resync": "resync", "reshape": "resync"}
WORK_STATE |= {"check": "check", "repair": "check"}


class MdStat(Collector):
    """Whether the arrays have all their disks, what they do, and how long it takes."""

    name = "mdstat"
    diamond = "MdStatCollector"
    needs = (f"{MDSTAT} (the module md_mod)",)

    disks = Gauge("{device}.disks_{state}", "Disks of an array in this state", diamond=None, prometheus="node_md_disks")
    required = Gauge(
        "{device}.disks_required", "Disks that an array needs to be whole", diamond=None, prometheus="node_md_disks_required"
    )
    size = Gauge("{device}.size", "Size of an array", unit="By", diamond=None, prometheus=Raw("node_md_blocks", scale=1 / BLOCK))
    synced = Gauge(
        "{device}.synced",
        "How much of an array is as it should be: all of it, or what a recovery, resync or check has done",
        unit="By",
        diamond=None,
        prometheus=Raw("node_md_blocks_synced", scale=1 / BLOCK),
    )
    state = Gauge("{device}.state_{state}", "1 for the state that an array is in", diamond=None, prometheus="node_md_state")
    raid_disks = Gauge("{device}.raid_disks", "Disks that an array is made for", diamond=None, prometheus="node_md_raid_disks")
    degraded = Gauge("{device}.degraded", "Disks that an array lacks", diamond=None, prometheus="node_md_degraded")
    sync_progress = Gauge("{device}.sync_progress", "Part of a recovery, resync or check that is done", unit="1", diamond=None)
    sync_speed = Gauge("{device}.sync_speed", "Speed of a recovery, resync or check", unit="By/s", diamond=None)
    sync_left = Gauge("{device}.sync_left", "Time that a recovery, resync or check still takes", unit="s", diamond=None)
    work = Group(sync_progress, sync_speed, sync_left)
    word = Gauge(
        "{device}.{part}.{word}",
        "A figure of an array as Diamond called it",
        path=None,
        diamond=Raw(precision=1),
        prometheus=None,
        otel=None,
    )

    def collect(self) -> Iterator[Sample]:
        arrays = parse(self.host.read(MDSTAT))
        if not arrays:
            raise NoData(f"{MDSTAT} has no array")
        for array in arrays:
            yield from self._array(array)
        for folder in self.host.glob(f"{BLOCKS}/md*/md"):
            words = self.host.read(f"{folder}/raid_disks", "").split()
            if words and words[0].isdigit():  # during a reshape the number before it follows, in parentheses
                device = folder.split("/")[3]
                degraded = self.host.read(f"{folder}/degraded", "").strip()
                yield self.raid_disks(int(words[0]), device)
                yield self.degraded(int(degraded) if degraded.isdigit() else 0, device)

    def _array(self, array: Array) -> Iterator[Sample]:
        device = array.name
        spare = sum(["(S)" in flags for flags in array.members])
        faulty = sum(["(F)" in flags and "(S)" not in flags for flags in array.members])
        active = len(array.members) - spare - faulty
        yield self.word.row((active, faulty, spare), ("active", "faulty", "spare"), device, "member_count")
        if status := STATUS.match(array.status):
            values = numbers(status)
            yield self.word.row(list(values.values()), tuple(values), device, "status")
        if bitmap := BITMAP.search(array.rest):
            values = {name: int(text) for name, text in bitmap.groupdict().items()}
            yield self.word.row(list(values.values()), tuple(values), device, "bitmap")

        required, working = array.disks()
        yield self.disks.row((working, faulty, spare), ("active", "failed", "spare"), device)
        yield self.required(required, device)
        size = SIZE.match(array.status)
        done = blocks = int(size[1]) if size else 0
        state = "active" if array.active else "inactive"
        if work := WORK.search(array.rest):
            state = WORK_STATE.get(work["what"], state)
            done = int(work["done"])
            speed, minutes, percent = int(work["speed"]) * 1024, float(work["minutes"]), float(work["percent"])
            yield self.work((percent / 100, speed, minutes * 60), device)
            if work["what"] == "recovery":
                values = {"percent": percent, "speed": speed, "remaining_time": int(minutes * 60 * 1000)}
                yield self.word.row(list(values.values()), tuple(values), device, "recovery")
        elif waits := WAITS.search(array.rest):
            state = WORK_STATE.get(waits[1], state)
            done = 0
        yield self.size(blocks * BLOCK, device)
        yield self.synced(done * BLOCK, device)
        yield self.state.row([int(state == s) for s in STATES], STATES, device)


class Array:
    """One array of /proc/mdstat.

    members: the flags of each disk, such as "(S)"; status: the line with the number of blocks; rest: the lines after it.
    """

    __slots__ = ("active", "level", "members", "name", "rest", "status")

    def __init__(self, name: str, words: list[str], lines: list[str]) -> None:
        self.name = name
        self.active = words[0] == "active"
        found = [(word, MEMBER.search(word)) for word in words[1:]]
        self.members = [match[1] for _, match in found if match]
        self.level = next((word for word, match in found if not match and word[0] != "("), "")
        self.status = lines[0].strip() if lines else ""
        self.rest = "\n".join(lines[1:])

    def disks(self) -> tuple[int, int]:
        """How many disks it needs, and how many of these work."""
        if not self.active:
            return 0, 0
        if self.level in ("raid0", "linear"):  # without redundancy, the kernel does not count them
            return len(self.members), len(self.members)
        counted = COUNTED.search(self.status)
        return (int(counted[1]), int(counted[2])) if counted else (0, 0)


def parse(text: str) -> list[Array]:
    """The arrays of a /proc/mdstat; ValueError where it is none."""
    if not text.startswith("Personalities"):
        raise ValueError(f"{MDSTAT} does not begin with the personalities: {text[:60]!r}")
    arrays = []
    lines = text.split("\n")
    for at, line in enumerate(lines):
        name, colon, about = line.partition(" : ")
        words = about.split()
        if not colon or not words or words[0] not in ("active", "inactive", "broken"):
            continue
        end = next((i for i in range(at + 1, len(lines)) if lines[i] and lines[i][0] not in " \t"), len(lines))
        arrays.append(Array(name.strip(), words, lines[at + 1 : end]))
    return arrays


def numbers(status: re.Match[str]) -> dict[str, float]:
    """The figures of a line of status, sizes in bytes; without those that are not in it."""
    found: dict[str, float] = {}
    for name, text in status.groupdict().items():
        if text:
            found[name] = float(text) if "." in text else int(text) * (1024 if name in IN_KIB else 1)
    return found
