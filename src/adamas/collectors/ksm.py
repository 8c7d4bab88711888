"""Kernel samepage merging: pages of memory that hold the same are kept once. From /sys/kernel/mm/ksm.

What each file means stands in the kernel's Documentation/admin-guide/mm/ksm.rst. Every file that begins with a number is read.
"""

from __future__ import annotations

from collections.abc import Iterator

from adamas import Collector, Counter, Gauge, Raw, Sample, option

KSM = "/sys/kernel/mm/ksm"


class Ksm(Collector):
    """How many pages are shared, how many are scanned, and what it saves."""

    name = "ksm"
    diamond = "KSMCollector"
    needs = (f"{KSM} (a kernel with CONFIG_KSM)",)

    ksm_path: str = option(KSM, "Where the files are")

    file = Gauge("{file}", "What a file says", path=None, diamond=Raw(), prometheus=None, otel=None)
    setting = Gauge(
        "{file}",
        "What any other file says: a count of pages, or a setting",
        diamond=None,
        prometheus="node_ksmd_{file}",
    )
    full_scans = Counter("full_scans", "Times that all memory was scanned", diamond=None, prometheus="node_ksmd_full_scans_total")
    scanned = Counter("pages_scanned", "Pages that were scanned", diamond=None, prometheus="node_ksmd_pages_scanned_total")
    sleep = Gauge("sleep", "Pause between two scans", unit="s", diamond=None, prometheus="node_ksmd_sleep_seconds")
    profit = Gauge(
        "general_profit",
        "Memory that is saved, less what the bookkeeping takes",
        unit="By",
        diamond=None,
        prometheus="node_ksmd_general_profit_bytes",
    )

    _files: tuple[str, ...] = ()

    def collect(self) -> Iterator[Sample]:
        folder = self.ksm_path.rstrip("/")
        found = self._read(folder, self._files) or self._read(folder, self.host.listdir(folder))
        self._files = tuple(found)
        if not found:
            raise ValueError(f"{folder} has no file with a number")
        yield self.file.row(list(found.values()), self._files)
        if "full_scans" in found:
            yield self.full_scans(found.pop("full_scans"))
        if "pages_scanned" in found:
            yield self.scanned(found.pop("pages_scanned"))
        if "sleep_millisecs" in found:
            yield self.sleep(found.pop("sleep_millisecs") / 1000)
        if "general_profit" in found:
            yield self.profit(found.pop("general_profit"))
        yield self.setting.row(list(found.values()), tuple(found))

    def _read(self, folder: str, files: tuple[str, ...] | list[str]) -> dict[str, int]:
        """The numbers of these files; without those that are not there, may not be read, or hold none."""
        found = {}
        for file in files:
            try:
                found[file] = int(self.host.read(f"{folder}/{file}", "").partition("\n")[0])
            except (OSError, ValueError):
                continue
        return found
