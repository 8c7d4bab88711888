"""The file: SQLite in WAL mode, one writing thread, any number of readers.

    collector   the instances of collectors: id, name; sealed: the last run that is in a block
    series      id: collector << 32 | place; name, unit, kind, help as the path naming has them; increase: 1 where a column holds
                a counter's increases, to be divided by what they took; seen: about when it had its last sample
    block       up to 60 runs of a collector: the first and last time, how many samples, the stamps (see `codec`)
    chunk       id: block << 24 | place / 16; data: the columns of 16 neighbours in that block (see `codec`)
    run         the newest runs: slot: place in its block to be << 24 | collector; id; layout; time; elapsed: what its increases
                took; data: one double for each place of its layout, NaN where there is no value. Those up to the collector's
                `sealed` are left over from the block before: slots are written again and again, which costs less than to delete
    layout      the series of a run: places: a 4-byte integer for each, those from `first` to `last` hold increases
    meta        samples: how many there are in all blocks; order: the byte order of the machine that wrote the file

Times are milliseconds since 1970: `SELECT name, datetime(seen / 1000, 'unixepoch') FROM series` lists what there is, and
`SELECT sum(samples), datetime(min(first) / 1000, 'unixepoch') FROM block` how much of it and since when.

A run is written when it comes, and sealed in a block when that is full. A transaction has all of it or nothing, so whatever ends
the process leaves each sample in one place. The commit reaches the kernel, not the disk: a power cut may cost what the kernel had
not written yet, but never the file.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import time
from array import array
from operator import itemgetter

from adamas.history.head import Head, Layout, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any

    from adamas.history.head import Row, Work

APPLICATION = 0x4164616D
VERSION = 1
PATIENCE = 1.0
"""How long a commit waits for another process that has the file locked."""

SERIES_BITS, SLAB_BITS, SLOT_BITS = 32, 24, 24

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE collector (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, sealed INTEGER NOT NULL);
CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL, unit TEXT NOT NULL, kind TEXT NOT NULL, help TEXT NOT NULL,
                     increase INTEGER NOT NULL, seen INTEGER NOT NULL);
CREATE INDEX series_name ON series (name);
CREATE TABLE block (id INTEGER PRIMARY KEY, collector INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
                    samples INTEGER NOT NULL, stamps BLOB NOT NULL);
CREATE INDEX block_time ON block (collector, first, last);
CREATE TABLE chunk (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE layout (id INTEGER PRIMARY KEY, collector INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
                     places BLOB NOT NULL);
CREATE TABLE run (slot INTEGER PRIMARY KEY, id INTEGER NOT NULL, layout INTEGER NOT NULL, time INTEGER NOT NULL,
                  elapsed REAL NOT NULL, data BLOB NOT NULL);
"""


class Foreign(Exception):
    """The file is not ours, or of a version that this one does not know."""


def identity(path: str) -> tuple[int, int]:
    """What tells a file from another that takes its place."""
    try:
        found = os.stat(path)
    except OSError:
        return (0, 0)
    return (found.st_dev, found.st_ino)


