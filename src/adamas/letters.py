"""Payloads that a backend refused for good, kept so that someone can see what was wrong with them: a dead-letter file.

One JSON object a line: time (seconds since 1970), reason (the backend's own words), points, and the payload as `text`, or as
`base64` where it is not UTF-8. Bounded: at half of what it may take, the file becomes the `.1` that it replaces.
"""

from __future__ import annotations

import os
import time

from adamas import log


class DeadLetters:
    """The dead-letter file of one output. What cannot be kept is said in the log; nothing waits for it."""

    def __init__(self, name: str, path: str, limit: int) -> None:
        self.name = name
        self.path = path
        self.limit = limit
        self.count = 0

    def put(self, reason: str, points: int, payload: bytes) -> None:
        """Keep one."""
        if not self.limit or not self.path:
            return
        import json  # few backends ever refuse anything

        try:
            body = {"text": payload.decode()}
        except UnicodeDecodeError:
            from base64 import b64encode

            body = {"base64": b64encode(payload).decode()}
        line = json.dumps({"time": time.time(), "reason": reason, "points": points, **body}).encode() + b"\n"
        if len(line) > self.limit // 2:
            log.error(
                self.name, f"a refused payload of {len(payload)} bytes is not kept: dead_letters = {self.limit} is too small"
            )
            return
        try:
            os.makedirs(os.path.dirname(self.path), mode=0o700, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(file).st_size + len(line) > self.limit // 2:
                    os.replace(self.path, self.path + ".1")
                    os.close(file)
                    file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                os.write(file, line)
            finally:
                os.close(file)
            self.count += 1
        except OSError as error:
            log.error(self.name, f"a refused payload is not kept: {self.path}: {error.strerror}")
