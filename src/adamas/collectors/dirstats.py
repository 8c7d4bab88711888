"""How large directories are: files, subdirectories and bytes, all levels, and when a file was last written.

Every file is looked at, so it costs about 6 us a file: give it an interval of minutes. A walk ends after `timeout` or `entries`,
and then gives nothing but `complete` 0 and a line in the log: half a directory's size would mislead. Symbolic links are followed,
as Diamond did; a directory that is reached twice is counted once. What cannot be read is left out and told in the log.

A directory on a network file system can hang: `isolation = "process"` runs the walk where it can be killed. Diamond's sizes are
whole MiB, rounded down: `allocated` the files' lengths, `current` the space that they take.
"""

from __future__ import annotations

from collections.abc import Iterator
from stat import S_ISDIR, S_ISREG

from adamas import Collector, Duration, Gauge, NoData, Raw, Sample, log, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

BLOCK = 512
MIB = 1 << 20
DAY = 86400


class Tree:
    """What a walk found."""

    __slots__ = ("files", "modified", "size", "skipped", "space", "subdirs")

    def __init__(self) -> None:
        self.files = self.subdirs = self.size = self.space = 0
        self.modified = 0.0
        self.skipped = ""


class DirStats(Collector):
    """Files, subdirectories and bytes below chosen directories."""

    name = "dirstats"
    diamond = "DirStatsCollector"
    remote = True
    needs = ("permission to read the directories",)

    dirs: dict[str, str] = option({}, "The directories, each under a name of its own")
    timeout: Duration = option("10s", "The time limit of each walk", minimum=0.01)
    entries: int = option(1_000_000, "The most files and directories of each walk", minimum=1)

    files = Gauge("{directory}.files", "Files", diamond=Raw())
    subdirs = Gauge("{directory}.subdirs", "Directories below it", diamond=Raw())
    size = Gauge("{directory}.size", "The files' lengths", unit="By", diamond=None)
    space = Gauge("{directory}.space", "What the files take on disk", unit="By", diamond=None)
    unmodified = Gauge(
        "{directory}.unmodified",
        "Time since a file was last written; where there is none, since the directory changed",
        unit="s",
        diamond=None,
    )
    complete = Gauge("{directory}.complete", "Whether the walk came to its end", diamond=None)
    figure = Gauge(
        "{directory}.{figure}",
        "Sizes in MiB and days since a file was last written, rounded down, as Diamond gave them",
        path=None,
        diamond=Raw(),
        prometheus=None,
        otel=None,
    )

    FIGURES = ("size.allocated", "size.current", "days_unmodified")

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._troubles: dict[str, str] = {}

    def collect(self) -> Iterator[Sample]:
        if not self.dirs:
            raise NoData("`dirs` names no directory")
        troubles: dict[str, str] = {}
        for name, path in self.dirs.items():
            tree = Tree()
            try:
                self._walk(path, tree)
            except (NoData, OSError) as error:
                troubles[name] = str(error)
                yield self.complete(0, name)
                continue
            if tree.skipped:
                troubles[name] = tree.skipped
            age = max(0.0, self.host.time() - tree.modified)
            yield self.complete(1, name)
            yield self.files(tree.files, name)
            yield self.subdirs(tree.subdirs, name)
            yield self.size(tree.size, name)
            yield self.space(tree.space, name)
            yield self.unmodified(age, name)
            yield self.figure.row((tree.size // MIB, tree.space // MIB, int(age / DAY)), self.FIGURES, name)
        for name, words in troubles.items():
            if name not in self._troubles:
                log.warning(self.instance, f"{name}: {words}")
        self._troubles = troubles

    def _walk(self, top: str, tree: Tree) -> None:
        host = self.host
        until = host.clock() + self.timeout
        about = host.stat(top)
        met = {(about["dev"], about["ino"])}
        waiting = [top.rstrip("/") or "/"]
        seen = 0
        while waiting:
            folder = waiting.pop()
            try:
                names = host.listdir(folder)
            except (NoData, OSError) as error:
                if folder == top or seen == 0:
                    raise
                tree.skipped = tree.skipped or f"left out: {error}"
                continue
            for name in names:
                seen += 1
                if seen > self.entries:
                    raise OSError(
                        f"more than {self.entries} files and directories: raise `entries`, or choose a smaller directory"
                    )
                if not seen % 256 and host.clock() > until:
                    raise TimeoutError(f"{seen} files in {self.timeout:g} s, and there are more: raise `timeout`")
                path = f"{folder}/{name}"
                try:
                    found = host.stat(path)
                except FileNotFoundError:
                    continue  # deleted meanwhile, or a link to nothing
                except OSError as error:
                    tree.skipped = tree.skipped or f"left out: {error}"
                    continue
                mode = int(found["mode"])
                if S_ISREG(mode):
                    tree.files += 1
                    tree.size += int(found["size"])
                    tree.space += int(found["blocks"]) * BLOCK
                    tree.modified = max(tree.modified, found["mtime"])
                elif S_ISDIR(mode):
                    tree.subdirs += 1
                    if (found["dev"], found["ino"]) not in met:
                        met.add((found["dev"], found["ino"]))
                        waiting.append(path)
        if not tree.files:
            tree.modified = about["mtime"]
