"""RRD files through rrdcached, rrdtool's caching daemon: a file for each series, made when its first value comes.

A send is one BATCH of UPDATE lines; the daemon answers which of them it refused. Files that are not there are made with CREATE
(rrdtool 1.5 and later) and updated again. A value that was taken is in the daemon's memory, and in its journal where it has
one.

A file only takes values later than its last. So what waits on disk is sent before anything new. A value that was sent before an
answer got lost and is found to be there already counts as delivered, any other one that comes too late as refused.

Source: rrdcached(1), rrdcreate(1). Tested against rrdtool 1.7.2.
"""

from __future__ import annotations

import re
import zlib

from adamas import Duration, Rejected, Retry, option
from adamas.lines import TIME, VALUE
from adamas.transport.stream import Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from io import BufferedReader

    from adamas.naming import Point

_NOT_FILE = re.compile(r"[^\w.\-]+")
LONGEST = 200
"""The most bytes of a file's or folder's name; the file system has 255, and rrdtool adds to it while it makes the file."""
DEEPEST = 2000
"""The most bytes of a whole name; the daemon takes lines of 4096."""
CREATED = 100
"""Files that are made before the daemon is asked how that went."""
DOUBTFUL = 200_000
"""The most lines of which it is kept that nobody knows whether they arrived."""


