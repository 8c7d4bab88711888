"""Points as rows of a table: time, name, labels, value, host.

A payload is a line for each row, in whatever form the database reads. It is stored in one transaction. Where the database
refuses the data of some rows, the others are stored and those are told apart by halving; where they are very many, they are
refused with some of their neighbours.
"""

from __future__ import annotations

import time
from hashlib import md5
from json import JSONEncoder

from adamas import Output, Rejected, Secret, option
from adamas.host import split_address
from adamas.transport.tls import Tls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import ClassVar

    from adamas.naming import Point

LONGEST = 512
"""The most characters of a name: a longer one would not fit into an index."""
in_json = JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode
TRIES = 500
"""How often a part of a payload may be refused before what is left of it is given up as a whole."""


class Rows(Output):
    """Writes rows. Subclasses say how a statement is executed, how lines are inserted, and what an error means."""

    default_naming = "prometheus"

    def fit(self, point: Point) -> Point | None:
        """A name that is too long is cut, and ends in a hash of all of it."""
        if len(point.name) <= LONGEST:
            return point
        tail = md5(point.name.encode(errors="backslashreplace"), usedforsecurity=False).hexdigest()[:8]
        return point.named(f"{point.name[: LONGEST - 9]}_{tail}")

    def columns(self, point: Point) -> tuple[str, str, str]:
        """(name, labels as a JSON object, host) of a point; the label `host`, where it is this machine's, is that column."""
        assert self.spelling is not None
        host = self.spelling.host or self.spelling.labels.get("host", "")
        labels = {name: value for name, value in point.labels if (name, value) != ("host", host)}
        return point.name, in_json(labels), host

    def execute(self, statement: str) -> None:
        """Have the database execute a statement that answers nothing."""
        raise NotImplementedError

    def insert(self, lines: bytes) -> None:
        """Add these rows in the transaction that is open."""
        raise NotImplementedError

    def judged(self, error: Exception) -> Exception:
        """What an error of the database means: Rejected (these rows' data), Retry (anything else of its), or the error itself."""
        raise NotImplementedError

    def send(self, payload: bytes) -> None:
        """Store all rows in one transaction, but for those whose data the database refuses."""
        refused: list[bytes] = []
        words = ""
        try:
            self.execute("BEGIN")
            try:
                self.insert(payload)
            except Exception as error:
                if not isinstance(verdict := self.judged(error), Rejected):
                    raise
                words = str(verdict)
                self.execute("ROLLBACK")
                self.execute("BEGIN")
                refused = self._sift(payload.splitlines(keepends=True))
            self.execute("COMMIT")
        except Exception as error:
            raise self.judged(error) from None
        if refused:
            raise Rejected(words, len(refused), b"".join(refused))

    def _sift(self, lines: list[bytes]) -> list[bytes]:
        """Insert what can be inserted; returns the others."""
        refused: list[bytes] = []
        waiting = [lines]
        tries = 0
        while waiting:
            part = waiting.pop()
            self.execute("SAVEPOINT part")
            try:
                self.insert(b"".join(part))
            except Exception as error:
                if not isinstance(self.judged(error), Rejected):
                    raise
                self.execute("ROLLBACK TO SAVEPOINT part")
                tries += 1
                if len(part) == 1 or tries > TRIES:
                    refused += part
                else:
                    waiting += [part[len(part) // 2 :], part[: len(part) // 2]]
            self.execute("RELEASE SAVEPOINT part")
        return refused


class Server(Rows, Tls):
    """Writes rows to a table of a database server. A transaction that it committed is what is delivered."""

    port: ClassVar[int] = 0
    """Where such servers listen, where the address names no port."""

    address: str = option("127.0.0.1", "Where the server listens: host:port, or the path of its socket")
    database: str = option("metrics", "The database, which must be there")
    username: str = option("adamas", "The user to log in as")
    password: Secret = option("", "The password of that user")
    table: str = option("samples", "The table, with its schema or database and a dot before it or not")
    create: bool = option(True, "Make the table where it is not there")
    unique: bool = option(False, "Make the table so that a row that had to be sent again is there once; each row costs more then")
    tls: bool = option(False, "Encrypt the connection")

    def check(self) -> list[str]:
        """The address, the table's name, and what the client libraries cannot do."""
        wrong = super().check()
        if not self.address.startswith("/"):
            try:
                split_address(self.address, self.port)
            except ValueError as error:
                wrong.append(f"address: expected {error}")
        if not all(self.parts()) or len(self.parts()) > 2:
            wrong.append(f'table: expected a name such as "samples" or "monitoring.samples", not {self.table!r}')
        if self.server_name:
            wrong.append("server_name: the certificate must be for the host that `address` names")
        return wrong

    def parts(self) -> list[str]:
        """The table's name, and before it what it is in, where that is given."""
        return self.table.split(".")


def utc(stamp: float) -> str:
    """`2026-01-31 23:59:59` in UTC, with microseconds where there are some."""
    seconds, micros = divmod(round(stamp * 1e6), 1_000_000)
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + (f".{micros:06d}" if micros else "")
