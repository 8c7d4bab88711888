"""The four spellings of a series: `path` and `diamond` for dotted names, `prometheus` and `otel` for labelled ones.

An output has one `Naming`. It turns a series into its points: usually one, none where the declaration says so, several
where a Diamond byte_unit option spreads a value over units. Names are cleaned here and nowhere else. Pure: no I/O, no clock.
"""

from __future__ import annotations

import re

from adamas.metric import COUNTER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from adamas.metric import Series, Source, Spelled

_HOSTILE = re.compile(r"[^\w\-:%#@+=,()\[\]~^&|*!<>?$]+")
_HOSTILE_DIAMOND = re.compile(r"[\s\x00-\x1f\x7f;/\\'\"]+")
_BREAKS_LINES = re.compile(r"[\s\x00-\x1f\x7f]+")
_NOT_METRIC = re.compile(r"[^a-zA-Z0-9_:]+")
_NOT_LABEL = re.compile(r"[^a-zA-Z0-9_]+")

UNIT_SUFFIX = {"s": "seconds", "By": "bytes", "1": "ratio", "Cel": "celsius", "Hz": "hertz", "V": "volts", "A": "amperes"}
UNIT_SUFFIX |= {"W": "watts", "J": "joules", "m": "meters", "%": "percent", "By/s": "bytes_per_second"}

_STEPS = ("", "kilo", "mega", "giga", "tera", "peta", "exa", "zetta", "yotta")
_SHORT = ("", "k", "M", "G", "T", "P", "E", "Z", "Y")


def _byte_units() -> dict[str, float]:
    # Diamond's own table: every step is 1024, whatever the name says.
    units: dict[str, float] = {}
    for power, (step, short) in enumerate(zip(_STEPS, _SHORT)):
        size = 1024.0**power
        bits = [step + "bit", short + "bit", short.upper() + "ibit" if short else "b"]
        octets = [step + "byte", short + "B", short.upper() + "iB" if short else "B", short.upper() + "byte" if short else "byte"]
        units.update(dict.fromkeys(bits, 8 / size))
        units.update(dict.fromkeys(octets, 1 / size))
    return units


BYTE_UNITS = _byte_units()
REMEMBERED = 200_000
"""Series whose points a naming keeps; past that it begins anew."""


class Point:
    """One series as an output spells it, or one of several.

    name: complete and clean; labels: pairs that go beside it (none in dotted names); conversion, scale: what becomes of
    the value; precision: decimals in text (None: 12 significant digits); kind, unit, help: for formats that tell.
    """

    __slots__ = ("conversion", "help", "kind", "labels", "name", "precision", "scale", "unit")

    def __init__(
        self,
        name: str,
        labels: tuple[tuple[str, str], ...],
        conversion: str,
        scale: float,
        precision: int | None,
        kind: str,
        unit: str,
        help: str,
    ) -> None:
        self.name = name
        self.labels = labels
        self.conversion = conversion
        self.scale = scale
        self.precision = precision
        self.kind = kind
        self.unit = unit
        self.help = help

    def named(self, name: str, labels: tuple[tuple[str, str], ...] | None = None) -> Point:
        """The same point under another name, and with other labels where some are given."""
        pairs = self.labels if labels is None else labels
        return Point(name, pairs, self.conversion, self.scale, self.precision, self.kind, self.unit, self.help)

    def number(self, precision: int | None) -> str:
        """The % format of its value as text: floats by precision, or 12 significant digits."""
        return "%.12g" if precision is None else f"%.{precision}f"


def clean_node(value: str) -> str:
    """A label value as one node of a dotted name: no dots, slashes, white space or control characters, never empty."""
    return _HOSTILE.sub("_", value) or "_"


def clean_diamond(value: str) -> str:
    """A label value as Diamond left it, dots and all, but never white space, controls or an empty node."""
    return ".".join([_HOSTILE_DIAMOND.sub("_", node) or "_" for node in value.split(".")])


