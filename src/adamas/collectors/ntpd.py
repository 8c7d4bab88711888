"""How well ntpd keeps the time: the clock as it sees it, and its peers, asked with ntpq(1), and with ntpdc where that exists.

Offsets, delays and jitter are in seconds. A peer's reach is the part of its last 8 polls that were answered. Diamond's names have
the figures of the peer that the clock follows as ntpq shows them (milliseconds; reach is octal), and those of the clock from
`ntpdc -c kerninfo` and `-c sysinfo`. ntpdc went with NTP 4.2.8: without it, they come from ntpq's variables, but for max_error,
est_error and status, which these do not have.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from adamas import Gauge, Group, NoData, Raw, Sample, option
from adamas.collectors._program import Program, said

SECONDS = {"m": 60, "h": 3600, "d": 86400, "y": 31536000}
VARIABLE = re.compile(r'(\w+)=("[^"]*"|[^,\s]+)')
HEADER = ["remote", "refid", "st", "t", "when", "poll", "reach", "delay", "offset", "jitter"]
SHOWN = ("stratum", "poll", "reach", "delay", "jitter")
KERNEL = {
    "pll offset": "offset",
    "pll frequency": "frequency",
    "maximum error": "max_error",
    "estimated error": "est_error",
    "status": "status",
}
SYSTEM = {"root distance": "root_distance", "root dispersion": "root_dispersion"}


def _of_peer(name: str, help: str, unit: str = "") -> Gauge:
    return Gauge(f"peer.{{peer}}.{name}", help, unit=unit, diamond=None)


class Ntpd(Program):
    """The clock as ntpd keeps it: its offset, its frequency, and what its peers are worth."""

    name = "ntpd"
    diamond = "NtpdCollector"
    needs = ("ntpq, and an ntpd that it can ask",)
    remote = True

    ntpq_bin: str = option("ntpq", "The program ntpq")
    ntpdc_bin: str = option("ntpdc", "The program ntpdc")

    figure = Gauge(
        "{figure}",
        "A figure of the peer that the clock follows, or of the clock",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )
    stratum = Gauge(
        "stratum", "How many steps the machine is from a reference clock", diamond=None, prometheus="node_ntp_stratum"
    )
    leap = Gauge(
        "leap", "1: a leap second comes, 2: one is left out, 3: not synchronised", diamond=None, prometheus="node_ntp_leap"
    )
    offset = Gauge("offset", "Offset of the clock", unit="s", diamond=None, prometheus="node_ntp_offset_seconds")
    frequency = Gauge("frequency", "How much the clock's frequency is corrected", unit="ppm", diamond=None)
    jitter = Gauge("jitter", "Jitter of the clock", unit="s", diamond=None)
    root_delay = Gauge(
        "root_delay",
        "Network delays to the reference clock",
        unit="s",
        diamond=None,
        prometheus="node_ntp_root_delay_seconds",
    )
    root_dispersion = Gauge(
        "root_dispersion",
        "Dispersion accumulated on the way to the reference clock",
        unit="s",
        diamond=None,
        prometheus="node_ntp_root_dispersion_seconds",
    )

    peer_selected = _of_peer("selected", "1 for the peer that the clock follows")
    peer_stratum = _of_peer("stratum", "How many steps a peer is from a reference clock")
    peer_poll = _of_peer("poll_interval", "Time between two polls of a peer", "s")
    peer_reach = _of_peer("reach", "Part of the last 8 polls that a peer answered", "1")
    peer_delay = _of_peer("delay", "Time to a peer and back", "s")
    peer_offset = _of_peer("offset", "Offset from a peer", "s")
    peer_jitter = _of_peer("jitter", "Jitter of a peer", "s")
    peer = Group(peer_selected, peer_stratum, peer_poll, peer_reach, peer_delay, peer_offset, peer_jitter)
    peer_age = _of_peer("age", "Time since the last packet of a peer", "s")

    _has_ntpdc = True

    def collect(self) -> Iterator[Sample]:
        answer = self.ask(self.ntpq_bin, "-np")
        lines = answer.text.splitlines()
        if not lines or lines[0].split() != HEADER:
            raise ConnectionError(f"{self.ntpq_bin} -np: {said(answer)}")
        for line in lines[2:]:
            words = line[1:].split()
            if len(words) == len(HEADER):
                try:
                    yield from self._peer(line[0], words)
                except ValueError:
                    raise ValueError(f"{self.ntpq_bin} -np: {line!r} is not a peer and its figures") from None
        answer = self.ask(self.ntpq_bin, "-c", "rv")
        known = {name: text.strip('"') for name, text in VARIABLE.findall(answer.text)}
        if "stratum" not in known:
            raise ConnectionError(f"{self.ntpq_bin} -c rv: {said(answer)}")
        yield from self._clock(known)

    def _peer(self, tally: str, words: list[str]) -> Iterator[Sample]:
        name, when = words[0], words[4]
        stratum, reach = int(words[2]), int(words[6], 8)
        poll = seconds(words[5])
        delay, offset, jitter = map(float, words[7:10])
        follows = int(tally in "*o")
        values = follows, stratum, poll, reach.bit_count() / 8, delay / 1000, offset / 1000, jitter / 1000
        yield self.peer(values, name)
        if when == "-":
            return
        yield self.peer_age(seconds(when), name)
        if tally == "*":
            yield self.figure.row([rounded(v) for v in (stratum, poll, float(words[6]), delay, jitter)], SHOWN)
            yield self.figure(seconds(when), "when")

    def _clock(self, known: dict[str, str]) -> Iterator[Sample]:
        def milliseconds(name: str) -> float:
            return float(known[name]) / 1000

        try:
            yield self.stratum(int(known["stratum"]))
            yield self.leap(int(known["leap"], 2))
            yield self.offset(milliseconds("offset"))
            yield self.frequency(float(known["frequency"]))
            yield self.jitter(milliseconds("sys_jitter"))
            yield self.root_delay(milliseconds("rootdelay"))
            yield self.root_dispersion(milliseconds("rootdisp"))
            figures = {"offset": milliseconds("offset"), "frequency": float(known["frequency"])}
            figures |= {"root_distance": milliseconds("rootdelay"), "root_dispersion": milliseconds("rootdisp")}
        except (KeyError, ValueError) as error:
            raise ValueError(f"{self.ntpq_bin} -c rv: no number of this kind: {error}") from None
        figures = self._in_ntpdc() or figures
        yield self.figure.row(list(figures.values()), tuple(figures))

    def _in_ntpdc(self) -> dict[str, float]:
        """The figures of the clock as ntpdc has them; none where there is no ntpdc."""
        if not self._has_ntpdc:
            return {}
        try:
            texts = [self.ask(self.ntpdc_bin, "-c", what).text for what in ("kerninfo", "sysinfo")]
        except NoData:
            self._has_ntpdc = False
            return {}
        return {**in_table(texts[0], KERNEL), **in_table(texts[1], SYSTEM)}


def seconds(text: str) -> float:
    """A time as ntpq writes it: "64", "17m", "3h"."""
    return float(text[:-1]) * SECONDS[text[-1]] if text[-1:] in SECONDS else float(text)


def rounded(value: float) -> float:
    """To a whole number, halves away from zero, as Python 2 did."""
    return math.copysign(math.floor(abs(value) + 0.5), value)


def in_table(text: str, names: dict[str, str]) -> dict[str, float]:
    """The numbers of a table of ntpdc, by Diamond's names."""
    found = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        words = value.split()
        if key in names and words:
            try:
                found[names[key]] = float(words[0])
            except ValueError:
                continue
    return found
