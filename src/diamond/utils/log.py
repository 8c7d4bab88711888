"""Logging as a diamond.conf sets it up: its [loggers], [handlers] and [formatters] are those of Python's fileConfig."""

from __future__ import annotations

import configparser
import logging
import logging.config
import sys


class DebugFormatter(logging.Formatter):
    """Time, process and level before each message; where it was said after an error."""

    def __init__(self, fmt: str | None = None) -> None:
        super().__init__(fmt or "%(created)s\t[%(processName)s:%(process)d:%(levelname)s]\t%(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        text = super().format(record)
        if record.levelno < logging.ERROR:
            return text
        head = f"{record.created}\t[{record.processName}:{record.process}:{record.levelname}]"
        return f"{text}\n{head}\t{record.pathname}:{record.lineno}"


def setup_logging(configfile: str, stdout: bool = False) -> logging.Logger:
    """The logger named `diamond`, set up by the file; on standard output too where that is wanted."""
    log = logging.getLogger("diamond")
    try:
        parser = configparser.RawConfigParser(strict=False)
        parser.read(configfile)
        logging.config.fileConfig(parser, disable_existing_loggers=False)
    except Exception as error:
        sys.stderr.write(f"Error occurs when initialize logging: {error}\n")
    if stdout:
        level = logging.getLogger().getEffectiveLevel()
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(DebugFormatter())
        handler.setLevel(level)
        log.setLevel(level)
        log.addHandler(handler)
    return log
