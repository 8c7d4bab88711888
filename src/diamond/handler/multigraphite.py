"""The same lines to several Graphite servers."""

from __future__ import annotations

from typing import Any, ClassVar

from diamond.handler.graphite import DEFAULTS, GraphiteHandler
from diamond.handler.Handler import Handler
from diamond.metric import Metric


class MultiGraphiteHandler(Handler):
    """One GraphiteHandler for each of `host`."""

    kind: ClassVar[type[GraphiteHandler]] = GraphiteHandler
    port: ClassVar[int] = 2003

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        hosts = self.config["host"]
        self.handlers = [self.kind({**self.config, "host": host}) for host in ([hosts] if isinstance(hosts, str) else hosts)]

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults: those of one server, and all hosts."""
        return {**super().get_default_config(), **DEFAULTS, "port": self.port, "host": ["localhost"]}

    def process(self, metric: Metric) -> None:
        """Give a metric to every server. What one of them raises is raised when all have it."""
        self._each("process", metric)

    def flush(self) -> None:
        """Have every server's metrics sent."""
        self._each("flush")

    def _each(self, what: str, *arguments: Any) -> None:
        error: Exception | None = None
        for handler in self.handlers:
            try:
                getattr(handler, what)(*arguments)
            except Exception as raised:
                error = raised
        if error is not None:
            raise error
