"""What the web server sees of the agent. The agent implements it; every method may be called from the server's threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.exposition import Exposition
    from adamas.metric import Batch


class History(Protocol):
    """What the agent keeps of the past, by names in the path spelling without prefix."""

    def names(self, match: str = "", limit: int = 1000) -> list[dict[str, Any]]:
        """The series that it has: name, collector, unit, kind, help."""
        ...

    def buckets(self, name: str, start: float, end: float, points: int) -> Sequence[tuple[float, float, float, float]]:
        """(time, least, mean, most) of at most so many parts of a range; single samples where there are fewer."""
        ...

    def status(self) -> dict[str, Any]:
        """How it is: size, series, the oldest sample, what is wrong."""
        ...


class View(Protocol):
    """The agent, to look at."""

    def status(self) -> dict[str, Any]:
        """The agent, its collectors and outputs, as the status page shows them."""
        ...

    def latest(self) -> list[Batch]:
        """The last batch of every collector."""
        ...

    def prometheus(self) -> Exposition:
        """What renders /metrics."""
        ...

    def history(self) -> History | None:
        """The past; None where it is off."""
        ...
