"""What becomes of Diamond's handlers where an output takes their place: which class, and which of its settings.

A setting that an output has under the same name is taken over; `host` and `port` together are its `address`.
"""

NO_OUTPUT = {
    "NullHandler": "an agent without outputs needs nothing that throws away",
    "QueueHandler": "Diamond took it out of the list, too",
}
"""Handlers that nothing takes the place of, and why."""

MANY = {"MultiGraphiteHandler": "GraphiteHandler", "MultiGraphitePickleHandler": "GraphitePickleHandler"}
"""Handlers that send the same to several hosts: an output for each."""

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
_ROTATION = "the file is not rotated here: logrotate may move it away at any time"
LEFT_OUT = {
    "": {"server_error_interval": "a fault is said when it begins and when it ends"},
    "GraphiteHandler": {**_GRAPHITE, "proto": "lines always go over TCP"},
    "GraphitePickleHandler": {**_GRAPHITE, "proto": "pickles always go over TCP"},
    "ArchiveHandler": {
        "when": _ROTATION,
        "days": _ROTATION,
        "rollover_interval": _ROTATION,
        "encoding": "the file is UTF-8",
        "propagate": "the log is no place for samples",
    },
}
"""Handler ("": any) -> settings that do nothing here, and why."""
