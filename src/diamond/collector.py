"""What a custom collector inherits from: configuration, paths, publishing, rates.

Rates differ from Diamond's where it was wrong, as long as Adamas runs the collector: they are made of the time that really
passed, the first sample of a counter has none, and neither has a counter that was reset. `legacy_derivative = True` in the
collector's section brings back what Diamond did: division by the configured interval, 0 for the first sample, and
a spike where a counter with a `max_value` starts again. A collector that nobody runs (a test that calls `collect`) has no
time that passed, so it divides by its interval too.
"""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
import subprocess
import time
from collections.abc import Sequence
from typing import Any

import configobj

from diamond.error import DiamondException
from diamond.metric import Metric
from diamond.utils.config import load_config, str_to_bool

__all__ = ["MAX_COUNTER", "Collector", "ProcessCollector", "get_hostname", "str_to_bool"]

MAX_COUNTER = 2**64 - 1 if platform.architecture()[0] == "64bit" else 2**32 - 1
NEAR_WRAP = 0.75
"""Past this part of `max_value`, a counter that went down is taken for one that wrapped, not for one that was reset."""
SEARCHED = ("/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin", "/sbin", "/usr/local/sbin")


def get_hostname(config: Any, method: str | None = None) -> str | None:
    """This host's name in paths, by `hostname` or `hostname_method` of a configuration; None where it has no place there.

    What a method found is kept for the life of the process, in `get_hostname.cached_results`.
    """
    method = (method or config.get("hostname_method", "smart")).lower()
    if "hostname" in config and method != "shell":
        return str(config["hostname"])
    known: dict[str, str | None] = get_hostname.cached_results  # type: ignore[attr-defined]
    if method not in known:
        known[method] = _hostname(config, method)
    return known[method]


get_hostname.cached_results = {}  # type: ignore[attr-defined]


def _hostname(config: Any, method: str) -> str | None:
    if method == "none":
        return None
    if method == "smart":
        name = get_hostname(config, "fqdn_short")
        return name if name != "localhost" else get_hostname(config, "hostname_short")
    if method == "shell":
        if "hostname" not in config:
            raise DiamondException("hostname must be set to a shell command for hostname_method=shell")
        done = subprocess.run(config["hostname"], shell=True, stdout=subprocess.PIPE, check=True)
        return done.stdout.decode().strip()
    source, _, form = method.partition("_")
    if source not in ("fqdn", "uname", "hostname") or form not in ("", "short", "rev") or method == "uname":
        raise NotImplementedError(config.get("hostname_method", method))
    full = socket.getfqdn() if source == "fqdn" else os.uname().nodename if source == "uname" else socket.gethostname()
    if form == "short":
        name = full.split(".")[0]
    elif form == "rev":
        name = ".".join(reversed(full.split(".")))
    else:
        name = full.replace(".", "_") if source == "fqdn" else full
    if not name:
        raise DiamondException("Hostname is empty?!")
    return name


class NoRate(float):
    """The 0 of a counter that has no rate yet: a number to compute with, and nothing to publish."""


