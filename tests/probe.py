"""A machine whose past is known to the digit, behind a real web server on a free loopback port.

`Probe` is what the agent is to the server: one collector over the real pipeline, the real history, a status that a test
may change. Its collector gives a level, a counter of two directions for each device, and one value with a label.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from adamas import Collector, Counter, Gauge, Sample
from adamas.exposition import Exposition
from adamas.history import History
from adamas.host import Host
from adamas.metric import Batch
from adamas.naming import Naming
from adamas.pipeline import Intake
from adamas.web import WebServer


class Wave(Collector):
    """Gives what it is told."""

    name = "wave"

    level = Gauge("level", "How high it is", unit="By")
    bytes = Counter("{device}.{direction}_bytes", "What went through", unit="By")
    core = Gauge("core.{number}.{mode}", "A value of each mode", unit="1")

    now = 0.0

    def collect(self) -> Iterator[Sample]:
        yield self.level(1000 + self.now % 100)
        for device in ("eth0", "eth1"):
            yield self.bytes(50 * self.now, device, "rx")
            yield self.bytes(20 * self.now, device, "tx")
        for number in (0, 1, 12):
            yield self.core.row((0.25, 0.5), ("user", "system"), str(number))


class Probe:
    """A view of a machine: `run` measures at a time of the test's choice."""

    def __init__(self, folder: Path | None) -> None:
        self.collector = Wave(Host())
        self.intake = Intake(self.collector)
        self.past = None if folder is None else History(str(folder / "history.db"), Naming("path"), 30 * 86400.0)
        if self.past is not None:
            self.past.start()
        self.exposition = Exposition(Naming("prometheus", labels={"host": "box"}))
        self.broken = False
        self.facts: dict[str, Any] = {
            "version": "0.1.0",
            "hostname": "box.example",
            "prefix": "servers.box_example",
            "pid": 1,
            "started": time.time() - 1000,
            "config": "",
            "address": "",
            "reload": {"ok": True, "time": 0.0, "message": ""},
            "outputs": [],
            "memory": 30 << 20,
            "cpu_seconds": 1.5,
        }
        self.collectors = [self.task("wave"), self.task("cpu")]

    @staticmethod
    def task(name: str, state: str = "ok", **more: Any) -> dict[str, Any]:
        """A collector's status."""
        about = {"name": name, "type": name, "state": state, "interval": 10.0, "runs": 5, "failures": 0, "last_run": time.time()}
        about |= {"last_duration": 0.001, "next_run": time.time() + 5, "series": 3, "samples": 15, "removed": {}, "error": ""}
        return {**about, "stack": "", "isolation": "thread", **more}

    def run(self, moment: float) -> Batch:
        """One run of the collector, stamped with this time."""
        self.collector.now = moment
        series, values = self.intake.gather()
        batch = self.intake.publish(series, values, moment, moment)
        assert batch is not None
        if self.past is not None:
            self.past.offer(batch)
        return batch

    def status(self) -> dict[str, Any]:
        """As the agent's."""
        if self.broken:
            raise RuntimeError("the status is broken")
        history = self.past.status() if self.past is not None else None
        return {**self.facts, "now": time.time(), "collectors": self.collectors, "history": history}

    def latest(self) -> list[Batch]:
        """As the agent's."""
        return [self.intake.last] if self.intake.last is not None else []

    def prometheus(self) -> Exposition:
        """As the agent's."""
        return self.exposition

    def history(self) -> History | None:
        """As the agent's."""
        return self.past

    def stop(self) -> None:
        """Close the history."""
        if self.past is not None:
            self.past.stop(time.monotonic() + 5)


class Reply:
    """An HTTP answer."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}
        self.body = answer.read()

    @property
    def json(self) -> Any:
        """The body as JSON."""
        assert self.headers["content-type"] == "application/json", self.body
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """What an error says: one line of JSON with nothing but `error`."""
        assert self.body.endswith(b"\n") and self.body.count(b"\n") == 1
        data = self.json
        assert list(data) == ["error"]
        return str(data["error"])


class Site:
    """A running server, to ask."""

    def __init__(self, probe: Probe, listen: str = "127.0.0.1:0", token: str = "", names: tuple[str, ...] = ()) -> None:
        self.probe = probe
        self.server = WebServer(listen, token, probe, names)
        self.url = self.server.start()
        self.port = int(self.url.rpartition(":")[2])

    def stop(self, seconds: float = 2.0) -> None:
        """Stop the server."""
        self.server.stop(time.monotonic() + seconds)

    def ask(
        self,
        path: str,
        query: Any = None,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            whole = f"{path}?{urlencode(query, doseq=True)}" if query else path
            connection.request(method, whole, body=body, headers=dict(headers or {}))
            return Reply(connection.getresponse())
        finally:
            connection.close()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of a GET that succeeds."""
        reply = self.ask(path, query)
        assert reply.status == 200, reply.body
        return reply.json

    def post(self, path: str, **form: Any) -> Any:
        """The JSON of a POST of a form that succeeds."""
        kind = {"content-type": "application/x-www-form-urlencoded"}
        reply = self.ask(path, None, "POST", kind, urlencode(form, doseq=True).encode())
        assert reply.status == 200, reply.body
        return reply.json
