"""Samples as messages for a broker: what a message's body is, which points share one, and where it goes.

A payload is lines: the body of one point each, in the format that the option names; where `$name` is part of the message's
address, the address comes before its body, with a tab between. Lines are cut into messages when they are sent, so that what waits
on disk does not know how many points share a message, nor the topic where it is one for all.

Sources: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/,
https://graphite.readthedocs.io/en/latest/tags.html.
"""

from __future__ import annotations

import json
import os
import re

from adamas import Rejected, Size, option
from adamas.host import split_address
from adamas.lines import TIME, VALUE
from adamas.metric import RAW
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from typing import Any, ClassVar

    from adamas.naming import Point

TAB = "\t"
HASH = 16
"""Characters of the hash that stands for what was cut off a name."""
_FIELDS = re.compile(r"\$(\w+)")
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_UNFIT = {
    "graphite": re.compile(r"[;!^=\s\x00-\x1f\x7f]|^~"),
    "influx": re.compile(r"[\x00-\x1f\x7f]|\\(?=[ ,=\\]|$)"),
}
"""What a format has no way to write in a name, a label or its value."""


def json_body(point: Point) -> str:
    """An object of name, labels, kind, unit, value and time (seconds since 1970).

    The kind of a counter that goes out as its increase is "rate" (per second) or "delta" (since the run before).
    """
    kind = point.kind if point.conversion == RAW else point.conversion
    head = {"name": point.name, "labels": dict(point.labels), "kind": kind, "unit": point.unit}
    return f'{json.dumps(head, ensure_ascii=False, separators=(",", ":"))[:-1]},"value":{VALUE},"time":{TIME}}}'


def graphite_body(point: Point) -> str:
    """`name value time`; labels as Graphite's tags, behind the name."""
    return f"{point.name}{''.join([f';{label}={value}' for label, value in point.labels])} {VALUE} {TIME}"


def influx_body(point: Point) -> str:
    """`measurement,tag=text value=number time`: the name is the measurement, labels are tags, the number is always a float."""
    tags = [f",{_escaped(label)}={_escaped(value)}" for label, value in sorted(point.labels)]
    name = point.name.replace(",", "\\,").replace(" ", "\\ ")
    return f"{name}{''.join(tags)} value={VALUE} {TIME}"


def _escaped(text: str) -> str:
    return text.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


BODIES: dict[str, Callable[[Point], str]] = {
    "json": json_body,
    "graphite": graphite_body,
    "influx": influx_body,
    "value": lambda point: VALUE,
    "value_time": lambda point: f"{VALUE} {TIME}",
}
"""What a point's line is in each format."""
NAMELESS = ("value", "value_time")
"""Formats that leave it to the address whose value it is."""


def content_type(format: str, messages: str) -> str:
    """The media type of a message's body, for brokers that carry one."""
    if format != "json":
        return "text/plain; charset=utf-8"
    return "application/json" if messages == "point" else "application/x-ndjson"


def sharing(default: str) -> Any:
    """The option that says which points share a message, with this default."""
    return option(default, "One message for each point, or as many as fit, a line for each", choices=("point", "batch"))


def misplaced(addresses: Sequence[str], port: int) -> list[str]:
    """What is wrong with the addresses of brokers, in words; `port` is where they listen where one names none."""
    wrong = [] if addresses else ["address: expected at least one address"]
    for address in addresses:
        try:
            split_address(address, port)
        except ValueError as error:
            wrong.append(f"address: expected {error}")
    return wrong


class Message:
    """One message: its address ("" where the payload has none), its body, how many points it is, and its part of the payload."""

    __slots__ = ("address", "body", "lines", "points")

    def __init__(self, address: str, body: bytes, points: int, lines: bytes) -> None:
        self.address = address
        self.body = body
        self.points = points
        self.lines = lines