class Collector:
    """Measures one thing. Subclasses give `get_default_config` and `collect`, and publish what they find."""

    surroundings: dict[str, Any] = {}  # noqa: RUF012 (the host of the process sets it for all)
    """Defaults that come from who runs the collector: what the agent says of path_prefix and path_suffix."""

    _moment: float | None = None
    """When the run began (monotonic), where someone runs the collector."""

    def __init__(
        self,
        config: Any = None,
        handlers: Sequence[Any] = (),
        name: str | None = None,
        configfile: str | None = None,
    ) -> None:
        self.log = logging.getLogger("diamond")
        self.name = self.__class__.__name__ if name is None else name
        self.handlers = handlers
        self.last_values: dict[str, Any] = {}
        self._moments: dict[str, float] = {}
        self.configfile: str | None = None
        self.load_config(configfile, config)

    def load_config(self, configfile: str | None = None, override_config: Any = None) -> None:
        """Make `self.config` anew: the class's defaults, then [[default]] and the collector's section of file and override."""
        self.config = configobj.ConfigObj()
        defaults = self.get_default_config()
        if defaults is not None:
            self.config.merge(defaults)
        if configfile is not None:
            self.configfile = os.path.abspath(configfile)
        for source in (load_config(self.configfile) if self.configfile is not None else None, override_config):
            sections = source["collectors"] if source is not None and "collectors" in source else {}
            for section in ("default", self.name):
                if section in sections:
                    self.config.merge(sections[section])
        self.process_config()

    def process_config(self) -> None:
        """Give options their types; called each time the configuration was made. Subclasses add to it."""
        config = self.config
        if isinstance(config.get("byte_unit"), str):
            config["byte_unit"] = config["byte_unit"].split()
        for key in ("enabled", "measure_collector_time", "legacy_derivative"):
            if key in config:
                config[key] = str_to_bool(config[key])
        if config.get("metrics_whitelist") and config.get("metrics_blacklist"):
            raise DiamondException(f"Both metrics_whitelist and metrics_blacklist specified in file {self.configfile}")
        for key in ("metrics_whitelist", "metrics_blacklist"):
            if config.get(key):
                config[key] = re.compile(config[key])

    def get_default_config_help(self) -> dict[str, str]:
        """What each option means."""
        return {
            "enabled": "Enable collecting these metrics",
            "byte_unit": "Default numeric output(s)",
            "measure_collector_time": "Collect the collector run time in ms",
            "metrics_whitelist": "Regex of the metrics to publish; not together with metrics_blacklist",
            "metrics_blacklist": "Regex of the metrics to leave out; not together with metrics_whitelist",
        }

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults; subclasses add theirs."""
        return {
            "enabled": False,
            "path_prefix": "servers",
            "instance_prefix": "instances",
            "path_suffix": "",
            "interval": 300,
            "stagger_collection": True,
            "ttl_multiplier": 2,
            "byte_unit": "byte",
            "measure_collector_time": False,
            "metrics_whitelist": None,
            "metrics_blacklist": None,
            **self.surroundings,
        }

    def get_metric_path(self, name: str, instance: str | None = None) -> str:
        """The complete path of a metric of this host, or of an instance (a virtual machine) on it."""
        path = self.config.get("path", self.__class__.__name__)
        own = path if path != "." else ""
        if instance is not None:
            return ".".join(part for part in (self.config.get("instance_prefix", "instances"), instance, own, name) if part)
        prefix = self.config.get("path_prefix", "systems")
        suffix = self.config.get("path_suffix")
        return ".".join(part for part in (prefix, get_hostname(self.config), suffix, own, name) if part)

    def get_hostname(self) -> str | None:
        """This host's name in paths."""
        return get_hostname(self.config)

    def collect(self) -> None:
        """Measure once and publish."""
        raise NotImplementedError

    def metric_allowed(self, name: str) -> bool:
        """Whether the whitelist or blacklist lets a metric of this name (without its prefix) through."""
        for key, wanted in (("metrics_whitelist", True), ("metrics_blacklist", False)):
            pattern = self.config.get(key)
            if pattern:
                return bool(pattern.match(name)) is wanted
        return True

    def publish(
        self,
        name: str,
        value: Any,
        raw_value: Any = None,
        precision: int = 0,
        metric_type: str = "GAUGE",
        instance: str | None = None,
        timestamp: Any = None,
    ) -> None:
        """Publish a value under a name."""
        if not self.metric_allowed(name):
            return
        if isinstance(value, NoRate) and self._by_elapsed():
            return
        try:
            metric = Metric(
                self.get_metric_path(name, instance=instance),
                value,
                raw_value=raw_value,
                timestamp=timestamp,
                precision=precision,
                host=self.get_hostname(),
                metric_type=metric_type,
                ttl=float(self.config["interval"]) * float(self.config["ttl_multiplier"]),
            )
        except DiamondException:
            self.log.error("Error when creating new Metric: path=%r, value=%r", name, value)
            raise
        self.publish_metric(metric)

    def publish_metric(self, metric: Metric) -> None:
        """Publish a metric that was made elsewhere, as it is."""
        for handler in self.handlers or ():
            handler._process(metric)

    def publish_gauge(self, name: str, value: Any, precision: int = 0, instance: str | None = None) -> None:
        """Publish a level."""
        self.publish(name, value, precision=precision, metric_type="GAUGE", instance=instance)

    def publish_counter(
        self,
        name: str,
        value: Any,
        precision: int = 0,
        max_value: Any = 0,
        time_delta: bool = True,
        interval: Any = None,
        allow_negative: bool = False,
        instance: str | None = None,
    ) -> None:
        """Publish the rate of a counter."""
        rate = self.derivative(
            name,
            value,
            max_value=max_value,
            time_delta=time_delta,
            interval=interval,
            allow_negative=allow_negative,
            instance=instance,
        )
        self.publish(name, rate, raw_value=value, precision=precision, metric_type="COUNTER", instance=instance)

    def derivative(
        self,
        name: str,
        new: Any,
        max_value: Any = 0,
        time_delta: bool = True,
        interval: Any = None,
        allow_negative: bool = False,
        instance: str | None = None,
    ) -> float:
        """A counter's increase per second since its last sample, or the increase itself without `time_delta`.

        max_value: where the counter wraps; interval: the seconds to divide by, instead of those that passed.
        """
        path = self.get_metric_path(name, instance=instance)
        old = self.last_values.get(path)
        self.last_values[path] = new
        elapsed = self._elapsed(path)
        if old is None:
            return NoRate(0)
        if new < old:
            wrapped = max_value and old >= NEAR_WRAP * max_value and new <= (1 - NEAR_WRAP) * max_value
            if wrapped or self.config.get("legacy_derivative"):
                old -= max_value
            elif not allow_negative:
                return NoRate(0)
        if not time_delta:
            seconds = 1.0
        elif interval is not None:
            seconds = float(interval)
        elif elapsed is not None:
            seconds = elapsed
        else:
            seconds = float(self.config["interval"])
        if seconds <= 0:
            return NoRate(0)
        result = (new - old) / seconds
        return float(result) if result > 0 or allow_negative else 0.0

    def _by_elapsed(self) -> bool:
        return self._moment is not None and not self.config.get("legacy_derivative")

    def _elapsed(self, path: str) -> float | None:
        """Seconds since the last sample of a counter; None where the configured interval stands for them."""
        if self._moment is None:
            return None
        before = self._moments.get(path)
        self._moments[path] = self._moment
        return None if before is None or not self._by_elapsed() else self._moment - before

    def _run(self) -> None:
        """One run: collect, say how long it took where that is wanted, have the handlers send what they hold."""
        try:
            began = time.time()
            self.collect()
            took = int((time.time() - began) * 1000)
            self.log.debug("Collection took %s ms", took)
            if self.config.get("measure_collector_time"):
                self.publish("collector_time_ms", took)
        finally:
            for handler in self.handlers or ():
                handler._flush()

    def find_binary(self, binary: str) -> str:
        """Where a program is: there, else by its name on $PATH and in the usual folders; the name itself where nowhere."""
        if os.path.exists(binary):
            return binary
        folders = [*os.environ.get("PATH", "").split(":"), *SEARCHED]
        candidates = [os.path.join(folder, os.path.basename(binary)) for folder in folders if folder]
        return next((path for path in candidates if os.path.exists(path)), binary)


