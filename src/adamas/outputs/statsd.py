"""statsd's lines over UDP: `name:value|g`, `name:increase|c`.

statsd knows no times: it files a value under the moment when it comes. It keeps the last value of a gauge, and sums up the
increases of a count until its next flush. A gauge with a sign is a change there, so a negative one is set to 0 first, in the
same datagram.

Nobody confirms a datagram: what a slow or absent receiver misses is counted as delivered, unless the machine itself says that
nobody listens. Then the whole send is repeated, and a count of it may be added twice. (`statsd_tcp` has its lines confirmed.)

Source: https://github.com/statsd/statsd/blob/master/docs/metric_types.md. Tested against statsd 0.9.0.
"""

from __future__ import annotations

from adamas import option
from adamas.outputs._statsd import StatsdLines
from adamas.transport.datagram import Datagram

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


class Statsd(StatsdLines, Datagram):
    """Sends gauges as gauges and growing totals as counts.

    Names hold ASCII letters, digits and `_.-`; anything else becomes `_`, because statsd strips what it does not take, and
    names would meet there. In a naming with labels, those go as tags, which statsd turns into Graphite's (since 0.9). Floats
    have 12 significant digits.
    """

    name = "statsd"
    port = 8125

    address: str = option("127.0.0.1:8125", "Where statsd listens: host:port, or unix:/path of a datagram socket")

    def packets(self, payload: bytes) -> Iterator[bytes]:
        """Whole lines, as many as fit; a negative gauge's two stay together."""
        start = 0
        while start < len(payload):
            end = start + self.packet
            if end >= len(payload):
                end = len(payload)
            else:
                cut = payload.rfind(b"\n", start, end)
                end = payload.index(b"\n", end) + 1 if cut < 0 else cut + 1
                following = payload[end : payload.find(b"\n", end)]
                if b":-" in following and b"|g" in following:
                    previous = payload.rfind(b"\n", start, end - 1) + 1
                    end = previous if previous > start else end + len(following) + 1
            yield payload[start:end]
            start = end
