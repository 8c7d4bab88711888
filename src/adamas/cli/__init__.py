"""What a user types: `adamas run`, `once`, `check`, `list`, `describe`, `status`, `record`, `convert`, `compare`."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    import argparse

    import adamas

    top = argparse.ArgumentParser(prog="adamas", description="A metrics agent for Linux hosts.")
    top.add_argument("--version", action="version", version=f"adamas {adamas.__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str, config: bool = True) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
        if config:
            one.add_argument("-c", "--config", metavar="FILE", help="the configuration (default: host collectors and the page)")
        return one

    command("run", "start the agent; Ctrl-C stops it, SIGHUP reads the configuration again")
    once = command("once", "collect now and print the samples")
    once.add_argument("names", nargs="*", metavar="NAME", help="collectors (default: all that the configuration runs)")
    once.add_argument("--as", dest="spelling", default="json", choices=("path", "diamond", "prometheus", "otel", "json"))
    once.add_argument("--root", default="/", metavar="DIR", help="another machine's tree: DIR/proc, DIR/sys, ...")
    once.add_argument("--twice", type=float, default=0.0, metavar="SECONDS", help="two runs so many seconds apart, for rates")
    check = command("check", "look for mistakes in a configuration; all of them are printed", config=False)
    check.add_argument("file", nargs="?", metavar="FILE")
    check.add_argument("-c", "--config", metavar="FILE", dest="config")
    command("list", "show collectors and outputs, and which find their source here")
    describe = command("describe", "show options, metrics and an example of a collector or an output")
    describe.add_argument("name", metavar="NAME")
    command("status", "show what a running agent does").add_argument("--json", action="store_true", help="all of it, as JSON")
    spool = command("spool", "look at what waits on disk for the outputs, mend it, throw it away or send it")
    actions = spool.add_subparsers(dest="action", metavar="ACTION", required=True)
    for action, help in (
        ("ls", "what waits, for each output"),
        ("show", "the payloads that wait"),
        ("verify", "read everything and say what is damaged"),
        ("repair", "leave out what is damaged (the agent stopped)"),
        ("drop", "throw away what waits (the agent stopped)"),
        ("replay", "send what waits to its output now (the agent stopped)"),
    ):
        one = actions.add_parser(action, help=help)
        one.add_argument("-c", "--config", metavar="FILE", default=argparse.SUPPRESS, help="the configuration")
        if action != "ls":
            one.add_argument("output", metavar="OUTPUT")
        if action == "show":
            one.add_argument("--limit", type=int, default=10, metavar="N", help="at most so many records (default: 10)")
        if action == "drop":
            one.add_argument("--yes", action="store_true", help="really")
        if action == "replay":
            one.add_argument("--seconds", type=float, default=600.0, metavar="N", help="give up after this (default: 600)")
    record = command("record", "capture what a collector reads here as a test case")
    record.add_argument("name", metavar="NAME")
    record.add_argument("directory", metavar="DIR")
    record.add_argument("--seconds", type=float, default=1.0, metavar="N", help="time between the two runs (default: 1)")
    convert = command(
        "convert", "print a diamond.conf as a configuration of ours, and what could not be carried over", config=False
    )
    convert.add_argument("file", metavar="DIAMOND.CONF")
    translate = command("translate", "print an old collector or handler of Python 2 as the Python 3 that we run", config=False)
    translate.add_argument("file", metavar="FILE")
    compare = command("compare", "say how our names and values differ from those of the daemon that runs today")
    compare.add_argument("--against", required=True, metavar="HOST:PORT|FILE", help="where its Graphite lines come to, or are")
    compare.add_argument(
        "--seconds", type=float, default=0.0, metavar="N", help="how long (default: two intervals; 2 for a file)"
    )
    compare.add_argument("--details", action="store_true", help="every name, not only the first few")
    compare.add_argument("--as", dest="spelling", default="diamond", choices=("path", "diamond"))
    return top


def main(argv: list[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        arguments = parser().parse_args(argv)
    except SystemExit as end:
        return 1 if end.code else 0  # argparse's 2 for a wrong word is our 1: the user's mistake
    if arguments.command == "run":
        from adamas.agent import run

        return run(arguments.config)
    from adamas.cli.commands import COMMANDS

    try:
        return COMMANDS[arguments.command](arguments)
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except KeyboardInterrupt:
        return 130