class Rrdcached(Stream):
    """Updates a file for each series, `NAME.rrd` with one data source, `value`, of type GAUGE.

    Names keep letters, digits and `_.-`, the rest becomes `_`; what is too long is cut and ends in a check sum of the whole.
    Values are stored as doubles, times in whole seconds.
    """

    name = "rrdcached"
    ordered = True
    default_naming = "path"
    confirms_later = False
    port = 42217

    address: list[str] = option(["unix:/run/rrdcached.sock"], "Where rrdcached listens: host:port or unix:/path")
    directory: str = option("", "What comes before a file's name (default: nothing, which is the daemon's base directory)")
    folders: bool = option(False, "A folder for each segment of a name, instead of dots in the file's (rrdcached needs -R)")
    step: Duration = option("10s", "The time between the values that a new file expects", minimum=1)
    heartbeat: Duration = option("0s", "How long a new file waits for a value before it is unknown (0: two steps)")
    archives: list[str] = option(
        ["AVERAGE:0.5:1:8640", "AVERAGE:0.5:30:8928", "AVERAGE:0.5:360:8784", "MIN:0.5:360:8784", "MAX:0.5:360:8784"],
        "What a new file keeps, as rrdcreate's RRA: (here, at 10 s) a day of all, a month of 5 minutes, a year of hours",
    )

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._answers: BufferedReader | None = None
        self._doubtful: set[bytes] = set()

    def check(self) -> list[str]:
        """Archives must look like rrdcreate's; no white space where the daemon splits."""
        wrong = super().check()
        if not self.archives:
            wrong.append("archives: expected at least one")
        for archive in self.archives:
            if not re.fullmatch(r"[A-Z]+(?::[\w.+-]+)+", archive):
                wrong.append(f'archives: expected such as "AVERAGE:0.5:1:8640", not {archive!r}')
        if re.search(r"[\s\\]", self.directory):
            wrong.append("directory: expected a path without spaces and backslashes")
        return wrong

    def fit(self, point: Point) -> Point | None:
        """The file's name without its ending."""
        if not self.folders:
            return point.named(_short(_NOT_FILE.sub("_", point.name)))
        name = "/".join([_short(_NOT_FILE.sub("_", part) or "_") for part in point.name.split(".")])
        return point.named(name) if len(name.encode()) <= DEEPEST else None

    def line(self, point: Point) -> str:
        """The command that adds a value."""
        directory = self.directory.rstrip("/") + "/" if self.directory else ""
        return f"UPDATE {directory}{point.name}.rrd {TIME}:{VALUE}\n"

    def greet(self) -> None:
        """Answers are read by lines."""
        assert self.socket is not None
        self._answers = self.socket.makefile("rb")

    def close(self) -> None:
        """Drop the connection."""
        if self._answers is not None:
            self._answers.close()
            self._answers = None
        super().close()

    def send(self, payload: bytes) -> None:
        """One batch; what is refused because its file is not there is sent again when that is made."""
        lines = payload.splitlines(keepends=True)
        try:
            refused = self._batch(lines)
            absent = [line for line, words in refused.items() if b"No such file" in words]
            if absent:
                self._create(absent)
                for line in absent:
                    del refused[line]
                refused |= self._batch(absent)
            for words in refused.values():
                if b"Permission denied" in words:
                    raise Retry(f"{words.decode(errors='replace')}; see directory")
        except BaseException:
            if len(self._doubtful) < DOUBTFUL:
                self._doubtful.update(lines)
            raise
        late = [line for line, words in refused.items() if b"illegal attempt to update" in words]
        for line in late:
            if line in self._doubtful:
                del refused[line]
        self._doubtful.difference_update(lines)
        if refused:
            raise Rejected(next(iter(refused.values())).decode(errors="replace"), len(refused), b"".join(refused))

    def _create(self, lines: Sequence[bytes]) -> None:
        """Make the files that these updates are for; Retry where that is not allowed."""
        begins: dict[bytes, int] = {}
        for line in lines:
            _, file, value = line.split(b" ", 2)
            begins[file] = min(begins.get(file, 1 << 62), int(value.split(b":", 1)[0]))
        archives = " ".join([f"RRA:{archive}" for archive in self.archives])
        beat = int(self.heartbeat or 2 * self.step)
        form = f" -s {int(self.step)} -b %d -O DS:value:GAUGE:{beat}:U:U {archives}\n"
        commands = [b"CREATE " + file + (form % (first - int(self.step))).encode() for file, first in begins.items()]
        for start in range(0, len(commands), CREATED):
            for words in self._batch(commands[start : start + CREATED]).values():
                if b"File exists" not in words:
                    hint = " (does rrdcached run with -R?)" if b"recursive" in words else ""
                    raise Retry(f"cannot make a file: {words.decode(errors='replace')}{hint}")

    def _batch(self, lines: Iterable[bytes]) -> dict[bytes, bytes]:
        """The lines that the daemon refused of these, each with its words."""
        assert self.socket is not None
        wanted = list(lines)
        self.socket.sendall(b"".join([b"BATCH\n", *wanted, b".\n"]))
        status, words = self._status()
        if status < 0:
            raise Retry(words.decode(errors="replace"))
        status, words = self._status()
        if status < 0:
            raise Retry(words.decode(errors="replace"))
        refused = {}
        for _ in range(status):
            number, _, words = self._line().partition(b" ")
            if number.isdigit() and 1 <= int(number) <= len(wanted):  # else it goes on with the line before
                refused[wanted[int(number) - 1]] = words
        return refused

    def _status(self) -> tuple[int, bytes]:
        """The first line of an answer: a number, negative for an error, else how many lines follow, and words."""
        line = self._line()
        number, _, words = line.partition(b" ")
        try:
            return int(number), words
        except ValueError:
            raise Retry(f"not an answer of rrdcached's: {line[:100].decode(errors='replace')!r}") from None

    def _line(self) -> bytes:
        assert self._answers is not None
        line = self._answers.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("rrdcached hung up")
        return line.rstrip(b"\n")


def _short(name: str) -> str:
    """The name, or what fits of it with a check sum of the whole; never a hidden one."""
    if name.startswith("."):
        name = "_" + name[1:]
    data = name.encode("utf-8", "backslashreplace")
    if len(data) <= LONGEST:
        return name
    return f"{data[: LONGEST - 9].decode(errors='ignore')}_{zlib.crc32(data):08x}"
