"""os: what is read and written is a str, and the calls that are no more."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from typing import Any

from adamas.translate.python2.file import File
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text

__all__ = ["errno", "fdopen", "getcwdu", "popen", "popen2", "popen3", "popen4", "read", "tempnam", "tmpfile", "write"]

getcwdu = os.getcwd


class _Pipe(File):
    """A file at the other end of a process; closing it gives what the process ended with, None for success."""

    process: subprocess.Popen[bytes]

    def close(self) -> int | None:
        self.stream.close()
        status = self.process.wait()
        return (status << 8 if status >= 0 else -status) or None


def popen(command: str, mode: str = "r", bufsize: int = -1) -> File:
    """A pipe to or from a shell command."""
    reading = mode.startswith("r")
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, shell=True, stdout=pipe if reading else None, stdin=None if reading else pipe)
    file = _Pipe.of(process.stdout if reading else process.stdin)
    assert isinstance(file, _Pipe)
    file.process = process
    return file


def _popen(command: Any, errors: Any) -> tuple[File, ...]:
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, shell=isinstance(command, str), stdin=pipe, stdout=pipe, stderr=errors)
    streams = [s for s in (process.stdin, process.stdout, process.stderr) if s is not None]
    files = tuple(_Pipe.of(stream, flush=stream is process.stdin) for stream in streams)
    for file in files:
        file.process = process  # type: ignore[attr-defined]
    return files


def popen2(command: Any, mode: str = "t", bufsize: int = -1) -> tuple[File, ...]:
    """(stdin, stdout) of a command."""
    return _popen(command, None)


def popen3(command: Any, mode: str = "t", bufsize: int = -1) -> tuple[File, ...]:
    """(stdin, stdout, stderr) of a command."""
    return _popen(command, subprocess.PIPE)


def popen4(command: Any, mode: str = "t", bufsize: int = -1) -> tuple[File, ...]:
    """(stdin, stdout and stderr) of a command."""
    return _popen(command, subprocess.STDOUT)


def fdopen(fd: int, mode: str = "r", bufsize: int = -1) -> File:
    """A file on a descriptor."""
    return File(fd, mode, bufsize)


def read(fd: int, size: int) -> Any:
    """read(2)."""
    return text(os.read(fd, size))


def write(fd: int, data: Any) -> int:
    """write(2)."""
    return os.write(fd, raw(data))


def tmpfile() -> File:
    """A file that is gone when it is closed."""
    return File.of(tempfile.TemporaryFile("w+b"))


def tempnam(folder: str | None = None, prefix: str = "tmp") -> str:
    """A name that no file has now."""
    return tempfile.mktemp(prefix=prefix, dir=folder)


tmpnam = tempnam

stand_in(__name__, os, *__all__)
