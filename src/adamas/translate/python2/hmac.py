"""hmac of str."""

from __future__ import annotations

import hmac
from typing import Any

from adamas.translate.python2.hashlib import Hash
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw

_HASHES = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")


def new(key: Any, msg: Any = None, digestmod: Any = None) -> Hash:
    """A keyed hash, with MD5 unless another is named."""
    name = digestmod if isinstance(digestmod, str) else getattr(digestmod, "__name__", "md5")
    return Hash(hmac.new(raw(key), raw(msg), name if name in _HASHES else digestmod))


stand_in(__name__, hmac)
