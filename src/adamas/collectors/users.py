"""Who is logged in, from the kernel's side of the matter: utmp(5), and where there is none, systemd's sessions.

Counted are the records of type USER_PROCESS in /var/run/utmp, as who(1) shows them: one for each terminal or shell. Systems
without that file (its times end in 2038) have systemd-logind's /run/systemd/sessions: counted are those of class `user`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from adamas import Collector, Gauge, NoData, Raw, Sample, option

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from adamas.host import Host

UTMP = "/var/run/utmp"
SESSIONS = "/run/systemd/sessions"
RECORD = struct.Struct("=hxxi32s4s32s256s")
"""The beginning of a record, the same everywhere: type, process, terminal, id, user, host."""
SIZES = (384, 400)
"""The length of a record: with times of 32 bits (x86 and most others), and of 64 bits (arm64 and others)."""
USER_PROCESS = 7
LAST_TYPE = 9


class Users(Collector):
    """How often each user is logged in."""

    name = "users"
    diamond = "UsersCollector"
    needs = (f"{UTMP}, or {SESSIONS}",)

    utmp: str = option(None, f"The file of the records (default: {UTMP}, or what systemd knows)")

    total = Gauge("total", "Sessions of all users", diamond=Raw(), prometheus="users_logged_in", otel="users.logged_in")
    sessions = Gauge("{user}", "Sessions of a user", diamond=Raw())

    def __init__(self, host: Host, values: dict[str, Any] | None = None, instance: str = "") -> None:
        super().__init__(host, values, instance)
        self._path = self.utmp or UTMP

    def collect(self) -> Iterator[Sample]:
        try:
            users = in_utmp(self.host.read_bytes(self._path), self._path)
        except (FileNotFoundError, NotADirectoryError):
            if self.utmp:
                raise NoData(f"{self.utmp} does not exist here") from None
            users = self._in_sessions()
        counts: dict[str, int] = {}
        for user in users:
            counts[user] = counts.get(user, 0) + 1
        yield self.total(len(users))
        for user, count in counts.items():
            yield self.sessions(count, user)

    def _in_sessions(self) -> list[str]:
        try:
            names = self.host.listdir(SESSIONS)
        except NoData:
            raise NoData(f"neither {UTMP} nor {SESSIONS} exists here") from None
        users = []
        for name in names:
            if name.endswith(".ref"):
                continue  # the pipe that a session holds open
            text = self.host.read(f"{SESSIONS}/{name}", "")
            fields = dict(line.split("=", 1) for line in text.split("\n") if "=" in line)
            if fields.get("CLASS", "user") == "user" and "USER" in fields:
                users.append(fields["USER"])
        return users


def in_utmp(data: bytes, path: str) -> list[str]:
    """The user of each session."""
    for size in SIZES:
        if len(data) % size == 0:
            records = [RECORD.unpack_from(data, at) for at in range(0, len(data), size)]
            if all(0 <= record[0] <= LAST_TYPE for record in records):
                found = [record[4].split(b"\0", 1)[0] for record in records if record[0] == USER_PROCESS]
                return [user.decode("utf-8", "surrogateescape") for user in found if user]
    raise ValueError(f"{path} is not a file of utmp records: {len(data)} bytes")
