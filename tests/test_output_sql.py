"""Rows in PostgreSQL, MariaDB and SQLite: every sample there once, refused ones told apart, a server that dies in the middle."""

from __future__ import annotations

import json
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pymysql
import pytest
import servers
from agents import balanced
from databases import Maria, Postgres, Row, row
from roundtrip import Trip, batches

from adamas import Batch, Rejected, Retry
from adamas.lines import text


def expected(trip: Trip, sent: list[Batch]) -> list[Row]:
    """The rows that must be there."""
    return sorted(
        (batch.time, point.name, tuple(sorted(p for p in point.labels if p != ("host", "h"))), float(text(point, value)), "h")
        for batch in sent
        for point, value in trip.pairs(batch)
    )


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's, which only its own user may enter
        running = Postgres(Path(folder))
        yield running
        running.server.stop()


@pytest.fixture(scope="module")
def maria(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maria]:
    running = Maria(tmp_path_factory.mktemp("maria"))
    yield running
    running.server.stop()


@pytest.fixture(params=["postgres", "maria"])
def server(request: pytest.FixtureRequest) -> Any:
    """Each of the two."""
    return request.getfixturevalue(request.param)


def test_every_sample_is_a_row(server: Any, tmp_path: Path) -> None:
    server.query('DROP TABLE IF EXISTS "all"' if isinstance(server, Postgres) else "DROP TABLE IF EXISTS `all`", "metrics")
    trip = server.trip(tmp_path, table="all")
    sent = batches()
    ledger = trip.go(sent)
    assert ledger["dropped"] == {}
    assert ledger["delivered"] == 10_000
    quoted = '"all"' if isinstance(server, Postgres) else "`all`"
    found = server.rows(quoted)
    assert found == expected(trip, sent)


def test_a_server_that_dies_in_the_middle_has_everything_once(server: Any, tmp_path: Path) -> None:
    """`unique`: whatever became of the commit that nobody answered, no row is lost and none is there twice."""
    trip = server.trip(tmp_path, table="once", unique="true", timeout="2s")
    sent = batches(20)
    trip.sender.start()
    for number, batch in enumerate(sent):
        trip.sender.offer(batch)
        trip.sender.ring()
        if number == 8:
            servers.wait_until(lambda: trip.sender.ledger.snapshot()["delivered"] > 0)
            server.server.kill()
        if number == 16:
            servers.wait_until(lambda: trip.sender.failures > 0)
            assert balanced(trip.sender.ledger.snapshot())
            server.start()
    settled(trip)
    assert trip.sender.ledger.snapshot()["dropped"] == {}
    assert server.rows("once") == expected(trip, sent)
    before = len(server.rows("once"))
    trip.output.open()
    trip.output.send(trip.output.encode(sent[:2]))
    trip.output.close()
    assert len(server.rows("once")) == before


def settled(trip: Trip) -> None:
    def done() -> bool:
        ledger = trip.sender.ledger.snapshot()
        assert balanced(ledger), ledger
        return bool(ledger["delivered"] + sum(ledger["dropped"].values()) == ledger["offered"])

    servers.wait_until(done, 60, f"all delivered: {trip.sender.error}")
    trip.sender.stop(time.monotonic() + 5)
    trip.sender.join(time.monotonic() + 5)


def test_without_unique_what_is_sent_again_is_there_again(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="twice")
    sent = batches(1)
    for _ in range(2):
        trip.output.open()
        trip.output.send(trip.output.encode(sent))
    trip.output.close()
    assert server.rows("twice") == sorted(expected(trip, sent) * 2)


def test_a_wrong_password_waits_and_is_said(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, password="wro%ng")
    with pytest.raises(Retry, match=r"password authentication failed|Access denied") as raised:
        trip.output.open()
    assert "wro%ng" not in str(raised.value)


def test_a_table_that_is_missing_is_waited_for(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="late", create="false")
    sent = batches(2)
    trip.sender.start()
    for batch in sent:
        trip.sender.offer(batch)
    trip.sender.ring()
    servers.wait_until(lambda: "late" in trip.sender.error and "exist" in trip.sender.error)
    columns = "(time TIMESTAMP, name VARCHAR(400), labels JSON, value DOUBLE PRECISION, host VARCHAR(10), more INT DEFAULT 5)"
    server.query(f"CREATE TABLE late {columns}", "metrics")
    settled(trip)
    assert trip.sender.ledger.snapshot()["delivered"] == 2000
    assert {int(found if isinstance(found, str) else found[0]) for found in server.query("SELECT more FROM late", "metrics")} == {
        5
    }
    assert len(server.query("SELECT name FROM late", "metrics")) == 2000


