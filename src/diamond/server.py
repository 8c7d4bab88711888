"""Diamond's daemon by its old name: `Server(configfile=...).run()` runs Adamas with that configuration."""

from __future__ import annotations

import logging
from typing import Any

from adamas import agent
from diamond.utils.config import load_config


class Server:
    """What a start script makes and runs."""

    def __init__(self, configfile: str) -> None:
        self.log = logging.getLogger("diamond")
        self.configfile = configfile
        self.config: Any = None

    def load_config(self) -> None:
        """Read the configuration as Diamond's own code sees it, into `config`."""
        self.config = load_config(self.configfile)

    def run(self) -> int:
        """Run until told to stop; returns the exit code."""
        return agent.run(self.configfile)
