"""subprocess, whose pipes give and take str."""

from __future__ import annotations

import subprocess
from typing import Any

from adamas.translate.python2.file import File, underneath
from adamas.translate.python2.module import stand_in
from adamas.translate.python2.text import raw, text

__all__ = ["Popen", "call", "check_call", "check_output"]

PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
CalledProcessError = subprocess.CalledProcessError
_NAMES = [
    "args",
    "bufsize",
    "executable",
    "stdin",
    "stdout",
    "stderr",
    "preexec_fn",
    "close_fds",
    "shell",
    "cwd",
    "env",
    "universal_newlines",
    "startupinfo",
    "creationflags",
]


class Popen(subprocess.Popen):  # type: ignore[type-arg]
    """A process; what its pipes carry is a str."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        options = dict(zip(_NAMES, positional)) | named
        self._lines = bool(options.pop("universal_newlines", False))
        unbuffered = options.pop("bufsize", 0) in (0, 1)
        arguments = options.pop("args")
        if not isinstance(arguments, str):
            arguments = [raw(a) if isinstance(a, str) else a for a in arguments]
        for name in ("stdin", "stdout", "stderr"):
            options[name] = underneath(options.get(name))
        super().__init__(arguments, **options)
        if self.stdin is not None:
            self.stdin = File.of(self.stdin, flush=unbuffered)  # type: ignore[assignment]
        if self.stdout is not None:
            self.stdout = File.of(self.stdout, self._lines)  # type: ignore[assignment]
        if self.stderr is not None:
            self.stderr = File.of(self.stderr, self._lines)  # type: ignore[assignment]

    def communicate(self, input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
        out, err = super().communicate(raw(input), timeout)
        return self._text(out), self._text(err)

    def _text(self, data: Any) -> Any:
        if self._lines and isinstance(data, bytes):
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return text(data)


def call(*arguments: Any, **named: Any) -> int:
    """Runs a command; its status."""
    return Popen(*arguments, **named).wait()


def check_call(*arguments: Any, **named: Any) -> int:
    """Runs a command that must succeed."""
    status = call(*arguments, **named)
    if status:
        raise CalledProcessError(status, named.get("args", arguments[0] if arguments else ""))
    return 0


def check_output(*arguments: Any, **named: Any) -> Any:
    """What a command that must succeed printed."""
    process = Popen(*arguments, stdout=PIPE, **named)
    output = process.communicate()[0]
    status = process.poll()
    if status:
        raise CalledProcessError(status, named.get("args", arguments[0] if arguments else ""), output=output)
    return output


stand_in(__name__, subprocess, *__all__)
