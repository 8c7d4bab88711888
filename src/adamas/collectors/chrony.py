"""How well chronyd keeps the time: what it tracks, and its sources, asked with chronyc(1).

Offsets, delays and errors are in seconds. `system_time` is what is still to be corrected: positive where the clock is behind. A
source's reach is the part of its last 8 polls that were answered. Its label is its address; Diamond's names have the name that
chronyc finds for it, up to its first dot, and its estimated offset in milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from adamas import Gauge, Group, Raw, Sample, option
from adamas.collectors._program import Program, said

MILLISECONDS = {"ns": 1e-6, "us": 1e-3, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6, "d": 8.64e7, "y": 3.1536e10}
OFFSET = re.compile(r"([+-]\d+)(\w+)")
ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+")
HEADER = "Name/IP Address"
NEVER = 2**32 - 1
TRACKING, SOURCE, STATS = 14, 10, 8
"""How many fields there are in a line of each report."""


def _tracked(name: str, help: str, unit: str, prometheus: str) -> Gauge:
    return Gauge(name, help, unit=unit, diamond=None, prometheus=f"chrony_tracking_{prometheus}")


def _of_source(name: str, help: str, unit: str, prometheus: str) -> Gauge:
    how = Raw(f"chrony_sources_{prometheus}", rename={"source": "source_address"})
    return Gauge(f"source.{{source}}.{name}", help, unit=unit, diamond=None, prometheus=how)


class Chrony(Program):
    """The clock as chronyd keeps it: its offset, its frequency, and what its sources are worth."""

    name = "chrony"
    diamond = "ChronydCollector"
    needs = ("chronyc, and a chronyd that it can ask",)
    remote = True

    bin: str = option("chronyc", "The program chronyc")

    offset = Gauge(
        "{source}.offset_ms",
        "Estimated offset of a source, in milliseconds",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )
    stratum = _tracked("stratum", "How many steps the machine is from a reference clock", "", "stratum")
    reference_time = _tracked(
        "reference_time", "When the last measurement was made, in seconds since 1970", "s", "reference_timestamp_seconds"
    )
    system_time = _tracked("system_time", "What is still to be corrected", "s", "system_time_seconds")
    last_offset = _tracked("last_offset", "Offset when the clock was last updated", "s", "last_offset_seconds")
    rms_offset = _tracked("rms_offset", "Long-term average of the offset", "s", "rms_offset_seconds")
    frequency = _tracked("frequency", "How much too fast the clock would run", "ppm", "frequency_ppms")
    residual = _tracked(
        "residual_frequency", "Difference between the frequency measured and the one in use", "ppm", "residual_frequency_ppms"
    )
    skew = _tracked("skew", "Error bound of the frequency", "ppm", "skew_ppms")
    root_delay = _tracked("root_delay", "Network delays to the reference clock", "s", "root_delay_seconds")
    root_dispersion = _tracked(
        "root_dispersion", "Dispersion accumulated on the way to the reference clock", "s", "root_dispersion_seconds"
    )
    update_interval = _tracked("update_interval", "Time between the last two updates", "s", "update_interval_seconds")
    tracking = Group(
        *(stratum, reference_time, system_time, last_offset, rms_offset, frequency, residual, skew),
        *(root_delay, root_dispersion, update_interval),
    )
    synchronised = Gauge("synchronised", "1 where the clock is synchronised", diamond=None)

    selected = _of_source("selected", "1 for the source that the clock follows", "", "selected")
    source_stratum = _of_source("stratum", "How many steps a source is from a reference clock", "", "stratum")
    poll = _of_source("poll_interval", "Time between two polls of a source", "s", "polling_interval_seconds")
    reach = _of_source("reach", "Part of the last 8 polls that a source answered", "1", "reachability_ratio")
    sample_offset = _of_source("last_offset", "Offset in the last sample of a source", "s", "last_sample_offset_seconds")
    sample_error = _of_source("error", "Margin of error of that sample", "s", "last_sample_error_margin_seconds")
    of_source = Group(selected, source_stratum, poll, reach, sample_offset, sample_error)
    age = _of_source("age", "Time since the last good sample of a source", "s", "last_sample_age_seconds")

    source_frequency = _of_source("frequency", "Residual frequency of a source", "ppm", "frequency_ppms")
    source_skew = _of_source("skew", "Error bound of that frequency", "ppm", "skew_ppms")
    estimated = _of_source("offset", "Estimated offset of a source", "s", "offset_seconds")
    deviation = _of_source("deviation", "Standard deviation of the samples of a source", "s", "standard_deviation_seconds")
    stats = Group(source_frequency, source_skew, estimated, deviation)

    def collect(self) -> Iterator[Sample]:
        answer = self.ask(self.bin, "-c", "-m", "tracking", "sources", "sourcestats")
        if answer.status:
            raise ConnectionError(f"{self.bin}: {said(answer)}")
        for line in answer.text.splitlines():
            fields = line.split(",")
            try:
                yield from self._line(fields)
            except ValueError:
                raise ValueError(f"{self.bin}: {line[:80]!r} is not a line of tracking, sources or sourcestats") from None
        yield from self._in_diamond()

    def _line(self, fields: list[str]) -> Iterator[Sample]:
        if len(fields) == TRACKING:
            yield self.tracking((int(fields[2]), *map(float, fields[3:13])))
            yield self.synchronised(int(fields[13] != "Not synchronised"))
        elif len(fields) == SOURCE:
            state, source, stratum, poll, reach, age = fields[1:7]
            answered = int(reach, 8).bit_count() / 8
            yield self.of_source(
                (int(state == "*"), int(stratum), 2.0 ** int(poll), answered, float(fields[7]), float(fields[9])), source
            )
            if int(age) != NEVER:
                yield self.age(int(age), source)
        elif len(fields) == STATS:
            yield self.stats(list(map(float, fields[4:8])), fields[0])
        else:
            raise ValueError

    def _in_diamond(self) -> Iterator[Sample]:
        answer = self.ask(self.bin, "sourcestats")
        if answer.status or HEADER not in answer.text:
            raise ConnectionError(f"{self.bin}: {said(answer)}")
        for source, milliseconds in offsets(answer.text):
            yield self.offset(milliseconds, source)


def offsets(text: str) -> Iterator[tuple[str, float]]:
    """The sources of chronyc's table of statistics as Diamond called them, and their offsets in milliseconds."""
    for line in text.splitlines():
        words = line.split()
        match = OFFSET.fullmatch(words[-2]) if len(words) > 2 else None
        if match is None or match[2] not in MILLISECONDS:
            continue
        source = words[0].replace(".", "_") if ADDRESS.fullmatch(words[0]) else words[0].partition(".")[0]
        yield source, int(match[1]) * MILLISECONDS[match[2]]
