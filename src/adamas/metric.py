"""Metrics, series and batches: the data that flows through the agent.

A collector declares metrics in its class body (`Gauge`, `Counter`, `Group`). Called with a value and labels, a
metric gives a sample: a pair of a resolved `Series` and its value. A `row` is many at once: a tuple of series and
their values. A run's samples become one columnar `Batch` over a `Shape`, the interned list of the run's series, so
that a run like the last one carries nothing but values.
"""

from __future__ import annotations

from _string import formatter_parser  # type: ignore[import-not-found]  # the module string would only wrap it
from operator import itemgetter

from adamas.errors import DeclarationError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from types import EllipsisType
    from typing import Any, TypeAlias

    Value: TypeAlias = int | float
    Sample: TypeAlias = "tuple[Series, Value] | tuple[tuple[Series, ...] | Stamped, Sequence[Value]]"
    How: TypeAlias = "Spelled | str | EllipsisType | None"
else:
    Sample = Value = object  # a name for collectors' annotations; nothing reads it at run time

RAW, RATE, DELTA = "raw", "rate", "delta"
GAUGE, COUNTER, UNTYPED = "gauge", "counter", "untyped"


class Template:
    """A name with label fields, such as `cpu{cpu}.{mode}` or `{minutes:02}`.

    `parts` alternates literal text and (field, format) pairs; `fields` are the labels in order of first use.
    """

    __slots__ = ("fields", "parts", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts: list[tuple[str, str | None, str]] = []
        try:
            for literal, field, spec, conversion in formatter_parser(text):
                if field is not None and (not field.isidentifier() or conversion):
                    raise DeclarationError(f"template {text!r}: {field!r} is not a label name")
                self.parts.append((literal, field, spec or ""))
        except ValueError as error:
            raise DeclarationError(f"template {text!r}: {error}") from None
        self.fields = tuple(dict.fromkeys(f for _, f, _ in self.parts if f is not None))

    def fill(self, labels: Mapping[str, str], clean: Callable[[str], str]) -> str:
        """The template with each label value cleaned; a numeric format applies where the value is a number."""
        out = []
        for literal, field, spec in self.parts:
            out.append(literal)
            if field is not None:
                value = labels[field]
                if spec:
                    try:
                        value = format(int(value), spec)
                    except ValueError:
                        pass
                out.append(clean(value))
        return "".join(out)


class Spelled:
    """How one naming writes a metric, where its rule does not fit.

    name: its own name or template (None: the rule's); conversion: raw, rate (per second of elapsed time) or delta (per
    run); scale and precision (decimals) of the value; units: the option that lists Diamond byte units, over which the
    series is spread; kind: what a typed exposition calls it; values: label values mapped (a dict or a function);
    drop: labels left out; rename: labels renamed; complete: a dotted name that gets neither prefix nor segment before it.
    """

    __slots__ = ("complete", "conversion", "drop", "kind", "name", "precision", "rename", "scale", "units", "values")

    def __init__(
        self,
        name: str | None = None,
        *,
        conversion: str = RAW,
        scale: float = 1,
        precision: int | None = None,
        units: str = "",
        kind: str = "",
        values: Mapping[str, Mapping[str, str] | Callable[[str], str]] | None = None,
        drop: Iterable[str] = (),
        rename: Mapping[str, str] | None = None,
        complete: bool = False,
    ) -> None:
        self.name = None if name is None else Template(name)
        self.conversion = conversion
        self.scale = scale
        self.precision = precision
        self.units = units
        self.kind = kind
        self.values = dict(values or {})
        self.drop = frozenset(drop)
        self.rename = dict(rename or {})
        self.complete = complete


def Raw(name: str | None = None, **how: Any) -> Spelled:
    """The value as it is."""
    return Spelled(name, conversion=RAW, **how)


def Rate(name: str | None = None, **how: Any) -> Spelled:
    """A counter's increase per second of elapsed time."""
    return Spelled(name, conversion=RATE, **how)


def Delta(name: str | None = None, **how: Any) -> Spelled:
    """A counter's increase since the run before."""
    return Spelled(name, conversion=DELTA, **how)


def Otel(name: str | None = None, **rename: str) -> Spelled:
    """A semantic-convention name, its labels renamed to attributes."""
    return Spelled(name, rename=rename)


NAMINGS = ("path", "diamond", "prometheus", "otel")


class Declaration:
    """What a collector declares about one metric: see `Gauge` and `Counter`."""

    __slots__ = ("bound", "help", "kind", "name", "precision", "spelled", "template", "unit", "wrap")
    kind: str

    def __init__(
        self,
        template: str,
        help: str = "",
        *,
        unit: str = "",
        precision: int | None = None,
        wrap: float = 0,
        bound: str = "",
        path: How = ...,
        diamond: How = ...,
        prometheus: How = ...,
        otel: How = ...,
    ) -> None:
        self.template = Template(template)
        self.help = help
        self.unit = unit
        self.precision = precision
        self.wrap = wrap
        self.bound = bound
        self.name = ""
        self.spelled: dict[str, Spelled | None] = {}
        for naming, how in (("path", path), ("diamond", diamond), ("prometheus", prometheus), ("otel", otel)):
            if how is ...:
                continue
            self.spelled[naming] = self._spelled(naming, how)

    def _spelled(self, naming: str, how: How) -> Spelled | None:
        if isinstance(how, str):
            how = Spelled(how, conversion=self.default_conversion(naming))
        if how is None:
            return None
        assert isinstance(how, Spelled)
        if how.conversion != RAW and self.kind == GAUGE:
            raise DeclarationError(f"{self.template.text!r}: a gauge has no {how.conversion}; declare a Counter")
        known = set(self.template.fields)
        for what, names in (
            (f"{naming} name", set(how.name.fields if how.name else ()) - ({"unit"} if how.units else set())),
            (f"{naming} drop", how.drop),
            (f"{naming} rename", set(how.rename)),
            (f"{naming} values", set(how.values)),
        ):
            if stray := set(names) - known:
                raise DeclarationError(f"{self.template.text!r}: {what} uses {sorted(stray)}, not a label of the template")
        if naming in ("path", "diamond") and how.name is not None:
            left = known - set(how.name.fields) - how.drop
            if left:
                raise DeclarationError(f"{self.template.text!r}: {naming} leaves out the label {min(left)!r}; drop it in words")
        return how

    def default_conversion(self, naming: str) -> str:
        """Dotted namings carry counters as rates; labelled ones carry them as they are."""
        return RATE if self.kind == COUNTER and naming in ("path", "diamond") else RAW

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name


class Gauge(Declaration):
    """A level: goes up and down, meaningful as it is."""

    __slots__ = ()
    kind = GAUGE

    if TYPE_CHECKING:

        def __call__(self, value: Value, *labels: object, **named: object) -> Sample: ...
        def row(self, values: Sequence[Value], keys: Sequence[str], *labels: object) -> Sample: ...


class Counter(Declaration):
    """A total that only grows; `wrap` is where the source's counter starts over (2**32, say)."""

    __slots__ = ()
    kind = COUNTER

    if TYPE_CHECKING:

        def __call__(self, value: Value, *labels: object, **named: object) -> Sample: ...
        def row(self, values: Sequence[Value], keys: Sequence[str], *labels: object) -> Sample: ...


class Group:
    """Declarations that a source gives side by side, such as the columns of a line of /proc/diskstats.

    Called with the values of all of them and their shared labels, it gives one row.
    """

    __slots__ = ("declarations",)

    def __init__(self, *declarations: Declaration) -> None:
        self.declarations = declarations
        if len({d.template.fields for d in declarations}) > 1:
            raise DeclarationError("the declarations of a Group share their labels")

    if TYPE_CHECKING:

        def __call__(self, values: Sequence[Value], *labels: object) -> Sample: ...


class Series:
    """One declaration with its label values, of one collector. Made once, compared by identity."""

    __slots__ = ("declaration", "labels", "source")

    def __init__(self, source: Source, declaration: Declaration, labels: tuple[str, ...]) -> None:
        self.source = source
        self.declaration = declaration
        self.labels = labels

    @property
    def key(self) -> tuple[str, str, tuple[str, ...]]:
        """What stays the same when the collector is made anew."""
        return (self.source.instance, self.declaration.name, self.labels)

    def label_pairs(self) -> dict[str, str]:
        """Label names and values in template order."""
        return dict(zip(self.declaration.template.fields, self.labels))

    def __repr__(self) -> str:
        return f"<Series {self.source.instance}.{self.declaration.name}{self.labels}>"


class Source:
    """The collector instance that series belong to, as far as naming needs to know it.

    instance: the table's name; type: the collector's name; path: its segment in dotted names; succeeds: whether it
    takes the place of one of Diamond's; units: what the options that list byte units say; labels: extra labels;
    diamond_path: the segment under which Diamond's published, where it is not `path`; prefix: what comes before the segment
    instead of the output's prefix (None: that one); only: a naming, and which of the names it gives are wanted.
    """

    __slots__ = ("diamond_path", "instance", "labels", "only", "path", "prefix", "succeeds", "type", "units")

    def __init__(
        self,
        instance: str,
        type: str,
        path: str,
        succeeds: bool = False,
        units: Mapping[str, Sequence[str]] | None = None,
        labels: Mapping[str, str] | None = None,
        diamond_path: str = "",
        prefix: str | None = None,
    ) -> None:
        self.instance = instance
        self.type = type
        self.path = path
        self.diamond_path = diamond_path or path
        self.succeeds = succeeds
        self.units = dict(units or {})
        self.labels = dict(labels or {})
        self.prefix = prefix
        self.only: tuple[str, Callable[[str], bool]] | None = None


class Catalog:
    """The series of one collector instance, resolved once and bounded: past `limit`, new ones are counted, not kept.

    `SURPLUS` stands for a series that did not fit; the run drops its samples and counts them.
    """

    __slots__ = ("full", "limit", "refused", "series", "source")

    def __init__(self, source: Source, limit: int) -> None:
        self.refused = 0  # in a child that collects for this catalog
        self.source = source
        self.limit = limit
        self.series: dict[tuple[str, tuple[str, ...]], Series] = {}
        self.full = False

    def resolve(self, declaration: Declaration, labels: Iterable[object]) -> Series:
        """The series of these labels, made if it is new and there is room."""
        text = tuple([v if type(v) is str else str(v) for v in labels])
        if len(text) != len(declaration.template.fields):
            raise TypeError(
                f"{declaration.name or declaration.template.text} has the labels {list(declaration.template.fields)}, "
                f"{len(text)} given"
            )
        key = (declaration.name, text)
        found = self.series.get(key)
        if found is None:
            if len(self.series) >= self.limit:
                self.full = True
                return SURPLUS
            found = self.series[key] = Series(self.source, declaration, text)
        return found

    def forget(self, name: str) -> None:
        """Forget the series of one declaration."""
        for key in [k for k in self.series if k[0] == name]:
            del self.series[key]

    def keep(self, series: Iterable[Series]) -> None:
        """Forget every series but these, so that labels that come and go do not fill the catalog for ever."""
        self.series = {(s.declaration.name, s.labels): s for s in series}
        self.full = False


SURPLUS = Series(Source("", "", ""), Gauge("surplus"), ())


class Metric:
    """A declaration bound to a collector instance: call it with a value and labels, or give it a row."""

    __slots__ = ("catalog", "declaration", "known", "rows")

    def __init__(self, declaration: Declaration, catalog: Catalog) -> None:
        self.declaration = declaration
        self.catalog = catalog
        self.forget()

    def forget(self) -> None:
        """Drop what was resolved; the catalog holds the series."""
        self.known: dict[tuple[object, ...], Series] = {}
        self.rows: dict[tuple[object, ...], tuple[Sequence[str], tuple[Series, ...]]] = {}

    def __call__(self, value: Value, *labels: object, **named: object) -> tuple[Series, Value]:
        """One sample; labels in the order of the template's fields, or by name."""
        if named:
            labels = self._ordered(labels, named)
        try:
            return self.known[labels], value
        except KeyError:
            series = self.catalog.resolve(self.declaration, labels)
            if series is not SURPLUS:
                self.known[labels] = series
            return series, value

    def row(self, values: Sequence[Value], keys: Sequence[str], *labels: object) -> tuple[tuple[Series, ...], Sequence[Value]]:
        """Many samples: `labels` are shared and come first in the template, `keys` are the last field's values."""
        row = self.rows.get(labels)
        if row is not None and row[0] == keys:
            return row[1], values
        series = tuple([self.catalog.resolve(self.declaration, (*labels, key)) for key in keys])
        if len(series) != len(values):
            raise ValueError(f"{self.declaration.name}: {len(series)} keys and {len(values)} values")
        if SURPLUS not in series:
            self.rows[labels] = (keys, series)
        return series, values

    def _ordered(self, labels: tuple[object, ...], named: dict[str, object]) -> tuple[object, ...]:
        fields = self.declaration.template.fields
        rest = fields[len(labels) :]
        if set(rest) != set(named):
            raise TypeError(f"{self.declaration.name} has the labels {list(fields)}, got {sorted(named)}")
        return (*labels, *[named[field] for field in rest])


class BoundGroup:
    """A `Group` bound to a collector instance."""

    __slots__ = ("catalog", "group", "known")

    def __init__(self, group: Group, catalog: Catalog) -> None:
        self.group = group
        self.catalog = catalog
        self.forget()

    def forget(self) -> None:
        """Drop what was resolved; the catalog holds the series."""
        self.known: dict[tuple[object, ...], tuple[Series, ...]] = {}

    def __call__(self, values: Sequence[Value], *labels: object) -> tuple[tuple[Series, ...], Sequence[Value]]:
        """One row: the values in the order of the group's declarations, with the labels that they share."""
        try:
            series = self.known[labels]
        except KeyError:
            series = tuple([self.catalog.resolve(d, labels) for d in self.group.declarations])
            if SURPLUS not in series:
                self.known[labels] = series
        if len(series) != len(values):
            raise ValueError(f"a group of {len(series)} declarations got {len(values)} values")
        return series, values


class Stamped:
    """Series whose values have a time of their own: `(Stamped(time, series), values)` in place of a row.

    What a run yields so becomes a batch of that time, beside the run's own.
    """

    __slots__ = ("series", "time")

    def __init__(self, time: float, series: tuple[Series, ...]) -> None:
        self.time = time
        self.series = series


class Shape:
    """The interned list of series of a run. Whatever is the same for every such run hangs on it.

    series: after filter and guard; select: picks their values from a run's (None: all of them); counters: positions of
    the counters; pick: their values; plans: what each output worked out for this shape, by output.
    """

    __slots__ = ("counters", "gauges", "pick", "plans", "select", "series")

    def __init__(self, series: tuple[Series, ...], select: Callable[[Sequence[Value]], Sequence[Value]] | None) -> None:
        self.series = series
        self.select = select
        self.counters = tuple([i for i, s in enumerate(series) if s.declaration.kind == COUNTER])
        self.gauges = tuple([i for i, s in enumerate(series) if s.declaration.kind != COUNTER])
        self.pick = picker(self.counters)
        self.plans: dict[object, Any] = {}


def picker(positions: Sequence[int]) -> Callable[[Sequence[Value]], Sequence[Value]]:
    """A function that takes these positions out of a list of values, as a tuple."""
    if not positions:
        return lambda values: ()
    if len(positions) == 1:
        only = positions[0]
        return lambda values: (values[only],)
    return itemgetter(*positions)


class Batch:
    """One run of one collector. Immutable once it is published.

    time: the window's stamp, seconds since 1970; shape and values go together; deltas: each counter's increase since
    its last sample, None where there is none yet (first sample, reset), in the order of `shape.counters`; elapsed: the
    seconds that the deltas took, one number, or one for each counter where they differ; missing: how many are None.
    """

    __slots__ = ("_rates", "deltas", "elapsed", "missing", "shape", "time", "values")

    def __init__(
        self,
        time: float,
        shape: Shape,
        values: Sequence[Value],
        deltas: Sequence[Value | None],
        elapsed: float | Sequence[float],
        missing: int,
    ) -> None:
        self.time = time
        self.shape = shape
        self.values = values
        self.deltas = deltas
        self.elapsed = elapsed
        self.missing = missing
        self._rates: Sequence[float | None] | None = None

    def rates(self) -> Sequence[float | None]:
        """Each counter's increase per second, None where there is none yet, in the order of `shape.counters`."""
        if self._rates is None:
            elapsed = self.elapsed
            if isinstance(elapsed, (int, float)):
                if self.missing:
                    self._rates = [None if d is None else d / elapsed for d in self.deltas]
                else:
                    self._rates = [d / elapsed for d in self.deltas]  # type: ignore[operator]
            else:
                self._rates = [None if d is None else d / e for d, e in zip(self.deltas, elapsed)]
        return self._rates

    @property
    def size(self) -> int:
        """About how many bytes the batch keeps in memory: its values and deltas as objects and their references."""
        return 320 + 32 * len(self.values) + 32 * len(self.deltas)
