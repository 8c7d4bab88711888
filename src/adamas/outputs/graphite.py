"""Graphite's plain text protocol over TCP or TLS: `name value time` lines, to carbon or whatever speaks it.

Storing a value twice changes nothing there, so that what was not confirmed can be sent again. carbon answers nothing: arrival
is known from the connection's end, which is asked for every few sends, and is confirmed when all of it was read.

Names are dotted (`path`, `diamond`); with `tags` they are those of `prometheus` or `otel`, with the labels as tags. A node of a
name that no file can have (past 251 bytes) is cut, with a check sum at its end. Times are whole seconds; floats have 12
significant digits, or the decimals that the metric declares, and integers all of theirs; carbon keeps 64-bit floats.

With several addresses `routing` says who gets what. `consistent` is carbon's own consistent hashing: there is an output for
each node (`graphite@host:port:instance` in the status) with a queue and a spool of its own, and a series goes where a
carbon-relay with the same list of DESTINATIONS would send it. A node that is taken out of the list leaves its spool behind.

Tested against carbon 1.1.7 and, with tags, victoria-metrics 1.79.5. TLS is tested against carbon behind a TLS proxy.
Hosted Graphite (`key`) is not tested against the real service.

Source: https://graphite.readthedocs.io/en/latest/feeding-carbon.html, https://graphite.readthedocs.io/en/latest/tags.html.
"""

from __future__ import annotations

from adamas import option
from adamas.outputs._carbon import Keyed, Nodes


class Graphite(Keyed, Nodes):
    """Sends every point as a line over TCP and has its arrival confirmed."""

    name = "graphite"
    diamond = "GraphiteHandler"
    default_naming = "path"
    port = 2003

    address: list[str] = option(["127.0.0.1:2003"], "Where carbon listens: host:port, or several of them (see `routing`)")
