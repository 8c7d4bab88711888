"""What scripts in a directory print: lines of a name and a number, `backup.age 3600`.

Every executable file is started without arguments and without a shell, several side by side, each within `timeout`, of its
output at most 1 MiB. As in Diamond the lines of a script that fails are taken too, and lines of another form are left out; both
are told in the log. A number with a point has `floatprecision` decimals in Diamond's spelling.

An agent that runs as root starts only what root alone can change: the directory and the script must belong to root and be
writable by no one else. Scripts of others are left out and named in the log; `check_owner = false` starts them all the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from stat import S_ISREG

from adamas import Collector, Duration, Gauge, Sample, option
from adamas.collectors._named import Named
from adamas.collectors._together import Together
from adamas.host import MOST_OUTPUT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from adamas.answer import Answer
    from adamas.host import Host

EXECUTABLE = 0o111
OTHERS, GROUP = 0o002, 0o020


class UserScripts(Collector):
    """Any number that a script of the user's prints."""

    name = "userscripts"
    path = "."
    diamond = "UserScriptsCollector"
    remote = True
    needs = ("/etc/diamond/user_scripts",)

    scripts_path: str = option("/etc/diamond/user_scripts/", "The directory of the scripts")
    floatprecision: int = option(4, "Decimals of a number with a point, in Diamond's spelling", minimum=0, maximum=15)
    timeout: Duration = option("10s", "The time limit of each script; then it is killed", minimum=0.01)
    at_once: int = option(4, "How many run side by side", minimum=1)
    check_owner: bool = option(True, "As root, start only what belongs to root and no one else may change")

    success = Gauge("{script}.success", "Whether the script ended with 0, in time", path=None, diamond=None)

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._together = Together(self.instance, self.timeout, self.at_once)
        self._named = Named(self, "What a script prints")

    def collect(self) -> Iterator[Sample]:
        folder = self.scripts_path.rstrip("/") or "/"
        names = self.host.listdir(folder)
        root = self.check_owner and self.host.uid() == 0
        if root and (words := unsafe(self.host.stat(folder))):
            raise PermissionError(f"{folder} {words}; nothing in it is started as root (see check_owner)")
        troubles: dict[str, str] = {}
        scripts = []
        for name in names:
            try:
                about = self.host.stat(f"{folder}/{name}")
            except OSError:
                continue  # gone, or a link to nothing
            if S_ISREG(int(about["mode"])) and int(about["mode"]) & EXECUTABLE:
                if root and (words := unsafe(about)):
                    troubles[name] = f"{words}; it is not started as root (see check_owner)"
                else:
                    scripts.append(name)
        answers = self._together.ask(scripts, lambda name: self.host.run([f"{folder}/{name}"], timeout=self.timeout))
        for name, answer in answers.items():
            if isinstance(answer, Exception):
                troubles[name] = str(answer) or repr(answer)
                yield self.success(0, name)
                continue
            yield self.success(int(answer.status == 0), name)
            yield from self._numbers(name, answer, troubles)
        self._together.tell(troubles)

    def sweep(self, keep: Iterable[Any]) -> None:
        """As any collector's."""
        kept = set(keep)
        super().sweep(kept)
        self._named.keep(kept)

    def _numbers(self, script: str, answer: Answer, troubles: dict[str, str]) -> Iterator[Sample]:
        if answer.status:
            said = answer.errors.decode("utf-8", "replace").strip()
            troubles[script] = f"it ended with {answer.status}: {said[:200]}"
        if len(answer.body) >= MOST_OUTPUT:
            troubles[script] = f"it prints more than {MOST_OUTPUT} bytes; the rest was cut"
        for line in answer.text.split("\n"):
            words = line.split()
            if not words:
                continue
            try:
                name, value = words
                number = float(value)
            except ValueError:
                troubles.setdefault(script, f"it prints {line[:100]!r}, which is not a name and a number")
                continue
            pointed = "." in value
            # A whole number stays one: its text has no decimals in any spelling.
            yield self._named.series(name, self.floatprecision if pointed else 0), number if pointed else whole(number)


def whole(number: float) -> int | float:
    """A number without a fraction as an integer."""
    return int(number) if number.is_integer() else number


def unsafe(about: dict[str, float]) -> str:
    """Why others than root can change a file, in words; nothing where they cannot."""
    mode = int(about["mode"])
    if about["uid"] != 0:
        return f"belongs to the user {int(about['uid'])}"
    if mode & OTHERS:
        return "is writable by everyone"
    if mode & GROUP and about["gid"] != 0:
        return f"is writable by the group {int(about['gid'])}"
    return ""
