r"""Rows in a table of PostgreSQL, or of TimescaleDB, by COPY.

The table has the columns time (timestamptz), name (text), labels (jsonb), value (double precision) and host (text), and an
index over name and time. One that is made by hand may have more columns, where they have defaults. With `timescale` a new table
is made a hypertable. Old rows are the database's business: PostgreSQL's partitions, TimescaleDB's retention policies.

A transaction whose commit was not answered is sent again. With `unique` the table is made with a unique index, and what it
holds already is not stored twice; without, the rows of such a transaction may be there twice. With `unique` COPY goes to a
temporary table first, so that the user needs the right to make one, and to read the table.

PostgreSQL's text cannot hold a NUL character: it is written as `\x00`. Values are doubles: whole numbers beyond 2**53 lose
digits, and floats come with 12 significant ones. Rows that the database refuses for their data (SQLSTATE classes 22, 23 and 54)
are given up; anything else it says is a reason to try again later.

Where no password is given, `PGPASSWORD` and `~/.pgpass` are asked as by any client of PostgreSQL.

Tested against PostgreSQL 15; `timescale` is not tested against a real TimescaleDB.

Source: https://www.postgresql.org/docs/current/sql-copy.html (text format),
https://www.postgresql.org/docs/current/errcodes-appendix.html,
https://docs.timescale.com/api/latest/hypertable/create_hypertable_old/.
"""

from __future__ import annotations

from adamas import Rejected, Retry, log, option
from adamas.host import split_address
from adamas.lines import TIME, VALUE
from adamas.transport.sql import Server, utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Awaitable
    from typing import Any, TypeVar

    from adamas.naming import Point

    Answer = TypeVar("Answer")

COLUMNS = ("time", "name", "labels", "value", "host")
ESCAPED = {ord("\\"): "\\\\", **{code: f"\\x{code:02x}" for code in range(32)}}
"""What a column of COPY's text format writes as an escape."""
DATA = ("22", "23", "54")
"""Classes of SQLSTATE that speak of the rows: data exception, integrity constraint violation, program limit exceeded."""
INCOMING = "adamas_incoming"


