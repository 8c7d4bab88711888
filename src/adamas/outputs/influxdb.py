"""InfluxDB's line protocol over HTTP, to InfluxDB 1, 2 and 3 and what else takes it, such as VictoriaMetrics.

Each point is a line of its own: the name is the measurement, labels are tags, and the value is the field `value`. With a dotted
`naming` the collector is the measurement, what follows in the name is the field and the host is a tag, as Diamond's
InfluxdbHandler sent it. Values are floats always, with 12 significant digits, so that no field ever changes its type; times are
in milliseconds. What was written twice is stored once: delivery is confirmed by the answer and repeated where there is none.

The protocol has no empty tags: they are left out. It has no way to write a backslash before a space, a comma, an equals sign or
at the end: it becomes `_`. It cannot carry line breaks: control characters are written as `\\n`, `\\r`, `\\t` or `\\x00`. The
names that InfluxDB keeps for itself (`time`, `_field`, ...) get a `_` behind. Names that meet after that are kept apart.

Version 1 answers with how many points it dropped, version 3 with the lines that it refused; the others are stored. Tested
against InfluxDB 1.6.7 and VictoriaMetrics 1.79.5 (which puts `_value` behind each name unless it runs with
`-influxSkipSingleField`); versions 2 and 3 against what their documents say, not against a real server.

Source: https://docs.influxdata.com/influxdb/v1/write_protocols/line_protocol_reference/,
https://docs.influxdata.com/influxdb/v1/tools/api/#write-http-endpoint,
https://docs.influxdata.com/influxdb/v2/write-data/troubleshoot/,
https://docs.influxdata.com/influxdb3/core/write-data/http-api/v3-write-lp/.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlencode, urlsplit

from adamas import Rejected, Retry, Secret, log, option
from adamas.lines import TIME, VALUE
from adamas.transport.http import LINES, Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.naming import Point

PATHS = {"1": "/write", "2": "/api/v2/write", "3": "/api/v3/write_lp"}
FIELD = "_field"
"""The label of a fitted point that names its field, where that is not `value`: no tag may be called that."""
RESERVED = ("time", "_time", "_field", "_measurement")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LOST = re.compile(r"\\(?=[ ,=\\]|$)")
_NAME = re.compile(r"([ ,])")
_SPECIAL = re.compile(r"([ ,=])")
_BEHIND = r"\\\1"
_DROPPED = re.compile(r"dropped=(\d+)")
_UNREAD = re.compile(r"unable to parse '")


class Influxdb(Http):
    """Writes points in InfluxDB's line protocol."""

    name = "influxdb"
    diamond = "InfluxdbHandler"
    default_naming = "prometheus"
    frame = LINES

    url: str = option("http://127.0.0.1:8086", "Where it listens; a path in it goes before the API's own")
    version: str = option("1", "Whose API: InfluxDB 1 (and VictoriaMetrics), 2, or 3", choices=tuple(PATHS))
    database: str = option("adamas", "The database (versions 1 and 3)")
    retention_policy: str = option("", "The retention policy (version 1; default: the database's)")
    create: bool = option(True, "Create the database where there is none (version 1; version 3 always does)")
    org: str = option("", "The organization, by name or id (version 2)")
    bucket: str = option("", "The bucket (version 2)")
    token: Secret = option("", "The API token (versions 2 and 3)")
    host_tag: str = option("host", 'The tag that names this machine, where no label does ("": none)')

    def check(self) -> list[str]:
        """Version 2 needs its bucket, and the others their database."""
        wrong = super().check()
        needed = {"bucket": self.bucket, "org": self.org} if self.version == "2" else {"database": self.database}
        wrong += [f"{name}: InfluxDB {self.version} needs it" for name, value in needed.items() if not value]
        if self.token and self.username:
            wrong.append("token: log in with it, or with username and password")
        return wrong

    def login(self) -> dict[str, str]:
        """The token, or name and password."""
        if not self.token:
            return super().login()
        return {"Authorization": f"{'Bearer' if self.version == '3' else 'Token'} {self.token}"}

    def target(self) -> str:
        """Where this version takes lines."""
        if self.version == "1":
            asked = {"db": self.database, "rp": self.retention_policy, "precision": "ms"}
        elif self.version == "2":
            asked = {"org": self.org, "bucket": self.bucket, "precision": "ms"}
        else:
            asked = {"db": self.database, "precision": "millisecond", "accept_partial": "true"}
        return self._at(PATHS[self.version], {key: value for key, value in asked.items() if value})

    def _at(self, path: str, asked: dict[str, str]) -> str:
        parts = urlsplit(self.url)
        query = "&".join([part for part in (parts.query, urlencode(asked)) if part])
        return f"{parts.path.rstrip('/')}{path}?{query}"

    def fit(self, point: Point) -> Point | None:
        """The name and the labels as the protocol can carry them; a dotted name comes apart here."""
        assert self.spelling is not None
        measurement, field = self._apart(point.name) if self.spelling.dotted else (point.name, "")
        tags: dict[str, str] = {}
        for label, value in {self.host_tag: self.spelling.host, **dict(point.labels)}.items():
            if label and value:
                tag = _carried(label)
                while tag in RESERVED or tag in tags:
                    tag += "_"
                tags[tag] = _carried(value)
        if field:
            tags[FIELD] = _carried(field) + "_" * (field in RESERVED)
        measurement = _carried(measurement)
        return point.named("_" + measurement[1:] if measurement[0] == "#" else measurement, tuple(tags.items()))

    def _apart(self, name: str) -> tuple[str, str]:
        """Measurement and field of a dotted name: the collector, and what follows it."""
        assert self.spelling is not None
        _, found, rest = f".{name}".partition(f".{self.spelling.host}.")
        measurement, _, field = (rest if found and self.spelling.host else name).partition(".")
        return measurement or "_", field

    def line(self, point: Point) -> str:
        """`measurement,tag=text field=value time`."""
        labels = dict(point.labels)
        field = labels.pop(FIELD, "value")
        tags = "".join([f",{_escaped(tag)}={_escaped(text)}" for tag, text in sorted(labels.items())])
        return f"{_NAME.sub(_BEHIND, point.name)}{tags} {_escaped(field)}={VALUE} {TIME}\n"

    def stamp(self, time: float) -> str:
        """Milliseconds since 1970."""
        return str(round(time * 1000))

    def post(self, payload: bytes) -> None:
        """Write; where the database is not there, create it first."""
        try:
            super().post(payload)
        except Retry as error:
            if self.version != "1" or not self.create or "database not found" not in str(error):
                raise
            quoted = self.database.replace("\\", "\\\\").replace('"', '\\"')
            status, _, body = self.ask("POST", self._at("/query", {"q": f'CREATE DATABASE "{quoted}"'}))
            if status != 200 or b'"error"' in body:
                raise Retry(f"the database {self.database} cannot be created: {self.words(status, body)}") from None
            log.info(self.instance, f"created the database {self.database}")
            super().post(payload)

    def rejected(self, status: int, words: str, body: bytes, plain: bytes) -> Rejected:
        """How many points were dropped, or which lines refused; all, where it does not say."""
        try:
            refused = json.loads(body).get("data")
        except (ValueError, AttributeError):
            refused = None
        if isinstance(refused, list) and refused:
            lines = plain.splitlines(keepends=True)
            numbers = {entry.get("line_number", 0) for entry in refused}
            return Rejected(words, len(refused), b"".join([line for n, line in enumerate(lines, 1) if n in numbers]))
        said = body.decode(errors="replace")
        if "partial write" in said:
            dropped = sum(map(int, _DROPPED.findall(said))) + len(_UNREAD.findall(said))
            return Rejected(words, max(1, dropped), plain)
        return super().rejected(status, words, body, plain)


def _carried(text: str) -> str:
    """A name, tag or tag's value without what the protocol has no way to write."""
    if not text.isprintable():
        text = _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
    return _LOST.sub("_", text) if "\\" in text else text


def _escaped(text: str) -> str:
    """A tag, a tag's value or a field's name in a line."""
    return _SPECIAL.sub(_BEHIND, text)
