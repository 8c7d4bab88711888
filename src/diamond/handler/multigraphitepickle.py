"""The same pickled batches to several Graphite servers."""

from __future__ import annotations

from diamond.handler.graphitepickle import GraphitePickleHandler
from diamond.handler.multigraphite import MultiGraphiteHandler


class MultiGraphitePickleHandler(MultiGraphiteHandler):
    """One GraphitePickleHandler for each of `host`."""

    kind = GraphitePickleHandler
    port = 2004
