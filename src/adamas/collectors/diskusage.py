"""Work of the block devices, from /proc/diskstats, and what udev knows of them, from /run/udev/data.

Operations, bytes (a sector of /proc/diskstats is 512 bytes, whatever the disk's are) and seconds. Discards are counted since
Linux 4.18, flushes since 5.5; the columns of milliseconds start over at 2^32. Source: the kernel's
Documentation/admin-guide/iostats.rst.

Diamond's names are figures of the time since the last run, only for devices that did anything in it. By default they are for the
devices that Diamond chose (partitions too) and the other spellings for those that node_exporter chooses (whole disks); where
`devices` is set, all are for these.
"""

import re
from collections.abc import Iterable, Iterator

from adamas import Collector, Counter, Gauge, Group, NoData, Raw, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

DISKSTATS = "/proc/diskstats"
DEVICES = "PhysicalDrive[0-9]+$|md[0-9]+$|sd[a-z]+[0-9]*$|x?vd[a-z]+[0-9]*$|disk[0-9]+$|nvme[0-9]+n[0-9]+(p[0-9]+)?$|dm-[0-9]+$"
PARTS = re.compile(r"(z?ram|loop|fd|(h|s|v|xv)d[a-z]|nvme\d+n\d+p)\d+$")
"""What node_exporter leaves out by default: partitions, and devices without a disk."""
SECTOR = 512
WRAP = 2**32
IN_PROGRESS = 8
MILLISECONDS = (3, 7, 9, 10, 14, 16)
FORGET = 300.0
"""After so many seconds udev is asked again: a file system may be new."""

FIGURES = (
    *("reads", "reads_merged", "reads_milliseconds", "writes", "writes_merged", "writes_milliseconds", "io_in_progress"),
    *("io_milliseconds", "io_milliseconds_weighted", "read_requests_merged_per_second", "write_requests_merged_per_second"),
    *("reads_per_second", "writes_per_second", "io", "average_queue_length", "util_percentage", "read_await", "write_await"),
    *("iops", "service_time", "await", "concurrent_io"),
)
"""Diamond's names of a device's figures, but for those with a byte unit."""

DISK = {"device": "system.device"}
WAY = {**DISK, "direction": "disk.io.direction"}


class Disk:
    """One device: which spellings want it, its last columns, and its samples while it does nothing."""

    __slots__ = ("charted", "facts", "idle", "native", "numbers", "run", "text")

    def __init__(self, charted: bool, native: bool) -> None:
        self.charted = charted
        self.native = native
        self.text = ""
        self.numbers: list[int] | None = None
        self.idle: list[Sample] = []
        self.facts: list[Sample] = []
        self.run = 0


