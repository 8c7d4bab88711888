"""Values for Zabbix' trapper items, as zabbix_sender sends them, to a server or a proxy.

A request is a header (`ZBXD`, flags, lengths) and JSON, compressed from Zabbix 4.0 on; the server answers how many values it
took. Items must be there: of type "Zabbix trapper", under a host of this name. Values of others are refused and counted; the
server does not say which those were, so the whole request is kept as refused. What is older than an item's history it takes,
and forgets.

Source: https://www.zabbix.com/documentation/6.0/en/manual/appendix/protocols/zabbix_sender and header_datalen beside it; keys:
https://www.zabbix.com/documentation/6.0/en/manual/config/items/item/key. Tested against Zabbix 6.0.14.
"""

from __future__ import annotations

import json
import re
import zlib
from struct import Struct

from adamas import Rejected, Retry, option
from adamas.lines import TIME, VALUE
from adamas.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Batch
    from adamas.naming import Point

_HEADER = Struct("<4sBII")
_NOT_KEY = re.compile(r"[^0-9A-Za-z_.\-]+")
_NOT_PARAMETER = re.compile(r"[\x00-\x1f\x7f\\]")
_PLAIN = re.compile(r"[\w.\-/:]+")
_KEY = re.compile(r"[0-9A-Za-z_.\-]*\{name\}[0-9A-Za-z_.\-]*|[0-9A-Za-z_.\-]+\[[^\[\]{}]*\{name\}[^\[\]{}]*\]")
_INFO = re.compile(r"processed: (\d+); failed: (\d+); total: (\d+)")
COMPRESSED = 2
LONGEST = 2048
"""The most characters of a key."""
MOST_ANSWER = 1 << 20


class Zabbix(Stream):
    """Sends each point to the trapper item that has its name as key.

    Prefix and host are taken off the name, and what a key cannot have becomes `_`. In a naming with labels their values are the
    key's parameters, the host's left out: `node_cpu_seconds_total[0,user]`. Floats have 12 significant digits. TLS is by
    certificate; pre-shared keys are not there.
    """

    name = "zabbix"
    default_naming = "path"
    confirms_later = False
    port = 10051

    address: list[str] = option(["127.0.0.1:10051"], "Where the server or proxy listens: host:port, or several (see `routing`)")
    host: str = option("", "The host in Zabbix that has the items (default: this agent's name)")
    key: str = option("{name}", 'What an item\'s key looks like, such as "adamas.{name}" or "adamas[{name}]"')
    compression: str = option("zlib", "How requests are compressed (Zabbix before 4.0: not at all)", choices=("none", "zlib"))

    def check(self) -> list[str]:
        """The key must be one."""
        wrong = super().check()
        if not _KEY.fullmatch(self.key):
            wrong.append('key: expected {name} once in a key such as "adamas.{name}" or "adamas[{name}]"')
        elif "[" in self.key and self.naming in ("prometheus", "otel"):
            wrong.append("key: labels are its parameters in this naming; expected no brackets")
        return wrong

    def fit(self, point: Point) -> Point | None:
        """The key; None where that is longer than Zabbix takes."""
        assert self.spelling is not None
        front = self.spelling.prefix
        name = point.name.removeprefix(front + ".") if front else point.name
        key = self.key.replace("{name}", _NOT_KEY.sub("_", name))
        parameters = [_parameter(value) for label, value in point.labels if label not in ("host", "host.name")]
        if parameters:
            key += f"[{','.join(parameters)}]"
        return point.named(key, ()) if len(key) <= LONGEST else None

    def line(self, point: Point) -> str:
        """The object of one value; `stamp` closes it."""
        assert self.spelling is not None
        labels = self.spelling.labels
        host = self.host or self.spelling.host or labels.get("host") or labels.get("host.name") or "localhost"
        named = json.dumps({"host": host, "key": point.name}, ensure_ascii=False)[:-1]
        return f'{named}, "value": "{VALUE}", "clock": {TIME}}},\n'

    def stamp(self, time: float) -> str:
        """Seconds and nanoseconds: where there are none, the server makes some up."""
        whole = int(time)
        return f'{whole}, "ns": {min(round((time - whole) * 1e9), 999_999_999)}'

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """A whole request, header and all."""
        data = b'{"request": "sender data", "data": [\n' + self.lines.encode(batches)[:-2] + b"\n]}"
        if self.compression == "none":
            return _HEADER.pack(b"ZBXD", 1, len(data), 0) + data
        packed = zlib.compress(data, 1)
        return _HEADER.pack(b"ZBXD", 1 | COMPRESSED, len(packed), len(data)) + packed

    def send(self, payload: bytes) -> None:
        """One request over a connection of its own; Rejected for the values whose items are not there."""
        assert self.socket is not None
        self.socket.sendall(payload)
        answer = self._answer()
        self.close()  # the server does so after each request
        match = _INFO.search(str(answer.get("info", "")))
        if answer.get("response") != "success" or match is None:
            raise Retry(f"Zabbix answered {json.dumps(answer)[:300]}")
        failed, total = int(match[2]), int(match[3])
        if failed:
            words = f"{failed} of {total} values have no trapper item of their key that takes them from here"
            raise Rejected(words, failed, _unpacked(payload))

    def _answer(self) -> dict[str, object]:
        _, _, size, _ = _HEADER.unpack(header := self.receive(_HEADER.size))
        if header[:4] != b"ZBXD" or size > MOST_ANSWER:
            raise Retry(f"not an answer of Zabbix': {header!r}")
        try:
            answer = json.loads(_unpacked(header + self.receive(size)))
        except (ValueError, zlib.error) as error:
            raise Retry(f"not an answer of Zabbix': {error}") from None
        if not isinstance(answer, dict):
            raise Retry(f"not an answer of Zabbix': {answer!r}")
        return answer


def _unpacked(message: bytes) -> bytes:
    """The JSON of a message."""
    data = message[_HEADER.size :]
    return zlib.decompress(data) if message[4] & COMPRESSED else data


def _parameter(value: str) -> str:
    """A key's parameter, in quotes where it takes them."""
    text = _NOT_PARAMETER.sub("_", value)
    return text if _PLAIN.fullmatch(text) else '"' + text.replace('"', '\\"') + '"'
