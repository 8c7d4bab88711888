"""Whether a web site answers, how, and how fast: one GET of `URL`, redirects followed, certificates verified.

Diamond's name carries the status, `response_time.200`, and its value is in whole milliseconds; a site that is not reached at all
gives nothing there. In the other spellings `up` is 1 for a status of 2xx and 0 for any other, for no answer and for a certificate
that is not good. Prometheus names are those of blackbox_exporter, with the address in the label `target`.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Duration, Gauge, NoData, Raw, Sample, option
from adamas.collectors._web import Page, Pages, check_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

TARGET = {"url": "target"}
PATH = {"drop": ("url",)}


class WebsiteMonitor(Collector):
    """Whether a web site answers, with what status, and how long it takes."""

    name = "websitemonitor"
    diamond = "WebsiteMonitorCollector"
    remote = True
    needs = ("the server of `URL`",)

    URL: str = option("", "The address of the site", required=True)
    timeout: Duration = option("5s", "The time limit, redirects and all", minimum=0.01)

    up = Gauge(
        "{url}.up",
        "Whether the site answers with a status of 2xx",
        path=Raw("up", **PATH),
        diamond=None,
        prometheus=Raw("probe_success", rename=TARGET),
    )
    status = Gauge(
        "{url}.status",
        "The status of the answer; 0 for none",
        path=Raw("status", **PATH),
        diamond=None,
        prometheus=Raw("probe_http_status_code", rename=TARGET),
    )
    duration = Gauge(
        "{url}.duration",
        "From the request to the answer's last byte, or until it failed",
        unit="s",
        path=Raw("duration", **PATH),
        diamond=None,
        prometheus=Raw("probe_duration_seconds", rename=TARGET),
    )
    size = Gauge(
        "{url}.size",
        "Bytes of the page",
        unit="By",
        path=Raw("size", **PATH),
        diamond=None,
        prometheus=Raw("probe_http_uncompressed_body_length", rename=TARGET),
    )
    redirects = Gauge(
        "{url}.redirects",
        "Redirects that were followed",
        path=Raw("redirects", **PATH),
        diamond=None,
        prometheus=Raw("probe_http_redirects", rename=TARGET),
    )
    response_time = Gauge(
        "response_time.{status}",
        "Milliseconds until the answer, by its status, as Diamond gave it",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        if self.URL:
            check_url(self.URL)
        self._pages = Pages(self.instance, self.timeout)

    def collect(self) -> Iterator[Sample]:
        if not self.URL:
            raise NoData("`URL` names no site")
        begin = self.host.clock()
        page = self._pages.fetch(self.host, [self.URL], {})[self.URL]
        if not isinstance(page, Page):
            yield self.up(0, self.URL)
            yield self.status(0, self.URL)
            yield self.duration(self.host.clock() - begin, self.URL)
            self._pages.tell({self.URL: str(page) or repr(page)})
            return
        status = page.answer.status
        yield self.up(int(200 <= status < 300), self.URL)
        yield self.status(status, self.URL)
        yield self.duration(page.seconds, self.URL)
        yield self.size(len(page.answer.body), self.URL)
        yield self.redirects(page.redirects, self.URL)
        yield self.response_time(round(page.seconds * 1000), status)
        self._pages.tell({} if 200 <= status < 300 else {self.URL: f"the answer has the status {status}"})