def clean_path(path: str) -> str:
    """A whole dotted name that is taken as it is: only what would break a line is replaced."""
    return _BREAKS_LINES.sub("_", path)


def metric_name(text: str) -> str:
    """A valid Prometheus metric name."""
    name = _NOT_METRIC.sub("_", text)
    return "_" + name if not name or name[0].isdigit() else name


def label_name(text: str) -> str:
    """A valid Prometheus label name."""
    name = _NOT_LABEL.sub("_", text)
    return "_" + name if not name or name[0].isdigit() else name


def _printable(value: str) -> str:
    # What came in as bytes that are not UTF-8 goes out as \xNN; half a character, as JSON may have it, as its bytes do.
    if value.isascii():
        return value
    try:
        raw = value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raw = value.encode("utf-8", "surrogatepass")
    return raw.decode("utf-8", "backslashreplace")


class Naming:
    """One spelling with its prefix. Two series that would get one name are kept apart, counted in `collisions`.

    Without a prefix the names are local: they begin with the collector's segment. host: this machine's name, for backends that
    have a place of their own for it.
    """

    def __init__(self, name: str, prefix: Sequence[str] = (), labels: Mapping[str, str] | None = None, host: str = "") -> None:
        self.name = name
        self.prefix = clean_path(".".join(p for p in prefix if p and p != "."))
        self._local = not prefix
        self.host = host or (prefix[1] if len(prefix) > 1 else "")
        self.labels = dict(labels or {})
        self.dotted = name in ("path", "diamond")
        self.collisions: dict[str, str] = {}
        self._taken: dict[object, object] = {}
        self._spelled: dict[Series, tuple[Point, ...]] = {}

    def release(self, instance: str) -> None:
        """Forget the names of a collector instance."""
        self._spelled.clear()
        for name in [n for n, key in list(self._taken.items()) if key[0][0] == instance]:  # type: ignore[index]
            del self._taken[name]

    def spell(self, series: Series) -> tuple[Point, ...]:
        """The points of a series; none where it is not in this spelling. Worked out once: shapes come and go."""
        points = self._spelled.get(series)
        if points is None:
            if len(self._spelled) >= REMEMBERED:
                self._spelled.clear()
            points = self._spelled[series] = self._spell(series)
        return points

    def _spell(self, series: Series) -> tuple[Point, ...]:
        declaration = series.declaration
        source = series.source
        naming = self.name
        how = declaration.spelled.get(naming)
        if naming in declaration.spelled and how is None:
            return ()
        if naming == "diamond" and how is None:
            if source.succeeds:
                return ()
            how = declaration.spelled.get("path")
            if "path" in declaration.spelled and how is None:
                return ()
        conversion = how.conversion if how is not None else declaration.default_conversion(naming)
        precision = how.precision if how is not None and how.precision is not None else declaration.precision
        labels = self._labels(series, how)
        if self.dotted:
            return self._dotted(series, how, labels, conversion, precision)
        if naming == "prometheus":
            name = self._prometheus_name(series, how, labels)
        else:
            name = self._otel_name(series, how, labels)
        consumed = set(how.name.fields) if how is not None and how.name is not None else set()
        drop = consumed | (how.drop if how is not None else set())
        rename = how.rename if how is not None else {}
        clean: Callable[[str], str] = label_name if naming == "prometheus" else str
        pairs = {clean(rename.get(k, k)): _printable(v) for k, v in labels.items() if k not in drop}
        for key, value in {**self.labels, **source.labels}.items():
            pairs.setdefault(clean(key), value)
        if source.instance != source.type:
            pairs.setdefault("collector", source.instance)
        while self._taken.setdefault((name, tuple(sorted(pairs.items()))), (series.key, "")) != (series.key, ""):
            self.collisions[name] = series.source.instance
            pairs["collision"] = str(int(pairs.get("collision", "1")) + 1)
        kind = how.kind if how is not None and how.kind else declaration.kind
        scale = how.scale if how is not None else 1
        return (Point(name, tuple(pairs.items()), conversion, scale, precision, kind, declaration.unit, declaration.help),)

    def front(self, source: Source) -> str:
        """What comes before this collector's segment in dotted names."""
        return self.prefix if self._local or source.prefix is None else clean_path(source.prefix)

    def local(self, series: Series) -> list[str]:
        """The names of a series as a filter sees them: in the dotted spellings, without prefix, host and collector."""
        declaration = series.declaration
        only = series.source.only
        names = []
        for naming, clean in (("path", clean_node), ("diamond", clean_diamond)):
            if only is not None and naming != only[0]:
                continue
            how = declaration.spelled.get(naming)
            if how is None and naming == "diamond":
                continue  # as `path`, or not at all
            template = how.name if how is not None and how.name is not None else declaration.template
            labels = self._labels(series, how)
            names += [template.fill({**labels, "unit": unit} if unit else labels, clean) for unit in self._units(series, how)]
        return names

    def _labels(self, series: Series, how: Spelled | None) -> dict[str, str]:
        labels = series.label_pairs()
        if how is not None:
            for field, mapping in how.values.items():
                value = labels[field]
                labels[field] = mapping.get(value, value) if isinstance(mapping, dict) else mapping(value)  # type: ignore[operator]
        return labels

    def _units(self, series: Series, how: Spelled | None) -> Sequence[str]:
        if how is None or not how.units:
            return ("",)
        units = series.source.units.get(how.units) or ("byte",)
        spread = how.name is not None and "unit" in how.name.fields
        return units if spread else units[:1]

    def _dotted(
        self, series: Series, how: Spelled | None, labels: dict[str, str], conversion: str, precision: int | None
    ) -> tuple[Point, ...]:
        declaration = series.declaration
        template = how.name if how is not None and how.name is not None else declaration.template
        successor = self.name == "diamond" and series.source.succeeds
        clean = clean_diamond if successor else clean_node
        if successor and precision is None:
            precision = 0  # publish()'s default
        segment = clean_path(series.source.diamond_path if successor else series.source.path)
        head = ".".join([part for part in (self.front(series.source), segment if segment != "." else "") if part])
        if how is not None and how.complete:
            head = ""
        only = series.source.only
        points = []
        for unit in self._units(series, how):
            scale = how.scale if how is not None else 1
            if unit:
                scale *= BYTE_UNITS[unit]
            filled = template.fill({**labels, "unit": unit} if unit else labels, clean)
            if only is not None and only[0] == self.name and not only[1](filled):
                continue
            name = f"{head}.{filled}" if head else filled
            name = _printable(name)
            number = 1
            unique = name
            while self._taken.setdefault(unique, (series.key, unit)) != (series.key, unit):
                self.collisions[name] = series.source.instance
                number += 1
                unique = f"{name}_{number}"
            points.append(Point(unique, (), conversion, scale, precision, declaration.kind, declaration.unit, declaration.help))
        return tuple(points)

    def _prometheus_name(self, series: Series, how: Spelled | None, labels: dict[str, str]) -> str:
        if how is not None and how.name is not None:
            return metric_name(how.name.fill(labels, lambda v: _NOT_METRIC.sub("_", v)))
        declaration = series.declaration
        parts = [series.source.type, declaration.name]
        suffix = UNIT_SUFFIX.get(declaration.unit, "")
        if suffix and not declaration.name.endswith(suffix):
            parts.append(suffix)
        if declaration.kind == COUNTER and not declaration.name.endswith("total"):
            parts.append("total")
        return metric_name("_".join(parts))

    def _otel_name(self, series: Series, how: Spelled | None, labels: dict[str, str]) -> str:
        if how is not None and how.name is not None:
            return how.name.fill(labels, clean_node)
        return f"{series.source.type}.{series.declaration.name}"
