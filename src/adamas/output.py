"""What a person writes to deliver to a backend: a class that turns batches into a payload and sends it.

Queue, retry, confirmation, ledger and spool are not its business: the sender (`adamas.sender`) does them for every output.
"""

from __future__ import annotations

from adamas.errors import DeclarationError
from adamas.lines import LineEncoder, graphite_line, whole_seconds
from adamas.metric import DELTA, NAMINGS
from adamas.option import Duration, Option, Size, option, options_of
from adamas.pipeline import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, ClassVar

    from adamas.metric import Batch
    from adamas.naming import Naming, Point


class Output:
    """Delivers to one backend. Subclasses set `name` and `naming`, declare options, and implement `encode` and `send`."""

    name: ClassVar[str] = ""
    default_naming: ClassVar[str] = "path"
    diamond: ClassVar[str] = ""
    """The handler class of Diamond's that this succeeds."""
    confirms_later: ClassVar[bool] = False
    """`send` returning says nothing about arrival; `confirm` asks. Else each `send` is its own confirmation."""
    answered: ClassVar[bool] = True
    """The backend, or its machine, says in some way that it has what was sent; else delivered means no more than sent."""
    slotted: ClassVar[bool] = True
    """The backend keeps one value for each interval: it gets the windows of the grid, not the early runs at start."""
    replaces: ClassVar[bool] = True
    """A value for a time that has one takes its place there. Where it is refused, as it is by a backend that wants times to
    ascend, the window that began before the agent did is left out: the agent before may have sent it."""
    ordered: ClassVar[bool] = False
    """The backend takes a series in the order of its times only: what waits on disk is sent before anything new."""
    counters: ClassVar[str] = ""
    """How a growing total goes out: as the spelling has it, or as its increase since the run before ("delta")."""
    modules: ClassVar[tuple[str, ...]] = ()
    """What it imports to send that is not Adamas' own, nor Python's."""
    extra: ClassVar[str] = ""
    """The extra that installs those: `pip install 'adamas[EXTRA]'`."""

    naming: str = option("", "How series are spelled (default: the backend's)", choices=("", *NAMINGS))
    buffer: str = option(
        "spill",
        "Where what cannot be sent waits: in memory, on disk once that is needed, or on disk always",
        choices=("memory", "spill", "write_through"),
    )
    spool: Size = option("256MiB", "The most disk that waiting samples may take; the oldest go first, counted", minimum=1 << 20)
    disk_ratio: float = option(0.95, "How full the spool's disk may be; fuller, samples wait in memory", minimum=0, maximum=1)
    disk_free: Size = option("64MiB", "How much of the spool's disk stays free; with less, samples wait in memory")
    dead_letters: Size = option("16MiB", "The most disk that payloads which the backend refused may take; 0: none are kept")
    memory: Size = option("16MiB", "The most memory that waiting samples may take; the oldest go first, counted", minimum=1 << 16)
    batch: int = option(10_000, "The most points in one send", minimum=1)
    timeout: Duration = option("10s", "How long the backend may take to answer", minimum=0.1)
    allow: list[str] = option([], "Only series whose name (without prefix and host) matches one of these", pattern=True)
    deny: list[str] = option([], "No series whose name (without prefix and host) matches one of these", pattern=True)

    isolation: ClassVar[str] = "thread"
    """Where `open`, `send` and `close` run: "process" is a killable child; the payload must be what JSON can carry then."""
    preload: ClassVar[tuple[str, ...]] = ()
    """Modules that its children share, where it is isolated."""
    memory_limit: Size | int = 0
    """The most memory of an isolated output's child; 0: no limit."""

    options: ClassVar[dict[str, Option]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.options = options_of(cls)
        if cls.confirms_later and cls.confirm is Output.confirm:
            raise DeclarationError(f"{cls.__qualname__} confirms later, but has no confirm()")

    def __init__(self, values: dict[str, Any] | None = None, instance: str = "") -> None:
        given = values or {}
        for name, declared in type(self).options.items():
            setattr(self, name, given.get(name, declared.default))
        self.instance = instance or type(self).name
        self.spelling: Naming | None = None
        self.lines: LineEncoder
        """Its points in its spelling, by `spell`."""

    @classmethod
    def spread(cls, values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """The instances that one table stands for, each with queue and spool of its own: what to add to the name -> options."""
        return {"": dict(values)}

    @property
    def dialect(self) -> str:
        """What its payloads are, in a word: a payload that waits on disk is sent by an output of the same dialect only."""
        return type(self).name

    def spell(self, naming: Naming) -> None:
        """How its series are spelled from now on; called before the first batch."""
        self.spelling = naming
        self._filter = Filter(self.allow, self.deny)
        self.lines = LineEncoder(
            naming,
            self.wants if self._filter or type(self).wants is not Output.wants else None,
            self.fit if type(self).fit is not Output.fit else None,
            self.line,
            self.stamp,
            self.counters == DELTA,
        )

    def wants(self, point: Point, front: str) -> bool:
        """Whether a point goes here at all; `front` is what its name has before the collector's segment."""
        return not self._filter or self._filter.passes([point.name.removeprefix(front + ".") if front else point.name])

    def fit(self, point: Point) -> Point | None:
        """The point as the backend can take it (`point.named`), None where it cannot; the encoder sees to it that no two meet."""
        return point

    def line(self, point: Point) -> str:
        """A point's text in `self.lines`, with `lines.VALUE` once and `lines.TIME` where they go."""
        return graphite_line(point)

    def stamp(self, time: float) -> str:
        """A time's text in `self.lines`."""
        return whole_seconds(time)

    def points(self, batch: Batch) -> int:
        """How many points this batch is in the output's spelling: what the ledger counts. Must be cheap."""
        return self.lines.points(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """What goes out for these batches, in bytes that may wait on disk. Pure: no I/O, called from several threads."""
        return self.lines.encode(batches)

    def open(self) -> None:
        """Make ready to send, if it is not; called before each send. Raises OSError or Retry where it cannot."""

    def send(self, payload: bytes) -> None:
        """Hand the payload over. Raises OSError or Retry to have it sent again, Rejected to have it given up."""
        raise NotImplementedError

    def confirm(self) -> None:
        """Make sure that all that was sent since the last confirmation arrived; OSError or Retry where it may not have."""
        raise NotImplementedError

    def close(self) -> None:
        """Hang up; called after a failure and at the end. The next `open` starts anew."""

    def check(self) -> list[str]:
        """What is wrong with the options together, in words; nothing is connected."""
        return []
