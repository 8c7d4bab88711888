"""How long pages take to arrive whole, and how large they are: one GET each, redirects followed, certificates verified.

All addresses are asked side by side, each in a thread of its own and within `timeout`; a slow one costs the others nothing. Where
a page redirects to another server, that one sees none of `headers` but User-Agent and Accept.

As in Diamond a page that is not answered with 2xx gives no time and no size; `up` and `status` tell of those, in the other
spellings. In dotted names an address is written as Diamond did: `http://www.site.com/a` is `http__www_site_com_a`.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Duration, Gauge, NoData, Raw, Sample, option
from adamas.collectors._web import Page, Pages, check_url, with_headers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

DOTTED = str.maketrans({"/": "_", ".": "_", "\\": "", ":": ""})


def dotted(url: str) -> str:
    """An address as one node of a dotted name."""
    return url.translate(DOTTED) or "root"


class Http(Collector):
    """The time and the size of web pages."""

    name = "http"
    diamond = "HttpCollector"
    remote = True
    needs = ("the servers of `req_url`",)

    req_url: list[str] = option(["http://localhost/"], "The addresses of the pages")
    req_vhost: str = option("", "The header Host of every request, where the addresses do not say it")
    headers: dict[str, str] = option({"User-Agent": "Diamond HTTP collector"}, "Headers of every request")
    timeout: Duration = option("5s", "The time limit of each page, redirects and all", minimum=0.01)

    time = Gauge(
        "{url}.time",
        "From the request to the page's last byte, its redirects too (microseconds in Diamond's spelling)",
        unit="s",
        path=Raw(values={"url": dotted}),
        diamond=Raw(values={"url": dotted}, scale=1_000_000),
    )
    size = Gauge(
        "{url}.size",
        "Bytes of the page",
        unit="By",
        path=Raw(values={"url": dotted}),
        diamond=Raw(values={"url": dotted}),
    )
    status = Gauge("{url}.status", "The status of the answer", path=Raw(values={"url": dotted}), diamond=None)
    up = Gauge("{url}.up", "Whether the page came with a status of 2xx", path=Raw(values={"url": dotted}), diamond=None)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        for url in self.req_url:
            check_url(url)
        self._headers = with_headers(self.headers, Host=self.req_vhost)
        self._pages = Pages(self.instance, self.timeout)

    def collect(self) -> Iterator[Sample]:
        if not self.req_url:
            raise NoData("`req_url` names no page")
        troubles = {}
        for url, page in self._pages.fetch(self.host, self.req_url, self._headers).items():
            if not isinstance(page, Page):
                yield self.up(0, url)
                troubles[url] = str(page) or repr(page)
                continue
            good = 200 <= page.answer.status < 300
            if good:
                yield self.time(page.seconds, url)
                yield self.size(len(page.answer.body), url)
            else:
                troubles[url] = f"the answer has the status {page.answer.status}"
            yield self.status(page.answer.status, url)
            yield self.up(int(good), url)
        self._pages.tell(troubles)