class ProcessCollector(Collector):
    """Measures by running the program that its option `bin` names, with sudo where `use_sudo` says so."""

    def get_default_config_help(self) -> dict[str, str]:
        """What each option means."""
        return {**super().get_default_config_help(), "use_sudo": "Use sudo?", "sudo_cmd": "Path to sudo"}

    def get_default_config(self) -> dict[str, Any]:
        """The options with their defaults."""
        return {**super().get_default_config(), "use_sudo": False, "sudo_cmd": self.find_binary("/usr/bin/sudo")}

    def run_command(self, args: list[str]) -> tuple[str, str | None] | None:
        """Run the program with these arguments: (its output, None) as text, or None where it could not be run.

        The program is put at the head of `args` itself, as it always was.
        """
        if "bin" not in self.config:
            raise Exception("config does not have any binary configured")
        if not os.access(self.config["bin"], os.X_OK):
            raise Exception(f"{self.config['bin']} is not executable")
        args.insert(0, self.config["bin"])
        if str_to_bool(self.config["use_sudo"]):
            args.insert(0, self.config["sudo_cmd"])
        try:
            process = subprocess.Popen(args, stdout=subprocess.PIPE)
            out, errors = process.communicate()
        except OSError:
            self.log.exception("Unable to run %s", args)
            return None
        return _text(out) or "", _text(errors)


def _text(output: Any) -> str | None:
    """A program's output as text; a test's stand-in may have given text already."""
    return output.decode("utf-8", "replace") if isinstance(output, bytes) else output
