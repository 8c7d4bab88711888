"""The command `diamond`: starts Adamas the way Diamond was started, for the init scripts and units that hosts have.

As a daemon it forks twice, writes a pid file, and becomes the user and group that are asked for, with the groups of that user.
Its log goes to the file that the diamond.conf names for Diamond's log.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import re
import sys

import adamas
from adamas.cli import terminal
from adamas.cli.sampling import Sampler, say
from adamas.config import Config, build, diamond, load, state_directory
from adamas.config.diamond import ini
from adamas.config.source import is_diamond
from adamas.errors import ConfigError
from adamas.lines import LineEncoder
from adamas.naming import Naming

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

CONFIG = "/etc/diamond/diamond.conf"
PID_FILE = "/var/run/diamond.pid"
BETWEEN = 1.0
"""Seconds between the two runs of `-r`, where there are rates."""


class CannotStart(Exception):
    """Why not, in words."""


def parser() -> argparse.ArgumentParser:
    """Diamond's arguments."""
    top = argparse.ArgumentParser(prog="diamond", description="Starts Adamas in place of Diamond, with a diamond.conf.")
    add = top.add_argument
    add("-c", "--configfile", default=CONFIG, metavar="FILE", help=f"the configuration (default: {CONFIG})")
    add("-f", "--foreground", action="store_true", help="stay in the foreground")
    add("-l", "--log-stdout", action="store_true", help="log to standard output")
    add("-p", "--pidfile", metavar="FILE", help=f"where to write the process id (default: [server] pid_file, or {PID_FILE})")
    add("-r", "--run", metavar="COLLECTOR", help="run one collector once and print its lines")
    add("-u", "--user", help="become this user (default: [server] user)")
    add("-g", "--group", help="become this group (default: [server] group, or the user's own)")
    add("--skip-pidfile", action="store_true", help="write no pid file")
    add("--skip-change-user", action="store_true", help="stay the user that you are")
    add("--skip-fork", action="store_true", help="do not fork")
    add("-v", "--version", action="version", version=f"Diamond version {adamas.__version__} (Adamas)")
    return top


def main() -> int:
    """Run what the command line says; returns the exit code."""
    try:
        arguments = parser().parse_args()
    except SystemExit as end:
        return 1 if end.code else 0
    path = os.path.abspath(arguments.configfile)
    if not os.path.exists(path):
        print(f"Config file: {path} does not exist\n", file=sys.stderr)
        parser().print_help(sys.stderr)
        return 1
    try:
        if arguments.run:
            return run_once(path, arguments.run)
        settings = ini.read(path) if is_diamond(path) else ini.Settings(path)
        return start(load(path), settings, arguments)
    except ConfigError as error:
        say(error)
    except CannotStart as error:
        print(terminal.bad(str(error)), file=sys.stderr)
    return 1


def run_once(path: str, name: str) -> int:
    """Run one collector, enabled or not, and print its lines; twice where it has rates, which need two runs."""
    config = build(diamond.read(path, also=(name,)), path) if is_diamond(path) else load(path)
    instance = config.collectors.get(config.sections.get(name, name))
    if instance is None:
        raise CannotStart(f"there is no collector {name}")
    sampler = Sampler(config, [instance])
    try:
        batches = sampler.turn()
        if any(batch.missing for batch in batches):
            import time

            time.sleep(BETWEEN)
            batches = sampler.turn()
    finally:
        sampler.stop()
    sys.stdout.write(LineEncoder(Naming("diamond", config.prefix, config.agent.labels)).encode(batches).decode())
    return 2 if sampler.failed else 0


def start(config: Config, settings: ini.Settings, arguments: argparse.Namespace) -> int:
    """Become the daemon that the arguments ask for, and run until told to stop."""
    from adamas.agent import Agent, InUse

    server = settings.section("server")
    pid_file = None
    if not arguments.skip_pidfile:
        pid_file = PidFile(arguments.pidfile or str(server.get("pid_file") or PID_FILE))
    log = None if arguments.log_stdout or arguments.foreground or arguments.skip_fork else open_log(settings)
    if not arguments.skip_change_user:
        user, group = arguments.user or server.get("user"), arguments.group or server.get("group")
        ids = identity(str(user or ""), str(group or ""))
        for file in (pid_file.descriptor if pid_file else None, log):
            if file is not None and ids is not None:
                os.fchown(file, ids[1], ids[2])
        become(ids)
        config.state_dir = state_directory(config.agent.state_dir)
    try:
        ready = -1
        if not arguments.foreground and not arguments.skip_fork:
            ready = fork_away()
            attach(log, keep_output=arguments.log_stdout)
        if arguments.log_stdout:
            os.dup2(1, 2)
        if pid_file is not None:
            pid_file.write()
        if ready >= 0:
            os.write(ready, b"1")
            os.close(ready)
        try:
            return Agent(config).run()
        except InUse as error:
            raise CannotStart(str(error)) from None
    finally:
        if pid_file is not None:
            pid_file.remove()


