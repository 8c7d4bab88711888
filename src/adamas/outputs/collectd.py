"""collectd's binary network protocol over UDP, to a collectd that listens or whatever speaks it.

Each datagram is a run of parts: host, time and interval in 2^-30 seconds, plugin, type, and for each point its type instance
and its value. Values are of types.db's `gauge` (a double) or `derive` (a 64-bit integer).

Nobody confirms a datagram: what a slow or absent receiver misses is counted as delivered, unless the machine itself says that
nobody listens. Then the whole send is repeated; what comes twice, or late because it waited on disk, collectd hands to its
writers all the same, and those that keep RRD files refuse it.

Source: https://github.com/collectd/collectd/wiki/Binary-protocol. Tested against collectd 5.12.0.
"""

from __future__ import annotations

import re
import zlib
from struct import Struct

from adamas import Duration, Secret, option
from adamas.metric import COUNTER, RAW
from adamas.transport.datagram import Datagram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from adamas.metric import Batch, Value
    from adamas.naming import Point

HOST, PLUGIN, TYPE, TYPE_INSTANCE, VALUES, TIME, INTERVAL, SIGNATURE = 0x0, 0x2, 0x4, 0x5, 0x6, 0x8, 0x9, 0x200
GAUGE_CODE, DERIVE_CODE = 1, 2
LONGEST = 127
"""The most bytes of each part of a name (DATA_MAX_NAME_LEN, less its end)."""
LARGEST = 2**63
_HEAD = Struct("!HH")
_NUMBER = Struct("!HHQ")
_SIZE = Struct("!H")
_NOT_PLUGIN = re.compile(r"[\s/\x00-\x1f\x7f-]+")
_NOT_INSTANCE = re.compile(r"[\s/\x00-\x1f\x7f]+")


class Collectd(Datagram):
    """Sends every point as `host/PLUGIN/gauge-REST`: the plugin is a name's first segment; prefix and host are taken off.

    Slashes and white space become `_`, in the plugin also `-`; what is longer than collectd's 127 bytes is cut and ends in a
    check sum of the whole. Values are doubles: integers beyond 2^53 are rounded. A datagram may be signed; encryption is not
    there.
    """

    name = "collectd"
    default_naming = "path"
    port = 25826

    address: str = option("127.0.0.1:25826", "Where collectd listens: host:port, or unix:/path of a datagram socket")
    packet: int = option(1452, "The most bytes in one datagram: collectd's MaxPacketSize", minimum=1024, maximum=65507)
    host: str = option("", "The host that the values are of (default: this agent's name)")
    interval: Duration = option("10s", "The time between values, as collectd is told: it notices by it that a series ended")
    totals: str = option(
        "gauge",
        "What a growing total goes out as: a gauge, as its naming has it, or a `derive` of its whole units",
        choices=("gauge", "derive"),
    )
    username: str = option("", "The name to sign datagrams with (collectd: SecurityLevel Sign, AuthFile)")
    password: Secret = option("", "The password of that name")

    def check(self) -> list[str]:
        """collectd has no labels; a signature takes both a name and a password."""
        wrong = super().check()
        if self.naming not in ("", "path", "diamond"):
            wrong.append('naming: collectd has no labels; expected "path" or "diamond"')
        if bool(self.username) != bool(self.password):
            wrong.append("username and password: a signature takes both")
        if len(self.username.encode()) > 255:
            wrong.append("username: expected at most 255 bytes")
        return wrong

    def fit(self, point: Point) -> Point:
        """The plugin and the type instance, with a slash between them."""
        assert self.spelling is not None
        front = self.spelling.prefix
        name = point.name.removeprefix(front + ".") if front else point.name
        plugin, _, rest = name.partition(".")
        plugin = _short(_NOT_PLUGIN.sub("_", plugin) or "_")
        fitted = point.named(f"{plugin}/{_short(_NOT_INSTANCE.sub('_', rest) or 'value')}")
        if self._derived(point):
            fitted.conversion = RAW
        return fitted

    def _derived(self, point: Point) -> bool:
        return point.kind == COUNTER and self.totals == "derive"

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """Datagrams, each after its length."""
        out = []
        for batch in batches:
            if batch.missing:
                pairs = list(self.lines.plan(batch.shape).pairs(batch))
                out.append(Layout(self, [point for point, _ in pairs]).pack([value for _, value in pairs], batch.time))
                continue
            layout = batch.shape.plans.get(self)
            if layout is None:
                layout = batch.shape.plans[self] = Layout(self, self.lines.plan(batch.shape).points)
            out.append(layout.pack(self.lines.plan(batch.shape).row(batch), batch.time))
        return b"".join(out)

    def packets(self, payload: bytes) -> Iterator[bytes]:
        """The datagrams, signed where that is set."""
        start = 0
        while start < len(payload):
            (size,) = _SIZE.unpack_from(payload, start)
            start += _SIZE.size + size
            yield self._signed(payload[start - size : start])

    def _signed(self, packet: bytes) -> bytes:
        if not self.username:
            return packet
        import hmac

        name = self.username.encode()
        return (
            _HEAD.pack(SIGNATURE, 36 + len(name)) + hmac.digest(self.password.encode(), name + packet, "sha256") + name + packet
        )


