"""Network namespaces for tests: an agent and its peers on two machines, as far as the kernel is concerned. Needs root."""

from __future__ import annotations

import ctypes
import os
import shutil
import socket
import subprocess
import threading

from agents import Sink

CLONE_NEWNET = 0x40000000


class Net:
    """Two network namespaces with a cable between them: the agent's, and that of its peers (10.91.0.2 and .3)."""

    def __init__(self) -> None:
        self.near, self.far = f"near{os.getpid()}", f"far{os.getpid()}"
        try:
            self._lay()
        except BaseException:
            self.end()
            raise

    def _lay(self) -> None:
        for name in (self.near, self.far):
            _run("ip", "netns", "add", name)
        _run("ip", "-n", self.near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self.far)
        for name, addresses in ((self.near, ["10.91.0.1/24"]), (self.far, ["10.91.0.2/24", "10.91.0.3/24"])):
            for address in addresses:
                _run("ip", "-n", name, "address", "add", address, "dev", "cable")
            _run("ip", "-n", name, "link", "set", "cable", "up")
            _run("ip", "-n", name, "link", "set", "lo", "up")

    def end(self) -> None:
        for name in (self.near, self.far):
            subprocess.run(["ip", "netns", "delete", name], check=False, capture_output=True)
            shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)

    def drop(self) -> None:
        """Swallow everything that comes to the peers; nobody is told."""
        rules = "add table inet fault; add chain inet fault in { type filter hook input priority 0; policy drop; }"
        _run("ip", "netns", "exec", self.far, "nft", rules)

    def heal(self) -> None:
        _run("ip", "netns", "exec", self.far, "nft", "delete table inet fault")

    def _socket(self, where: str) -> socket.socket:
        """A TCP socket of a namespace: the thread that makes it is there meanwhile, and it stays there."""
        made: list[socket.socket] = []

        def make() -> None:
            with open(f"/run/netns/{where}") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), "setns")
            made.append(socket.socket())

        thread = threading.Thread(target=make)
        thread.start()
        thread.join()
        return made[0]

    def sink(self, address: str) -> Sink:
        """A sink of the peers' namespace, on port 2003."""

        def bound(port: int) -> socket.socket:
            listener = self._socket(self.far)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address, 2003))
            return listener

        return Sink(bound)


def _run(*argv: str) -> None:
    subprocess.run(argv, check=True, capture_output=True)
