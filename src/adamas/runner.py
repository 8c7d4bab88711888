"""Running collectors: lanes, windows, deadlines, and what becomes of those that fail, hang or burn.

A lane is a thread that runs its due tasks back to back: one wake-up, warm caches, one moment. It keeps its own time. The
agent's main thread only watches (`Runner.watch`): a run longer than a lane's patience keeps that thread for itself, and a
fresh one takes the lane with everything that is due or will be. The culprit then has a lane of its own, as those that talk to
a network have from the beginning, and comes back after a while of good runs.
"""

from __future__ import annotations

import sys
import threading
import time

from adamas import log
from adamas.errors import NoData
from adamas.schedule import EARLY, backoff, next_window, stable_offset, window

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from adamas.metric import Batch
    from adamas.pipeline import Intake

PATIENCE = 0.04
"""Seconds that a run may keep a shared lane."""
CALM, FAST = 0.005, 0.0002
"""The interpreter's switch interval, as it is and while a run burns CPU."""
GOOD_RUNS = 20
"""In-time runs after which a culprit comes back to the shared lane."""
NO_DATA_EVERY = 60.0
GRACE = 3.0
GRID, FIRST, SECOND = range(3)
"""Which run a batch is of: one of a window of the grid; the first at the start, stamped as the window that began before it; the
second, soon after, for what needs two."""
SLACK = 0.001


class Task:
    """One collector instance and the state of its runs."""

    def __init__(self, intake: Intake, interval: float, deadline: float, host: str) -> None:
        collector = intake.collector
        self.intake = intake
        self.name = collector.instance
        self.interval = interval
        self.deadline = deadline
        self.resident = collector.remote or collector.isolation == "process"
        """Has a lane of its own for good: it waits for a peer or a child."""
        self.grace = GRACE if collector.isolation == "process" else 0.0
        """Its child is killed at the deadline; until that is done it has not overrun."""
        self.solo = self.resident
        self.offset = stable_offset(f"{host}/{self.name}" if self.solo else host, interval)
        self.due = 0.0
        """The start of its next window, wall clock."""
        self.not_before = 0.0
        """Windows before this moment (monotonic) are left out: the pause after failures."""
        self.early = 2
        """Runs left that come before the grid: one at once, and one a second later for those with counters."""
        self.running = False
        self.removed = False
        self.victim = False
        self.started = 0.0
        self.last_started = 0.0
        self.thread = 0
        self.cpu_before = 0.0
        self.overrun = False
        self.stack = ""
        self.state = "starting"
        self.error = ""
        self.runs = self.failures = self.in_a_row = self.missed = self.overruns = 0
        self.good_runs = 0
        self.last_run = 0.0
        self.last_duration = 0.0
        self.last_stamp = 0.0
        self.published = 0.0
        self.late = 0.0
        self.busy = 0.0

    def status(self) -> dict[str, Any]:
        """How its runs go."""
        collector = self.intake.collector
        state = self.state
        if self.running and self.overrun:
            state = "stuck"
        return {
            "name": self.name,
            "type": type(collector).name,
            "state": state,
            "interval": self.interval,
            "runs": self.runs,
            "failures": self.failures,
            "overruns": self.overruns,
            "missed": self.missed,
            "last_run": self.last_run,
            "last_duration": self.last_duration,
            "late": self.late,
            "busy": self.busy,
            "next_run": self.due,
            "error": self.error,
            "stack": self.stack,
            "isolation": collector.isolation,
            **self.intake.status(),
        }