class Layout:
    """The datagrams of some points, ready but for the time and the values: pieces of bytes between which those go."""

    __slots__ = ("derived", "firsts", "pieces", "struct")

    def __init__(self, output: Collectd, points: Sequence[Point]) -> None:
        assert output.spelling is not None
        host = output.host or output.spelling.host or output.spelling.labels.get("host", "") or "localhost"
        opening = _text(HOST, _short(_NOT_INSTANCE.sub("_", host))) + _HEAD.pack(TIME, _NUMBER.size)
        interval = _NUMBER.pack(INTERVAL, _NUMBER.size, int(output.interval * (1 << 30)))
        room = output.packet - (36 + len(output.username.encode()) if output.username else 0)
        self.pieces: list[bytes | float] = []
        """A piece, a value, a piece, a value: what the struct packs."""
        self.firsts: list[tuple[int, bytes, bytes]] = []
        """Where a datagram begins, and what it begins with before and after its time."""
        self.derived: list[int] = []
        """Where the integers are among the values."""
        last: tuple[str, str] = ("", "")
        used = room + 1
        for i, point in enumerate(points):
            plugin, _, instance = point.name.partition("/")
            kind, code = ("derive", DERIVE_CODE) if output._derived(point) else ("gauge", GAUGE_CODE)
            if kind == "derive":
                self.derived.append(i)
            own = _text(TYPE_INSTANCE, instance) + _HEAD.pack(VALUES, 15) + bytes((0, 1, code))
            changed = b"" if (plugin, kind) == last else _text(PLUGIN, plugin) + _text(TYPE, kind)
            if used + len(changed + own) + 8 > room:
                changed = _text(PLUGIN, plugin) + _text(TYPE, kind)
                self._end(used)
                self.firsts.append((2 * i, b"\0\0" + opening, interval + changed + own))
                piece = b"\0\0" + opening + bytes(8) + interval + changed + own
                used = len(piece) - _SIZE.size + 8
            else:
                piece = changed + own
                used += len(piece) + 8
            last = (plugin, kind)
            self.pieces += [piece, 0.0]
        self._end(used)
        whole = set(self.derived)
        self.struct = Struct("<" + "".join([f"{len(p)}s{'8s' if i in whole else 'd'}" for i, p in enumerate(self.pieces[::2])]))  # type: ignore[arg-type]

    def _end(self, used: int) -> None:
        """Write a datagram's length before it."""
        if self.firsts:
            at, before, after = self.firsts[-1]
            self.firsts[-1] = (at, _SIZE.pack(used) + before[_SIZE.size :], after)

    def pack(self, values: Sequence[Value], time: float) -> bytes:
        """The datagrams of these values, in the points' order."""
        pieces: list[bytes | float] = list(self.pieces)
        pieces[1::2] = values
        for i in self.derived:
            whole = min(max(int(values[i]), -LARGEST), LARGEST - 1)
            pieces[2 * i + 1] = whole.to_bytes(8, "big", signed=True)
        stamp = int(time * (1 << 30)).to_bytes(8, "big")
        for at, before, after in self.firsts:
            pieces[at] = before + stamp + after
        return self.struct.pack(*pieces)


def _text(kind: int, text: str) -> bytes:
    """A part that is text."""
    data = text.encode("utf-8", "backslashreplace") + b"\0"
    return _HEAD.pack(kind, _HEAD.size + len(data)) + data


def _short(text: str) -> str:
    """The text, or what collectd keeps of it with a check sum of the whole."""
    data = text.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST:
        return text
    return f"{data[: LONGEST - 9].decode(errors='ignore')}_{zlib.crc32(data):08x}"
