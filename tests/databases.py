"""Real PostgreSQL and MariaDB servers for tests, with passwords and TLS."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pymysql
import servers
from roundtrip import Trip

Row = tuple[float, str, tuple[tuple[str, str], ...], float, str]
"""time, name, labels, value, host"""


def row(stamp: Any, name: str, labels: dict[str, str], value: float, host: str) -> Row:
    return float(stamp), name, tuple(sorted(labels.items())), float(value), host


def certificate(folder: Path) -> tuple[Path, Path]:
    """(certificate, key) for 127.0.0.1, signed by itself."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    named = ["-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(cert)]
    subprocess.run(made + named, check=True, capture_output=True)
    return cert, key


class Postgres:
    """A real PostgreSQL with passwords and TLS, in a folder of its own; it must not be root's."""

    def __init__(self, folder: Path) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
        if not found:
            servers.require("initdb")
        self.programs = found[-1].parent
        self.folder = folder
        self.cert, key = certificate(folder)
        (folder / "password").write_text("se'cret")
        self.user: list[str] = []
        if os.geteuid() == 0:
            for path in (folder, *folder.iterdir()):
                shutil.chown(path, "postgres", "postgres")
            self.user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--pdeathsig", "KILL", "--"]
        key.chmod(0o600)
        initdb = [str(self.programs / "initdb"), "-D", str(folder / "data"), "-U", "adamas", "--pwfile", str(folder / "password")]
        subprocess.run(
            [*self.user, *initdb, "-A", "scram-sha-256", "-E", "UTF8", "--no-sync"], check=True, capture_output=True, cwd=folder
        )
        self.port = servers.free_port()
        self.options = ["-D", str(folder / "data"), "-h", "127.0.0.1", "-k", str(folder), "-c", "ssl=on"]
        self.options += ["-c", f"ssl_cert_file={self.cert}", "-c", f"ssl_key_file={key}"]
        self.start()
        self.query("CREATE DATABASE metrics", "postgres")

    def start(self) -> None:
        argv = [*self.user, str(self.programs / "postgres"), *self.options, "-p", str(self.port)]
        self.server = servers.start(argv, self.folder, lambda: self.query("SELECT 1", "postgres"))

    def query(self, statement: str, database: str = "metrics") -> list[str]:
        """The lines that psql prints."""
        argv = ["psql", "-h", "127.0.0.1", "-p", str(self.port), "-U", "adamas", "-d", database, "-XAtqc", statement]
        env = {**os.environ, "PGPASSWORD": "se'cret"}
        return subprocess.run(argv, check=True, capture_output=True, env=env, timeout=30).stdout.decode().split("\n")[:-1]

    def rows(self, table: str = "samples") -> list[Row]:
        columns = "json_build_array(extract(epoch from time), name, labels, value, host)"
        return sorted(row(*json.loads(line)) for line in self.query(f"SELECT {columns} FROM {table}"))

    def trip(self, folder: Path, **options: Any) -> Trip:
        given = {"address": f"127.0.0.1:{self.port}", "password": "se'cret", "timeout": "5s", **options}
        return Trip(folder, "postgresql", given)


class Maria:
    """A real MariaDB, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        servers.require("mariadbd", "mariadb-install-db")
        self.folder = folder
        self.cert, key = certificate(folder)
        self.user = ["--user=root"] if os.geteuid() == 0 else []
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/data", "--auth-root-authentication-method=normal"]
        subprocess.run([*install, *self.user, "--skip-test-db"], check=True, capture_output=True, timeout=120)
        self.options = [
            f"--datadir={folder}/data",
            "--bind-address=127.0.0.1",
            f"--socket={folder}/sock",
            f"--pid-file={folder}/pid",
        ]
        self.options += ["--innodb-buffer-pool-size=16M", f"--ssl-cert={self.cert}", f"--ssl-key={key}"]
        self.port = servers.free_port()
        self.start()
        self.query("CREATE DATABASE metrics")
        self.query("CREATE USER adamas@'127.0.0.1' IDENTIFIED BY 'se\\'cret'")
        self.query("GRANT ALL ON metrics.* TO adamas@'127.0.0.1'")
        self.query("CREATE USER private@'127.0.0.1' IDENTIFIED BY 'x' REQUIRE SSL")
        self.query("GRANT INSERT ON metrics.* TO private@'127.0.0.1'")

    def start(self) -> None:
        argv = ["mariadbd", "--no-defaults", *self.user, *self.options, f"--port={self.port}"]
        self.server = servers.start(argv, self.folder, lambda: servers.listens(self.port) and self.query("SELECT 1"), timeout=60)

    def query(self, statement: str, database: str = "") -> Any:
        options: dict[str, Any] = {"database": database} if database else {}
        connection = pymysql.connect(
            unix_socket=f"{self.folder}/sock", user="root", autocommit=True, charset="utf8mb4", **options
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
                return cursor.fetchall()
        finally:
            connection.close()

    def rows(self, table: str = "samples") -> list[Row]:
        columns = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', time), name, labels, value, host"
        found = self.query(f"SELECT {columns} FROM {table}", "metrics")
        return sorted(row(micros / 1e6, name, json.loads(labels), value, host) for micros, name, labels, value, host in found)

    def trip(self, folder: Path, **options: Any) -> Trip:
        given = {"address": f"127.0.0.1:{self.port}", "password": "se'cret", "timeout": "5s", **options}
        return Trip(folder, "mysql", given)
