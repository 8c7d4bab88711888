"""Any endpoint that takes points in an HTTP request: JSON lines, a JSON array, or a text that is made from a template.

`format` `json_lines` sends an object a line and `json` one array of them: {"name", "labels", "value", "time", "kind", "unit"},
with the time in seconds. `template` writes each point as the template says, with `separator` between two, `header` before the
first and `footer` behind the last. In a template stand `$name` or `${name}`:

`$name`, `$name_json` (quoted), `$value` (exactly once), `$time` (seconds), `$time_ms`, `$labels_json` (an object),
`$series_json` (an object of the labels with the name as `__name__`), `$labels` (`a="b",c="d"`, escaped as Prometheus does),
`$host`, `$kind` (gauge or counter), `$unit`, and `$$` for a dollar.

This machine's name is a label (`host_label`) in the namings that have labels. Floats have 12 significant digits. A request
that was answered with 2xx is delivered; where there is no answer it is sent again, so that a point may come twice. What is
refused for being too large goes in halves, as long as no separator can be within a point: it has a line break, and the
template has none.

Tested against VictoriaMetrics 1.79.5: its JSON lines (/api/v1/import) and Prometheus' text (/api/v1/import/prometheus).

Source: RFC 9110; https://docs.python.org/3/library/string.html#template-strings.
"""

from __future__ import annotations

import json

from adamas import option
from adamas.lines import TIME, VALUE
from adamas.transport.http import LINES, Http

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from adamas.metric import Batch
    from adamas.naming import Point

SECONDS, MILLISECONDS = TIME + "s", TIME + "m"
KINDS = {
    "json_lines": ("application/x-ndjson", LINES),
    "json": ("application/json", (b"[", b",\n", b"]")),
    "template": ("text/plain; charset=utf-8", None),
}


class HttpOutput(Http):
    """Posts points to any URL, as JSON or as a template says."""

    name = "http"
    default_naming = "prometheus"

    url: str = option(None, "Where they go: http:// or https://, host, port, path and query", required=True)
    method: str = option("POST", "The method of the requests", choices=("POST", "PUT", "PATCH"))
    format: str = option("json_lines", "How points are written", choices=tuple(KINDS))
    template: str = option("", "A point's text, where `format` is template, such as '$name $value $time'")
    header: str = option("", "What comes before the first point of a request (template)")
    separator: str = option("\n", "What comes between two points (template)")
    footer: str = option("\n", "What comes behind the last point (template)")
    content_type: str = option("", "The Content-Type of the requests (default: the format's)")
    host_label: str = option("host", 'The label that names this machine, where no other does ("": none)')

    def __init__(self, values: dict[str, object] | None = None, instance: str = "") -> None:
        super().__init__(values, instance)
        usual, frame = KINDS[self.format]
        self.content_type = self.content_type or usual
        self.frame = frame or (self.header.encode(), self.separator.encode(), self.footer.encode())

    def check(self) -> list[str]:
        """A template must have the value once, and nothing that there is not."""
        wrong = super().check()
        if self.format != "template":
            return wrong + (["template: only where format is template"] if self.template else [])
        known = self._fields("name", {}, "gauge", "By")
        try:
            text = self._filled(known)
        except KeyError as error:
            return [*wrong, f"template: there is no ${error.args[0]}; there are {', '.join('$' + name for name in known)}"]
        except ValueError as error:
            return [*wrong, f"template: {error}; a dollar is written as $$"]
        if text.count(VALUE) != 1:
            wrong.append("template: expected $value, once")
        if not self.separator:
            wrong.append("separator: points must be kept apart")
        return wrong

    @property
    def dialect(self) -> str:
        """The format with all that makes it, and how it is compressed."""
        import zlib

        made = zlib.crc32(json.dumps([self.template, self.header, self.separator, self.footer]).encode())
        return f"{super().dialect}+{self.format}" + (f"+{made:08x}" if self.format == "template" else "")

    def fit(self, point: Point) -> Point | None:
        """With this machine's name as a label, where the naming has labels."""
        assert self.spelling is not None
        labels = dict(point.labels)
        if self.host_label and self.spelling.host and not self.spelling.dotted:
            labels.setdefault(self.host_label, self.spelling.host)
        return point.named(point.name, tuple(labels.items()))

    def line(self, point: Point) -> str:
        """A point, and what parts it from the next."""
        assert self.frame is not None
        fields = self._fields(point.name, dict(point.labels), point.kind, point.unit)
        if self.format == "template":
            return self._filled(fields) + self.separator
        about = f'"kind":"{point.kind}","unit":{json.dumps(point.unit)}'
        text = f'{{"name":{fields["name_json"]},"labels":{fields["labels_json"]},"value":{VALUE},"time":{SECONDS},{about}}}'
        return text + self.frame[1].decode()

    def _fields(self, name: str, labels: dict[str, str], kind: str, unit: str) -> dict[str, str]:
        from adamas.exposition import escape_label

        return {
            "name": name,
            "name_json": json.dumps(name),
            "value": VALUE,
            "time": SECONDS,
            "time_ms": MILLISECONDS,
            "labels_json": json.dumps(labels),
            "series_json": json.dumps({"__name__": name, **labels}),
            "labels": ",".join([f'{key}="{escape_label(_plain(value))}"' for key, value in labels.items()]),
            "host": self.spelling.host if self.spelling is not None else "",
            "kind": kind,
            "unit": unit,
        }

    def _filled(self, fields: dict[str, str]) -> str:
        from string import Template

        return Template(self.template).substitute(fields)

    def stamp(self, time: float) -> str:
        """The times are put in later: there are two."""
        return TIME

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """The points in their frame, each batch with its time."""
        assert self.frame is not None
        before, between, behind = self.frame
        texts = []
        for batch in batches:
            seconds = str(int(batch.time)) if batch.time == int(batch.time) else f"{batch.time:.3f}"
            text = self.lines.encode([batch]).replace(SECONDS.encode(), seconds.encode())
            texts.append(text.replace(MILLISECONDS.encode(), str(round(batch.time * 1000)).encode()))
        return self.pack(before + b"".join(texts)[: -len(between)] + behind)

    def divide(self, body: bytes) -> list[tuple[bytes, int]]:
        """In two, where nothing within a point can be taken for what is between them."""
        if self.format == "template" and ("\n" not in self.separator or self.separator in self.template):
            return []
        return super().divide(body)


def _plain(value: str) -> str:
    """A label's value without what stands for value and time."""
    return value.replace(VALUE, "\ufffd").replace(TIME, "\ufffd")