class PidFile:
    """A pid file that is ours from the moment it was opened: locked, so that two starts at one time cannot both have it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._written = False
        try:
            self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise CannotStart(f"the pid file {path} cannot be written: {error.strerror}") from None
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CannotStart(f"Pidfile exists. Server already running? ({path})") from None
        other = os.read(self.descriptor, 32).decode("ascii", "replace").strip()
        if other.isdigit() and os.path.exists(f"/proc/{other}/cmdline"):
            raise CannotStart(f"Pidfile exists. Server already running? ({path}: process {other})")
        if other:
            print(f"{path} was left behind by process {other}, which is gone", file=sys.stderr)

    def write(self) -> None:
        """Write who we are."""
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, f"{os.getpid()}\n".encode(), 0)
        self._written = True

    def remove(self) -> None:
        """Remove it, or empty it where we may not; not in a parent that only forked."""
        if not self._written:
            return
        try:
            os.unlink(self.path)
        except OSError:
            os.ftruncate(self.descriptor, 0)


def identity(user: str, group: str) -> tuple[str, int, int] | None:
    """(name, user id, group id) of who to become; None where nobody is asked for. Names or numbers."""
    import grp
    import pwd

    if not user and not group:
        return None
    try:
        by_number = pwd.getpwuid(int(user)) if user.isdigit() else None
        entry = by_number or pwd.getpwnam(user) if user else pwd.getpwuid(os.getuid())
    except KeyError:
        raise CannotStart(f"there is no user {user}") from None
    try:
        gid = entry.pw_gid if not group else int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
    except KeyError:
        raise CannotStart(f"there is no group {group}") from None
    return entry.pw_name, entry.pw_uid, gid


def become(ids: tuple[str, int, int] | None) -> None:
    """Be that user for good: its groups, its group, then itself; and look that there is no way back."""
    if ids is None or ids[1:] == (os.getuid(), os.getgid()):
        return
    name, uid, gid = ids
    if os.getuid() != 0:
        raise CannotStart(f"only root can become {name}: start as root, or with --skip-change-user")
    import pwd

    try:
        os.initgroups(name, gid)
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    except OSError as error:
        raise CannotStart(f"cannot become {name}: {error.strerror}") from None
    if os.getresuid() != (uid, uid, uid) or os.getresgid() != (gid, gid, gid):
        raise CannotStart(f"cannot become {name}")
    os.environ.update(HOME=pwd.getpwuid(uid).pw_dir, USER=name, LOGNAME=name)


def open_log(settings: ini.Settings) -> int | None:
    """The file that Diamond logged to, opened for appending while we still may; None where none is named or it cannot be had."""
    names = settings.section("logger_root").get("handlers", [])
    for name in names if isinstance(names, list) else [names]:
        args: Any = settings.section(f"handler_{name}").get("args", "")
        found = re.search(r"""\(\s*['"]([^'"]+)['"]""", ",".join(args) if isinstance(args, list) else str(args))
        if found:
            try:
                return os.open(found[1], os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            except OSError as error:
                print(f"{found[1]}: {error.strerror}: there will be no log", file=sys.stderr)
    return None


def fork_away() -> int:
    """Leave the terminal and the session. The process that was started ends, with 0, when the daemon writes to what this gives.

    So whoever started it finds the pid file as soon as the command is done.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    done, ready = os.pipe()
    if os.fork():
        os.close(ready)
        os._exit(0 if os.read(done, 1) else 1)
    os.close(done)
    os.setsid()
    if os.fork():
        os._exit(0)
    os.chdir("/")
    os.umask(0o022)
    return ready


def attach(log: int | None, keep_output: bool) -> None:
    """Nothing to read, and the log as standard error, and as standard output unless that is wanted."""
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(log if log is not None else nothing, 2)
    if not keep_output:
        os.dup2(log if log is not None else nothing, 1)
    os.close(nothing)


if __name__ == "__main__":
    sys.exit(main())
