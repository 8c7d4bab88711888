"""The agent beside those of its kind that are installed here, on this machine, in one run: `make bench`.

Three measurements, one table. Steady: all agents run at once and measure the same host every second. Start: each alone, from
exec to its first metric. Moving: each alone, CPU seconds for a million metrics. Ratios are to the first column.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ends import End
from meter import Tree
from peers import Adamas, AdamasPage, Collectd, Netdata, NodeExporter, Peer, Statsd, Vmagent

Figures = dict[str, float]
STARTS = 5
SHARE = 0.5


class Run:
    """One peer at work, with the end that counts its metrics."""

    def __init__(self, peer: Peer, command: Callable[[Path, int], list[str]], work: Path) -> None:
        self.peer = peer
        self.directory = Path(tempfile.mkdtemp(prefix=f"{peer.program}-", dir=work))
        self.end: End = peer.end()
        argv = command(self.directory, self.end.port)
        self.end.start()
        self.tree = Tree(argv, self.directory)

    def mark(self) -> tuple[float, float, int]:
        """(moment, CPU seconds, metrics) now."""
        return time.monotonic(), self.tree.cpu(), self.end.count

    def check(self) -> None:
        """Say so where it does not do its work: then there is no figure."""
        if self.tree.process.poll() is not None:
            said = self.tree.log.read_text(errors="replace")[-500:]
            raise RuntimeError(f"{self.peer.name} ended with {self.tree.process.returncode}: {said}")

    def stop(self) -> None:
        """End both."""
        self.tree.stop()
        self.end.stop()


def steady(peers: Sequence[Peer], work: Path, warmup: float, seconds: float) -> dict[str, Figures]:
    """All at once: metrics, CPU and memory of a tick."""
    runs = []
    try:
        runs += [Run(peer, peer.steady, work) for peer in peers]
        time.sleep(warmup)
        before = [run.mark() for run in runs]
        time.sleep(seconds)
        found = {}
        for run, (moment, cpu, count) in zip(runs, before, strict=True):
            run.check()
            now, cpu_now, count_now = run.mark()
            ticks, metrics = now - moment, count_now - count
            if not metrics:
                raise RuntimeError(f"nothing arrived from {run.peer.name}")
            rss, pss = run.tree.memory()
            found[run.peer.name] = {
                "metrics a tick": metrics / ticks,
                "CPU a tick, ms": 1e3 * (cpu_now - cpu) / ticks,
                "CPU a metric, us": 1e6 * (cpu_now - cpu) / metrics,
                "memory (RSS), MB": rss,
                "memory (PSS), MB": pss,
            }
        return found
    finally:
        for run in runs:
            run.stop()


def start(peer: Peer, work: Path) -> Figures:
    """From exec to the first metric, the median of a few."""
    took = []
    for _ in range(STARTS):
        run = Run(peer, peer.steady, work)
        try:
            end = time.monotonic() + 30
            while not run.end.first:
                run.check()
                if time.monotonic() > end:
                    raise RuntimeError(f"nothing arrived from {peer.name}")
                time.sleep(0.002)
            took.append(run.end.first - run.tree.started)
        finally:
            run.stop()
    return {"start to first metric, s": statistics.median(took)}


def moving(peer: Peer, work: Path, count: int, warmup: float, seconds: float) -> Figures:
    """CPU seconds for a million metrics, of so many each second."""
    run = Run(peer, lambda directory, port: peer.moving(directory, port, count), work)
    try:
        time.sleep(1)
        peer.load(run.directory, count)
        time.sleep(warmup)
        moment, cpu, arrived = run.mark()
        time.sleep(seconds)
        run.check()
        now, cpu_now, arrived_now = run.mark()
        metrics = arrived_now - arrived
        if metrics < SHARE * count * (now - moment):
            raise RuntimeError(f"{peer.name} moved only {metrics} of {count * (now - moment):.0f}")
        return {"CPU for a million metrics, s": 1e6 * (cpu_now - cpu) / metrics}
    finally:
        run.stop()


def table(found: dict[str, Figures]) -> str:
    """All figures, with ratios to the first column."""
    names = list(found)
    rows = list(dict.fromkeys(row for figures in found.values() for row in figures))
    lines = [["", *names]]
    for row in rows:
        own = found[names[0]].get(row)
        cells = []
        for name in names:
            value = found[name].get(row)
            ratio = f" ({value / own:.2f}x)" if value is not None and own and name != names[0] else ""
            cells.append("-" if value is None else f"{value:.{3 if value < 0.995 else 2 if value < 9.95 else 1}f}{ratio}")
        lines.append([row, *cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    )


def interpreter(adamas: str) -> str:
    """The Python that the agent runs on: interpreters differ by megabytes."""
    with open(adamas, "rb") as file:
        first = file.readline().decode(errors="replace").removeprefix("#!").strip()
    code = "import os, sys; print(os.path.realpath(sys.executable), sys.version.split()[0])"
    return subprocess.run([first, "-c", code], capture_output=True, text=True, check=False).stdout.strip() or first


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0] if __doc__ else "")
    parser.add_argument("--adamas", default=shutil.which("adamas") or "adamas", help="the command to measure")
    parser.add_argument("--seconds", type=float, default=30, help="how long each is measured (default: 30)")
    parser.add_argument("--warmup", type=float, default=12, help="how long each may settle before (default: 12)")
    parser.add_argument("--count", type=int, default=10_000, help="metrics a second in the third measurement (default: 10000)")
    parser.add_argument("--only", choices=("steady", "start", "moving"), help="one of the three")
    parser.add_argument("--json", metavar="FILE", help="write the figures there too")
    asked = parser.parse_args()
    command = os.path.abspath(asked.adamas)
    all_peers = [Adamas(command), AdamasPage(command), Collectd(), Netdata(), NodeExporter(), Vmagent(), Statsd()]
    peers = [peer for peer in all_peers if peer.argv0]
    missing = ", ".join(peer.program for peer in all_peers if not peer.argv0)
    if missing:
        print(f"not installed, so not measured: {missing}")
    work = Path(tempfile.mkdtemp(prefix="adamas-bench-"))
    found: dict[str, Figures] = {peer.name: {} for peer in peers}
    failed = False
    try:
        if asked.only in (None, "steady"):
            those = [peer for peer in peers if peer.measures]
            print(f"steady: {len(those)} agents at once, {asked.warmup + asked.seconds:.0f} s", flush=True)
            for name, figures in steady(those, work, asked.warmup, asked.seconds).items():
                found[name] |= figures
        for what, measure in (
            ("start", start),
            ("moving", lambda peer, work: moving(peer, work, asked.count, asked.warmup / 2, asked.seconds / 2)),
        ):
            for peer in peers if asked.only in (None, what) else []:
                if not (peer.moves if what == "moving" else peer.measures):
                    continue
                print(f"{what}: {peer.name}", flush=True)
                try:
                    found[peer.name] |= measure(peer, work)
                except RuntimeError as error:
                    failed = True
                    print(f"no figure: {error}", file=sys.stderr)
    except RuntimeError as error:
        print(f"no figures: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(work, ignore_errors=True)
    machine = f"{os.cpu_count()} CPUs, {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}"
    print(f"\n{machine}; Adamas on {interpreter(command)}\n")
    print(table(found))
    if asked.json:
        Path(asked.json).write_text(json.dumps(found, indent=1) + "\n")
    return 2 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
