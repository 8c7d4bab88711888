"""Several peers or programs at once, so that a slow one costs the others nothing; what several collectors share.

Each is asked in a thread of its own, of which so many run at a time. One that is not back after its time limit (a name server
that is silent, a server that sends a byte a second) is left behind: it counts as timed out until its thread has ended.
"""

from __future__ import annotations

import threading
import time
from collections import deque

from adamas import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    T = TypeVar("T")

GRACE = 0.5
"""Seconds past its own limit after which a question is left behind."""


class Together:
    """Asks many; `limit` is each one's time limit in seconds. Troubles are told when they begin and when they end."""

    def __init__(self, who: str, limit: float, at_once: int = 16) -> None:
        self._who = who
        self._limit = limit
        self._at_once = at_once
        self._behind: dict[str, threading.Thread] = {}
        self._troubled: dict[str, str] = {}

    def ask(self, keys: Sequence[str], question: Callable[[str], T]) -> dict[str, T | Exception]:
        """What each key's question gave or raised."""
        self._behind = {key: thread for key, thread in self._behind.items() if thread.is_alive()}
        found: dict[str, T | Exception] = {}
        for key in self._behind:
            if key in keys:
                found[key] = TimeoutError("it still hangs since an earlier run")
        waiting = deque([key for key in dict.fromkeys(keys) if key not in found])
        count = min(self._at_once, len(waiting))
        rounds = -(-len(waiting) // max(1, count))
        answers: dict[str, T | Exception] = {}
        at: dict[threading.Thread, str] = {}

        def work() -> None:
            while True:
                try:
                    key = waiting.popleft()
                except IndexError:
                    return
                at[threading.current_thread()] = key
                try:
                    answers[key] = question(key)
                except Exception as error:
                    answers[key] = error

        threads = [threading.Thread(target=work, name=f"{self._who}-{n}", daemon=True) for n in range(count)]
        for thread in threads:
            thread.start()
        until = time.monotonic() + (self._limit + GRACE) * rounds
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        waiting.clear()
        for thread in threads:
            if thread.is_alive() and (hanging := at.get(thread)) is not None:
                self._behind[hanging] = thread
        late = TimeoutError(f"no answer within {self._limit:g} s")
        return {key: found[key] if key in found else answers.get(key, late) for key in keys}

    def tell(self, troubles: dict[str, str]) -> None:
        """Log what is in trouble now and was not, or no longer is; a key without trouble is left out."""
        for key, words in troubles.items():
            if key not in self._troubled:
                log.warning(self._who, f"{key}: {words}")
        for key in self._troubled.keys() - troubles.keys():
            log.info(self._who, f"{key}: it is well again")
        self._troubled = troubles
