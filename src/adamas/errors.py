"""Every exception of this package.

AdamasError
├── ConfigError        what the user wrote cannot be used; carries every mistake at once
│   └── TranslationError   Python 2 source that has no translation
├── DeclarationError   a collector's or output's class body contradicts itself
├── NoData             the source does not exist on this machine: quiet, tried again rarely
└── DeliveryError      a payload did not arrive
    ├── Retry          it may arrive later (the peer is away, busy, or asks to wait)
    └── Rejected       it never will: the peer read it and refused it
(anything else that a collector or an output raises is a fault of that plugin: counted, shown, retried)
"""

from __future__ import annotations


class AdamasError(Exception):
    """The root of what Adamas itself raises."""


class Mistake:
    """One thing wrong in a configuration file: where it is, what is wrong, what was expected."""

    __slots__ = ("file", "line", "message")

    def __init__(self, file: str, line: int, message: str) -> None:
        self.file = file
        self.line = line
        self.message = message

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.message}"


class ConfigError(AdamasError):
    """A configuration that cannot be used; `mistakes` holds all of them, in file order."""

    def __init__(self, mistakes: list[Mistake]) -> None:
        self.mistakes = sorted(mistakes, key=lambda m: (m.file, m.line))
        super().__init__("\n".join(map(str, self.mistakes)))


class TranslationError(ConfigError):
    """Python 2 source that cannot be made Python 3; each mistake names the file, the line and why."""


class DeclarationError(AdamasError):
    """A metric, option or class declaration that contradicts itself."""


class NoData(AdamasError):
    """The source of a collector does not exist on this machine."""


class DeliveryError(AdamasError):
    """A payload did not arrive at its backend."""


class Retry(DeliveryError):
    """The payload may arrive later; `after` is how many seconds the peer asked to wait (0: it did not say)."""

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class Rejected(DeliveryError):
    """The peer refused the payload for good; sending it again cannot help.

    `points`: how many it refused, where it took the others (0: all). `refused`: those, where they can be told apart (else
    the whole payload is what is kept as refused).
    """

    def __init__(self, message: str, points: int = 0, refused: bytes = b"") -> None:
        super().__init__(message)
        self.points = points
        self.refused = refused
