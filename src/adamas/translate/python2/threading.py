"""threading, with the names that threads had."""

from __future__ import annotations

import threading

from adamas.translate.python2.module import stand_in


class Thread(threading.Thread):
    """A thread."""

    def isAlive(self) -> bool:
        return self.is_alive()

    def setDaemon(self, daemonic: bool) -> None:
        self.daemon = daemonic

    def isDaemon(self) -> bool:
        return self.daemon

    def setName(self, name: str) -> None:
        self.name = name

    def getName(self) -> str:
        return self.name


currentThread = threading.current_thread  # noqa: N816
activeCount = threading.active_count  # noqa: N816

stand_in(__name__, threading)
