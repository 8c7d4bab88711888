"""The command `adamas`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run what the command line says; returns the exit code: 0 ok, 1 the user's mistake, 2 ours."""
    words = sys.argv[1:]
    if words[:1] == ["run"] and (len(words) == 1 or (len(words) == 3 and words[1] in ("-c", "--config"))):
        # What a service manager types needs no argument parser, whose modules would stay in an agent's memory (1.6 MB).
        from adamas.agent import run

        return run(words[2] if len(words) == 3 else None)
    from adamas.cli import main as command

    return command(words)


if __name__ == "__main__":
    sys.exit(main())
