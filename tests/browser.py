"""A real Chromium for tests, driven through its DevTools protocol over a pair of pipes: no port, no driver package.

Source: https://chromedevtools.github.io/devtools-protocol/ (messages are JSON, each ended by a zero byte, on descriptors 3
and 4 with --remote-debugging-pipe)
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--mute-audio",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
]


class Browser:
    """One browser with one page. `problems` holds what went wrong in the page: exceptions, console errors, failed requests."""

    def __init__(self, directory: Path, width: int = 1280, height: int = 800) -> None:
        argv = ["setpriv", "--pdeathsig", "KILL", "--", "chromium", *FLAGS]
        argv += [f"--user-data-dir={directory}", f"--window-size={width},{height}", "about:blank"]
        hears, self._write = os.pipe()
        self._read, says = os.pipe()
        # Out of the way of 3 and 4, which may be any file of ours.
        ends = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in (hears, says)]
        wires = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1, 2)]
        wires += [(os.POSIX_SPAWN_DUP2, end, fd) for end, fd in zip(ends, (3, 4))]
        self._pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=wires, setsid=True)
        for fd in (hears, says, *ends):
            os.close(fd)
        self._buffer = b""
        self._number = 0
        self._session = ""
        self.problems: list[str] = []
        self.requests: list[str] = []
        page = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=page["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser and everything that it started."""
        os.killpg(self._pid, signal.SIGKILL)
        os.waitpid(self._pid, 0)
        os.close(self._write)
        os.close(self._read)

    def call(self, method: str, timeout: float = 20.0, **parameters: Any) -> Any:
        """Ask the browser; its answer."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        end = time.monotonic() + timeout
        while True:
            answer = self._receive(end - time.monotonic(), method)
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _receive(self, timeout: float, what: str) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            if timeout <= 0 or not select.select([self._read], [], [], timeout)[0]:
                raise TimeoutError(f"the browser does not answer {what}")
            data = os.read(self._read, 1 << 20)
            if not data:
                raise ConnectionError("the browser has ended")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        self._notice(message)
        return message

    def _notice(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown":
                details = parameters["exceptionDetails"]
                self.problems.append(f"exception: {details.get('exception', {}).get('description', details['text'])}")
            case "Runtime.consoleAPICalled" if parameters["type"] in ("error", "warning", "assert"):
                said = [a.get("value") or a.get("description", "") for a in parameters["args"]]
                self.problems.append(f"console: {said}")
            case "Log.entryAdded" if parameters["entry"]["level"] == "error":
                entry = parameters["entry"]
                self.problems.append(f"log: {entry['text']} {entry.get('url', '')}")
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])

    def go(self, url: str) -> None:
        """Open an address."""
        answer = self.call("Page.navigate", url=url)
        if answer.get("errorText"):
            raise ConnectionError(f"{url}: {answer['errorText']}")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; a promise is awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return answer["result"].get("value")

    def wait(self, expression: str, timeout: float = 20.0) -> Any:
        """The first true value of a JavaScript expression."""
        end = time.monotonic() + timeout
        while True:
            if value := self.evaluate(expression):
                return value
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} did not become true; problems: {self.problems}")
            time.sleep(0.05)

    def screen(self, width: int, height: int, dark: bool = False, mobile: bool = False, scale: float = 1) -> None:
        """Another screen, and the theme that its system asks for."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=mobile)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """A picture of what is on the screen, or of the whole page."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))
