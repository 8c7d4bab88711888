"""A real Zabbix server, with a database of its own, stores every value that is sent to its trapper items."""

from __future__ import annotations

import gzip
import json
import math
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent))

import servers
from databases import Postgres
from roundtrip import Trip, batches

from adamas.errors import DeliveryError

pytestmark = pytest.mark.soak
SCHEMA = Path("/usr/share/zabbix-server-pgsql/schema.sql.gz")
SETTINGS = """ListenIP=127.0.0.1
LogType=console
DBName=zabbix
DBUser=adamas
DBPassword=se'cret
DBHost=127.0.0.1
StartPollers=1
StartPollersUnreachable=1
StartTrappers=2
StartPingers=0
StartDiscoverers=0
StartHTTPPollers=0
StartPreprocessors=1
StartDBSyncers=2
StartTimers=1
StartEscalators=1
StartAlerters=1
StartLLDProcessors=1
StartReportWriters=0
StartODBCPollers=0
StartHistoryPollers=0
CacheUpdateFrequency=1
ValueCacheSize=0
"""
ROWS = """INSERT INTO hstgrp (groupid, name) VALUES (1, 'group');
INSERT INTO config (configid, discovery_groupid) VALUES (1, 1);
INSERT INTO config_autoreg_tls (autoreg_tlsid) VALUES (1);
INSERT INTO role (roleid, name, type) VALUES (1, 'role', 3);
INSERT INTO users (userid, username, roleid) VALUES (1, 'Admin', 1);
INSERT INTO hosts (hostid, host, name, name_upper) VALUES (1, 'h', 'h', 'H');
UPDATE hosts SET tls_accept = 5;
"""


class RunningZabbix:
    """A server without a frontend; its hosts and items are put into its database."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.postgres = postgres
        self.folder = folder
        postgres.query("CREATE DATABASE zabbix", "postgres")
        with gzip.open(SCHEMA, "rt") as schema:
            self.execute(schema.read() + ROWS)
        self.port = port = low_port()
        config = folder / "zabbix.conf"
        run = f"ListenPort={port}\nDBPort={postgres.port}\nPidFile={folder}/zabbix.pid\nSocketDir={folder}\n"
        self.cert, key = folder / "zabbix.pem", folder / "zabbix.key"
        made = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=test",
        ]  # it takes RSA only
        named = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(self.cert)]
        subprocess.run(made + named, check=True, capture_output=True)
        key.chmod(0o644)
        tls = f"TLSCAFile={self.cert}\nTLSCertFile={self.cert}\nTLSKeyFile={key}\n"
        config.write_text(SETTINGS + run + tls)
        argv = [*postgres.user, "zabbix_server", "-f", "-c", str(config)]
        self.server = servers.start(argv, folder, lambda: servers.listens(port))

    def execute(self, statements: str) -> None:
        """Statements that are too long for a command line."""
        file = self.folder / "statements.sql"
        file.write_text("BEGIN;" + statements + "COMMIT;")
        self.postgres.query(f"\\i {file}", "zabbix")

    def items(self, keys: list[str]) -> None:
        """Trapper items with these keys, and no others; the server looks for them each second."""
        rows = ",".join(f"({n},2,1,'{n}',{quoted(key)},0)" for n, key in enumerate(keys, 1))
        wanted = f"INSERT INTO items (itemid, type, hostid, name, key_, value_type) VALUES {rows};"
        emptied = "DELETE FROM history; DELETE FROM item_rtdata; DELETE FROM items;"
        self.execute(f"{emptied} {wanted} INSERT INTO item_rtdata (itemid) SELECT itemid FROM items;")

    def values(self) -> dict[str, dict[float, float]]:
        """What it stored: key -> time -> value."""
        found: dict[str, dict[float, float]] = {}
        statement = "SELECT json_build_array(key_, clock, ns, value) FROM history JOIN items USING (itemid)"
        for line in self.postgres.query(statement, "zabbix"):
            key, clock, nanoseconds, value = json.loads(line)
            found.setdefault(key, {})[clock + nanoseconds / 1e9] = value
        return found


def low_port() -> int:
    """A free port of those that Zabbix takes: up to 32767."""
    for port in range(20_000, 32_767):
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no free port below 32768")


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@pytest.fixture(scope="module")
def zabbix() -> Iterator[RunningZabbix]:
    servers.require("zabbix_server")
    with tempfile.TemporaryDirectory() as folder:  # not below pytest's, which only its own user may enter
        postgres = Postgres(Path(folder))
        try:
            running = RunningZabbix(Path(folder), postgres)
            yield running
            running.server.stop()
        finally:
            postgres.server.stop()


@pytest.mark.parametrize(
    "options",
    [{}, {"compression": "none", "key": "adamas[{name}]"}, {"naming": "prometheus"}, {"tls": True}],
    ids=["path", "brackets", "labels", "tls"],
)
def test_every_value_is_in_its_history(zabbix: RunningZabbix, tmp_path: Path, options: dict[str, Any]) -> None:
    if "tls" in options:
        cert = str(zabbix.cert)
        options = {**options, "ca_file": cert, "cert_file": cert, "key_file": str(zabbix.folder / "zabbix.key")}
    trip = Trip(tmp_path, "zabbix", {"address": f"127.0.0.1:{zabbix.port}", **options})
    sent = batches()
    expected = {key: values for (key, _), values in trip.points(sent).items()}
    count = sum(map(len, expected.values()))
    zabbix.items([key for key in expected if key != "mixed.0.plain"])
    first = next(key for key in expected if key != "mixed.0.plain")
    servers.wait_until(lambda: known(zabbix, trip, first), 20, "the items, in the server's cache")
    ledger = trip.go(sent)
    missing = 10 if "mixed.0.plain" in expected else 0
    assert ledger["dropped"] == ({"rejected": missing} if missing else {})
    assert ledger["delivered"] == count - missing >= 9900
    expected.pop("mixed.0.plain", None)
    servers.wait_until(lambda: sum(map(len, zabbix.values().values())) >= count - missing, 30)
    found = zabbix.values()
    wrong = [
        (key, stamp, value, found[key].get(stamp))
        for key, values in expected.items()
        for stamp, value in values.items()
        if not math.isclose(found.get(key, {}).get(stamp, math.inf), value, rel_tol=1e-11)
    ]
    print(f"{len(found)} items, {count - missing} values, {len(wrong)} different; for example {sorted(found)[::100]}")
    assert not wrong


def known(zabbix: RunningZabbix, trip: Trip, key: str) -> bool:
    """Whether the server takes a value for this item; one of long ago, which it does not keep."""
    data = json.dumps({"request": "sender data", "data": [{"host": "h", "key": key, "value": "1", "clock": 1}]}).encode()
    trip.output.open()
    try:
        trip.output.send(b"ZBXD\1" + len(data).to_bytes(4, "little") + bytes(4) + data)
    except (OSError, DeliveryError):
        trip.output.close()
        return False
    return True
