"""Rows in a file of SQLite on this machine, for those who want to ask the host itself in SQL.

What to read is the view `samples`: time (seconds since 1970), name, labels (JSON), value, host. Behind it a row of `point` is a
time, a value and the number of a row of `series`. A series has one value for each time, so that what was sent again is there
once.

    SELECT datetime(time, 'unixepoch'), value FROM samples WHERE name = 'node_load1' AND time > unixepoch() - 3600 ORDER BY time

The file is in WAL mode: readers and the agent do not wait for each other. Each commit is on the disk before it counts as
delivered. Rows older than `retention` are deleted as new ones come, and the file shrinks by that. A database that another
program keeps locked for longer than `timeout`, or that is on a full disk, is tried again later. Rows are ordered by time; for
long ranges of few series an index helps: CREATE INDEX by_series ON point (series, time).

Values are doubles: whole numbers beyond 2**53 lose digits, and floats come with 12 significant ones.

Tested against SQLite 3.40, that of Python's own library.

Source: https://www.sqlite.org/wal.html, https://www.sqlite.org/withoutrowid.html, https://www.sqlite.org/rescode.html.
"""

from __future__ import annotations

import json
import os
import time

from adamas import Duration, Rejected, Retry, log, option
from adamas.lines import TIME, VALUE
from adamas.transport.sql import Rows, in_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

    from adamas.naming import Point

SCHEMA = """
PRAGMA auto_vacuum = incremental;
PRAGMA journal_mode = wal;
PRAGMA synchronous = full;
PRAGMA journal_size_limit = 16777216;
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, labels TEXT NOT NULL, host TEXT NOT NULL, day INTEGER NOT NULL,
    UNIQUE (name, labels, host)
);
CREATE TABLE IF NOT EXISTS point (time NUMERIC NOT NULL, series INTEGER NOT NULL, value REAL NOT NULL, PRIMARY KEY (time, series))
    WITHOUT ROWID;
CREATE VIEW IF NOT EXISTS samples AS SELECT time, name, labels, value, host FROM point JOIN series ON series.id = point.series;
COMMIT;
"""
FIND = (
    "INSERT INTO series (name, labels, host, day) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (name, labels, host) DO UPDATE SET day = max(day, excluded.day) RETURNING id"
)
DAY = 86400
STEP = 600.0
"""The most seconds of old rows that are deleted at a time: nobody waits long for that."""
PAUSE = 10.0
"""Seconds between two looks for old rows, where there were none."""
PAGES = 1000
"""The most pages that the file shrinks by at a time."""


class Sqlite(Rows):
    """Keeps a row for each point in a file."""

    name = "sqlite"

    path: str = option(None, "The file, which is made where there is none", required=True)
    retention: Duration = option("30d", "How long rows are kept", minimum=1)

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._connection: sqlite3.Connection | None = None
        self._file = (0, 0)
        self._series: dict[tuple[str, str, str], int] = {}
        """The numbers of those that are known to be there and were used today."""
        self._today = 0
        self._look_at = 0.0

    def check(self) -> list[str]:
        """The folder must be there."""
        wrong = super().check()
        folder = os.path.dirname(os.path.abspath(os.path.expanduser(self.path)))
        if not os.path.isdir(folder):
            wrong.append(f"path: there is no folder {folder}")
        return wrong

    def line(self, point: Point) -> str:
        """A JSON list: time, name, labels, value, host."""
        name, labels, host = map(in_json, self.columns(point))
        return f"[{TIME},{name},{labels},{VALUE},{host}]\n"

    def stamp(self, time: float) -> str:
        """A time's text in `self.lines`."""
        return f"{time:.6f}".rstrip("0").rstrip(".")

    def open(self) -> None:
        """Open the file, again where it was moved away, and make it what it should be; OSError or Retry where that cannot be."""
        path = os.path.abspath(os.path.expanduser(self.path))
        if self._connection is not None:
            try:
                there = os.stat(path)
            except FileNotFoundError:
                there = None
            if there is not None and (there.st_dev, there.st_ino) == self._file:
                return
            self.close()
        import sqlite3

        try:
            self._connection = sqlite3.connect(path, timeout=self.timeout, isolation_level=None)
            self._connection.executescript(SCHEMA)
            there = os.stat(path)
            self._file = (there.st_dev, there.st_ino)
        except Exception as error:
            self.close()
            raise self.judged(error) from None

    def send(self, payload: bytes) -> None:
        """Store the rows; then delete some that are old, if it is time."""
        super().send(payload)
        if time.monotonic() >= self._look_at:
            try:
                self._forget()
            except Exception as error:
                self._look_at = time.monotonic() + PAUSE
                log.warning(self.instance, f"old rows are not deleted: {self.judged(error)}")

    def _forget(self) -> None:
        """Delete what is older than it may be, the oldest first."""
        assert self._connection is not None
        now = time.time()
        last = now - self.retention
        oldest = self._connection.execute("SELECT min(time) FROM point").fetchone()[0]
        if oldest is None or oldest >= last:
            self._look_at = time.monotonic() + PAUSE
            return
        self._connection.execute("DELETE FROM point WHERE time < ?", (min(last, oldest + STEP),))
        self._connection.execute("DELETE FROM series WHERE day < ?", (last // DAY - 1,))
        self._connection.executescript(f"PRAGMA incremental_vacuum({PAGES})")  # execute() would free a single page

    def execute(self, statement: str) -> None:
        """Execute a statement. A transaction has the right to write from its beginning, where it can still wait for that."""
        assert self._connection is not None
        if statement.startswith("ROLLBACK"):
            self._series.clear()  # some of their numbers may be forgotten now
        self._connection.execute("BEGIN IMMEDIATE" if statement == "BEGIN" else statement)

    def insert(self, lines: bytes) -> None:
        """Insert the rows; one that is there gets its value again."""
        assert self._connection is not None
        today = int(time.time()) // DAY
        if today != self._today:
            self._today = today
            self._series.clear()
        known = self._series
        found = []
        for stamp, name, labels, value, host in json.loads(b"[" + lines[:-1].replace(b"\n", b",") + b"]"):
            key = (name, labels, host)
            series = known.get(key)
            if series is None:
                series = known[key] = self._connection.execute(FIND, (*key, today)).fetchone()[0]
            found.append((stamp, series, float(value)))
        self._connection.executemany("INSERT OR REPLACE INTO point (time, series, value) VALUES (?, ?, ?)", found)

    def judged(self, error: Exception) -> Exception:
        """What the library says of the values is about the rows, the rest about the file."""
        import sqlite3

        if isinstance(error, (sqlite3.IntegrityError, sqlite3.DataError, OverflowError)):
            return Rejected(str(error))
        return Retry(str(error)) if isinstance(error, sqlite3.Error) else error

    def close(self) -> None:
        """Close the file; what was not committed is gone."""
        self._series.clear()
        if self._connection is not None:
            self._connection.close()
            self._connection = None