class DiskUsage(Collector):
    """What the disks do: operations, bytes, how long they take, how busy the disks are."""

    name = "diskusage"
    path = "iostat"
    diamond = "DiskUsageCollector"
    needs = (DISKSTATS,)

    devices: str = option(DEVICES, "Only devices whose name matches this", pattern=True)
    exclude_devices: str = option("", "No devices whose name matches this", pattern=True)
    sector_size: int = option(SECTOR, "Bytes in a sector, for Diamond's names", minimum=1)
    send_zero: bool = option(False, "Diamond's names for devices that did nothing, too")
    byte_unit: list[str] = option(["byte"], "The units of Diamond's names")

    operations = Counter(
        "{device}.{direction}s",
        "Operations that were completed",
        diamond=None,
        prometheus="node_disk_{direction}s_completed_total",
        otel=Raw("system.disk.operations", rename=WAY),
    )
    merged = Counter(
        "{device}.{direction}s_merged",
        "Operations that were merged with one beside them",
        diamond=None,
        prometheus="node_disk_{direction}s_merged_total",
        otel=Raw("system.disk.merged", rename=WAY),
    )
    transferred = Counter(
        "{device}.{direction}_bytes",
        "Bytes read and written",
        unit="By",
        diamond=None,
        prometheus=Raw("node_disk_{direction}_bytes_total", values={"direction": {"write": "written"}}),
        otel=Raw("system.disk.io", rename=WAY),
    )
    discarded = Counter(
        "{device}.{direction}_bytes",
        "Bytes discarded (in sectors for Prometheus, as node_exporter has it)",
        unit="By",
        diamond=None,
        prometheus=Raw("node_disk_{direction}_sectors_total", scale=1 / SECTOR, values={"direction": {"discard": "discarded"}}),
        otel=Raw("system.disk.io", rename=WAY),
    )
    operation_time = Counter(
        "{device}.{direction}_time",
        "Time that operations took, all added up",
        unit="s",
        wrap=WRAP / 1000,
        diamond=None,
        prometheus="node_disk_{direction}_time_seconds_total",
        otel=Raw("system.disk.operation_time", rename=WAY),
    )
    transfers = Group(operations, merged, transferred, operation_time)
    discards = Group(operations, merged, discarded, operation_time)

    in_progress = Gauge(
        "{device}.io_in_progress",
        "Operations in progress",
        diamond=None,
        prometheus="node_disk_io_now",
        otel=Raw("system.disk.pending_operations", rename=DISK),
    )
    io_time = Counter(
        "{device}.io_time",
        "Time with at least one operation in progress; its rate is the disk's utilization, from 0 to 1",
        unit="s",
        wrap=WRAP / 1000,
        path="{device}.utilization",
        diamond=None,
        prometheus="node_disk_io_time_seconds_total",
        otel=Raw("system.disk.io_time", rename=DISK),
    )
    weighted_time = Counter(
        "{device}.weighted_io_time",
        "Time with operations in progress, times how many; its rate is the average length of the queue",
        unit="s",
        wrap=WRAP / 1000,
        path="{device}.queue_length",
        diamond=None,
        prometheus="node_disk_io_time_weighted_seconds_total",
        otel=Raw("system.disk.weighted_io_time", rename=DISK),
    )
    occupied = Group(in_progress, io_time, weighted_time)

    flushes = Counter(
        "{device}.flushes", "Flushes that were completed", diamond=None, prometheus="node_disk_flush_requests_total"
    )
    flush_time = Counter(
        "{device}.flush_time",
        "Time that flushes took, all added up",
        unit="s",
        wrap=WRAP / 1000,
        diamond=None,
        prometheus="node_disk_flush_requests_time_seconds_total",
    )
    flushed = Group(flushes, flush_time)

    wait = Gauge(
        "{device}.{which}",
        "How long an operation took since the last run, on average: any, a read, a write",
        unit="s",
        diamond=None,
        prometheus=None,
        otel=None,
    )

    figure = Gauge(
        "{device}.{figure}",
        "A figure of the time since the last run, as Diamond calls it",
        path=None,
        diamond=Raw(precision=3),
        prometheus=None,
        otel=None,
    )
    moved = Gauge(
        "{device}.{direction}s_byte",
        "Bytes read and written since the last run",
        unit="By",
        path=None,
        diamond=Raw("{device}.{direction}s_{unit}", units="byte_unit", precision=3),
        prometheus=None,
        otel=None,
    )
    speed = Gauge(
        "{device}.{direction}_byte_per_second",
        "Bytes read and written each second",
        unit="By/s",
        path=None,
        diamond=Raw("{device}.{direction}_{unit}_per_second", units="byte_unit", precision=3),
        prometheus=None,
        otel=None,
    )
    request_size = Gauge(
        "{device}.average_request_size_byte",
        "Bytes of an operation, on average",
        unit="By",
        path=None,
        diamond=Raw("{device}.average_request_size_{unit}", units="byte_unit", precision=3),
        prometheus=None,
        otel=None,
    )

    info = Gauge(
        "{device}.{major}.{minor}.{path}.{wwn}.{model}.{serial}.{revision}.{rotational}",
        "What the device is; always 1",
        path=None,
        diamond=None,
        prometheus="node_disk_info",
    )
    filesystem_info = Gauge(
        "{device}.{type}.{usage}.{uuid}.{version}",
        "What file system is on the device; always 1",
        path=None,
        diamond=None,
        prometheus="node_disk_filesystem_info",
    )
    mapper_info = Gauge(
        "{device}.{name}.{uuid}.{vg_name}.{lv_name}.{lv_layer}",
        "What the device mapper calls the device; always 1",
        path=None,
        diamond=None,
        prometheus="node_disk_device_mapper_info",
    )
    ata = Gauge(
        "{device}.{property}",
        "Write cache (there, enabled) and rotation rate (rpm) of an ATA disk",
        path=None,
        diamond=None,
        prometheus="node_disk_ata_{property}",
    )

    def __init__(self, host: "Host", values: "dict[str, Any] | None" = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._disks: dict[str, Disk] = {}
        self._run = 0
        self._age = 0.0

    def collect(self) -> Iterator[Sample]:
        self._run += 1
        self._age += self.elapsed
        if self._age > FORGET:
            self._age = 0.0
            self.forget()
        seen = 0
        for line in self.host.read(DISKSTATS).split("\n"):
            words = line.split(None, 3)
            if len(words) < 4:
                continue
            major, minor, device, text = words
            disk = self._disks.get(device) or self._new(device)
            disk.run = self._run
            seen += 1
            if not (disk.charted or disk.native):
                continue
            if text == disk.text:
                yield from disk.idle
            else:
                yield from self._changed(disk, device, text, major, minor)
        if not seen:
            raise NoData(f"{DISKSTATS} has no device")
        if seen < len(self._disks):
            self._disks = {device: disk for device, disk in self._disks.items() if disk.run == self._run}

    def _new(self, device: str) -> Disk:
        excluded = bool(self.exclude_devices and re.match(self.exclude_devices, device))
        chosen = not excluded and bool(re.match(self.devices, device))
        native = not excluded and not PARTS.match(device) if self.devices == DEVICES else chosen
        disk = self._disks[device] = Disk(chosen and not device.startswith(("ram", "loop")), native)
        return disk

    def forget(self) -> None:
        """Look at every device anew: what it is, and what its samples are."""
        for disk in self._disks.values():
            disk.text = ""
            disk.facts = []

    def sweep(self, keep: "Iterable[Any]") -> None:
        """As `Collector.sweep`; the samples of idle devices hold series, too."""
        super().sweep(keep)
        self.forget()

    def _changed(self, disk: Disk, device: str, text: str, major: str, minor: str) -> Iterator[Sample]:
        try:
            now = list(map(int, text.split()))
        except ValueError:
            raise ValueError(f"{DISKSTATS}: {device} has columns that are not numbers: {text[:60]!r}") from None
        if len(now) < 11:  # a partition before Linux 2.6.25
            return
        grown = increases(now, disk.numbers) if disk.numbers is not None and self.elapsed > 0 else None
        disk.numbers = now
        disk.idle = []
        # What it does is said here; what it is while it does nothing, is kept.
        disk.text = text if grown is not None else ""
        if disk.native:
            if not disk.facts:
                disk.facts = list(self._facts(device, major, minor))
            columns = [*disk.facts, *self._columns(device, now)]
            yield from columns
            if grown is not None:
                yield self.wait.row(waits(grown), ("await", "read_await", "write_await"), device)
                disk.idle = [*columns, self.wait.row((0.0, 0.0, 0.0), ("await", "read_await", "write_await"), device)]
        if disk.charted and grown is not None:
            if grown[0] + grown[4] > 0 or self.send_zero:
                yield from self._figures(device, grown, now[IN_PROGRESS])
            if self.send_zero:
                disk.idle += self._figures(device, [0.0] * len(grown), now[IN_PROGRESS])

    def _columns(self, device: str, now: list[int]) -> Iterator[Sample]:
        yield self.transfers((now[0], now[1], now[2] * SECTOR, now[3] / 1000), device, "read")
        yield self.transfers((now[4], now[5], now[6] * SECTOR, now[7] / 1000), device, "write")
        yield self.occupied((now[8], now[9] / 1000, now[10] / 1000), device)
        if len(now) >= 15:
            yield self.discards((now[11], now[12], now[13] * SECTOR, now[14] / 1000), device, "discard")
        if len(now) >= 17:
            yield self.flushed((now[15], now[16] / 1000), device)

    def _figures(self, device: str, grown: list[float], in_progress: int) -> Iterator[Sample]:
        elapsed = self.elapsed
        reads, reads_merged, read_sectors, read_ms, writes, writes_merged, write_sectors, write_ms = grown[:8]
        busy_ms, weighted_ms = grown[9:11]
        io = reads + writes
        service_time = busy_ms / io if io else 0.0
        figures = (
            *(reads, reads_merged, read_ms, writes, writes_merged, write_ms, float(in_progress), busy_ms, weighted_ms),
            *(reads_merged / elapsed, writes_merged / elapsed, reads / elapsed, writes / elapsed, io),
            *(weighted_ms / elapsed / 1000, busy_ms / elapsed / 10),
            *(read_ms / reads if reads else 0.0, write_ms / writes if writes else 0.0, io / elapsed, service_time),
            *((read_ms + write_ms) / io if io else 0.0, (reads / elapsed + writes / elapsed) * service_time / 1000),
        )
        read, written = read_sectors * self.sector_size, write_sectors * self.sector_size
        yield self.figure.row(figures, FIGURES, device)
        yield self.moved.row((read, written), ("read", "write"), device)
        yield self.speed.row((read / elapsed, written / elapsed), ("read", "write"), device)
        yield self.request_size((read + written) / io if io else 0.0, device)

    def _facts(self, device: str, major: str, minor: str) -> Iterator[Sample]:
        try:
            text = self.host.read(f"/run/udev/data/b{major}:{minor}", "")
        except OSError:
            text = ""
        pairs = [line[2:].partition("=") for line in text.split("\n") if line.startswith("E:")]
        known = {name: value for name, _, value in pairs}

        def get(*names: str) -> list[str]:
            return [known.get(name, "") for name in names]

        rotational = self.host.read(f"/sys/block/{device.replace('/', '!')}/queue/rotational", "0").strip()
        # Which of these is printed on the disk depends on the bus.
        serial = next(filter(None, get("SCSI_IDENT_SERIAL", "ID_SERIAL_SHORT", "ID_SERIAL")), "")
        where, wwn, model, revision = get("ID_PATH", "ID_WWN", "ID_MODEL", "ID_REVISION")
        yield self.info(1, device, major, minor, where, wwn, model, serial, revision, rotational)
        if known.get("ID_FS_TYPE"):
            labels = get("ID_FS_TYPE", "ID_FS_USAGE", "ID_FS_UUID", "ID_FS_VERSION")
            yield self.filesystem_info(1, device, *labels)
        if known.get("DM_NAME"):
            labels = get("DM_NAME", "DM_UUID", "DM_VG_NAME", "DM_LV_NAME", "DM_LV_LAYER")
            yield self.mapper_info(1, device, *labels)
        if known.get("ID_ATA"):
            for name in ("WRITE_CACHE", "WRITE_CACHE_ENABLED", "ROTATION_RATE_RPM"):
                if known.get(f"ID_ATA_{name}", "").isdigit():
                    yield self.ata(int(known[f"ID_ATA_{name}"]), device, name.lower())


def increases(now: list[int], before: list[int]) -> list[float] | None:
    """What each column grew by; None where one went back, because it is not the device that it was."""
    grown = [n - b for n, b in zip(now, before)]
    grown[IN_PROGRESS] = 0
    if min(grown) < 0:
        for column in MILLISECONDS:
            if column < len(grown) and grown[column] < 0 and before[column] > WRAP * 3 // 4:
                grown[column] += WRAP
        if min(grown) < 0:
            return None
    return list(map(float, grown))


def waits(grown: list[float]) -> tuple[float, float, float]:
    """Seconds that an operation, a read and a write took, on average."""
    reads, read_ms, writes, write_ms = grown[0], grown[3], grown[4], grown[7]
    io = reads + writes
    return (
        (read_ms + write_ms) / io / 1000 if io else 0.0,
        read_ms / reads / 1000 if reads else 0.0,
        write_ms / writes / 1000 if writes else 0.0,
    )
