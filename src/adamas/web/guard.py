"""Who may ask, and for what: every request passes here before it reaches a route, every answer on its way back.

- The Host header must name this machine. A page on the internet can make a browser send requests to loopback under a
  name of its own (DNS rebinding), but it cannot choose the Host header.
- Where a token is set, each request must show it: `Authorization: Bearer`, or the cookie that the page gets for it.
  The cookie holds a digest of the token, since cookies of a host go to all of its ports.
- No answer allows another origin anything: no CORS, a strict content security policy, no framing, no sniffing.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
from typing import TYPE_CHECKING

from adamas import log
from adamas.web.address import LOOPBACK, WILDCARD, is_address
from adamas.web.asgi import MOST_BODY, Refused, Request, Response, refusal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from adamas.web.asgi import Receive, Scope, Send

RUNNING = 32
MOST_ADDRESS = 8192
MOST_HEADERS = 16384
COOKIE = "adamas"
METHODS = ("GET", "HEAD", "POST")
OPEN = "/static/"
"""What anybody may load: the files of the page, which hold nothing of this machine."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
]


def cookie_value(token: str) -> str:
    """What the page's cookie holds: it proves the token and does not show it."""
    return hmac.new(token.encode(), b"adamas page", hashlib.sha256).hexdigest()


class Guard:
    """The routes behind their rules, as an ASGI application. `names` are further names by which this machine may be asked."""

    def __init__(
        self, route: Callable[[Request], Awaitable[Response]], host: str, token: str, login: str, names: Iterable[str] = ()
    ) -> None:
        self._route = route
        self._token = token.encode()
        self._cookie = cookie_value(token) if token else ""
        self._login = login
        self._any_address = host in WILDCARD
        own = socket.gethostname().lower()
        self._hosts = {*LOOPBACK, host.lower(), own, own.partition(".")[0], *[n.lower() for n in names]} - {""}
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        self._running += 1
        try:
            answer = await self._answer(scope, receive)
        except Refused as error:
            answer = refusal(error)
        except Exception as error:
            log.error("web", f"{scope['path']}: {type(error).__name__}: {error}")
            answer = refusal(Refused(500, f"the agent failed to answer ({type(error).__name__}); its log says why"))
        finally:
            self._running -= 1
        await answer.send(send, HEADERS)

    async def _answer(self, scope: Scope, receive: Receive) -> Response:
        if self._running > RUNNING:
            raise Refused(503, f"more than {RUNNING} requests at once", {"retry-after": "1"})
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            raise Refused(431, f"headers of at most {MOST_HEADERS} bytes")
        request = Request(scope, receive)
        if not self._known_host(request.headers.get("host", "")):
            raise Refused(403, "this machine has another name: ask by its address or its host name")
        if request.method not in METHODS:
            raise Refused(405, "GET, HEAD or POST", {"allow": ", ".join(METHODS)})
        if request.size > MOST_ADDRESS:
            raise Refused(414, f"an address of at most {MOST_ADDRESS} bytes")
        length = request.headers.get("content-length", "0")
        if not length.isdigit() or int(length) > MOST_BODY:
            raise Refused(413, f"a body of at most {MOST_BODY} bytes")
        if self._token and not request.path.startswith(OPEN) and not self._shows_token(request):
            refused = await self._ask(request)
            if refused is not None:
                return refused
        answer = await self._route(request)
        if request.cookie:
            answer.headers["set-cookie"] = request.cookie
        return answer

    def _known_host(self, value: str) -> bool:
        host = value.lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return host.rstrip(".") in self._hosts or (self._any_address and is_address(host))

    def _shows_token(self, request: Request) -> bool:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        if kind.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        for part in request.headers.get("cookie", "").split(";"):
            name, _, value = part.strip().partition("=")
            if name == COOKIE and hmac.compare_digest(value.encode("latin-1"), self._cookie.encode()):
                return True
        return False

    async def _ask(self, request: Request) -> Response | None:
        """The token comes with the request (in the form of the page, or once in its address), or is asked for."""
        if request.path != "/":
            raise Refused(401, "a token, as Authorization: Bearer", {"www-authenticate": 'Bearer realm="adamas"'})
        await request.read_form()
        given = request.get("token").encode()
        if hmac.compare_digest(given, self._token):
            request.cookie = f"{COOKIE}={self._cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
            if request.method == "POST":
                return Response(303, b"", {"location": "/", "set-cookie": request.cookie})
            # The page itself, not a redirect: a strict cookie does not travel along one that another site started.
            return None
        if given:
            log.warning("web", f"a wrong token from {request.client}")
        page = self._login.replace("{said}", "That token is not right." if given else "")
        return Response(401, page.encode(), {"content-type": "text/html; charset=utf-8", "cache-control": "no-store"})