class Lane:
    """A thread and the tasks that it runs. Replacing the thread replaces nothing else: the tasks know when they are due."""

    def __init__(self, runner: Runner, tasks: list[Task], name: str, solo: bool) -> None:
        self.runner = runner
        self.tasks = tasks
        self.name = name
        self.solo = solo
        self.epoch = 0
        self.current: Task | None = None
        self.since = 0.0
        self.wakes = 0.0
        self._bell = threading.Lock()
        self._bell.acquire()

    def start(self) -> None:
        """Give the lane a fresh thread; the one it had finishes its run and goes."""
        self.epoch += 1
        self.current = None
        self.wakes = time.monotonic()
        threading.Thread(target=self.loop, args=(self.epoch,), name=self.name, daemon=True).start()

    def ring(self) -> None:
        """Look again at what is due."""
        try:
            self._bell.release()
        except RuntimeError:
            pass

    def loop(self, epoch: int) -> None:
        """Run what is due until the lane is taken over or has no tasks left."""
        runner = self.runner
        while self.epoch == epoch and not runner.stopping:
            now = runner.wall()
            due = self._due(now)
            if not due:
                if self.solo and not self.tasks:
                    return
                self._sleep(now)
                continue
            if not self.solo:
                runner.alarm(PATIENCE + SLACK)
            for task in due:
                if task.running or task.removed:
                    continue
                self.since = time.monotonic()
                self.current = task
                runner.execute(task)
                if self.epoch != epoch:
                    runner.returned(task, self)
                    return
                self.current = None
                if runner.stopping:
                    return
            if not self.solo:
                runner.alarm(0)
            runner.passed()

    def _due(self, now: float) -> list[Task]:
        due = []
        for task in self.tasks:
            if task.due <= now + SLACK and not task.running:
                if task.not_before > time.monotonic():
                    task.due = next_window(now + SLACK, task.interval, task.offset)
                else:
                    due.append(task)
        return due

    def _sleep(self, now: float) -> None:
        wait = 60.0
        for task in self.tasks:
            if task.due - now > task.interval + SLACK:  # the clock was set back: go to the grid as it lies now
                task.due = next_window(now, task.interval, task.offset)
            wait = min(wait, task.due - now) if not task.running else wait
        self.wakes = time.monotonic() + wait
        self._bell.acquire(timeout=max(0.0, wait))


