"""Series of names that are only known at run time, each value with its own decimals; what several collectors share."""

from __future__ import annotations

from adamas import Gauge, Raw
from adamas.metric import SURPLUS, UNTYPED
from adamas.naming import clean_diamond, clean_node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas import Collector
    from adamas.metric import Series


class Named:
    """The series of a collector's dotted names; `lead` is what Diamond has before each.

    A name may come with other decimals from run to run: that is another `Series`, with the same key.
    """

    def __init__(self, collector: Collector, help: str, lead: str = "") -> None:
        self._collector = collector
        self._help = help
        self._lead = lead
        self._known: dict[tuple[str, int], Series] = {}

    def series(self, name: str, decimals: int = 0) -> Series:
        """The series of a name whose value has so many decimals in Diamond's spelling."""
        known = self._known.get((name, decimals))
        if known is None:
            known = self._make(name, decimals)
            if known is not SURPLUS:
                self._known[name, decimals] = known
        return known

    def keep(self, kept: Iterable[Any]) -> None:
        """Forget the others, as `Collector.sweep` does."""
        left = set(kept)
        self._known = {key: series for key, series in self._known.items() if series in left}

    def _make(self, name: str, decimals: int) -> Series:
        collector = self._collector
        nodes = _literal(".".join([clean_node(node) for node in name.split(".")]))
        declared = Gauge(
            nodes,
            self._help,
            diamond=Raw(_literal(self._lead + clean_diamond(name)), precision=decimals),
            prometheus=Raw(kind=UNTYPED),
            otel=Raw(f"{collector.name}.{nodes}"),
        )
        declared.name = name
        collector.catalog.series.pop((name, ()), None)
        return collector.catalog.resolve(declared, ())


def _literal(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
