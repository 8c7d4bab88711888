"""The agent: puts the parts together, starts them, reloads by difference, stops. The only module that knows all of them.

The main thread does no work of its own: it waits for signals, for someone who asks for the status, and for the moment to look
after the runs that are under way.
"""

from __future__ import annotations

import fcntl
import gc
import os
import select
import signal
import sys
import threading
import time

import adamas
from adamas import control, log
from adamas.config import Config, Instance, load
from adamas.errors import ConfigError
from adamas.exposition import Exposition
from adamas.host import Host
from adamas.naming import Naming, clean_node
from adamas.pipeline import Intake
from adamas.runner import FIRST, SECOND, Runner, Task
from adamas.sender import SPOOLS, Sender, left_behind, places
from adamas.worker import Worker, isolate, isolate_output

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from socket import socket
    from types import FrameType
    from typing import Any

    from adamas.collector import Collector
    from adamas.history import History
    from adamas.metric import Batch
    from adamas.output import Output
    from adamas.web import WebServer

STALE = 3.5
"""Intervals after which a collector's last values are shown no more."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGALRM)
SETTLED = 3.0
"""Seconds after which what is there will stay: the garbage collector looks at it no more."""


class Agent:
    """One running agent. `run` returns when it was asked to stop."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.started = time.time()
        self.host = Host()
        self.worker = Worker()
        self.host.ask_child = self.worker.ask
        self.host.prefix = config.prefix
        self.host.agent = self.status
        self.runner = Runner(self._publish, self._passed, lambda seconds: signal.setitimer(signal.ITIMER_REAL, seconds))
        self.senders: dict[str, Sender] = {}
        self._fan_out: list[tuple[Sender, Sequence[int]]] = []
        """Each output, and which runs at the start are not for it."""
        self._leaving: list[threading.Thread] = []
        """Senders that a reload took out, putting away what they have."""
        self._digests: dict[tuple[str, str], str] = {}
        self._history: History | None = None
        self._web: WebServer | None = None
        self._exposition = self._new_exposition()
        self._reload = {"ok": True, "time": self.started, "message": ""}
        self._control: socket | None = None
        self._lock: int | None = None
        self._has_state = False
        self.control_path = os.path.join(config.state_dir, control.NAME)
        self.address = ""

    # life

    def run(self) -> int:
        """Start, watch, stop; returns the exit code."""
        wake, alarm = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in SIGNALS:
            signal.signal(number, _noted)
        signal.set_wakeup_fd(alarm, warn_on_full_buffer=False)
        self.start()
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if self._control is not None:
            poll.register(self._control, select.POLLIN)
        settled = False
        while True:
            wait = self.runner.watch()
            if not settled:
                wait = min(wait, max(0.0, self.started + SETTLED - time.time(), 0.01))
                if time.time() >= self.started + SETTLED:
                    settled = True
                    gc.collect()
                    gc.freeze()
            events = dict(poll.poll(max(1, int(wait * 1000) + 1)))
            if wake in events:
                received = os.read(wake, 4096)
                if signal.SIGTERM in received or signal.SIGINT in received:
                    break
                if signal.SIGHUP in received:
                    self.reload()
            if self._control is not None and self._control.fileno() in events:
                control.answer(self._control, self.status)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)  # the second one ends it at once
        self.stop()
        return 0

    def start(self) -> None:
        """Bring everything up. What cannot be had (a state directory, a port) is said, and the rest goes on."""
        config = self.config
        log.set_level(config.agent.log_level)
        for warning in config.warnings:
            log.warning("configuration", str(warning))
        self._take_state_dir()
        if config.history.enabled:
            self._start_history()
        for instance in config.outputs.values():
            self._add_output(instance).start()
        self._report_orphans()
        for instance in config.collectors.values():
            self._add_collector(instance)
        self.runner.start()
        if config.web.enabled:
            self._start_web()
        outputs = f", {len(self.senders)} outputs" if self.senders else ""
        log.info(
            "adamas", f"{adamas.__version__} runs {len(self.runner.tasks)} collectors{outputs} as {config.hostname or 'no host'}"
        )

    def stop(self) -> None:
        """Stop collecting, flush, and let go of everything, within the time that the configuration gives."""
        limit = self.config.agent.stop_timeout
        deadline = time.monotonic() + limit
        log.info("adamas", "stops")
        stuck = self.runner.stop(time.monotonic() + min(0.5, limit / 2))
        if stuck:
            log.warning("adamas", f"still running and left behind: {', '.join(stuck)}")
        for sender in self.senders.values():
            sender.stop(deadline)
        for leaving in self._leaving:
            leaving.join()
        for sender in self.senders.values():
            sender.join(deadline + 0.05)
        if self._history is not None:
            self._history.stop(max(deadline, time.monotonic() + 0.5))
        if self._web is not None:
            self._web.stop(time.monotonic() + 0.5)
        self.worker.stop()
        if self._control is not None:
            control.close(self._control, self.control_path)

    def _take_state_dir(self) -> None:
        directory = self.config.state_dir
        try:
            os.makedirs(directory, mode=0o700, exist_ok=True)
            self._lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.warning("adamas", f"no state directory: {directory}: {error.strerror}; nothing is kept across restarts")
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(f"another agent uses {directory}; give this one its own state_dir") from None
        self._has_state = True
        self._control = control.listen(self.control_path)

    # parts

    def _report_orphans(self) -> None:
        """Say which spools belong to no output any more: they are kept, and their disk space with them."""
        try:
            kept = os.listdir(os.path.join(self.config.state_dir, SPOOLS))
        except OSError:
            return
        for name in kept:
            path = os.path.join(self.config.state_dir, SPOOLS, name)
            if name not in map(clean_node, self.config.outputs) and left_behind(path):
                log.warning("adamas", f"the spool of the output {name}, which is gone, is kept: {path}")

    def _naming(self, name: str) -> Naming:
        prefix = self.config.prefix if name in ("path", "diamond") else ()
        return Naming(name, prefix, self.config.agent.labels, self.config.hostname)

    def _new_exposition(self) -> Exposition:
        return Exposition(self._naming("prometheus"))

    def _add_output(self, instance: Instance) -> Sender:
        """The sender of an output, in the place of the one before it: no batch comes between. It is the caller's to start."""
        output: Output = instance.cls(dict(instance.values), instance.name)
        output.spell(self._naming(output.naming or type(output).default_naming))
        if output.isolation == "process":
            isolate_output(output, self.worker, instance.origin, instance.values)
        sender = Sender(output, *(places(self.config.state_dir, instance.name) if self._has_state else ()))
        before = self.senders.get(instance.name)
        self.senders[instance.name] = sender
        self._digests["outputs", instance.name] = instance.digest
        without = () if not output.slotted else (SECOND,) if output.replaces else (FIRST, SECOND)
        self._fan_out = [*[(s, runs) for s, runs in self._fan_out if s is not before], (sender, without)]
        return sender

    def _add_collector(self, instance: Instance) -> None:
        collector: Collector = instance.cls(self.host, dict(instance.values), instance.name)
        if collector.isolation == "process":
            isolate(collector, self.worker, instance.origin, instance.values)
        deadline = collector.deadline or collector.interval
        self._digests["collectors", instance.name] = instance.digest
        self.runner.add(Task(Intake(collector), collector.interval, deadline, self.config.hostname))

    def _start_history(self) -> None:
        from adamas.history import History

        path = self.config.history.path or os.path.join(self.config.state_dir, "history.db")
        try:
            self._history = History(path, Naming("path"), self.config.history.retention)
            self._history.start()
        except Exception as error:
            self._history = None
            log.error("history", f"is off: {error}")

    def _start_web(self) -> None:
        from adamas.web import WebServer

        web = self.config.web
        try:
            self._web = WebServer(web.listen, str(web.token), self, web.hosts)
            self.address = self._web.start()
            log.info("adamas", f"the page is at {self.address}")
        except (OSError, ValueError) as error:
            self._web = None
            log.error("web", f"is off: {web.listen}: {error}")

    # the flow

    def _publish(self, batch: Batch, run: int) -> None:
        """A batch to everyone who wants it. A fault of one output costs the others nothing."""
        for sender, without in self._fan_out:
            if run in without:
                continue
            try:
                sender.offer(batch)
            except Exception as error:
                log.error(sender.name, f"cannot take a batch: {error!r}")
                sender.error = f"cannot take a batch: {error!r}"
        if self._history is not None:
            self._history.offer(batch)

    def _passed(self) -> None:
        for sender, _ in self._fan_out:
            sender.ring()

    # what the page and `status` see

    def latest(self) -> list[Batch]:
        """The last batch of every collector that still gives any: what is three windows old is no value of now."""
        now = time.monotonic()
        tasks = [t for t in list(self.runner.tasks.values()) if now - t.published < STALE * max(t.interval, 1.0)]
        return [t.intake.last for t in tasks if t.intake.last is not None]

    def prometheus(self) -> Exposition:
        """What renders /metrics."""
        return self._exposition

    def history(self) -> History | None:
        """The store, where it is on."""
        return self._history

    def status(self) -> dict[str, Any]:
        """All that is known of this agent's work, as JSON has it."""
        return {
            "version": adamas.__version__,
            "hostname": self.config.hostname,
            "prefix": ".".join(p for p in self.config.prefix if p),
            "pid": os.getpid(),
            "started": self.started,
            "now": time.time(),
            "config": self.config.path,
            "address": self.address,
            "reload": dict(self._reload),
            "collectors": [task.status() for task in list(self.runner.tasks.values())],
            "outputs": [sender.status() for sender in list(self.senders.values())],
            "history": self._history.status() if self._history is not None else None,
            "memory": _resident(),
            "cpu_seconds": time.process_time(),
            "threads": threading.active_count(),
        }

    # reload

    def reload(self) -> None:
        """Read the file again and change what differs; a file with a mistake changes nothing."""
        try:
            config = load(self.config.path or None)
        except ConfigError as error:
            self._reload = {"ok": False, "time": time.time(), "message": str(error)}
            log.error("reload", f"refused, nothing changed: {error}")
            return
        before = self.config
        self.config = config
        self.host.prefix = config.prefix
        log.set_level(config.agent.log_level)
        changed = self._reload_outputs(config) + self._reload_collectors(config)
        self._report_orphans()
        if (before.hostname, before.agent.labels) != (config.hostname, config.agent.labels):
            self._exposition = self._new_exposition()
        if vars(before.history) != vars(config.history):
            changed.append("history")
            if self._history is not None:
                self._history.stop(time.monotonic() + 1)
                self._history = None
            if config.history.enabled:
                self._start_history()
        if vars(before.web) != vars(config.web):
            changed.append("web")
            if self._web is not None:
                self._web.stop(time.monotonic() + 1)
                self._web, self.address = None, ""
            if config.web.enabled:
                self._start_web()
        if config.state_dir != before.state_dir:
            log.warning("reload", "a new state_dir is used after a restart")
            config.state_dir = before.state_dir
        what = ", ".join(changed) if changed else "nothing changed"
        self._reload = {"ok": True, "time": time.time(), "message": what}
        log.info("reload", what)

    def _reload_outputs(self, config: Config) -> list[str]:
        changed = []
        for name, before in list(self.senders.items()):
            instance = config.outputs.get(name)
            if instance is not None and instance.digest == self._digests["outputs", name]:
                continue
            heir = None
            if instance is None:
                del self.senders[name]
                self._fan_out = [(s, runs) for s, runs in self._fan_out if s is not before]
            else:
                heir = self._add_output(instance)
            deadline = time.monotonic() + config.agent.stop_timeout
            before.stop(deadline)
            leaving = threading.Thread(target=before.join, args=(deadline + 0.05, heir))
            leaving.start()
            self._leaving = [*[t for t in self._leaving if t.is_alive()], leaving]
            if heir is not None:
                heir.start()
            changed.append(f"output {name} {'changed' if instance else 'removed'}")
        for name, instance in config.outputs.items():
            if name not in self.senders:
                self._add_output(instance).start()
                changed.append(f"output {name} added")
        return changed

    def _reload_collectors(self, config: Config) -> list[str]:
        changed = []
        for name in list(self.runner.tasks):
            instance = config.collectors.get(name)
            if instance is None or instance.digest != self._digests["collectors", name]:
                collector = self.runner.remove(name).intake.collector
                collector.close()
                for sender, _ in self._fan_out:
                    if sender.output.spelling is not None:
                        sender.output.spelling.release(name)
                changed.append(f"collector {name} {'changed' if instance else 'removed'}")
        for name, instance in config.collectors.items():
            if name not in self.runner.tasks:
                self._add_collector(instance)
                if f"collector {name} changed" not in changed:
                    changed.append(f"collector {name} added")
        return changed


class InUse(Exception):
    """Another agent has the state directory."""


def _noted(number: int, frame: FrameType | None) -> None:
    """Signals are read from the wake-up descriptor; a handler must only be there."""


def _resident() -> int:
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def run(path: str | None) -> int:
    """Run an agent with this file until it is told to stop; 1 where the file or the state directory cannot be used."""
    try:
        return Agent(load(path)).run()
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    except InUse as error:
        print(error, file=sys.stderr)
        return 1
