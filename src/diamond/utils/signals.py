"""Signals as exceptions. Adamas sends none of them to a collector: a run past its deadline is killed from outside."""

from __future__ import annotations

import signal
from types import FrameType
from typing import NoReturn


class SignalException(Exception):
    """A signal arrived."""


class SIGALRMException(SignalException):
    """The alarm clock rang."""


class SIGHUPException(SignalException):
    """The configuration is to be read again."""


class SIGUSR1Exception(SignalException):
    """The first signal of the user's own."""


class SIGUSR2Exception(SignalException):
    """The second signal of the user's own."""


_EXCEPTIONS: dict[int, type[SignalException]] = {
    signal.SIGALRM: SIGALRMException,
    signal.SIGHUP: SIGHUPException,
    signal.SIGUSR1: SIGUSR1Exception,
    signal.SIGUSR2: SIGUSR2Exception,
}


def signal_to_exception(signum: int, frame: FrameType | None) -> NoReturn:
    """A handler for `signal.signal` that raises the signal's exception."""
    raise _EXCEPTIONS.get(signum, SignalException)(signum)
