"""binascii of str."""

from __future__ import annotations

import binascii

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import on_text

_NAMES = ["a2b_base64", "a2b_hex", "a2b_uu", "b2a_base64", "b2a_hex", "b2a_uu", "crc32", "crc_hqx", "hexlify", "unhexlify"]
for _name in _NAMES:
    globals()[_name] = on_text(getattr(binascii, _name))

stand_in(__name__, binascii)
