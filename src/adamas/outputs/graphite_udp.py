"""Graphite's plain text lines in UDP datagrams, to carbon's UDP listener (ENABLE_UDP_LISTENER) or whatever takes them.

At most once: nobody says whether a datagram arrived, so what the network or a busy receiver drops is lost, and called
delivered. Where the machine itself says that nobody listens, the samples wait. Use `graphite` wherever TCP is possible.

Names, values and times are those of `graphite`. Tested against carbon 1.1.7.

Source: https://graphite.readthedocs.io/en/latest/feeding-carbon.html.
"""

from __future__ import annotations

from adamas import option
from adamas.outputs._carbon import Keyed
from adamas.transport.datagram import Datagram


class GraphiteUdp(Keyed, Datagram):
    """Sends every point as a line over UDP; nothing says whether it arrived."""

    name = "graphite_udp"
    default_naming = "path"
    port = 2003

    address: str = option("127.0.0.1:2003", "Where carbon listens: host:port")
