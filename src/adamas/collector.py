"""What a person writes to measure something: a class with a name, options, metrics and one method, `collect`."""

from __future__ import annotations

from adamas.errors import DeclarationError
from adamas.host import Host
from adamas.metric import BoundGroup, Catalog, Counter, Declaration, Gauge, Group, Metric, Source
from adamas.naming import BYTE_UNITS
from adamas.option import Duration, Option, Size, option, options_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, ClassVar

    from adamas.metric import Sample, Spelled, Value

SERIES_LIMIT = 100_000
DOTTED = ("path", "diamond")


class Collector:
    """Measures one thing. Subclasses set `name`, declare options and metrics, and implement `collect`."""

    name: ClassVar[str] = ""
    path: ClassVar[str] = ""
    """The segment in dotted names, where it is not `name`."""
    diamond: ClassVar[str] = ""
    """The class of Diamond's that this succeeds: its section in a diamond.conf."""
    diamond_path: ClassVar[str] = ""
    """The segment under which that class published, where it is not `path`."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What must be there, in words: shown by `describe` (a file, a program, a capability)."""
    complete_names: ClassVar[bool] = False
    """Its dotted names have the host's prefix in them already: it is made anew where that changes."""
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules that its children share, where it is isolated: imported once, before they are forked."""
    remote: ClassVar[bool] = False
    """Talks to a peer that may be slow: gets a thread of its own from the beginning."""

    interval: Duration = option(None, "How often it runs (default: the agent's)", minimum=0.1)
    deadline: Duration = option(None, "How long a run may take (default: its interval)", minimum=0.01)
    isolation: str = option("thread", "Where it runs: in a thread, or in a killable child", choices=("thread", "process"))
    memory_limit: Size = option("256MiB", "The most memory of an isolated collector's child", minimum=32 << 20)
    series_limit: int = option(SERIES_LIMIT, "The most series it may have; more are dropped and counted", minimum=1)
    allow: list[str] = option([], "Only series whose name (without prefix and host) matches one of these", pattern=True)
    deny: list[str] = option([], "No series whose name (without prefix and host) matches one of these", pattern=True)
    labels: dict[str, str] = option({}, "Labels added to every series, where the output has labels")
    filter_naming: str = option("", "The naming whose names `allow` and `deny` mean (default: either)", choices=("", *DOTTED))
    segment: str = option("", "Its segment in dotted names, instead of its own")
    prefix: str = option(None, "What comes before its segment, instead of the agent's path_prefix, hostname and path_suffix")

    options: ClassVar[dict[str, Option]] = {}
    declarations: ClassVar[dict[str, Declaration]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.options = options_of(cls)
        cls.declarations = {}
        for klass in reversed(cls.__mro__):
            for name, value in klass.__dict__.items():
                if not isinstance(value, (Declaration, Group)):
                    continue
                if name in Collector.__dict__:
                    raise DeclarationError(f"{cls.__qualname__}.{name}: every collector has an attribute of that name")
                if isinstance(value, Declaration):
                    cls.declarations[name] = value
                    for spelled in value.spelled.values():
                        if spelled is None or not spelled.units:
                            continue
                        if spelled.units not in cls.options:
                            raise DeclarationError(f"{cls.__qualname__}.{name}: there is no option {spelled.units!r} with units")
                        cls.options[spelled.units].units = BYTE_UNITS

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        """An instance with parsed option values (what is not given has its default)."""
        cls = type(self)
        given = values or {}
        for name, declared in cls.options.items():
            setattr(self, name, given.get(name, declared.default))
        self.host = host
        self.instance = instance or cls.name
        self.elapsed = 0.0
        """Seconds since the run before; 0 in the first."""
        spelled = [s for d in cls.declarations.values() for s in d.spelled.values() if s is not None]
        units = {s.units: getattr(self, s.units) for s in spelled if s.units}
        segment = self.segment or cls.path or (cls.name if self.instance == cls.name else self.instance)
        diamond_path = self.segment or cls.diamond_path
        self.source = Source(self.instance, cls.name, segment, bool(cls.diamond), units, self.labels, diamond_path, self.prefix)
        self.catalog = Catalog(self.source, self.series_limit)
        self._bound: list[Metric | BoundGroup] = []
        for klass in reversed(cls.__mro__):
            for name, value in klass.__dict__.items():
                if isinstance(value, Declaration):
                    self._bind(name, Metric(value, self.catalog))
                elif isinstance(value, Group):
                    self._bind(name, BoundGroup(value, self.catalog))
        self._dynamic: dict[str, Metric] = {}
        self._last: dict[object, Value] = {}

    def _bind(self, name: str, bound: Metric | BoundGroup) -> None:
        setattr(self, name, bound)
        self._bound.append(bound)

    def collect(self) -> Iterable[Sample]:
        """Measure once: yield samples and rows. May block; may raise NoData, or anything."""
        raise NotImplementedError

    def metric(
        self,
        name: str,
        kind: str = "gauge",
        unit: str = "",
        help: str = "",
        template: str = "",
        bound: str = "",
        **spellings: Spelled | str | None,
    ) -> Metric:
        """A metric that is only known at run time, by the same rules as a declared one; made once for each name.

        `name` is its canonical name; `template` its dotted name with label fields (default: the name); `bound` the
        label that is a histogram's bound.
        """
        found = self._dynamic.get(name)
        if found is None:
            made = (Counter if kind == "counter" else Gauge)(template or name, help, unit=unit, bound=bound, **spellings)  # type: ignore[arg-type]
            made.name = name
            found = Metric(made, self.catalog)
            if len(self._dynamic) < self.series_limit:
                self._dynamic[name] = found
        return found

    def undeclare(self, name: str) -> None:
        """Forget a metric that was made at run time: the next of its name may be declared otherwise."""
        self._dynamic.pop(name, None)
        self.catalog.forget(name)

    def delta(self, key: object, value: Value) -> Value | None:
        """The increase of a number of the collector's own since its last run; None the first time and after a reset."""
        before = self._last.get(key)
        self._last[key] = value
        return None if before is None or value < before else value - before

    def sweep(self, keep: Iterable[Any]) -> None:
        """Forget the series that are not in `keep`, and what was resolved to them."""
        self.catalog.keep(keep)
        for bound in self._bound:
            bound.forget()
        self._dynamic.clear()

    def close(self) -> None:
        """Let go of what the collector holds; called once, when it is removed."""
