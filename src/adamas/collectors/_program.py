"""Asking a program of the machine, through sudo where it must be; what several collectors share."""

from __future__ import annotations

from adamas import Collector, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from adamas.answer import Answer

LIMIT = 10.0


class Program(Collector):
    """A collector that asks a program. It never waits longer than its deadline, or 10 seconds."""

    use_sudo: bool = option(False, "Start the program through sudo")
    sudo_cmd: str = option("sudo", "The program sudo")

    def ask(self, *argv: str) -> Answer:
        """What the program answers."""
        return self.host.run([self.sudo_cmd, *argv] if self.use_sudo else argv, timeout=self.deadline or LIMIT)


def said(answer: Answer) -> str:
    """What a program told of itself that was not what it was asked for: its exit code and its words."""
    words = answer.errors.decode("utf-8", "replace").strip() or answer.text.strip()
    return f"it ended with {answer.status}: {words[:200]}"
