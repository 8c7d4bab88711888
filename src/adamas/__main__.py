"""The command `adamas`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run what the command line says; returns the exit code: 0 ok, 1 the user's mistake, 2 ours."""
    from adamas.cli import main as command

    return command(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
