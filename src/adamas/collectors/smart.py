"""What disks tell of themselves: S.M.A.R.T. attributes of ATA disks and the health log of NVMe, asked with `smartctl -A`.

smartctl(8) of smartmontools needs root, or `use_sudo`. An ATA attribute has a value that its maker normalized, the worst that
it was, a threshold, and a raw value whose unit is the maker's. A disk is not healthy where a pre-fail attribute is at its
threshold or below it, or NVMe's critical warning is set. Nothing of this changes fast, and each disk is disturbed: an interval of
minutes is enough.

Diamond's names have only the attributes in `attributes` and, with `force_prefails`, those that are pre-fail, of the disks that it
chose by default; the other spellings have all, and NVMe. Where `devices` is set, all are for these.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Counter, Gauge, NoData, Raw, Sample, option
from adamas.collectors._program import Program, said
from adamas.option import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

DEVICES = "^disk[0-9]$|^sd[a-z]$|^hd[a-z]$"
NATIVE = re.compile(r"(sd[a-z]+|hd[a-z]|nvme\d+)$")
HEADER = ["ID#", "ATTRIBUTE_NAME"]
NUMBER = re.compile(r"\d+")
FAILING = 0b11000
"""In smartctl's exit code: the disk says that it fails, a pre-fail attribute is at its threshold."""
UNIT = 512_000
"""Bytes in a data unit of NVMe."""
LOWER = {"attribute": str.lower}


