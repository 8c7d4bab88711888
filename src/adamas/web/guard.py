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
from urllib.parse import parse_qsl

from starlette.responses import RedirectResponse, Response

from adamas import log
from adamas.web.address import LOOPBACK, WILDCARD, is_address
from adamas.web.answer import Refused, refusal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

RUNNING = 32
MOST_ADDRESS = 8192
MOST_HEADERS = 16384
MOST_BODY = 65536
COOKIE = "adamas"
METHODS = ("GET", "HEAD", "POST")
OPEN = ("/static/",)
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
    """The application behind its rules. `names` are further names by which this machine may be asked."""

    def __init__(self, app: ASGIApp, host: str, token: str, login: str, names: Iterable[str] = ()) -> None:
        self._app = app
        self._token = token.encode()
        self._cookie = cookie_value(token).encode() if token else b""
        self._login = login
        self._any_address = host in WILDCARD
        own = socket.gethostname().lower()
        self._hosts = {*LOOPBACK, host.lower(), own, own.partition(".")[0], *[n.lower() for n in names]} - {""}
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *HEADERS]
            await send(message)

        self._running += 1
        try:
            answer = await self._check(scope, receive)
            if answer is None:
                await self._app(scope, receive, guarded)
                return
        except Refused as error:
            answer = refusal(error)
        except Exception as error:
            log.error("web", f"{scope['path']}: {type(error).__name__}: {error}")
            answer = refusal(Refused(500, f"the agent failed to answer ({type(error).__name__}); its log says why"))
        finally:
            self._running -= 1
        await answer(scope, receive, guarded)

    async def _check(self, scope: Scope, receive: Receive) -> Response | None:
        """None where the request may go on; else the answer."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name, value)
        if self._running > RUNNING:
            raise Refused(503, f"more than {RUNNING} requests at once", {"retry-after": "1"})
        if not self._known_host(headers.get(b"host", b"").decode("latin-1")):
            raise Refused(403, "this machine has another name: ask by its address or host name, or list the name in [web] hosts")
        if scope["method"] not in METHODS:
            raise Refused(405, "GET, HEAD or POST", {"allow": ", ".join(METHODS)})
        if len(scope["raw_path"]) + len(scope["query_string"]) > MOST_ADDRESS:
            raise Refused(414, f"an address of at most {MOST_ADDRESS} bytes")
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADERS:
            raise Refused(431, f"headers of at most {MOST_HEADERS} bytes")
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MOST_BODY:
            raise Refused(413, f"a body of at most {MOST_BODY} bytes")
        if not self._token or scope["path"].startswith(OPEN) or self._shows_token(headers):
            return None
        return await self._ask(scope, receive, headers)

    def _known_host(self, value: str) -> bool:
        host = value.lower()
        host = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return host.rstrip(".") in self._hosts or (self._any_address and is_address(host))

    def _shows_token(self, headers: dict[bytes, bytes]) -> bool:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() == b"bearer":
            return hmac.compare_digest(given.strip(), self._token)
        for part in headers.get(b"cookie", b"").split(b";"):
            name, _, value = part.strip().partition(b"=")
            if name == COOKIE.encode() and hmac.compare_digest(value, self._cookie):
                return True
        return False

    async def _ask(self, scope: Scope, receive: Receive, headers: dict[bytes, bytes]) -> Response | None:
        """The token comes with the request (in the form of the page, or once in its address), or is asked for."""
        if scope["path"] != "/":
            raise Refused(401, "a token, as Authorization: Bearer", {"www-authenticate": 'Bearer realm="adamas"'})
        posted = scope["method"] == "POST"
        form = parse_qsl((await read_body(receive) if posted else scope["query_string"]).decode("latin-1"))
        given = dict(form).get("token", "").encode()
        right = hmac.compare_digest(given, self._token)
        if right:
            # The page itself, not a redirect: a strict cookie does not travel along one that another site started.
            answer = RedirectResponse("/", 303) if posted else None
            cookie = f"{COOKIE}={self._cookie.decode()}; Path=/; HttpOnly; SameSite=Strict; Max-Age=31536000"
            if answer is None:
                scope["adamas.cookie"] = cookie
                return None
            answer.headers["set-cookie"] = cookie
            return answer
        if given:
            log.warning("web", f"a wrong token from {(scope.get('client') or ('?',))[0]}")
        said = "That token is not right." if given else ""
        return Response(self._login.replace("{said}", said), 401, {"cache-control": "no-store"}, "text/html")


async def read_body(receive: Receive) -> bytes:
    """All of a request's body, bounded."""
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "the request ended early")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MOST_BODY:
            raise Refused(413, f"a body of at most {MOST_BODY} bytes")
        if not message.get("more_body", False):
            return b"".join(parts)
