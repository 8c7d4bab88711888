"""What an HTTP request gives back, its body as a str and its headers with the methods of Python 2."""

from __future__ import annotations

from typing import Any

from adamas.translate.python2.file import File


class Headers:
    """The headers of an answer."""

    def __init__(self, message: Any) -> None:
        self._message = message

    def getheader(self, name: str, default: Any = None) -> Any:
        return self._message.get(name, default)

    def getheaders(self, name: str) -> list[str]:
        return self._message.get_all(name) or []

    getallmatchingheaders = getheaders

    def gettype(self) -> str:
        return str(self._message.get_content_type())

    def getmaintype(self) -> str:
        return str(self._message.get_content_maintype())

    def getsubtype(self) -> str:
        return str(self._message.get_content_subtype())

    def getencoding(self) -> str:
        return str(self._message.get("content-transfer-encoding", "7bit")).lower()

    def getparam(self, name: str) -> Any:
        return self._message.get_param(name)

    def has_key(self, name: str) -> bool:
        return name in self._message

    @property
    def dict(self) -> dict[str, str]:
        return {key.lower(): value for key, value in self._message.items()}

    @property
    def headers(self) -> list[str]:
        return [f"{key}: {value}\r\n" for key, value in self._message.items()]

    def __getitem__(self, name: str) -> str:
        value = self._message[name]
        if value is None:
            raise KeyError(name)
        return str(value)

    def __contains__(self, name: str) -> bool:
        return name in self._message

    def __len__(self) -> int:
        return len(self._message)

    def __str__(self) -> str:
        return "".join(self.headers)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._message, name)


class Response(File):
    """What was opened."""

    def __init__(self, stream: Any) -> None:
        self._take(stream)
        self.headers = Headers(stream.headers)
        self.msg = getattr(stream, "msg", "OK")
        self.code = getattr(stream, "code", getattr(stream, "status", None))

    def info(self) -> Headers:
        return self.headers

    def getcode(self) -> Any:
        return self.code
