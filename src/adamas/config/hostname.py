"""This host's name, by the methods that Diamond has for it."""

from __future__ import annotations

import os
import socket
import threading

from adamas.errors import NoData

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

SHELL_PATIENCE = 10.0
HOSTNAME_METHODS = (
    "smart",
    "fqdn_short",
    "fqdn",
    "fqdn_rev",
    "uname_short",
    "uname_rev",
    "hostname",
    "hostname_short",
    "hostname_rev",
    "none",
)


def host_name(method: str) -> str:
    """This host's name by one of Diamond's methods; "" for `none`."""
    uname = os.uname().nodename
    if method == "none":
        return ""
    if method in ("smart", "fqdn_short"):
        short = _fqdn(uname).split(".")[0]
        if method == "fqdn_short" or short != "localhost":
            return short
        return uname.split(".")[0]
    if method == "fqdn":
        return _fqdn(uname).replace(".", "_")
    if method == "fqdn_rev":
        return ".".join(reversed(_fqdn(uname).split(".")))
    if method in ("uname_short", "hostname_short"):
        return uname.split(".")[0]
    if method == "hostname":
        return uname
    return ".".join(reversed(uname.split(".")))


def _fqdn(uname: str) -> str:
    """The full name by the resolver, or the kernel's where that takes longer than a second: a dead DNS must not stop us."""
    found: list[str] = []
    asking = threading.Thread(target=lambda: found.append(socket.getfqdn()), daemon=True)
    asking.start()
    asking.join(1.0)
    return found[0] if found else uname


def ask_shell(command: str, files: Collection[str]) -> str:
    """What a command of Diamond's method `shell` prints, run by a shell as the user that we are.

    Whoever can write the command can do whatever we can: so the files that it stands in must be root's, and nobody else's to
    write. Raises ValueError, with words, where they are not, or where the command does not name a host.
    """
    if not command.strip():
        raise ValueError("the method shell needs a command")
    from adamas.process import run_program

    for file in sorted(files):
        try:
            about = os.stat(file)
        except OSError as error:
            raise ValueError(f"{command!r} is not run: {file}: {error.strerror}") from None
        if about.st_uid != 0 or about.st_mode & 0o022:
            raise ValueError(f"{command!r} is not run: {file} must belong to root, and nobody else may be able to write it")
    try:
        answer = run_program(["/bin/sh", "-c", command], SHELL_PATIENCE, b"", 4096)
    except (OSError, NoData) as error:
        raise ValueError(f"{command!r}: {error}") from None
    name = answer.text.strip()
    if answer.status:
        raise ValueError(f"{command!r} ended with status {answer.status}: {answer.errors.decode(errors='replace').strip()[:200]}")
    if not name or len(name.split()) > 1:
        raise ValueError(f"{command!r} printed {name[:60]!r}, which is no host's name")
    return name
