"""Graphite's plain text protocol over TCP or TLS: `name value time` lines, to carbon or whatever speaks it.

Storing a value twice changes nothing there, so that what was not confirmed can be sent again.

Source: https://graphite.readthedocs.io/en/latest/feeding-carbon.html.
"""

from __future__ import annotations

from adamas import option
from adamas.transport.stream import Stream


class Graphite(Stream):
    """Sends every point as a line over TCP and has its arrival confirmed."""

    name = "graphite"
    diamond = "GraphiteHandler"
    default_naming = "path"
    port = 2003

    address: list[str] = option(["127.0.0.1:2003"], "Where carbon listens: host:port, or several of them (see `routing`)")
