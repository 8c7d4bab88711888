"""Files of Python 2: what is read is a str, and what is written may be one."""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterable, Iterator
from typing import Any

from adamas.translate.python2.text import raw, text


class _Kind(type):
    """The type of files: what a library opened is one too."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return super().__instancecheck__(instance) or (cls is File and isinstance(instance, io.IOBase))


class File(metaclass=_Kind):
    """`open` and `file`: a file of bytes, seen as strings; `stream` is the file underneath."""

    def __init__(self, name: Any, mode: str = "r", buffering: int = -1) -> None:
        universal = "U" in mode
        mode = mode.replace("U", "").replace("t", "") or "r"
        mode = mode if mode[0] in "rwa" else "r" + mode
        if "b" not in mode:
            mode += "b"
        self._take(io.open(name, mode, -1 if buffering == 1 else buffering), universal, flush=buffering in (0, 1))  # noqa: SIM115, UP020

    def _take(self, stream: Any, universal: bool = False, flush: bool = False) -> None:
        self.stream = stream
        self._universal = universal
        self._flush = flush
        self.softspace = 0
        self.encoding = None
        self.newlines = None

    @classmethod
    def of(cls, stream: Any, universal: bool = False, flush: bool = False) -> File:
        """What a library opened."""
        self = cls.__new__(cls)
        self._take(stream, universal, flush)
        return self

    def _text(self, data: bytes | None) -> str:
        if data is None:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        if self._universal:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return text(data)  # type: ignore[no-any-return]

    def read(self, size: int | None = -1) -> str:
        return self._text(self.stream.read() if size is None or size < 0 else self.stream.read(size))

    def readline(self, size: int = -1) -> str:
        return self._text(self.stream.readline(size))

    def readlines(self, hint: int = 0) -> list[str]:
        return [self._text(line) for line in self.stream.readlines(hint or -1)]

    def xreadlines(self) -> File:
        return self

    def write(self, data: Any) -> None:
        self.stream.write(raw(data))
        if self._flush:
            self.stream.flush()

    def writelines(self, lines: Iterable[Any]) -> None:
        for line in lines:
            self.write(line)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.stream.readline()
        if not line:
            raise StopIteration
        return self._text(line)

    next = __next__

    def __enter__(self) -> File:
        return self

    def __exit__(self, *error: Any) -> None:
        self.close()

    def close(self) -> Any:
        return self.stream.close()

    def __del__(self) -> None:
        """A file that nobody has any more is closed, and nobody is told: so it always was."""
        stream = self.__dict__.get("stream")
        if stream is not None and not stream.closed:
            try:
                stream.close()
            except (OSError, ValueError):
                pass

    def __getattr__(self, name: str) -> Any:
        if name == "stream":
            raise AttributeError(name)
        return getattr(self.stream, name)


class StringIO(File):
    """StringIO.StringIO and cStringIO.StringIO."""

    def __init__(self, buf: Any = "") -> None:
        self._take(io.BytesIO(raw(buf)))

    def getvalue(self) -> str:
        return self._text(self.stream.getvalue())

    @property
    def len(self) -> int:
        return len(self.stream.getvalue())


def underneath(file: Any) -> Any:
    """The file of bytes of a File; any other file as it is."""
    return file.stream if isinstance(file, File) else file
