"""The collectors that come with Adamas, a module each."""

DEFAULT = (
    "adamas",
    "cpu",
    "diskspace",
    "diskusage",
    "filestat",
    "ip",
    "loadavg",
    "memory",
    "network",
    "pressure",
    "proc",
    "sockstat",
    "tcp",
    "udp",
    "uptime",
    "vmstat",
)
"""Those that run where the configuration names none: this machine, read from /proc and /sys."""