class Runner:
    """All lanes. `publish` takes each batch and which run it is of (`GRID`, or one of the two at a collector's start); `passed`
    is called when a pass is over."""

    def __init__(
        self,
        publish: Callable[[Batch, int], None],
        passed: Callable[[], None],
        alarm: Callable[[float], object] = lambda seconds: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.publish = publish
        self.passed = passed
        self.alarm = alarm
        """Wakes the watch in so many seconds (0: no more): so a pass that is over in time costs it nothing."""
        self.wall = wall
        self.stopping = False
        self.tasks: dict[str, Task] = {}
        self._shared = Lane(self, [], "lane", solo=False)
        self._lanes: list[Lane] = [self._shared]
        self._fast = False
        self._started = False

    def start(self) -> None:
        """Begin to run the tasks that are there."""
        self._started = True
        for lane in list(self._lanes):
            lane.start()

    def add(self, task: Task) -> None:
        """Run this task too, the first time at once."""
        task.due = self.wall()
        self.tasks[task.name] = task
        if task.solo:
            lane = Lane(self, [task], f"own {task.name}", solo=True)
            self._lanes.append(lane)
            if self._started:
                lane.start()
        else:
            self._shared.tasks.append(task)
            self._shared.ring()

    def remove(self, name: str) -> Task:
        """Run this task no more. A run that is under way ends, its samples are not published."""
        task = self.tasks.pop(name)
        task.removed = True
        for lane in list(self._lanes):
            if task in lane.tasks:
                lane.tasks.remove(task)
                if lane.solo:
                    lane.epoch += 1
                    self._lanes.remove(lane)
                    lane.ring()
        return task

    def stop(self, deadline: float) -> list[str]:
        """End all lanes; returns the names of the tasks whose run had not ended at the deadline (monotonic)."""
        self.stopping = True
        for lane in self._lanes:
            lane.ring()
        while time.monotonic() < deadline and any(t.running for t in self.tasks.values()):
            time.sleep(0.005)
        return [t.name for t in self.tasks.values() if t.running]

    def execute(self, task: Task) -> None:
        """One run of a task, on this thread, with everything that can come of it."""
        now = self.wall()
        stamp = window(now + SLACK, task.interval, task.offset)
        early = task.early > 0
        run = GRID if not early else SECOND if task.early == 1 else FIRST
        if early:
            task.early -= 1
        task.due = stamp + task.interval
        task.late = 0.0 if early else max(0.0, now - stamp)
        if run == SECOND:
            stamp = now
        elif stamp > task.last_stamp + 1.5 * task.interval and task.runs and task.in_a_row == 0:
            task.missed += self._missed(task, stamp)
        started = time.monotonic()
        collector = task.intake.collector
        collector.elapsed = started - task.last_started if task.last_started else 0.0
        task.last_started = task.started = started
        task.thread = threading.get_ident()
        task.cpu_before = time.thread_time()
        task.running = True
        try:
            series, values = task.intake.gather()
            batch = None
            if not task.removed:
                batch = task.intake.publish(series, values, stamp, started)
            if batch is not None:
                self.publish(batch, run)
                task.published = started
            if task.intake.stamped and not task.removed:
                for other in task.intake.others():
                    self.publish(other, GRID)
            self._well(task)
        except NoData as reason:
            self._no_data(task, str(reason))
        except Exception as error:
            self._failed(task, error)
        finally:
            task.runs += 1
            task.last_stamp = stamp
            task.last_run = now
            task.last_duration = time.monotonic() - started
            task.busy += task.last_duration
            task.running = False
            if task.overrun:
                task.overrun = False
                log.info(task.name, f"its run ended after {task.last_duration:.1f} s")
        if task.early == 1:
            self._second_run(task, now)

    def _second_run(self, task: Task, now: float) -> None:
        """Counters have no rate yet: run once more after a second, unless the grid comes about then anyway."""
        last = task.intake.last
        if last is not None and last.shape.counters and task.due > now + 1.5 * EARLY:
            task.due = now + EARLY
        else:
            task.early = 0

    @staticmethod
    def _missed(task: Task, stamp: float) -> int:
        """Windows left out since the last, as far as the monotonic clock agrees with the wall clock."""
        wall = (stamp - task.last_stamp) / task.interval
        elapsed = (time.monotonic() - task.last_started) / task.interval
        return max(0, round(min(wall, elapsed)) - 1)

    def _well(self, task: Task) -> None:
        if task.state not in ("ok", "starting"):
            log.info(task.name, "collects again")
        task.state, task.error, task.in_a_row = "ok", "", 0
        task.stack = ""
        if not task.solo:
            return
        if time.monotonic() - task.started < PATIENCE / 2:
            task.good_runs += 1
        else:
            task.good_runs = 0

    def _no_data(self, task: Task, reason: str) -> None:
        if task.state != "no data":
            log.debug(task.name, f"no data: {reason}")
        task.state, task.error, task.in_a_row = "no data", reason, 0
        task.not_before = task.started + NO_DATA_EVERY - SLACK
        task.early = 0

    def _failed(self, task: Task, error: Exception) -> None:
        task.failures += 1
        task.in_a_row += 1
        words = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if task.state not in ("failed", "backoff"):
            log.warning(task.name, f"failed: {words}")
        task.state = "failed" if task.in_a_row < 2 else "backoff"
        task.error = words[:500]
        import traceback  # only when something failed

        task.stack = "".join(traceback.format_exception(error)[-8:])[-4000:]
        task.early = 0
        pause = backoff(task.in_a_row, task.interval)
        if pause:
            task.not_before = task.started + pause - SLACK

    def returned(self, task: Task, lane: Lane) -> None:
        """A run that had lost its lane has ended: the thread becomes the culprit's own lane; a victim goes home."""
        self.passed()
        if task.removed or self.stopping:
            return
        for own in list(self._lanes):
            if own.solo and own.current is task and own is not lane:
                own.current = None
                if task.victim:
                    self._home(own)
                else:
                    own.loop(own.epoch)
                return

    # the watch: called by the main thread

    def watch(self) -> float:
        """Look after the runs that are under way; returns in how many seconds to look again."""
        now = time.monotonic()
        again = 60.0
        burning = False
        for lane in list(self._lanes):
            task = lane.current
            if task is None:
                if lane.solo and lane.tasks and lane.tasks[0].good_runs >= GOOD_RUNS and self._home(lane):
                    continue
                if lane.solo and lane.tasks:  # the shared lane rings `alarm` itself
                    patience = lane.tasks[0].deadline if lane.tasks[0].resident else PATIENCE
                    again = min(again, max(lane.wakes - now, 0.0) + patience + SLACK)
                continue
            taken = now - lane.since
            if not lane.solo:
                if taken < PATIENCE:
                    again = min(again, PATIENCE - taken + SLACK)
                    continue
                self._take_over(lane, task)
                again = min(again, PATIENCE)
                continue
            burns = self._burns(task, taken)
            burning = burning or burns
            limit = task.deadline + task.grace
            if taken >= limit:
                if task.running and not task.overrun:
                    self._overran(task)
                again = min(again, 1.0)
            else:
                again = min(again, limit - taken + SLACK, 0.25 if burns or taken < PATIENCE else 60.0)
        if burning != self._fast:
            self._fast = burning
            sys.setswitchinterval(FAST if burning else CALM)
        return again

    def _take_over(self, lane: Lane, task: Task) -> None:
        """The lane goes on with a fresh thread; the task that held it keeps the old one as a lane of its own.

        It stays there for a while if it is to blame, not if another run burned the CPU that it waited for.
        """
        burns = self._burns(task, PATIENCE)
        task.victim = not burns and any(self._burns(other, taken) for other, taken in self._others_running(task))
        if task in lane.tasks:
            lane.tasks.remove(task)
        own = Lane(self, [task], f"own {task.name}", solo=True)
        own.current, own.since, own.epoch = task, lane.since, 1
        task.solo, task.good_runs = True, 0
        self._lanes.append(own)
        if burns:
            self._fast = True
            sys.setswitchinterval(FAST)
        lane.start()

    def _others_running(self, task: Task) -> list[tuple[Task, float]]:
        now = time.monotonic()
        return [(t, now - t.started) for t in list(self.tasks.values()) if t.running and t is not task]

    @staticmethod
    def _burns(task: Task, taken: float) -> bool:
        """Whether a run uses the CPU most of its time, by its thread's own clock."""
        if not task.running or taken < PATIENCE / 2:
            return False
        try:
            used = time.clock_gettime(time.pthread_getcpuclockid(task.thread)) - task.cpu_before
        except (OSError, OverflowError):
            return False
        return used > 0.3 * min(taken, 1.0) if taken < 1 else used > 0.3 * taken

    def _overran(self, task: Task) -> None:
        task.overrun = True
        task.overruns += 1
        task.state = "overrun"
        import traceback

        frame = sys._current_frames().get(task.thread)
        task.stack = "".join(traceback.format_stack(frame)[-12:])[-4000:] if frame is not None else ""
        task.error = f"a run took longer than {task.deadline:g} s"
        where = task.stack.strip().splitlines()[-2].strip() if task.stack.count("\n") > 1 else "unknown"
        log.warning(task.name, f"overran its deadline of {task.deadline:g} s; it hangs in {where}")

    def _home(self, lane: Lane) -> bool:
        """A culprit that behaved comes back to the shared lane; its own thread goes."""
        task = lane.tasks[0]
        if task.resident or task.running:
            return False
        lane.tasks.clear()
        lane.epoch += 1
        lane.ring()
        self._lanes.remove(lane)
        task.solo = task.victim = False
        task.good_runs = 0
        self._shared.tasks.append(task)
        self._shared.ring()
        return True
