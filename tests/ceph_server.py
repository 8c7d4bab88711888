"""Private Ceph daemons: a monitor alone (ready in a fifth of a second), or a cluster of mon, mgr and OSD on one host.

Everything lies in one folder below the temporary one, whose name is short: the path of a unix socket has 107 bytes. No
authentication, loopback only. The OSD keeps its data in memory, or in a sparse file with `bluestore`.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path
from typing import Any

import servers

CONF = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{port}/0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
ms bind msgr1 = false
auth cluster required = none
auth service required = none
auth client required = none
admin socket = {run}/$cluster-$name.asok
run dir = {run}
log file = {dir}/$name.log
crash dir = {dir}
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon data avail warn = 1
mon data avail crit = 1
[mon]
mon data = {dir}/mon.$id
mon initial members = {mon}
[mgr]
mgr data = {dir}/mgr.$id
mgr initial modules = iostat
[osd]
osd data = {dir}/osd.$id
osd objectstore = {store}
memstore device bytes = 268435456
bluestore block size = 1073741824
bluestore fsck on mkfs = false
osd memory target = 939524096
[client]
admin socket =
log file =
"""


def short_directory() -> Path:
    """A new folder with a short path, for unix sockets."""
    return Path(tempfile.mkdtemp(prefix="ceph-"))


def ask(path: Path, prefix: str, timeout: float = 5.0) -> bytes:
    """What a daemon answers to a command on its admin socket."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(timeout)
        sock.connect(str(path))
        sock.sendall(json.dumps({"prefix": prefix}).encode() + b"\0")
        with sock.makefile("rb") as file:
            size = int.from_bytes(file.read(4), "big")
            return file.read(size)


def dump(path: Path) -> dict[str, Any]:
    """A daemon's `perf dump`."""
    found: dict[str, Any] = json.loads(ask(path, "perf dump"))
    return found


class Mon:
    """A running ceph-mon, the only one of its cluster; its socket lies in `run`."""

    def __init__(self, directory: Path, run: Path, name: str = "a", store: str = "memstore") -> None:
        self.directory = directory
        self.name = name
        self.socket = run / f"ceph-mon.{name}.asok"
        self.conf = directory / "ceph.conf"
        for attempt in range(servers.TRIES):
            try:
                self._make(run, store)
                self.start("prioritycache:kv")
                return
            except servers.ServerDied:  # someone took the port in between
                if attempt == servers.TRIES - 1:
                    raise

    def _make(self, run: Path, store: str) -> None:
        fsid, port, folder = str(uuid.uuid4()), servers.free_port(), self.directory
        run.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(folder / f"mon.{self.name}", ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        self.conf.write_text(CONF.format(fsid=fsid, port=port, dir=folder, run=run, mon=self.name, store=store))
        address = f"[v2:127.0.0.1:{port}]"
        self.run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", self.name, address, str(folder / "monmap"))
        self.run("ceph-mon", "--mkfs", "-i", self.name, "--monmap", str(folder / "monmap"))

    def run(self, *argv: str, timeout: float = 30.0) -> bytes:
        """Run one of Ceph's programs with this cluster's configuration."""
        env = {**os.environ, "CEPH_CONF": str(self.conf)}
        done = subprocess.run(argv, env=env, capture_output=True, timeout=timeout)
        assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stderr.decode()[-2000:]}"
        return done.stdout

    def start(self, last: str = "paxos") -> None:
        """Start it, again with the same store; `last` is the section of its counters that comes last."""
        self.server = servers.start(
            ["ceph-mon", "-f", "-i", self.name],
            self.directory,
            lambda: last in dump(self.socket) and b"leader" in ask(self.socket, "mon_status"),
            env={"CEPH_CONF": str(self.conf)},
        )


class Cluster:
    """A running cluster of one mon, one mgr and one OSD; `sockets` are theirs."""

    def __init__(self, directory: Path, store: str = "memstore") -> None:
        self.directory = directory
        self.sockets = {name: directory / "run" / f"ceph-{name}.asok" for name in ("mgr.x", "mon.a", "osd.0")}
        self.mon = Mon(directory, directory / "run", store=store)
        self.running = [self.mon.server]
        try:
            self._rest()
        except BaseException:
            self.stop()
            raise

    def _rest(self) -> None:
        for store in ("mgr.x", "osd.0"):
            (self.directory / store).mkdir()
        self._start("ceph-mgr", "-f", "-i", "x", socket="mgr.x")
        osd = str(uuid.uuid4())
        assert self.mon.run("ceph", "osd", "new", osd).strip() == b"0"
        self.mon.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.start_osd()
        servers.wait_until(self.ready, 90, "a cluster with a mgr and an OSD")

    def _start(self, *argv: str, socket: str) -> None:
        env = {"CEPH_CONF": str(self.mon.conf)}
        path = self.sockets[socket]
        self.running.append(servers.start(argv, self.directory, lambda: ask(path, "version"), env=env))

    def start_osd(self) -> None:
        """Start the OSD, which answers before it is in the cluster."""
        self._start("ceph-osd", "-f", "-i", "0", socket="osd.0")

    def ready(self) -> bool:
        """Whether the cluster knows that the OSD is up, from a mgr that is active."""
        status = json.loads(self.mon.run("ceph", "status", "-f", "json"))
        active = b"active" in ask(self.sockets["osd.0"], "status")
        return active and status["osdmap"]["num_up_osds"] == 1 and status["mgrmap"]["available"]

    def stop(self) -> None:
        """Kill all of it, the OSD first: nothing of it is kept."""
        for server in reversed(self.running):
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.kill()
