"""The numbers of a JSON document that a server gives over HTTP, each under its place in the document.

Objects within objects are nodes of the name, items of a list their positions: `{"pool": [{"free": 3}]}` is `pool.0.free`.
Numbers, true and false (1 and 0) and texts that are numbers are taken; other texts and null are not. What they mean is not in
the document: they are levels, and `untyped` for Prometheus. Diamond's names have an empty node before the first:
`httpjson..pool.0.free`.

Several documents are several tables of type `httpjson`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from adamas import Collector, Duration, Sample, option
from adamas.collectors._named import Named
from adamas.collectors._web import Pages, check_url, with_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas.host import Host
    from adamas.metric import Series, Value

DEEPEST = 32


class HttpJson(Collector):
    """Every number of a JSON document."""

    name = "httpjson"
    diamond = "HTTPJSONCollector"
    remote = True
    needs = ("the server of `url`",)

    url: str = option("http://localhost/stat", "The address of the document")
    headers: dict[str, str] = option({"User-Agent": "Diamond HTTP collector"}, "Headers of the request")
    timeout: Duration = option("5s", "The time limit", minimum=0.01)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        check_url(self.url)
        self._headers = with_headers({"Content-Type": "application/json", **self.headers})
        self._pages = Pages(self.instance, self.timeout)
        self._named = Named(self, "A number of the document", lead=".")
        self._names: list[str] = []
        self._series: tuple[Series, ...] = ()

    def collect(self) -> Iterator[Sample]:
        page = self._pages.fetch(self.host, [self.url], self._headers)[self.url]
        if isinstance(page, Exception):
            raise page
        if not 200 <= page.answer.status < 300:
            raise ValueError(f"{self.url} answers with the status {page.answer.status}")
        try:
            document = json.loads(page.answer.body)
        except ValueError as error:
            raise ValueError(f"{self.url} gives no JSON: {error}") from None
        except RecursionError:
            raise ValueError(f"{self.url} gives JSON that is too deep") from None
        if not isinstance(document, (dict, list)):
            raise ValueError(f"{self.url} gives JSON that is neither an object nor a list")
        names: list[str] = []
        values: list[Value] = []
        for name, value in flatten("", document, DEEPEST):
            names.append(name)
            values.append(value)
        if names != self._names:
            self._names, self._series = names, tuple([self._named.series(name) for name in names])
        yield self._series, values

    def sweep(self, keep: Iterable[Any]) -> None:
        """As any collector's."""
        kept = set(keep)
        super().sweep(kept)
        self._named.keep(kept)
        self._names = []


def flatten(above: str, value: Any, levels: int) -> Iterator[tuple[str, Value]]:
    """(name, number) of every number in a document, at most so many levels deep."""
    kind = value.__class__
    if kind is dict or kind is list:
        if levels:
            head = above + "." if above else ""
            for key, inner in value.items() if kind is dict else enumerate(value):
                yield from flatten(f"{head}{key}", inner, levels - 1)
    elif kind is int or kind is float:
        yield above, value
    elif kind is bool:
        yield above, int(value)
    elif kind is str:
        try:
            yield above, int(value)
        except ValueError:
            try:
                yield above, float(value)
            except ValueError:
                pass
