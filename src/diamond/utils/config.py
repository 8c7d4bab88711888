"""Reading a diamond.conf with all that it includes, as Diamond merged it. Values stay text, lists of text and sections."""

from __future__ import annotations

import os
from typing import Any

import configobj

TRUE, FALSE = ("true", "t", "yes", "y"), ("false", "f", "no", "n", "")


def str_to_bool(value: Any) -> Any:
    """true, t, yes, y and false, f, no, n and nothing as a truth value; what is no text is given back as it is."""
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise NotImplementedError(f"Unknown bool {value}")


def load_config(configfile: str) -> Any:
    """The whole configuration: the main file, the files of [configs], then a file for each handler and collector.

    Files of one folder are merged in the order of their names; the later wins. Raises where there is no [server].
    """
    configfile = os.path.abspath(configfile)
    config = configobj.ConfigObj(configfile, file_error=True)
    extension = ".conf"
    if "configs" in config:
        extension = config["configs"].get("extension", extension)
        for path in _files(config["configs"].get("path", ""), extension):
            config.merge(configobj.ConfigObj(path))
    if "server" not in config:
        raise Exception(f"Failed to load config file {configfile}: it has no section [server]")
    for kind in ("handlers", "collectors"):
        sections = config.setdefault(kind, {})
        for path in _files(config["server"].get(f"{kind}_config_path", ""), extension):
            name = os.path.basename(path).removesuffix(extension)
            sections.setdefault(name, {})
            sections[name].merge(configobj.ConfigObj(path))
    for section in config["collectors"].values():
        if isinstance(section, dict) and "enabled" in section:
            section["enabled"] = str_to_bool(section["enabled"])
    return config


def _files(folder: str, extension: str) -> list[str]:
    if not folder or not os.path.isdir(folder):
        return []
    return [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(extension)]
