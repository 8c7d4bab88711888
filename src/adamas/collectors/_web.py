"""Fetching pages as a browser would, redirects and all, several at once; what the collectors of web sites share."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from adamas.collectors._together import Together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from adamas.answer import Answer
    from adamas.host import Host

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
FOR_ANYONE = ("accept", "user-agent")
"""Headers that another server may see, too; others can hold a password."""


class Page:
    """An address's last answer, after how many redirects it came, and how many seconds all of it took."""

    __slots__ = ("answer", "redirects", "seconds")

    def __init__(self, answer: Answer, redirects: int, seconds: float) -> None:
        self.answer = answer
        self.redirects = redirects
        self.seconds = seconds


class Pages:
    """Fetches a collector's pages."""

    def __init__(self, who: str, timeout: float) -> None:
        self._timeout = timeout
        self._together = Together(who, timeout)
        self.tell = self._together.tell

    def fetch(self, host: Host, urls: Sequence[str], headers: Mapping[str, str]) -> dict[str, Page | Exception]:
        """The page of each address, or what went wrong."""
        return self._together.ask(urls, lambda url: self._follow(host, url, headers))

    def _follow(self, host: Host, url: str, headers: Mapping[str, str]) -> Page:
        begin = host.clock()
        for redirects in range(MOST_REDIRECTS + 1):
            left = self._timeout - (host.clock() - begin)
            if left <= 0:
                break
            answer = host.http(url, headers=headers, timeout=left)
            onwards = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not onwards:
                return Page(answer, redirects, host.clock() - begin)
            before, url = url, urljoin(url, onwards)
            if urlsplit(url).netloc != urlsplit(before).netloc:
                headers = {name: value for name, value in headers.items() if name.lower() in FOR_ANYONE}
            if not url.startswith(("http://", "https://")):
                raise ValueError(f"it redirects to {url[:200]!r}")
        else:
            raise ValueError(f"it redirects more than {MOST_REDIRECTS} times")
        raise TimeoutError(f"no answer within {self._timeout:g} s")


def with_headers(headers: Mapping[str, str], **more: str) -> dict[str, str]:
    """Headers with those that are set; names are the same in upper and lower case."""
    extra = {name.replace("_", "-"): value for name, value in more.items() if value}
    given = {name.lower() for name in extra}
    return {**{k: v for k, v in headers.items() if k.lower() not in given}, **extra}


def check_url(url: str) -> None:
    """ValueError where it is none that can be fetched."""
    from adamas.http import connection

    connection(url, 1.0).close()
