"""The files of the page, from the package's `static` folder: known names only, checked by the browser each time."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from adamas.web.asgi import Refused, Response, content

if TYPE_CHECKING:
    from adamas.web.asgi import Request

STATIC = Path(__file__).parent / "static"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}


def known_files() -> dict[str, Path]:
    """What may be served, by its path below /static/."""
    files = [path for path in STATIC.rglob("*") if path.suffix in TYPES and path.is_file()]
    return {path.relative_to(STATIC).as_posix(): path for path in files}


class Page:
    """The page and its files."""

    def __init__(self) -> None:
        self._files = known_files()

    async def index(self, request: Request) -> Response:
        """The page itself."""
        return self._file(request, "index.html")

    async def file(self, request: Request) -> Response:
        """One of its files."""
        return self._file(request, request.path.removeprefix("/static/"))

    def _file(self, request: Request, name: str) -> Response:
        path = self._files.get(name)
        if path is None:
            raise Refused(404, "there is no such file")
        about = path.stat()
        tag = f'"{about.st_mtime_ns:x}-{about.st_size:x}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(304, b"", headers)
        return content(request, path.read_bytes(), TYPES[path.suffix], headers)
