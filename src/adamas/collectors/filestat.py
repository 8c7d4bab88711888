"""Open files of the whole machine, from /proc/sys/fs/file-nr, and on demand those of each user by type, from lsof(8).

The per-user part starts lsof, which looks at every process: it is off unless `collect_user_data` is set, and wants an interval
of a minute or more. An agent that is not root sees only its own processes, unless `use_sudo` is set.
"""

from collections.abc import Iterator

from adamas import Collector, Gauge, Raw, Sample, option
from adamas.host import MOST_OUTPUT

FILE_NR = "/proc/sys/fs/file-nr"


class FileStat(Collector):
    """How many file handles are open, and how many there may be."""

    name = "filestat"
    path = "files"
    diamond = "FilestatCollector"
    needs = (FILE_NR, "lsof, for open files by user")

    collect_user_data: bool = option(False, "Count each user's open files by type, with lsof")
    user_include: list[str] = option([], "Only these users (and those of group_include)")
    user_exclude: list[str] = option([], "Never these users")
    group_include: list[str] = option([], "Only users of these groups (and those of user_include)")
    group_exclude: list[str] = option([], "Not the users of these groups, unless user_include names them")
    uid_min: int = option(0, "Not users with a lower id, unless included by name or group")
    uid_max: int = option(65536, "Not users with a higher id, unless included by name or group")
    type_include: list[str] = option([], "Only these types of lsof: REG, DIR, CHR, FIFO, unix, IPv4, ...")
    type_exclude: list[str] = option([], "Not these types")
    bin: str = option("lsof", "The program lsof")
    use_sudo: bool = option(False, "Start lsof through sudo")
    sudo_cmd: str = option("sudo", "The program sudo")

    assigned = Gauge("assigned", "File handles in use", diamond=Raw(), prometheus="node_filefd_allocated")
    unused = Gauge("unused", "File handles set aside (always 0 since Linux 2.6)", diamond=Raw(), prometheus=None)
    limit = Gauge("max", "File handles that there may be", diamond=Raw(), prometheus="node_filefd_maximum")
    open_files = Gauge("user.{user}.{type}", "Files that processes of the user have open", diamond=Raw())

    def collect(self) -> Iterator[Sample]:
        text = self.host.read(FILE_NR)
        try:
            assigned, unused, limit = map(int, text.split())
        except ValueError:
            raise ValueError(f"{FILE_NR} is not three numbers: {text[:60]!r}") from None
        yield self.assigned(assigned)
        yield self.unused(unused)
        yield self.limit(limit)
        if self.collect_user_data:
            yield from self._open_files()

    def _open_files(self) -> Iterator[Sample]:
        argv = [self.bin, "-n", "-P", "-w", "-F", "puLt"]
        answer = self.host.run([self.sudo_cmd, *argv] if self.use_sudo else argv, timeout=self.deadline or 30.0)
        if len(answer.body) >= MOST_OUTPUT:
            raise ValueError(f"{self.bin} shows more open files than can be read; it was cut at {MOST_OUTPUT} bytes")
        users = count_files(answer.text)
        if not users:
            said = answer.errors.decode("utf-8", "replace").strip()
            raise ValueError(f"{self.bin} shows no process; it ended with {answer.status}: {said[:200]}")
        types = names(self.type_include) or {kind for _, found in users.values() for kind in found}
        for user, (uid, found) in users.items():
            if self._wanted(user, uid):
                for kind in sorted(types - names(self.type_exclude)):
                    yield self.open_files(found.get(kind, 0), user, kind)

    def _wanted(self, user: str, uid: int) -> bool:
        """Users first, then their groups, then the limits of ids; in each, what excludes goes before what includes."""
        if user in names(self.user_exclude):
            return False
        if user in names(self.user_include):
            return True
        include, exclude = names(self.group_include), names(self.group_exclude)
        groups = set(self.host.run(["id", "-Gn", user]).text.split()) if include or exclude else set()
        if groups & exclude:
            return False
        if include or self.user_include:
            return bool(groups & include)
        return self.uid_min <= uid <= self.uid_max


def count_files(text: str) -> dict[str, tuple[int, dict[str, int]]]:
    """What lsof -F wrote, as {user: (id, {type: files})}."""
    users: dict[str, tuple[int, dict[str, int]]] = {}
    uid = 0
    found: dict[str, int] = {}
    for line in text.split("\n"):
        field, value = line[:1], line[1:]
        if field == "t":
            found[value] = found.get(value, 0) + 1
        elif field == "p":
            found = {}
        elif field == "u" and value.isdigit():
            uid = int(value)
            # A user without a name has no L line.
            found = users.setdefault(value, (uid, {}))[1]
        elif field == "L":
            users.pop(str(uid), None)
            found = users.setdefault(value, (uid, {}))[1]
    return users


def names(listed: list[str]) -> set[str]:
    """The names of an option; a diamond.conf divides them by white space, too."""
    return {name for item in listed for name in item.split()}
