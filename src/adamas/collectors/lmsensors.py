"""Hardware sensors: temperatures, fans, voltages, currents, power, energy, humidity, from /sys/class/hwmon.

The files are read as the kernel's Documentation/hwmon/sysfs-interface.rst describes them. Chips and sensors have the names that
libsensors gives them (`coretemp-isa-0000`, `Core-0`), which Diamond had from there; what a sensors.conf says (other labels,
formulas, sensors that are left out) is not applied. node_hwmon_* has all the files of a chip, as node_exporter does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from posixpath import basename, dirname, join, normpath

from adamas import Collector, Counter, Gauge, NoData, Raw, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

HWMON = "/sys/class/hwmon"
FILE = re.compile(
    r"((?:in|cpu|fan|pwm|temp|curr|power|energy|humidity|intrusion|freq)\d+|vrm|beep_enable|update_interval)(?:_(.+))?"
)
UNCLEAN = re.compile(r"[^a-z0-9:_]")
FORGET = 60.0
"""After so many seconds the chips are looked up anew: a device may be new."""

MAIN = {"power": ("average", "input"), "cpu": ("vid",), "intrusion": ("alarm",), "beep_enable": ("",)}
"""Which file of a sensor is its reading, where it is not `input`."""
READINGS = {
    "in": ("voltage", 1e3),
    "cpu": ("voltage", 1e3),
    "fan": ("fan", 1.0),
    "temp": ("temperature", 1e3),
    "curr": ("current", 1e3),
    "power": ("power", 1e6),
    "energy": ("energy", 1e6),
    "humidity": ("humidity", 1e5),
    "intrusion": ("alarm", 1.0),
    "beep_enable": ("alarm", 1.0),
}
"""The metric of a type of sensor, and how many of the file's units are one of the metric's."""

PCI = re.compile(r"([0-9a-f]+):([0-9a-f]+):([0-9a-f]+)\.([0-9a-f]+)", re.I)
I2C = re.compile(r"(\d+)-([0-9a-f]+)", re.I)
SPI = re.compile(r"spi(\d+)\.(\d+)")
SCSI = re.compile(r"(\d+):(\d+):(\d+):([0-9a-f]+)", re.I)


class Sensor:
    """One sensor of a chip.

    name: as in the files (`temp1`); type: `temp`; numbered: its name in node_exporter, which gives one without a number a 0;
    label: what it is called, nothing where it has no label; shown: what its reading is called; files: what follows the name
    in a file's -> the file.
    """

    __slots__ = ("files", "label", "name", "numbered", "shown", "type")

    def __init__(self, name: str) -> None:
        self.name = name
        self.numbered = name if name[-1].isdigit() else f"{name}0"
        self.type = name.rstrip("0123456789")
        self.label = ""
        self.shown = name
        self.files: dict[str, str] = {}


class Chip:
    """One chip: its name as libsensors has it, its label in node_exporter, the name of its driver there, its sensors."""

    __slots__ = ("driver", "label", "name", "sensors")

    def __init__(self, name: str, label: str, driver: str, sensors: list[Sensor]) -> None:
        self.name = name
        self.label = label
        self.driver = driver
        self.sensors = sensors


def _reading(help: str, unit: str, otel: str = "", scale: float = 1) -> dict[str, Any]:
    how: dict[str, Any] = {"help": help, "unit": unit, "diamond": Raw(precision=2, scale=scale), "prometheus": None}
    if otel:
        how["otel"] = Raw(otel, rename={"chip": "hw.parent", "label": "hw.name"})
    return how


class LmSensors(Collector):
    """What the machine's sensors show: how hot it is, how fast its fans turn, its voltages, what it consumes."""

    name = "lmsensors"
    path = "sensors"
    diamond = "LMSensorsCollector"
    needs = (f"{HWMON} (a driver for the machine's chips)",)

    send_zero: bool = option(False, "0 for a sensor that cannot be read, instead of nothing")

    temperature = Gauge("{chip}.{label}", **_reading("Temperature", "Cel", "hw.temperature"))
    fan = Gauge("{chip}.{label}", **_reading("Speed of a fan, in turns each minute", "{rpm}", "hw.fan.speed"))
    voltage = Gauge("{chip}.{label}", **_reading("Voltage", "V", "hw.voltage"))
    current = Gauge("{chip}.{label}", **_reading("Current", "A"))
    power = Gauge("{chip}.{label}", **_reading("Power that is consumed", "W", "hw.power"))
    energy = Counter("{chip}.{label}", **_reading("Energy that was consumed", "J", "hw.energy"))
    humidity = Gauge("{chip}.{label}", **_reading("Relative humidity (in percent for Diamond)", "1", scale=100))
    alarm = Gauge("{chip}.{label}", **_reading("1: the case was opened (intrusion), or the alarm beeps (beep_enable)", ""))

    file = Gauge(
        "{chip}.{sensor}.{file}",
        "What a file of a chip says, in the units of node_exporter",
        path=None,
        diamond=None,
        prometheus="node_hwmon_{file}",
        otel=None,
    )
    joules = Counter(
        "{chip}.{sensor}.{file}",
        "What a file of a chip says that counts energy",
        path=None,
        diamond=None,
        prometheus="node_hwmon_{file}",
        otel=None,
    )
    chip_name = Gauge(
        "{chip}.{chip_name}", "The driver's name of a chip; always 1", path=None, diamond=None, prometheus="node_hwmon_chip_names"
    )
    sensor_label = Gauge(
        "{chip}.{sensor}.{label}",
        "What a sensor is called; always 1",
        path=None,
        diamond=None,
        prometheus="node_hwmon_sensor_label",
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._chips: list[Chip] = []
        self._age = 0.0

    def collect(self) -> Iterator[Sample]:
        self._age += self.elapsed
        if not self._chips or self._age > FORGET:
            self._age = 0.0
            self._chips = look_up(self.host)
        if not self._chips:
            raise NoData(f"{HWMON} has no chip")
        for chip in self._chips:
            if chip.driver:
                yield self.chip_name(1, chip.label, chip.driver)
            for sensor in chip.sensors:
                yield from self._sensor(chip, sensor)

    def _sensor(self, chip: Chip, sensor: Sensor) -> Iterator[Sample]:
        if sensor.label:
            yield self.sensor_label(1, chip.label, sensor.name, sensor.label)
        shown: dict[str, float] = {}
        for element, path in sensor.files.items():
            try:
                shown[element] = float(self.host.read(path, ""))
            except (OSError, ValueError):
                continue  # a sensor that sleeps, or a file that is there for writing
        if sensor.type in READINGS:
            name, units = READINGS[sensor.type]
            main = next((e for e in MAIN.get(sensor.type, ("input",)) if e in sensor.files), None)
            if main is not None and (main in shown or self.send_zero):
                yield getattr(self, name)(shown.get(main, 0.0) / units, chip.name, sensor.shown)
        values = []
        files = []
        for element, value in shown.items():
            file, unit = in_node_exporter(sensor.type, element, "" in shown)
            if file.endswith("_joule_total"):
                yield self.joules(value / unit, chip.label, sensor.numbered, file)
            elif file == "freq_freq_mhz":
                if sensor.label:
                    yield self.file(value / unit, chip.label, clean(sensor.label), file)
            else:
                values.append(value / unit)
                files.append(file)
        if files:
            yield self.file.row(values, files, chip.label, sensor.numbered)


def look_up(host: Host) -> list[Chip]:
    """The chips with their sensors."""
    chips = []
    for entry in host.listdir(HWMON):
        folder = follow(host, f"{HWMON}/{entry}") or f"{HWMON}/{entry}"
        device = follow(host, f"{folder}/device")
        sensors: dict[str, Sensor] = {}
        # Drivers of before Linux 3.13 put the files into the device's folder.
        for place in filter(None, (folder, device)):
            try:
                files = host.listdir(place)
            except (NoData, OSError):
                continue
            for file in files:
                match = FILE.fullmatch(file)
                if match is None:
                    continue
                sensor = sensors.setdefault(match[1], Sensor(match[1]))
                if match[2] == "label":
                    sensor.label = first_line(host, f"{place}/{file}")
                else:
                    sensor.files[match[2] or ""] = f"{place}/{file}"
        if not sensors:
            continue
        taken: set[str] = set()
        for sensor in sensors.values():
            shown = sensor.label.replace(" ", "-") or (f"{sensor.name}_vid" if sensor.type == "cpu" else sensor.name)
            sensor.shown = shown if shown not in taken else f"{shown}-{sensor.name}"
            taken.add(shown)
        own = first_line(host, f"{folder}/name")
        prefix = own or (first_line(host, f"{device}/name") if device else "")
        label = node_label(host, entry, own, device)
        name = f"{prefix}-{bus(host, device)}" if prefix else label
        chips.append(Chip(name, label, clean(own), list(sensors.values())))
    return chips


def follow(host: Host, path: str) -> str:
    """Where a link leads; nothing where it is none."""
    try:
        return normpath(join(dirname(path), host.readlink(path)))
    except OSError:
        return ""


def first_line(host: Host, path: str) -> str:
    """The first line of a small file; nothing where it cannot be read."""
    try:
        return host.read(path, "").partition("\n")[0].strip()
    except OSError:
        return ""


def clean(name: str) -> str:
    """A name as node_exporter writes it in a label."""
    return UNCLEAN.sub("_", name.lower()).strip("_")


def node_label(host: Host, entry: str, own: str, device: str) -> str:
    """What node_exporter calls a chip: after its device, which always has the same name; else its driver, else a number."""
    kind, name = clean(basename(dirname(device))), clean(basename(device))
    if not name:
        return clean(own) or clean(entry)
    label = f"{kind}_{name}" if kind else name
    try:
        beside = [other for other in host.listdir(f"{device}/hwmon") if other.startswith("hwmon")]
    except (NoData, OSError):
        beside = []
    return f"{label}_{clean(own)}" if len(beside) > 1 and own else label


def bus(host: Host, device: str) -> str:
    """Which bus a chip is on, and where, as libsensors says it: of its device, or what that is on."""
    while device:
        subsystem = basename(follow(host, f"{device}/subsystem"))
        if found := on_bus(subsystem, basename(device)):
            return found
        device = follow(host, f"{device}/device")
    return "virtual-0"


def on_bus(subsystem: str, name: str) -> str:
    """The bus and address of a device; nothing where it is on none that libsensors knows."""
    if subsystem in ("", "i2c") and (match := I2C.match(name)):
        return f"i2c-{int(match[1])}-{int(match[2], 16):02x}"
    if subsystem in ("", "spi") and (match := SPI.match(name)):
        return f"spi-{int(match[1])}-{int(match[2]):x}"
    if subsystem in ("", "pci") and (match := PCI.match(name)):
        domain, number, slot, function = [int(part, 16) for part in match.groups()]
        return f"pci-{(domain << 16) + (number << 8) + (slot << 3) + function:04x}"
    if subsystem in ("", "platform", "of_platform"):
        match = re.match(r"[a-z0-9_]+\.(\d+)", name)
        return f"isa-{int(match[1]) if match else 0:04x}"
    if subsystem == "acpi":
        return "acpi-0"
    if subsystem == "hid" and (match := PCI.match(name)):
        return f"hid-{int(match[1], 16)}-{int(match[4], 16):x}"
    if subsystem == "mdio_bus":
        match = re.match(r"[^:]*:(\d+)", name)
        return f"mdio-{int(match[1]) if match else 0:x}"
    if subsystem == "scsi" and (match := SCSI.match(name)):
        return f"scsi-{int(match[1])}-{(int(match[2]) << 8) + (int(match[3]) << 4) + int(match[4], 16):x}"
    return ""


def in_node_exporter(type: str, element: str, bare: bool) -> tuple[str, float]:
    """What node_exporter calls a file of a sensor, and how many of the file's units are one of its.

    `bare`: the sensor has a file of its very name beside it.
    """
    if type in ("beep_enable", "vrm", "update_interval"):
        return {"beep_enable": ("beep_enabled", 1.0), "vrm": ("voltage_regulator_version", 1.0)}.get(
            type, ("update_interval_seconds", 1e3)
        )
    name = type if element == "" or (element == "input" and not bare) else f"{type}_{clean(element)}"
    if element in ("fault", "alarm"):
        return name, 1.0
    if element == "beep":
        return f"{name}_enabled", 1.0
    if type in ("in", "cpu"):
        return f"{name}_volts", 1e3
    if type == "temp" and element != "type":
        return f"{name}_celsius", 1e3
    if type == "curr":
        return f"{name}_amps", 1e3
    if type == "energy":
        return f"{name}_joule_total", 1e6
    if type == "power" and element == "accuracy":
        return name, 1e6
    if type == "power" and element.startswith("average_interval"):
        return f"{name}_seconds", 1e3
    if type == "power":
        return f"{name}_watt", 1e6
    if type == "humidity":  # a thousandth of a percent in the file; node_exporter takes it for a millionth
        return name, 1e6
    if type == "fan" and element in ("input", "min", "max", "target"):
        return f"{name}_rpm", 1.0
    if type == "freq" and element == "input":
        return f"{name}_freq_mhz", 1e6
    return name, 1.0
