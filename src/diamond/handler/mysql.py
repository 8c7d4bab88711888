"""A row for each metric in a table of MySQL or MariaDB, with the library `mysqlclient` or `PyMySQL`."""

from __future__ import annotations

from typing import Any

from diamond.handler._batch import BatchHandler
from diamond.handler._library import library


class MySQLHandler(BatchHandler):
    """INSERTs what a flush finds, in one transaction."""

    size_option = "batch"

    def __init__(self, config: Any = None) -> None:
        super().__init__(config)
        self.conn: Any = None
        column = ", ".join(f"`{self.config[key]}`" for key in ("col_metric", "col_time", "col_value"))
        self.insert = f"INSERT INTO `{self.config['table']}` ({column}) VALUES (%s, %s, %s)"
        self._connect()

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults; the address, the login and the names have none."""
        return {**super().get_default_config(), "batch": 1}

    def send_batch(self, metrics: list[Any]) -> None:
        """Insert them all, or none."""
        try:
            if self.conn is None:
                self._connect()
            with self.conn.cursor() as cursor:
                cursor.executemany(self.insert, [(metric.path, metric.timestamp, metric.value) for metric in metrics])
            self.conn.commit()
        except Exception as error:
            self._close()
            raise ConnectionError(f"MySQL: {error}") from error

    def _connect(self) -> None:
        try:
            client = library("MySQLdb", "mysqlclient")
        except ImportError:
            client = library("pymysql", "PyMySQL")
        self.conn = client.connect(
            host=self.config["hostname"],
            port=int(self.config["port"]),
            user=self.config["username"],
            passwd=self.config["password"],
            db=self.config["database"],
        )

    def _close(self) -> None:
        if self.conn is not None:
            try:
                self.conn.close()
            except Exception as error:
                self.log.debug("MySQLHandler: %s", error)
        self.conn = None