def test_rows_that_the_database_refuses_are_told_from_the_others(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="fussy")
    trip.output.open()
    trip.output.close()
    item = "labels->>'item'" if isinstance(server, Postgres) else "JSON_VALUE(labels, '$.item')"
    server.query(f"ALTER TABLE fussy ADD CONSTRAINT no_hats CHECK ({item} <> 'caret^')", "metrics")
    sent = batches(1)
    ledger = trip.go(sent)
    good = [r for r in expected(trip, sent) if ("item", "caret^") not in r[2]]
    bad = len(expected(trip, sent)) - len(good)
    assert bad > 15
    assert ledger["dropped"] == {"rejected": bad}
    assert ledger["delivered"] == len(good)
    assert server.rows("fussy") == good
    [letter] = [json.loads(line) for line in (tmp_path / "letters.jsonl").read_text().splitlines()]
    assert "no_hats" in letter["reason"]
    assert letter["points"] == bad == letter["text"].count("\n") == letter["text"].count("caret^")


def test_a_table_that_takes_nothing_is_given_up_soon(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="never")
    trip.output.open()
    trip.output.close()
    server.query("ALTER TABLE never ADD CONSTRAINT nothing CHECK (value > 2e300)", "metrics")
    began = time.monotonic()
    ledger = trip.go(batches(10))
    assert ledger["dropped"] == {"rejected": 10_000}
    assert time.monotonic() - began < 30
    assert server.rows("never") == []


def test_locks_of_others_are_waited_for(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="locked", timeout="1s")
    trip.output.open()
    lock = "LOCK TABLE locked" if isinstance(server, Postgres) else "LOCK TABLES locked WRITE"
    wait = "SELECT pg_sleep(3)" if isinstance(server, Postgres) else "SELECT SLEEP(3)"
    held = threading.Thread(target=hold, args=(server, lock, wait))
    held.start()
    if isinstance(server, Postgres):
        locks = "SELECT count(*) FROM pg_locks WHERE relation = 'locked'::regclass AND mode = 'AccessExclusiveLock'"
        servers.wait_until(lambda: server.query(locks) == ["1"])
    else:
        servers.wait_until(lambda: any("SLEEP(3)" in str(r) for r in server.query("SHOW FULL PROCESSLIST")))
    payload = trip.output.encode(batches(1))
    with pytest.raises((Retry, OSError)):
        trip.output.send(payload)
    trip.output.close()
    held.join()
    trip.output.open()
    trip.output.send(payload)
    trip.output.close()
    assert len(server.rows("locked")) == 1000


def hold(server: Any, lock: str, wait: str) -> None:
    if isinstance(server, Postgres):
        server.query(f"BEGIN; {lock}; {wait}; COMMIT")
        return
    connection = pymysql.connect(unix_socket=f"{server.folder}/sock", user="root", database="metrics")
    with connection.cursor() as cursor:
        cursor.execute(lock)
        cursor.execute(wait)
    connection.close()


def test_the_connection_is_encrypted_and_the_server_known(server: Any, tmp_path: Path) -> None:
    plain = server.trip(tmp_path / "plain", table="secret", tls="true", timeout="2s")
    with pytest.raises((Retry, OSError), match=r"(?i)certificate"):
        plain.output.open()  # nobody vouches for it
    more = {} if isinstance(server, Postgres) else {"username": "private", "password": "x"}
    if more:
        server.trip(tmp_path / "first", table="secret").output.open()
        refused = server.trip(tmp_path / "refused", table="secret", **more)
        with pytest.raises(Retry, match="Access denied"):
            refused.output.open()
    trip = server.trip(tmp_path / "good", table="secret", tls="true", ca_file=str(server.cert), **more)
    trip.output.open()
    if isinstance(server, Postgres):
        assert server.query(
            "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'adamas'"
        ) == ["t"]
    assert trip.go(batches(1))["delivered"] == 1000
    assert len(server.rows("secret")) == 1000


