"""hashlib of str: digests are a str."""

from __future__ import annotations

import hashlib
from typing import Any

from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text


class Hash:
    """A hash of strings."""

    def __init__(self, hash: Any) -> None:
        self._hash = hash

    def update(self, data: Any) -> None:
        self._hash.update(raw(data))

    def digest(self) -> Any:
        return text(self._hash.digest())

    def copy(self) -> Hash:
        return Hash(self._hash.copy())

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hash, name)


def new(name: str, data: Any = b"") -> Hash:
    """A hash by its name."""
    return Hash(hashlib.new(name, raw(data)))


def md5(data: Any = b"") -> Hash:
    """MD5; nobody's security hangs on it."""
    return Hash(hashlib.md5(raw(data), usedforsecurity=False))


def sha1(data: Any = b"") -> Hash:
    """SHA-1."""
    return Hash(hashlib.sha1(raw(data), usedforsecurity=False))


def sha224(data: Any = b"") -> Hash:
    """SHA-224."""
    return new("sha224", data)


def sha256(data: Any = b"") -> Hash:
    """SHA-256."""
    return new("sha256", data)


def sha384(data: Any = b"") -> Hash:
    """SHA-384."""
    return new("sha384", data)


def sha512(data: Any = b"") -> Hash:
    """SHA-512."""
    return new("sha512", data)


stand_in(__name__, hashlib)
