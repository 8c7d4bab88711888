"""Names, tags and times as OpenTSDB takes them, whichever way they go there.

Source: http://opentsdb.net/docs/build/html/user_guide/writing.html.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.naming import Naming, Point

_NOT_ASCII_NAME = re.compile(r"[^A-Za-z0-9\-_./]")
MORE = "more"
"""The tag that has what is too much for tags of their own."""


def clean(text: str) -> str:
    """ASCII letters and digits, `-`, `_`, `.`, `/` and Unicode letters of 16 bits; anything else is `_`."""
    if text.isascii():
        return _NOT_ASCII_NAME.sub("_", text)
    return "".join(
        [c if (c.isalpha() and c <= "\uffff") or (c.isascii() and not _NOT_ASCII_NAME.match(c)) else "_" for c in text]
    )


def fitted(point: Point, naming: Naming, host_tag: str, most: int) -> Point | None:
    """The point with a clean name and one to `most` tags; None where it has no tag at all.

    A dotted name goes without what it has before and with the host: the host is a tag.
    """
    name = point.name
    if naming.dotted and naming.host:
        _, found, rest = f".{name}".partition(f".{naming.host}.")
        name = rest if found else name
    tags: dict[str, str] = {}
    for label, value in {host_tag: naming.host, **dict(point.labels)}.items():
        if label and value:
            tag = clean(label)
            while tag in tags:
                tag += "_"
            tags[tag] = clean(value)
    if not tags:
        return None
    if len(tags) > most:
        kept = list(tags.items())
        tags = dict(kept[: most - 1])
        tags[MORE] = "/".join([f"{tag}.{value}" for tag, value in kept[most - 1 :]])
    return point.named(clean(name), tuple(tags.items()))


def stamp(time: float) -> str:
    """Seconds since 1970, in milliseconds where they are not whole."""
    return str(int(time)) if time == int(time) else str(round(time * 1000))
