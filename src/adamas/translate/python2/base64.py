"""base64 of str."""

from __future__ import annotations

import base64

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

stand_in(__name__, base64, "decodestring", "encodestring")
