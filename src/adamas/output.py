"""What a person writes to deliver to a backend: a class that turns batches into a payload and sends it.

Queue, retry, confirmation, ledger and spool are not its business: the sender (`adamas.sender`) does them for every output.
"""

from __future__ import annotations

from adamas.errors import DeclarationError
from adamas.lines import LineEncoder
from adamas.metric import NAMINGS
from adamas.option import Duration, Option, Size, option, options_of
from adamas.pipeline import Filter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, ClassVar

    from adamas.metric import Batch
    from adamas.naming import Naming


class Output:
    """Delivers to one backend. Subclasses set `name` and `naming`, declare options, and implement `encode` and `send`."""

    name: ClassVar[str] = ""
    default_naming: ClassVar[str] = "path"
    diamond: ClassVar[str] = ""
    """The handler class of Diamond's that this succeeds."""
    confirms_later: ClassVar[bool] = False
    """`send` returning says nothing about arrival; `confirm` asks. Else each `send` is its own confirmation."""
    slotted: ClassVar[bool] = True
    """The backend keeps one value for each interval: it gets the windows of the grid, not the early runs at start."""

    naming: str = option("", "How series are spelled (default: the backend's)", choices=("", *NAMINGS))
    buffer: str = option(
        "spill",
        "Where what cannot be sent waits: in memory, on disk once that is needed, or on disk always",
        choices=("memory", "spill", "write_through"),
    )
    spool: Size = option("256MiB", "The most disk that waiting samples may take; the oldest go first, counted", minimum=1 << 20)
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

    def spell(self, naming: Naming) -> None:
        """How its series are spelled from now on; called before the first batch."""
        self.spelling = naming
        self.lines = LineEncoder(naming, Filter(self.allow, self.deny))

    def points(self, batch: Batch) -> int:
        """How many points this batch is in the output's spelling: what the ledger counts. Must be cheap."""
        return self.lines.points(batch)

    def encode(self, batches: Sequence[Batch]) -> bytes:
        """What goes out for these batches, in bytes that may wait on disk. Pure: no I/O, called from several threads."""
        raise NotImplementedError

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
