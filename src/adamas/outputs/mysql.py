r"""Rows in a table of MySQL or MariaDB, by INSERTs of many rows in one transaction.

The table has the columns time (datetime(6), in UTC), name (varchar), labels (json), value (double) and host (varchar), is an
InnoDB table of utf8mb4, and has an index over name and time. One that is made by hand may have more columns, where they have
defaults, but must have transactions. Names are told apart by case. Old rows are the database's business.

A transaction whose commit was not answered is sent again. With `unique` the table is made with a unique key over all but the
value, and what it holds already is not stored twice; without, the rows of such a transaction may be there twice.

Values are doubles: whole numbers beyond 2**53 lose digits, and floats come with 12 significant ones. Rows that the database
refuses for their data (too long, out of range, against a constraint) are given up; anything else it says, deadlocks and
timeouts of locks among it, is a reason to try again later.

Tested against MariaDB 10.11; not tested against MySQL.

Source: https://dev.mysql.com/doc/refman/8.0/en/innodb-error-handling.html,
https://dev.mysql.com/doc/mysql-errors/8.0/en/server-error-reference.html,
https://mariadb.com/kb/en/mariadb-error-code-reference/.
"""

from __future__ import annotations

import re

from adamas import Rejected, Retry, option
from adamas.host import split_address
from adamas.lines import TIME, VALUE
from adamas.transport.sql import LONGEST, Server, utc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.naming import Point

COLUMNS = "`time`, `name`, `labels`, `value`, `host`"
CONSTRAINTS = (3140, 3819, 4025)
"""Invalid JSON, a check that failed (MySQL, MariaDB): of the rows, though the library takes them for the server's trouble."""
STATEMENT = 1_000_000
HOSTILE = re.compile(r"['\\\x00-\x1f]")
MODE = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
"""What does not fit is an error, not a warning and other data."""


class Mysql(Server):
    """Inserts a row for each point into a table."""

    name = "mysql"
    modules = ("pymysql",)
    extra = "mysql"
    port = 3306

    address: str = option("127.0.0.1:3306", "Where the server listens: host:port, or the path of its socket")

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        self._connection: Any = None
        self._target = ".".join([quoted(part) for part in self.parts()])

    def line(self, point: Point) -> str:
        """A row as an INSERT has it. The server reads a number in quotes as a double; a long one without would be a decimal."""
        name, labels, host = map(literal, self.columns(point))
        return f"({TIME},{name},{labels},'{VALUE}',{host})\n"

    def stamp(self, time: float) -> str:
        """A time's text in `self.lines`."""
        return f"'{utc(time)}'"

    def open(self) -> None:
        """Connect, and make the table where it is missing; OSError or Retry where that cannot be."""
        if self._connection is not None and self._connection.open:
            return
        import pymysql  # type: ignore[import-untyped]

        socket = self.address.startswith("/")
        host, port = ("localhost", 0) if socket else split_address(self.address, self.port)
        try:
            self._connection = pymysql.connect(
                host=host,
                port=port,
                unix_socket=self.address if socket else None,
                user=self.username,
                password=str(self.password),
                database=self.database,
                charset="utf8mb4",
                sql_mode=MODE,
                init_command=f"SET SESSION innodb_lock_wait_timeout = {max(1, int(self.timeout / 2))}",
                connect_timeout=max(1, round(self.timeout)),
                read_timeout=self.timeout,
                write_timeout=self.timeout,
                ssl=self.context() if self.tls else None,
                ssl_disabled=not self.tls,
                program_name="adamas",
            )
            if self.create:
                self._prepare()
        except Exception as error:
            self.close()
            raise self.judged(error) from None

    def _prepare(self) -> None:
        """The table. Whoever may only INSERT is told that it is there, too."""
        *place, table = self.parts()
        with self._connection.cursor() as cursor:
            cursor.execute(
                "SELECT 1 FROM information_schema.tables WHERE table_schema = COALESCE(%s, DATABASE()) AND table_name = %s",
                ["".join(place) or None, table],
            )
            if cursor.fetchone():
                return
        key = "KEY (`name`, `time`)"
        if self.unique:
            # One key over names and labels would be longer than keys may be.
            key = (
                "`row` BINARY(16) AS (UNHEX(MD5(CONCAT_WS(CHAR(10), `time`, `name`, `labels`, `host`)))) STORED,"
                " UNIQUE KEY (`row`), KEY (`name`, `time`)"
            )
        self.execute(
            f"CREATE TABLE IF NOT EXISTS {self._target} (`time` DATETIME(6) NOT NULL, `name` VARCHAR({LONGEST}) NOT NULL,"
            f" `labels` JSON NOT NULL, `value` DOUBLE NOT NULL, `host` VARCHAR(255) NOT NULL, {key})"
            " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin"
        )

    def execute(self, statement: str) -> None:
        """Have the server execute a statement."""
        self._connection.query(statement)

    def insert(self, lines: bytes) -> None:
        """INSERT the rows, about a megabyte of them in a statement: servers limit its size."""
        again = b" ON DUPLICATE KEY UPDATE `time` = `time`" if self.unique else b""
        begin = 0
        while begin < len(lines):
            end = lines.find(b"\n", begin + STATEMENT) + 1 or len(lines)
            rows = lines[begin : end - 1].replace(b"\n", b",")
            self._connection.query(f"INSERT INTO {self._target} ({COLUMNS}) VALUES ".encode() + rows + again)
            begin = end

    def judged(self, error: Exception) -> Exception:
        """By the library's class, and by number where that is too wide."""
        import pymysql

        if not isinstance(error, pymysql.MySQLError):
            return error
        number = error.args[0] if error.args else 0
        words = f"{error.args[1] if len(error.args) > 1 else error} (error {number})"
        if isinstance(error, (pymysql.DataError, pymysql.IntegrityError)) or number in CONSTRAINTS:
            return Rejected(words)
        return Retry(words)

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            if connection.open:
                connection.close()


def literal(text: str) -> str:
    """A text as a value in a statement. What needs escapes is written in hex: which escapes there are depends on `sql_mode`."""
    return f"_utf8mb4 x'{text.encode(errors='backslashreplace').hex()}'" if HOSTILE.search(text) else f"'{text}'"


def quoted(name: str) -> str:
    """A name as an identifier."""
    return "`" + name.replace("`", "``") + "`"
