"""statsd's lines over TCP or TLS: `name:value|g`, `name:increase|c`, to a statsd whose server is `./servers/tcp`.

statsd files a value under the moment when it comes, keeps the last value of a gauge and sums up the increases of a count until
its next flush. Nothing is lost on the way; but what was not confirmed is sent again, and a count of it may be added twice.

Source: https://github.com/statsd/statsd/blob/master/docs/server_interface.md. Tested against statsd 0.9.0.
"""

from __future__ import annotations

from adamas import option
from adamas.outputs._statsd import StatsdLines
from adamas.transport.stream import Stream


class StatsdTcp(StatsdLines, Stream):
    """Sends gauges as gauges and growing totals as counts, and has their arrival confirmed.

    Names and numbers are those of `statsd`.
    """

    name = "statsd_tcp"
    port = 8125

    address: list[str] = option(["127.0.0.1:8125"], "Where statsd listens: host:port or unix:/path, or several (see `routing`)")
