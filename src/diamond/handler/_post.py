"""Posting what several handlers post: a body over HTTP, with a limit on the time, and what was wrong as an OSError."""

from __future__ import annotations

import base64
import urllib.error
import urllib.request
from collections.abc import Mapping


def post(url: str, body: bytes, headers: Mapping[str, str], timeout: float) -> None:
    """POST it. Raises OSError where the server cannot be reached or is not pleased."""
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            answer.read()
    except urllib.error.HTTPError as error:
        with error:
            words = error.read(500).decode("utf-8", "replace").strip()
        raise ConnectionError(f"{url} answered {error.code} {error.reason}: {words}") from None


def basic(user: str, password: str) -> dict[str, str]:
    """The header of basic authentication; none without a user."""
    if not user:
        return {}
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}