class Messages(Tls):
    """An output that hands messages to a broker.

    Subclasses say which option is the address of a message (`route`), what a name in it cannot have (`hostile`), what stands
    between the parts of a name there (`separator`), and how many bytes it may have (`longest`).
    """

    route: ClassVar[str] = ""
    hostile: ClassVar[re.Pattern[str]] = _CONTROLS
    separator: ClassVar[str] = "."
    longest: ClassVar[int] = 1 << 15

    format: str = option(
        "json",
        "What a point is: a JSON object of name, labels, kind, unit, value and time, a Graphite line (labels as tags), a line of "
        "InfluxDB's (labels as tags, the field `value`), or only its value, or that and its time where the address has the name; "
        "floats have 12 significant digits",
        choices=tuple(BODIES),
    )
    messages: str = sharing("batch")
    message_size: Size = option("512KiB", "The most bytes of a message that points share", minimum=1024)

    def check(self) -> list[str]:
        """The address has no other fields than there are, and a message that points share has no name."""
        wrong = super().check()
        for name in self._templates():
            wrong += [
                f"{name}: expected $name or $host, not ${field}"
                for field in _FIELDS.findall(getattr(self, name))
                if field not in ("name", "host")
            ]
        if self.named and self.messages != "point":
            wrong.append(f'{self.route}: $name needs messages = "point"')
        if self.format in NAMELESS and not self.named:
            wrong.append(f'format: "{self.format}" says no name; {self.route} needs $name')
        if self.format in NAMELESS and (self.naming or self.default_naming) not in ("path", "diamond"):
            wrong.append(f'format: "{self.format}" says no labels; use the naming "path"')
        return wrong

    def _templates(self) -> tuple[str, ...]:
        """The options that may have fields."""
        return (self.route,)

    @property
    def named(self) -> bool:
        """Whether each point has an address of its own."""
        return "name" in _FIELDS.findall(getattr(self, self.route))

    @property
    def dialect(self) -> str:
        """The type, the format, and whether lines begin with an address."""
        return f"{type(self).name}+{self.format}{'+name' if self.named else ''}"

    def host(self) -> str:
        """This host's name as one part of an address."""
        known = self.spelling.host or self.spelling.labels.get("host") if self.spelling is not None else ""
        return self.hostile.sub("_", (known or os.uname().nodename).replace(".", "_"))

    def fill(self, template: str, name: str = "") -> str:
        """A template with its fields filled in."""
        fields = {"host": self.host(), "name": name.replace(".", self.separator)}
        return _CONTROLS.sub("_", _FIELDS.sub(lambda field: fields.get(field[1], field[0]), template))

    def destination(self) -> str:
        """Where messages go that have no address of their own."""
        return self.fill(getattr(self, self.route))

    def fit(self, point: Point) -> Point | None:
        """The point as its format can write it, its name as an address can have it; what is too long there ends in a hash."""
        name, labels = point.name, point.labels
        if unfit := _UNFIT.get(self.format):
            name = unfit.sub("_", name)
            labels = tuple([(unfit.sub("_", label), unfit.sub("_", value)) for label, value in labels if value])
        if self.named:
            short = self._short(self.hostile.sub("_", name))
            if not short:
                return None
            name = short
        return point if (name, labels) == (point.name, point.labels) else point.named(name, labels)

    def _short(self, name: str) -> str:
        """A name that leaves room for the rest of an address; "" where there is none."""
        raw = name.encode(errors="replace")
        room = self.longest - len(self.destination().encode())
        if len(raw) <= room:
            return name
        if room < 2 * HASH:
            return ""
        from hashlib import sha256

        return f"{raw[: room - HASH - 1].decode(errors='ignore')}_{sha256(raw).hexdigest()[:HASH]}"

    def line(self, point: Point) -> str:
        """The point's body, and its address before it where it has one."""
        body = BODIES[self.format](point)
        return f"{self.fill(getattr(self, self.route), point.name)}{TAB}{body}\n" if self.named else f"{body}\n"

    def stamp(self, time: float) -> str:
        """Seconds since 1970, with milliseconds where it has some; nanoseconds in a line of InfluxDB's."""
        if self.format == "influx":
            return f"{round(time * 1000)}000000"
        return str(int(time)) if self.format != "json" or time == int(time) else f"{time:.3f}"

    def split(self, payload: bytes) -> Iterator[Message]:
        """The payload's messages."""
        if self.named:
            for line in payload.split(b"\n")[:-1]:
                address, _, body = line.partition(b"\t")
                yield Message(address.decode(), body, 1, line + b"\n")
        elif self.messages == "point":
            for line in payload.split(b"\n")[:-1]:
                yield Message("", line, 1, line + b"\n")
        else:
            start = 0
            while start < len(payload):
                end = start + self.message_size + 1
                if end < len(payload):
                    end = (payload.rfind(b"\n", start, end) + 1) or (payload.find(b"\n", end) + 1)
                lines = payload[start:end]
                yield Message("", lines[:-1], lines.count(b"\n"), lines)
                start += len(lines)

    def refuse(self, refused: Iterable[Message], words: str) -> None:
        """Say which messages the broker will never take; the others arrived."""
        lines = [message.lines for message in refused]
        if lines:
            raise Rejected(words, sum(line.count(b"\n") for line in lines), b"".join(lines))