def test_the_socket_of_the_machine(postgres: Postgres, maria: Maria, tmp_path: Path) -> None:
    for server, socket in ((postgres, str(postgres.folder)), (maria, f"{maria.folder}/sock")):
        where: dict[str, Any] = {"address": socket, "table": "local"}
        if isinstance(server, Postgres):
            where["address"] += f"/.s.PGSQL.{server.port}"
        else:
            where |= {"username": "root", "password": ""}
        trip = server.trip(tmp_path / type(server).__name__, **where)
        assert trip.go(batches(1))["delivered"] == 1000
        assert len(server.rows("local")) == 1000


def test_a_new_table_becomes_a_hypertable(postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """TimescaleDB is played by a function of its name and signature; without it the table is a plain one, and that is said."""
    trip = postgres.trip(tmp_path / "plain", table="plain_one", timescale="true")
    assert trip.go(batches(1))["delivered"] == 1000
    assert "has no TimescaleDB" in capsys.readouterr().err
    postgres.query("CREATE TABLE calls (relation regclass, key name, indexes boolean)")
    postgres.query(
        "CREATE FUNCTION create_hypertable(relation regclass, time_column_name name, partitioning_column name = NULL,"
        " create_default_indexes boolean = TRUE) RETURNS void LANGUAGE sql AS 'INSERT INTO calls VALUES ($1, $2, $4)'"
    )
    row = "SELECT 99999, 'timescaledb', 10, 2200, false, '2.17'"
    columns = "(oid, extname, extowner, extnamespace, extrelocatable, extversion)"
    postgres.query(f"SET allow_system_table_mods = on; INSERT INTO pg_extension {columns} {row}")
    try:
        trip = postgres.trip(tmp_path / "hyper", table='public.Hyper "one"', timescale="true")
        assert trip.go(batches(1))["delivered"] == 1000
    finally:
        postgres.query("SET allow_system_table_mods = on; DELETE FROM pg_extension WHERE extname = 'timescaledb'")
    assert postgres.query("SELECT * FROM calls") == ['"Hyper ""one"""|time|f']


def test_numbers_that_no_double_holds_are_refused(server: Any, tmp_path: Path) -> None:
    trip = server.trip(tmp_path, table="huge")
    trip.output.open()
    line = trip.output.encode(batches(1)).splitlines(keepends=True)[0]
    assert line.count(b"1") > 1
    before, after = (b"\t", b"\th\n") if isinstance(server, Postgres) else (b"'", b"','h')\n")
    start = line.rindex(before, 0, line.rindex(after)) + 1
    for number in (b"1" * 60, b"1" * 100, b"-" + b"1" * 300):
        trip.output.send(line[:start] + number + after)
    for number in (b"1" * 400, b"1e400"):
        bad = line[:start] + number + after
        with pytest.raises(Rejected) as raised:
            trip.output.send(line + bad)
        assert (raised.value.points, raised.value.refused) == (1, bad)
    trip.output.close()
    assert sorted(r[3] for r in server.rows("huge")) == [float("-" + "1" * 300), 1, 1, float("1" * 60), float("1" * 100)]


def test_names_cannot_leave_their_quotes(server: Any, tmp_path: Path) -> None:
    hostile = """x"; DROP TABLE `%s` -- '"""
    trip = server.trip(tmp_path, table=hostile)
    assert trip.go(batches(1))["delivered"] == 1000
    mark = '"' if isinstance(server, Postgres) else "`"
    assert len(server.rows(mark + hostile.replace(mark, 2 * mark) + mark)) == 1000


class TestSqlite:
    """The file on this machine."""

    def trip(self, folder: Path, **options: Any) -> Trip:
        return Trip(folder, "sqlite", {"path": str(folder / "samples.db"), **options})

    def rows(self, folder: Path) -> list[Row]:
        connection = sqlite3.connect(folder / "samples.db")
        found = connection.execute("SELECT time, name, labels, value, host FROM samples").fetchall()
        connection.close()
        return sorted(row(stamp, name, json.loads(labels), value, host) for stamp, name, labels, value, host in found)

    def test_every_sample_is_a_row_once(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path)
        sent = batches()
        assert trip.go(sent)["delivered"] == 10_000
        assert self.rows(tmp_path) == expected(trip, sent)
        trip.output.open()
        trip.output.send(trip.output.encode(sent[:5]))
        trip.output.close()
        assert self.rows(tmp_path) == expected(trip, sent)
        assert not list(tmp_path.glob("*-wal")), "the last one to close leaves one file"

    def test_parts_of_seconds(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path)
        sent = batches(10, 0.25)
        assert trip.go(sent)["delivered"] == 10_000
        assert self.rows(tmp_path) == expected(trip, sent)

    def test_a_locked_file_is_waited_for(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path, timeout="200ms")
        trip.output.open()
        other = sqlite3.connect(tmp_path / "samples.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        payload = trip.output.encode(batches(1))
        with pytest.raises(Retry, match="locked"):
            trip.output.send(payload)
        trip.output.close()
        other.execute("ROLLBACK")
        trip.output.open()
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (0,)
        trip.output.send(payload)  # a reader is in nobody's way
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (0,)
        other.execute("COMMIT")
        assert other.execute("SELECT count(*) FROM samples").fetchone() == (1000,)
        other.close()
        trip.output.close()

    def test_a_file_that_was_moved_away_is_made_anew(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path)
        payload = trip.output.encode(batches(1))
        for _ in range(2):
            trip.output.open()
            trip.output.send(payload)
            (tmp_path / "samples.db").rename(tmp_path / "old.db")
        trip.output.close()
        trip.output.open()
        trip.output.send(payload)
        trip.output.close()
        assert len(self.rows(tmp_path)) == 1000

    def test_old_rows_go_and_so_does_their_space(self, tmp_path: Path) -> None:
        file = tmp_path / "samples.db"
        trip = self.trip(tmp_path)
        old, new = batches(100, 30, time.time() - 4000), batches(20, 30)
        for n in range(0, 100, 10):
            trip.output.open()
            trip.output.send(trip.output.encode(old[n : n + 10]))
        trip.output.close()
        most = file.stat().st_size
        assert len(self.rows(tmp_path)) == 100_000
        trip = self.trip(tmp_path, retention="1h")
        for batch in new:
            trip.output.open()
            trip.output.send(trip.output.encode([batch]))
            if batch is new[0]:
                assert 70_000 < len(self.rows(tmp_path)) < 100_000, "many are deleted step by step"
        trip.output.close()
        assert self.rows(tmp_path) == expected(trip, new)
        assert file.stat().st_size < most / 2

    def test_what_is_not_a_number_there_is_refused(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path)
        trip.output.open()
        good = trip.output.encode(batches(1))
        stamp = good.split(b",", 1)[0]
        with pytest.raises(Rejected, match="too large") as raised:
            trip.output.send(good + stamp + b',"big","{}",1' + b"0" * 400 + b',"h"]\n')
        trip.output.close()
        assert raised.value.points == 1
        assert b'"big"' in raised.value.refused
        assert len(self.rows(tmp_path)) == 1000

    def test_a_disk_that_is_full_is_waited_for(self, tmp_path: Path) -> None:
        trip = self.trip(tmp_path)
        sent = batches()
        trip.output.open()
        trip.output._connection.execute("PRAGMA max_page_count = 30")
        payload = trip.output.encode(sent)
        with pytest.raises(Retry, match="full"):
            trip.output.send(payload)
        trip.output.close()
        assert self.rows(tmp_path) == []
        trip.output.open()
        trip.output.send(payload)
        trip.output.close()
        assert self.rows(tmp_path) == expected(trip, sent)


def test_long_names_are_cut_and_stay_apart(tmp_path: Path) -> None:
    trip = Trip(tmp_path, "sqlite", {"path": str(tmp_path / "samples.db")})
    point = next(trip.pairs(batches(1)[0]))[0]
    one, other = (trip.output.fit(point.named("n" * 600 + end)) for end in "ab")
    assert len(one.name) == len(other.name) == 512
    assert one.name != other.name


@pytest.mark.parametrize("name", ["postgresql", "mysql"])
def test_options_that_cannot_be(name: str, tmp_path: Path) -> None:
    from adamas.registry import Registry

    found = Registry().find("outputs", name)
    assert found is not None
    cls: Any = found.cls
    assert cls({"table": "a.b.c"}).check()[0].startswith("table:")
    assert cls({"table": ".b"}).check()[0].startswith("table:")
    assert cls({"address": "host:port"}).check()[0].startswith("address:")
    assert cls({"server_name": "other"}).check()[0].startswith("server_name:")
    assert cls({"address": "db.example.org"}).check() == []