class Attribute:
    """An ATA attribute: a line of smartctl's table."""

    __slots__ = ("id", "name", "prefail", "priority", "raw", "thresh", "value", "worst")

    def __init__(self, words: list[str]) -> None:
        self.id = words[0]
        self.name = words[1]
        self.value, self.worst, self.thresh = int(words[3]), int(words[4]), int(words[5])
        self.priority = words[6].lower()
        self.prefail = self.priority == "pre-fail"
        self.raw = words[9]

    def number(self) -> int:
        """The first number of the raw value."""
        match = NUMBER.match(self.raw)
        return int(match[0]) if match else 0

    def charted(self, kind: str) -> int:
        """A value of it as Diamond had it: of a raw value such as 3/4 so many whole hundreds of percent."""
        if kind != "raw_val":
            return int(getattr(self, kind))
        above, slash, below = self.raw.partition("/")
        if slash and above.isdigit() and below.isdigit():
            return 100 * (int(above) // int(below)) if int(below) else 0
        return self.number()


def _of_disk(name: str, help: str, prometheus: str, unit: str = "", scale: float = 1) -> Gauge:
    how = Raw(f"smartctl_device_{prometheus}", scale=scale)
    return Gauge(f"{{device}}.{name}", help, unit=unit, diamond=None, prometheus=how)


class Smart(Program):
    """How the disks do: temperature, hours, wear, errors, and every attribute that they have."""

    name = "smart"
    diamond = "SmartCollector"
    needs = ("smartctl, and disks that have S.M.A.R.T.",)
    remote = True

    bin: str = option("smartctl", "The program smartctl")
    devices: str = option(DEVICES, "Only devices in /dev whose name matches this", pattern=True)
    nocheck: str = option(
        "never",
        "Do not wake a disk that is in this power mode, or a deeper one",
        choices=("never", "sleep", "standby", "idle"),
    )
    attributes: dict[str, Any] = option(
        {}, "Attributes of Diamond's names, each true or false; by number where they have no name"
    )
    force_prefails: bool = option(False, "All that are pre-fail under Diamond's names, too")
    aliases: dict[str, Any] = option({}, "For each device a table of attributes and what Diamond's names call them")
    valtypes: list[str] = option(
        ["value", "worst", "thresh", "raw_val"],
        "The values of Diamond's names",
        choices=("value", "worst", "thresh", "raw_val"),
    )

    charted = Gauge(
        "{device}.{priority}.{attribute}.{kind}",
        "A value of an attribute of `attributes`, as Diamond gave it",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )
    attribute = Gauge(
        "{device}.{id}_{attribute}.{kind}",
        "A value of an ATA attribute: as its maker normalized it, the worst, the threshold, raw",
        path=Raw(values=LOWER),
        diamond=None,
        prometheus=Raw(
            "smartctl_device_attribute",
            rename={"id": "attribute_id", "attribute": "attribute_name", "kind": "attribute_value_type"},
        ),
    )
    answers = _of_disk("answers", "1 where the disk could be asked", "answers")
    healthy = _of_disk("healthy", "1 where the disk is well, 0 where it fails", "smart_status")
    temperature = _of_disk("temperature", "Temperature", "temperature", "Cel")
    power_on_time = _of_disk("power_on_time", "Time that the disk has run", "power_on_seconds", "s")
    power_cycles = _of_disk("power_cycles", "Times that it was switched on", "power_cycle_count")
    spare = _of_disk("available_spare", "Part of the spare blocks that is left", "available_spare", "1", 100)
    threshold = _of_disk(
        "available_spare_threshold", "Part of the spare blocks below which it fails", "available_spare_threshold", "1", 100
    )
    used = _of_disk("used", "Part of its life that is used, by the maker's estimate", "percentage_used", "1", 100)
    warning = _of_disk("critical_warning", "Bits of NVMe's critical warning", "critical_warning")
    media_errors = _of_disk("media_errors", "Errors of the medium or of the integrity of data", "media_errors")
    error_entries = _of_disk("error_log_entries", "Entries in the log of errors", "num_err_log_entries")
    unsafe_shutdowns = _of_disk("unsafe_shutdowns", "Times that it lost its power without notice", "unsafe_shutdowns")
    read = Counter("{device}.read_bytes", "Bytes read", unit="By", diamond=None, prometheus="smartctl_device_bytes_read")
    written = Counter(
        "{device}.written_bytes", "Bytes written", unit="By", diamond=None, prometheus="smartctl_device_bytes_written"
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._wanted = {str(name).lower() for name, wanted in self.attributes.items() if parse_bool(wanted)}

    def collect(self) -> Iterator[Sample]:
        mode = [] if self.nocheck == "never" else ["-n", self.nocheck]
        troubles = []
        found = False
        for device in self.host.listdir("/dev"):
            charted = bool(re.match(self.devices, device))
            native = bool(NATIVE.match(device)) if self.devices == DEVICES else charted
            if not (charted or native):
                continue
            answer = self.ask(self.bin, *mode, "-A", f"/dev/{device}")
            attributes = table(answer.text)
            facts = health(answer.text)
            if attributes or facts:
                found = True
                if charted:
                    yield from self._charted(device, attributes)
                if native:
                    yield from self._attributes(device, attributes, bool(answer.status & FAILING))
                    yield from self._facts(device, facts)
            else:
                troubles.append(f"/dev/{device}: {said(answer)}")
            if native:
                yield self.answers(int(bool(attributes or facts)), device)
        if not found:
            raise NoData(f"{self.bin} finds nothing: {troubles[0]}" if troubles else "/dev has no disk of these names")

    def _charted(self, device: str, attributes: list[Attribute]) -> Iterator[Sample]:
        aliases = self.aliases.get(device, {})
        names: dict[tuple[str, str], Attribute] = {}
        for attribute in attributes:
            name = attribute.name.lower()
            if name == "unknown_attribute":
                name = attribute.id
            if name in self._wanted or (self.force_prefails and attribute.prefail):
                names[attribute.priority, str(aliases.get(name, name))] = attribute
        for (priority, name), attribute in names.items():
            yield self.charted.row([attribute.charted(kind) for kind in self.valtypes], self.valtypes, device, priority, name)

    def _attributes(self, device: str, attributes: list[Attribute], failing: bool) -> Iterator[Sample]:
        known = {}
        for a in attributes:
            known[a.id] = a.number()
            failing = failing or (a.prefail and 0 < a.thresh >= a.value)
            yield self.attribute.row(
                (a.value, a.worst, a.thresh, known[a.id]), ("value", "worst", "thresh", "raw"), device, a.id, a.name
            )
        if not attributes:
            return
        yield self.healthy(int(not failing), device)
        if "9" in known:
            yield self.power_on_time(known["9"] * 3600, device)
        if "12" in known:
            yield self.power_cycles(known["12"], device)
        if temperature := known.get("194") or known.get("190"):
            yield self.temperature(temperature, device)

    def _facts(self, device: str, facts: dict[str, int]) -> Iterator[Sample]:
        for name, metric, scale in (
            ("Temperature", self.temperature, 1.0),
            ("Current Drive Temperature", self.temperature, 1.0),
            ("Available Spare", self.spare, 0.01),
            ("Available Spare Threshold", self.threshold, 0.01),
            ("Percentage Used", self.used, 0.01),
            ("Power Cycles", self.power_cycles, 1),
            ("Power On Hours", self.power_on_time, 3600),
            ("Unsafe Shutdowns", self.unsafe_shutdowns, 1),
            ("Media and Data Integrity Errors", self.media_errors, 1),
            ("Error Information Log Entries", self.error_entries, 1),
            ("Critical Warning", self.warning, 1),
            ("Data Units Read", self.read, UNIT),
            ("Data Units Written", self.written, UNIT),
        ):
            if name in facts:
                yield metric(facts[name] * scale, device)
        if "Critical Warning" in facts:
            yield self.healthy(int(facts["Critical Warning"] == 0), device)


def table(text: str) -> list[Attribute]:
    """The ATA attributes in what smartctl says; none where it has no table."""
    attributes = []
    inside = False
    for line in text.splitlines():
        words = line.split()
        if words[:2] == HEADER:
            inside = True
        elif inside and len(words) >= 10 and words[0].isdigit():
            try:
                attributes.append(Attribute(words))
            except ValueError:  # a disk that has no threshold or normalized value of it
                continue
        elif inside:
            break
    return attributes


def health(text: str) -> dict[str, int]:
    """The numbers in the health log of NVMe and in what SCSI disks say, by name."""
    facts = {}
    _, found, log = text.partition("=== START OF ")
    for line in log.splitlines() if found else ():
        name, colon, value = line.partition(":")
        words = value.split()
        if not colon or not words:
            continue
        number = words[0].replace(",", "").rstrip("%")
        if number.isdigit():
            facts[name] = int(number)
        elif number.startswith("0x"):
            facts[name] = int(number, 16)
    return facts
