"""Round-trip times of ICMP echoes, by the system's program ping(8): one echo to each target a run, all side by side.

The program is used because it may open the socket that it needs; the agent then need not. A target is a host's name or address,
IPv4 or IPv6. In dotted names it stands as Diamond wrote it, with `_` for `.`. A target that does not answer within `timeout`, or
whose name is not known, has `up` 0 and no time; in Diamond's spelling its time is 10000 milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import ceil

from adamas import Collector, Duration, Gauge, NoData, Raw, Sample, option
from adamas.collectors._together import Together

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

LOST = 10000.0
"""Milliseconds that Diamond gave where there was no answer."""
TIMES = re.compile(r"^(?:rtt|round-trip) [^=]*= ?([0-9.]+)/", re.M)
TARGET = re.compile(r"[0-9A-Za-z_:][-0-9A-Za-z_.:%]*")


def dotted(target: str) -> str:
    """A target as one node of a dotted name."""
    return target.replace(".", "_")


class Ping(Collector):
    """Whether hosts answer a ping, and how fast."""

    name = "ping"
    diamond = "PingCollector"
    remote = True
    needs = ("ping(8)",)

    targets: dict[str, str] = option({}, "The hosts, each under a name of its own", family="target_")
    bin: str = option("ping", "The program ping")
    use_sudo: bool = option(False, "Start it through sudo")
    sudo_cmd: str = option("sudo", "The program sudo")
    timeout: Duration = option("5s", "How long to wait for the answer", minimum=1)

    up = Gauge("{target}.up", "Whether the target answered", path=Raw(values={"target": dotted}), diamond=None)
    rtt = Gauge(
        "{target}.rtt",
        "From the echo's departure to the answer's arrival",
        unit="s",
        path=Raw(values={"target": dotted}),
        diamond=None,
    )
    time = Gauge(
        "{target}",
        "The same in milliseconds, and 10000 for no answer, as Diamond gave it",
        path=None,
        diamond=Raw(values={"target": dotted}, precision=3),
        prometheus=None,
        otel=None,
    )

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._hosts = list(dict.fromkeys(self.targets.values()))
        for target in self._hosts:
            if not TARGET.fullmatch(target):
                raise ValueError(f"targets: expected a host's name or address, not {target!r}")
        program = [self.sudo_cmd, self.bin] if self.use_sudo else [self.bin]
        self._argv = [*program, "-nq", "-c", "1", "-W", str(ceil(self.timeout))]
        # Another second for the name server; ping's own limit begins with the echo.
        self._limit = self.timeout + 1.0
        self._together = Together(self.instance, self._limit)

    def collect(self) -> Iterator[Sample]:
        if not self._hosts:
            raise NoData("`targets` names no host")
        troubles = {}
        for target, time in self._together.ask(self._hosts, self._echo).items():
            if isinstance(time, NoData):
                raise time
            if isinstance(time, Exception):
                troubles[target] = str(time) or repr(time)
                yield self.up(0, target)
                yield self.time(LOST, target)
            else:
                yield self.up(1, target)
                yield self.rtt(time / 1000, target)
                yield self.time(time, target)
        self._together.tell(troubles)

    def _echo(self, target: str) -> float:
        """Milliseconds of one echo."""
        answer = self.host.run([*self._argv, target], timeout=self._limit)
        found = TIMES.search(answer.text)
        if found:
            return float(found[1])
        said = answer.errors.decode("utf-8", "replace").strip() or answer.text.strip().rpartition("\n")[2]
        raise ValueError(said[:200] or f"{self.bin} ended with {answer.status} and said nothing")
