"""What becomes of Diamond's handlers where an output takes their place: which class, and which of its settings.

A setting that an output has under the same name is taken over; `host` and `port` together are its `address`.
"""

from __future__ import annotations

from adamas.option import parse_bool

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

NO_OUTPUT = {
    "NullHandler": "an agent without outputs needs nothing that throws away",
    "QueueHandler": "Diamond took it out of the list, too",
}
"""Handlers that nothing takes the place of, and why."""

MANY = {"MultiGraphiteHandler": "GraphiteHandler", "MultiGraphitePickleHandler": "GraphitePickleHandler"}
"""Handlers that send the same to several hosts: an output for each."""

ALSO = {"HostedGraphiteHandler": "GraphiteHandler"}
"""Handlers that are another one with settings of their own: that one's output."""

INSTEAD = {"GraphiteHandler": ("proto", "udp", "graphite_udp")}
"""Handler -> a setting, how its value begins, and the output that takes the handler's place then."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "HostedGraphiteHandler": {"host": "carbon.hostedgraphite.com", "apikey": ""},
    "ArchiveHandler": {"when": "midnight", "rollover_interval": 1, "days": 7},
    "InfluxdbHandler": {
        "hostname": "localhost",
        "port": 8086,
        "ssl": False,
        "username": "root",
        "password": "root",
        "database": "graphite",
        "timeout": 5,
    },
}
"""Handler -> settings that it has where the file says nothing, and that an output has otherwise."""

RENAMED = {"ArchiveHandler": {"log_file": "path"}}
"""Handler's setting -> output's option, where they have different names."""

_BACKLOG = "what waits is bounded in bytes by the output's `memory`"
_GRAPHITE = {
    "batch": "what one pass of the collectors gives is one send",
    "max_backlog_multiplier": _BACKLOG,
    "trim_backlog_multiplier": _BACKLOG,
    "keepalive": "keepalive is always on",
    "keepaliveinterval": "keepalive is always on, every 5 s",
    "reconnect_interval": "the output connects again after 1 s, and ever less often up to once a minute",
    "flow_info": "addresses are used as the resolver gives them",
    "scope_id": "addresses are used as the resolver gives them; write it into the host: fe80::1%eth0",
}
LEFT_OUT = {
    "": {"server_error_interval": "a fault is said when it begins and when it ends"},
    "GraphiteHandler": {**_GRAPHITE, "proto": "lines go over TCP or UDP as it says, to whatever address the resolver gives"},
    "GraphitePickleHandler": {**_GRAPHITE, "proto": "pickles always go over TCP"},
    "ArchiveHandler": {
        "encoding": "the file is UTF-8",
        "propagate": "the log is no place for samples",
    },
    "InfluxdbHandler": {
        "batch_size": "what one pass of the collectors gives is one send",
        "cache_size": _BACKLOG,
        "time_precision": "times are in milliseconds, which stores the same",
        "influxdb_version": "0.9 and whatever takes the same lines, to 1.x; set `version` for 2 and 3",
    },
}
"""Handler ("": any) -> settings that do nothing here, and why."""


def _archive(settings: Mapping[str, Any]) -> dict[str, tuple[str, Any] | str]:
    """As TimedRotatingFileHandler of Python's logging takes `when`, `interval` and `backupCount`."""
    when, interval = str(settings["when"]).strip().upper(), str(settings["rollover_interval"]).strip()
    made: dict[str, tuple[str, Any] | str] = {"days": ("keep", settings["days"]), "rollover_interval": "it counts in `when`"}
    if when == "MIDNIGHT":
        made["when"] = ("rotate_every", "1d")
        made["rollover_interval"] = "the file is rotated at each midnight"
    elif when in ("S", "M", "H", "D"):
        made["when"] = ("rotate_every", f"{interval}{when.lower()}")
        made["rollover_interval"] = "the file is rotated at the clock's multiples of it, not counted from the start"
    elif when[:1] == "W":
        made["when"] = ("rotate_every", f"{interval}w")
        made["rollover_interval"] = "weeks begin on Mondays here, whatever the day that `when` names"
    else:
        made["when"] = "there is no such interval: the file is not rotated"
    return made


def _hosted(settings: Mapping[str, Any]) -> dict[str, tuple[str, Any] | str]:
    return {"apikey": ("key", str(settings["apikey"]).lower().strip())}


def _influxdb(settings: Mapping[str, Any]) -> dict[str, tuple[str, Any] | str]:
    host = str(settings["hostname"])
    where = f"[{host}]" if ":" in host and host[0] != "[" else host
    scheme = "https" if parse_bool(settings["ssl"]) else "http"
    return {"hostname": ("url", f"{scheme}://{where}:{settings['port']}"), "port": "it is in `url`", "ssl": "it is in `url`"}


MADE: dict[str, Callable[[Mapping[str, Any]], dict[str, tuple[str, Any] | str]]] = {
    "ArchiveHandler": _archive,
    "HostedGraphiteHandler": _hosted,
    "InfluxdbHandler": _influxdb,
}
"""Handler -> what becomes of some of its settings: each one's (option, value), or why it does nothing."""