class Store:
    """The writer's side of the file. One thread opens it and calls everything but `bytes`."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.db: sqlite3.Connection | None = None
        self.other = False
        """Whether what was opened last is not what was open before."""
        self._identity = (0, 0)

    # life

    def open(self) -> bool:
        """Open the file; whether it was begun just now. Raises sqlite3.Error, OSError, Foreign."""
        directory = os.path.dirname(self.path) or "."
        os.makedirs(directory, mode=0o700, exist_ok=True)
        try:
            # Only where there is none: to close another descriptor of a file that SQLite has open would drop its locks.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))  # -wal and -shm take its mode
        except FileExistsError:
            pass
        db = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, cached_statements=64)
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            application = db.execute("PRAGMA application_id").fetchone()[0]
            db.execute("PRAGMA cache_size = -64")
            db.execute("PRAGMA secure_delete = OFF")
            begun = not application and not version and not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if begun:
                db.execute("PRAGMA auto_vacuum = INCREMENTAL")
                db.execute("PRAGMA journal_mode = WAL")
                db.execute("BEGIN IMMEDIATE")
                for statement in SCHEMA.split(";")[:-1]:
                    db.execute(statement)
                db.execute("INSERT INTO meta VALUES ('samples', 0), ('order', ?)", [sys.byteorder])
                db.execute(f"PRAGMA application_id = {APPLICATION}")
                db.execute(f"PRAGMA user_version = {VERSION}")
                db.execute("COMMIT")
            elif (application, version) != (APPLICATION, VERSION):
                raise Foreign(f"it is not a history of this version (application {application:#x}, version {version})")
            elif db.execute("SELECT value FROM meta WHERE key = 'order'").fetchone() != (sys.byteorder,):
                raise Foreign("it was written by a machine of another byte order")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.execute("PRAGMA journal_size_limit = 4194304")
        except BaseException:
            db.close()
            raise
        self.db = db
        before, self._identity = self._identity, identity(self.path)
        self.other = before != self._identity
        return begun

    def replaced(self) -> bool:
        """Whether the file that is open is no longer the one at its path."""
        return identity(self.path) != self._identity

    def close(self) -> None:
        """Put everything in the one file and let go of it."""
        db, self.db = self.db, None
        if db is not None:
            for step in (lambda: db.execute("PRAGMA wal_checkpoint(TRUNCATE)"), db.close):
                try:
                    step()
                except sqlite3.Error:
                    pass

    def set_aside(self) -> str:
        """Rename the file so that another can begin; its new name."""
        self.close()
        stem = name = f"{self.path}.damaged-{time.strftime('%Y%m%dT%H%M%S')}"
        number = 1
        while os.path.lexists(name):
            number += 1
            name = f"{stem}-{number}"
        for end in ("-wal", "-shm", ""):
            try:
                os.rename(self.path + end, name + end)
            except FileNotFoundError:
                pass
        return name

    def bytes(self) -> int:
        """What the file takes."""
        total = 0
        for end in ("", "-wal"):
            try:
                total += os.stat(self.path + end).st_size
            except OSError:
                pass
        return total

    # what there is

    def _rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        assert self.db is not None
        return self.db.execute(statement, values).fetchall()

    def _one(self, statement: str, *values: Any) -> Any:
        return self._rows(statement, *values)[0][0]

    def load(self) -> list[Head]:
        """Every collector, with the runs that are in no block yet."""
        heads = {key: Head(key, name, sealed) for key, name, sealed in self._rows("SELECT id, name, sealed FROM collector")}
        for head in heads.values():
            low = head.id << SERIES_BITS
            last = self._one("SELECT max(id) FROM series WHERE id BETWEEN ? AND ?", low, low | (1 << SERIES_BITS) - 1)
            head.next = 0 if last is None else last - low + 1
        layouts: dict[int, tuple[Head, Layout]] = {}
        for key, collector, first, last, data in self._rows("SELECT id, collector, first, last, places FROM layout"):
            if collector in heads:
                layout = Layout(key, array("I", data), first, last, saved=True)
                layouts[key] = heads[collector], layout
                heads[collector].layouts[layout.key] = layout
        for key, which, moment, elapsed, data in self._rows("SELECT id, layout, time, elapsed, data FROM run ORDER BY id"):
            if which in layouts:
                head, layout = layouts[which]
                if key > head.sealed and len(data) == 8 * len(layout.places):
                    run = Run(key, moment, elapsed, layout, data, sum([v == v for v in array("d", data)]))
                    run.saved = run.counted = True
                    head.add(run)
        return list(heads.values())

    def counts(self) -> dict[str, int]:
        """The next ids, and how much there is."""
        return {
            "collector": (self._one("SELECT max(id) FROM collector") or 0) + 1,
            "layout": (self._one("SELECT max(id) FROM layout") or 0) + 1,
            "run": max(self._one("SELECT max(id) FROM run") or 0, self._one("SELECT max(sealed) FROM collector") or 0) + 1,
            "block": (self._one("SELECT max(id) FROM block") or 0) + 1,
            "series": self._one("SELECT count(*) FROM series"),
            "samples": int(self._one("SELECT value FROM meta WHERE key = 'samples'")),
        }

    def series(self, collector: int, names: Sequence[str]) -> list[Row]:
        """(place, name, unit, kind, help, increase) of a collector's series that have one of these names."""
        low = collector << SERIES_BITS
        columns = "SELECT id - ?, name, unit, kind, help, increase FROM series"
        span = (low, low, low | (1 << SERIES_BITS) - 1)
        if len(names) > 50:
            wanted = set(names)
            assert self.db is not None
            return [row for row in self.db.execute(f"{columns} WHERE id BETWEEN ? AND ?", span) if row[1] in wanted]
        one = f"{columns} INDEXED BY series_name WHERE id BETWEEN ? AND ? AND name = ?"
        return [row for name in names for row in self._rows(one, *span, name)]

    def oldest(self, collectors: Iterable[int]) -> int | None:
        """The time of the first sample in a block."""
        found = [self._one("SELECT min(first) FROM block WHERE collector = ?", id) for id in collectors]
        return min([f for f in found if f is not None], default=None)

    # what changes

    def save(self, work: Work) -> None:
        """Write what is new of these collectors, in one transaction; afterwards runs and layouts are marked as saved."""
        assert self.db is not None
        execute, each = self.db.execute, self.db.executemany
        runs = [(slot << SLOT_BITS | head.id, r) for head, runs, _ in work for slot, r in runs]
        runs.sort(key=itemgetter(0))  # page by page
        layouts = [(head, layout) for head, runs, _ in work for layout in {id(r.layout): r.layout for _, r in runs}.values()]
        layouts = [(head, layout) for head, layout in layouts if not layout.saved]
        blocks = [(head, b) for head, _, blocks in work for b in blocks]
        execute("BEGIN IMMEDIATE")
        try:
            each("INSERT INTO collector VALUES (?, ?, 0)", [(h.id, h.name) for h, _, _ in work if not h.saved])
            for head, _, _ in work:
                if head.fresh:
                    each(
                        "INSERT INTO series VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE"
                        " SET unit = excluded.unit, kind = excluded.kind, help = excluded.help",
                        [(head.id << SERIES_BITS | place, *about, seen) for (place, *about), seen in head.fresh],
                    )
            if layouts:
                about = [(layout.id, head.id, layout.first, layout.last, layout.places) for head, layout in layouts]
                each("INSERT INTO layout VALUES (?, ?, ?, ?, ?)", about)
            rows = [(slot, r.id, r.layout.id, r.time, r.elapsed, r.data) for slot, r in runs]
            each("INSERT OR REPLACE INTO run VALUES (?, ?, ?, ?, ?, ?)", rows)
            for head, block in blocks:
                row = (block.id, head.id, block.first, block.last, block.samples, block.stamps)
                execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)", row)
                each("INSERT INTO chunk VALUES (?, ?)", [(block.id << SLAB_BITS | slab, data) for slab, data in block.chunks])
                seen = [(at, head.id << SERIES_BITS | place) for at, place in block.seen]
                each("UPDATE series SET seen = max(seen, ?) WHERE id = ?", seen)
            if blocks:
                self._count(sum(b.samples for _, b in blocks))
                each("UPDATE collector SET sealed = ? WHERE id = ?", [(h.sealed, h.id) for h, _, done in work if done])
            stale = [layout for head, _, done in work if done for layout in head.stale() if layout.saved]
            each("DELETE FROM layout WHERE id = ?", [(layout.id,) for layout in stale])
            execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        for _, run in runs:
            run.saved = True
        for _, layout in layouts:
            layout.saved = True
        for layout in stale:
            layout.saved = False
        for head, _, _ in work:
            head.saved = True

    def _count(self, samples: int) -> None:
        assert self.db is not None
        self.db.execute("UPDATE meta SET value = value + ? WHERE key = 'samples'", [samples])

    def _undo(self) -> None:
        try:
            if self.db is not None and self.db.in_transaction:
                self.db.execute("ROLLBACK")
        except sqlite3.Error:
            pass

    def expire(self, collectors: Iterable[int], before: int, most: int) -> tuple[int, int]:
        """Delete blocks that ended before a moment, so many at most; returns (blocks, samples)."""
        assert self.db is not None
        found: list[tuple[int, int]] = []
        for collector in collectors:
            found += self._rows(
                "SELECT id, samples FROM block WHERE collector = ? AND first < ? AND last < ? ORDER BY first LIMIT ?",
                *(collector, before, before, most - len(found)),
            )
            if len(found) >= most:
                break
        if not found:
            return 0, 0
        samples = sum(s for _, s in found)
        self.db.execute("BEGIN IMMEDIATE")
        try:
            for id, _ in found:
                self.db.execute("DELETE FROM chunk WHERE id BETWEEN ? AND ?", [id << SLAB_BITS, (id + 1 << SLAB_BITS) - 1])
                self.db.execute("DELETE FROM block WHERE id = ?", [id])
            self._count(-samples)
            self.db.execute("COMMIT")
        except BaseException:
            self._undo()
            raise
        return len(found), samples

    def forget(self, before: int, most: int, but: set[tuple[int, int]]) -> tuple[set[tuple[int, int]], set[int]]:
        """Delete series that were last seen before a moment, except some, and collectors that have none left.

        Returns (collector, place) of the series, and the collectors. No block may be that old any more.
        """
        rows = self._rows("SELECT id FROM series WHERE seen < ? LIMIT ?", before, most + len(but))
        found = {(key >> SERIES_BITS, key & (1 << SERIES_BITS) - 1) for (key,) in rows} - but
        empty: set[int] = set()
        if found:
            assert self.db is not None
            self.db.execute("BEGIN IMMEDIATE")
            try:
                keys = [(collector << SERIES_BITS | place,) for collector, place in found]
                self.db.executemany("DELETE FROM series WHERE id = ?", keys)
                for collector in {collector for collector, _ in found}:
                    low = collector << SERIES_BITS
                    if not self._rows("SELECT 1 FROM series WHERE id BETWEEN ? AND ? LIMIT 1", low, low | (1 << SERIES_BITS) - 1):
                        empty.add(collector)
                        self.db.execute("DELETE FROM collector WHERE id = ?", [collector])
                        self.db.execute("DELETE FROM layout WHERE collector = ?", [collector])
                        self.db.execute("DELETE FROM run WHERE slot & ? = ?", [(1 << SLOT_BITS) - 1, collector])
                self.db.execute("COMMIT")
            except BaseException:
                self._undo()
                raise
        return found, empty

    def shrink(self, pages: int) -> None:
        """Give back so many pages of the file where an eighth of it and more than that is unused."""
        free = self._one("PRAGMA freelist_count")
        if free > 4 * pages and free * 8 > self._one("PRAGMA page_count"):
            self._rows(f"PRAGMA incremental_vacuum({pages})")
