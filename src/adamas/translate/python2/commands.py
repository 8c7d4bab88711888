"""commands: a shell command's status and output."""

from __future__ import annotations

from adamas.translate.python2 import os, subprocess

__all__ = ["getoutput", "getstatus", "getstatusoutput"]


def getstatusoutput(command: str) -> tuple[int, str]:
    """(wait status, output without its last line end)."""
    pipe = os.popen("{ " + command + "; } 2>&1")
    output = pipe.read()
    status = pipe.close() or 0
    return status, output.removesuffix("\n")


def getoutput(command: str) -> str:
    """What a shell command prints."""
    return getstatusoutput(command)[1]


def getstatus(file: str) -> str:
    """What `ls -ld` says of a file."""
    process = subprocess.Popen(["ls", "-ld", file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return str(process.communicate()[0]).removesuffix("\n")