class Postgresql(Server):
    """Copies a row for each point into a table."""

    name = "postgresql"
    modules = ("asyncpg",)
    extra = "postgresql"
    port = 5432

    address: str = option("127.0.0.1:5432", "Where the server listens: host:port, or the folder of its socket")
    timescale: bool = option(False, "Make a new table a hypertable of TimescaleDB, where the database has that extension")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._connection: Any = None
        self._target = ".".join([quoted(part) for part in self.parts()])

    def fit(self, point: Point) -> Point | None:
        """NUL characters are written out."""
        if "\0" in point.name or any("\0" in name or "\0" in value for name, value in point.labels):
            pairs = tuple([(name.replace("\0", "\\x00"), value.replace("\0", "\\x00")) for name, value in point.labels])
            point = point.named(point.name.replace("\0", "\\x00"), pairs)
        return super().fit(point)

    def line(self, point: Point) -> str:
        """A row as COPY reads it."""
        name, labels, host = [text.translate(ESCAPED) for text in self.columns(point)]
        return f"{TIME}\t{name}\t{labels}\t{VALUE}\t{host}\n"

    def stamp(self, time: float) -> str:
        """A time's text in `self.lines`."""
        return utc(time) + "+00"

    def open(self) -> None:
        """Connect, and make the table where it is missing; OSError or Retry where that cannot be."""
        if self._connection is not None and not self._connection.is_closed():
            return
        self.close()
        import asyncio

        self._loop = asyncio.new_event_loop()
        try:
            self._connection = self._wait(self._connect())
            self._wait(self._prepare())
        except Exception as error:
            self.close()
            raise self.judged(error) from None

    async def _connect(self) -> Any:
        import asyncpg  # type: ignore[import-untyped]

        socket = self.address.startswith("/")
        host, port = (self.address, self.port) if socket else split_address(self.address, self.port)
        return await asyncpg.connect(
            host=host,
            port=port,
            user=self.username,
            password=str(self.password) or None,
            database=self.database,
            ssl=self.context() if self.tls else False,
            timeout=self.timeout,
            command_timeout=self.timeout,
            server_settings={"application_name": "adamas"},
        )

    async def _prepare(self) -> None:
        """The table, in one transaction with its index; and the one that takes rows before they are known to be new."""
        there = await self._connection.fetchval("SELECT to_regclass($1) IS NOT NULL", self._target)
        if not there and self.create:
            async with self._connection.transaction():
                await self._create()
        if self.unique:
            table = f"CREATE TEMPORARY TABLE {INCOMING} ON COMMIT DELETE ROWS AS SELECT {', '.join(COLUMNS)} FROM {self._target}"
            await self._connection.execute(f"{table} WITH NO DATA")

    async def _create(self) -> None:
        await self._connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self._target} (time timestamptz NOT NULL, name text NOT NULL,"
            " labels jsonb NOT NULL, value double precision NOT NULL, host text NOT NULL)"
        )
        if self.timescale:
            if await self._connection.fetchval("SELECT count(*) FROM pg_extension WHERE extname = 'timescaledb'"):
                await self._connection.execute(
                    "SELECT create_hypertable($1::regclass, 'time', create_default_indexes => FALSE)", self._target
                )
            else:
                log.warning(self.instance, f"the database {self.database} has no TimescaleDB: {self.table} is a plain table")
        if self.unique:
            await self._connection.execute(f"CREATE UNIQUE INDEX ON {self._target} (name, time, host, md5(labels::text))")
        else:
            await self._connection.execute(f"CREATE INDEX ON {self._target} (name, time)")

    def _wait(self, answer: Awaitable[Answer]) -> Answer:
        """The library wants a loop of events: one of its own turns while something is awaited."""
        assert self._loop is not None
        return self._loop.run_until_complete(answer)

    def execute(self, statement: str) -> None:
        """Have the server execute a statement."""
        self._wait(self._connection.execute(statement))

    def insert(self, lines: bytes) -> None:
        """COPY the rows, by way of a temporary table where each may be there only once."""
        *schema, table = [INCOMING] if self.unique else self.parts()
        self._wait(
            self._connection.copy_to_table(table, schema_name="".join(schema) or None, columns=COLUMNS, source=_whole(lines))
        )
        if self.unique:
            columns = ", ".join(COLUMNS)
            self.execute(f"INSERT INTO {self._target} ({columns}) SELECT {columns} FROM {INCOMING} ON CONFLICT DO NOTHING")
            self.execute(f"TRUNCATE {INCOMING}")

    def judged(self, error: Exception) -> Exception:
        """By the class of the server's SQLSTATE; what the library says itself is about the connection."""
        import asyncpg

        if isinstance(error, asyncpg.PostgresError):
            words = " ".join(f"{error} (SQLSTATE {error.sqlstate})".split())
            return Rejected(words) if (error.sqlstate or "")[:2] in DATA else Retry(words)
        if isinstance(error, asyncpg.InterfaceError):
            return Retry(str(error))
        if isinstance(error, TimeoutError):
            return Retry(f"no answer within {self.timeout:g} s")
        return error

    def close(self) -> None:
        """Hang up, whatever state the connection is in."""
        if self._loop is None:
            return
        loop, connection = self._loop, self._connection
        self._loop = self._connection = None
        try:
            loop.run_until_complete(_end(connection))
        finally:
            loop.close()


async def _end(connection: Any) -> None:
    """Drop the connection and whatever the library still does for it, such as taking back a statement that was too slow."""
    import asyncio

    if connection is not None:
        connection.terminate()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


async def _whole(payload: bytes) -> AsyncIterator[bytes]:
    """A payload as a source of rows; the library would take plain bytes for a file's path."""
    yield payload


def quoted(name: str) -> str:
    """A name as an identifier."""
    return '"' + name.replace('"', '""') + '"'
