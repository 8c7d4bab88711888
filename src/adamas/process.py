"""Running a program for a collector: a group of its own, a limit on time and output, nothing left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time

from adamas.answer import Answer
from adamas.errors import NoData

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def run_program(argv: Sequence[str], timeout: float, input: bytes, most: int) -> Answer:
    """Run `argv` and collect its output; at the limit the whole process group is killed and TimeoutError raised.

    Output past `most` bytes is read and thrown away. Raises NoData where the program does not exist.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if input else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "LC_ALL": "C"},
        )
    except FileNotFoundError:
        raise NoData(f"{argv[0]} is not installed") from None
    try:
        out, errors = _talk(process, input, time.monotonic() + timeout, most)
        return Answer(process.wait(), out, errors=errors)
    except TimeoutError:
        raise TimeoutError(f"{argv[0]} took longer than {timeout:g} s and was killed") from None
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)  # also what it left behind in its group
        except (ProcessLookupError, PermissionError):
            pass
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def _talk(process: subprocess.Popen[bytes], input: bytes, deadline: float, most: int) -> tuple[bytes, bytes]:
    assert process.stdout is not None and process.stderr is not None
    taken = {process.stdout: bytearray(), process.stderr: bytearray()}
    with selectors.DefaultSelector() as selector:
        for pipe in taken:
            selector.register(pipe, selectors.EVENT_READ)
        if process.stdin is not None:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in selector.select(min(left, 0.5)):
                if process.stdin is not None and key.fileobj is process.stdin:
                    try:
                        input = input[os.write(key.fd, input[:65536]) :]
                    except BrokenPipeError:
                        input = b""
                    if not input:
                        selector.unregister(process.stdin)
                        process.stdin.close()
                    continue
                data = os.read(key.fd, 65536)
                if not data:
                    selector.unregister(key.fileobj)
                buffer = taken[key.fileobj]  # type: ignore[index]
                buffer += data[: most - len(buffer)]
            if process.poll() is not None and not selector.get_map().keys() - {process.stdin}:
                break
    left = deadline - time.monotonic()
    try:
        process.wait(max(0.01, left))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(taken[process.stdout]), bytes(taken[process.stderr])
