"""base64 of str."""

from __future__ import annotations

import base64
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import on_text

_NAMES = [
    "b16decode",
    "b16encode",
    "b32decode",
    "b32encode",
    "b64decode",
    "b64encode",
    "standard_b64decode",
    "standard_b64encode",
    "urlsafe_b64decode",
    "urlsafe_b64encode",
]
for _name in _NAMES:
    globals()[_name] = on_text(getattr(base64, _name))
encodestring = on_text(base64.encodebytes)
decodestring = on_text(base64.decodebytes)


def _refusing_as_before(function: Any) -> Any:
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except ValueError as error:
            raise TypeError(str(error)) from None

    return call


for _name in ("b16decode", "b32decode", "b64decode", "standard_b64decode", "urlsafe_b64decode"):
    globals()[_name] = _refusing_as_before(globals()[_name])

stand_in(__name__, base64, "decodestring", "encodestring")
