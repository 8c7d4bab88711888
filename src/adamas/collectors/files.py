"""Numbers that other programs leave in the files of a directory: lines of a name and a number, `jobs.waiting 12`.

Between the two is white space, `=` or `:`. Names are of a-z, 0-9, `.`, `_` and `-`; lines of another form are left out, as in
Diamond. A number has as many decimals in Diamond's spelling as in its file. Only regular files of at most 1 MiB are read, and no
symbolic links: where everyone may write, one could point at what only the agent may read.

With `delete` a file is deleted once something was found in it, unless it changed meanwhile. A program that writes one should
write it under another name, in the same file system, and move it into the directory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from stat import S_ISREG

from adamas import Collector, Sample, log, option
from adamas.collectors._named import Named

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas.host import Host

LINE = re.compile(r"([a-z0-9._-]+)[\s=:](-?[0-9]+)(\.?[0-9]*)")
LARGEST = 1 << 20


class Files(Collector):
    """Any number that a program leaves in a file."""

    name = "files"
    path = "."
    diamond = "FilesCollector"
    needs = ("/tmp/diamond",)

    dir: str = option("/tmp/diamond", "The directory of the files")
    delete: bool = option(False, "Delete files once they are read")

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._named = Named(self, "What a file says")
        self._troubled: set[str] = set()

    def collect(self) -> Iterator[Sample]:
        folder = self.dir.rstrip("/") or "/"
        troubled = set()
        for name in self.host.listdir(folder):
            path = f"{folder}/{name}"
            try:
                yield from self._numbers(path)
            except FileNotFoundError:
                continue  # its program took it away
            except (OSError, ValueError) as error:
                troubled.add(path)
                if path not in self._troubled:
                    log.warning(self.instance, f"{path}: {error}")
        self._troubled = troubled

    def sweep(self, keep: Iterable[Any]) -> None:
        """As any collector's."""
        kept = set(keep)
        super().sweep(kept)
        self._named.keep(kept)

    def _numbers(self, path: str) -> Iterator[Sample]:
        before = self.host.stat(path)
        if not S_ISREG(int(before["mode"])) or self._is_link(path):
            return
        if before["size"] > LARGEST:
            raise ValueError(f"it is larger than {LARGEST} bytes and is not read")
        found = False
        for line in self.host.read_bytes(path).decode("utf-8", "replace").split("\n"):
            match = LINE.match(line)
            if match:
                found = True
                name, integer, fraction = match.groups()
                if len(fraction) > 1:
                    yield self._named.series(name, len(fraction) - 1), float(integer + fraction)
                else:
                    yield self._named.series(name), int(integer)
        if found and self.delete:
            after = self.host.stat(path)
            if all(before[what] == after[what] for what in ("ino", "size", "mtime")):
                self.host.remove(path)

    def _is_link(self, path: str) -> bool:
        try:
            self.host.readlink(path)
        except FileNotFoundError:
            raise
        except OSError:
            return False
        return True
