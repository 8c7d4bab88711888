"""Offset of the clock from a time server, asked with ntpdate(8), which does not set it.

The pool is asked over the network at each run: an interval of several minutes is polite. Both the classic ntpdate and that of
NTPsec (a form of ntpdig) are understood. Diamond's name of the offset ends in `time_scale`, and its value is in that unit, with
`precision` decimals.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Gauge, Raw, Sample, option
from adamas.collectors._program import Program, said

SCALES = {"nanoseconds": 1e9, "microseconds": 1e6, "milliseconds": 1e3, "seconds": 1.0}
SCALES |= {"minutes": 1 / 60, "hours": 1 / 3600, "days": 1 / 86400, "years": 1 / 31536000}
SCALES |= {short: SCALES[word] for short, word in (("ns", "nanoseconds"), ("us", "microseconds"), ("ms", "milliseconds"))}
SCALES |= {word[0]: scale for word, scale in SCALES.items() if word in ("seconds", "minutes", "hours", "days", "years")}
OFFSET = "Offset of the best server"
WORDS = 11
"""In the last line of the classic ntpdate."""


class Ntp(Program):
    """How far the clock is off, as a time server on the network sees it."""

    name = "ntp"
    diamond = "NtpCollector"
    needs = ("ntpdate",)
    remote = True

    bin: str = option("ntpdate", "The program ntpdate")
    ntp_pool: str = option("pool.ntp.org", "The time server")
    time_scale: str = option("milliseconds", "The unit of Diamond's name", choices=tuple(SCALES))
    precision: int = option(0, "Decimals of Diamond's value", minimum=0, maximum=12)

    offset = Gauge("offset", OFFSET, unit="s", diamond=None)
    servers = Gauge("server.count", "Servers that were asked", diamond=Raw(), prometheus="ntp_servers", otel="ntp.servers")

    def collect(self) -> Iterator[Sample]:
        answer = self.ask(self.bin, "-q", self.ntp_pool)
        servers, offset = read(answer.text)
        if offset is None and not servers:
            raise ConnectionError(f"{self.bin} -q {self.ntp_pool}: {said(answer)}")
        yield self.servers(servers)
        if offset is not None:
            yield self.offset(offset)
            how = Raw(f"offset.{self.time_scale}", scale=SCALES[self.time_scale], precision=self.precision)
            scaled = self.metric("scaled", unit="s", help=OFFSET, path=None, diamond=how, prometheus=None, otel=None)
            yield scaled(offset)


def read(text: str) -> tuple[int, float | None]:
    """How many servers were asked, and the offset of the best in seconds, if there is one."""
    servers = 0
    offset = None
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["server"]:
            servers += 1
        elif "+/-" in words[1:]:  # ntpdig: date time (zone) offset +/- error server
            servers += 1
            offset = number(words[words.index("+/-") - 1], line)
        elif len(words) == WORDS and words[8] == "offset":
            offset = number(words[9], line)
    return servers, offset


def number(word: str, line: str) -> float:
    """The number that a word is."""
    try:
        return float(word)
    except ValueError:
        raise ValueError(f"ntpdate: {word!r} is not an offset: {line[:100]!r}") from None
