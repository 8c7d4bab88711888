"""What the original Diamond published for the inputs of its own tests, replayed through the collectors that succeed it.

The corpus is `$ADAMAS_CONFORMANCE/diamond/<collector>/<case>.json`: each step's inputs and the lines that the original
sent for them. Names and the values' text must be the same in the `diamond` spelling, but for what is listed below.

One difference is the same everywhere and found by itself: a counter's first sample has no rate, so it gives no line,
where the original sent a 0. It counts only where the collector has the name, as a rate, and the original's line is 0.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from cases import PREFIX, parse_options, spelled

import adamas.collectors
from adamas.collector import Collector
from adamas.errors import NoData
from adamas.lines import Plan
from adamas.metric import Batch
from adamas.naming import Naming
from adamas.option import fold
from adamas.pipeline import Intake
from adamas.recording import Replay

GIVEN = os.environ.get("ADAMAS_CONFORMANCE", "")
if not GIVEN:
    pytest.skip("conformance corpus not given", allow_module_level=True)

OPTIONS_LEFT_OUT: dict[tuple[str, str], str] = {
    ("conntrack", "bin"): "the original asked sysctl once, and has read the files since",
}
"""(collector, Diamond's option) that the collector does not have, and why."""

DIFFERENCES: dict[str, dict[str, tuple[str, ...]]] = {
    "cpu/TestCPUCollector.test_should_open_proc_stat": {
        "an empty /proc/stat has no data; the original counted its missing total line as minus one CPU": ("1 cpu_count",),
    },
    "http/TestHttpCollector.test_should_work_with_real_data": {
        "how long the request took on the day of the recording": ("1 http__www_my_server_com_.time",),
    },
    "interrupt/TestInterruptCollector.test_should_work_with_real_data_24_core": {
        "NMI and LOC have no words after their counts; the original took the last two counts for words, so that they had "
        "another name in every run": tuple(
            [
                f"{step} {name}.{node}"
                for step, names in (
                    (1, ("4039544_4030392", "954780101_954780035")),
                    (2, ("4039570_4030401", "955098776_955098710")),
                )
                for name in names
                for node in (*[f"CPU{number}" for number in range(24)], "total")
            ]
        ),
    },
}
"""Case -> reason -> "step name" of each line that is deliberately not the original's."""

STARTED: dict[str, Callable[[list[str]], list[str]]] = {
    "NtpCollector": lambda argv: ["ntpdate", *argv[0]],
    "PingCollector": lambda argv: [argv[0], "-nq", "-c", "1", "-W", "5", *argv[3:]],
}
"""Class of the original -> the program and arguments that its successor starts where it started these."""


def native_collectors() -> tuple[dict[str, type[Collector]], dict[str, str]]:
    """Collectors by the class of Diamond's that each succeeds, and modules that cannot be imported, with the error."""
    found, broken = {}, {}
    for info in pkgutil.iter_modules(adamas.collectors.__path__):
        try:
            module = importlib.import_module(f"adamas.collectors.{info.name}")
        except Exception as error:
            broken[info.name] = repr(error)
            continue
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, Collector) and value.diamond:
                found[value.diamond] = value
    return found, broken


def replayable_cases() -> list[tuple[str, Path, dict[str, Any]]]:
    """(id, file, content) of every case that has a native collector."""
    cases = []
    for file in sorted((Path(GIVEN) / "diamond").glob("*/*.json")):
        case = json.loads(file.read_text())
        if case["replayable"] and case["steps"] and case["steps"][0]["class"] in COLLECTORS:
            cases.append((f"{file.parent.name}/{file.stem}", file, case))
    return cases


COLLECTORS, BROKEN = native_collectors()
CASES = replayable_cases()
PASSED: dict[str, list[bool]] = {}


def real_path(path: Any, changed: dict[str, Any]) -> str:
    """Where a file of the test lay on the machine: the constant that was redirected to its fixture says so."""
    if isinstance(path, str):
        return path
    fixture = path["fixture"]
    for attribute in changed.values():
        originals, tests = attribute["original"], attribute["test"]
        if not isinstance(tests, list):
            originals, tests = [originals], [tests]
        for original, test in zip(originals, tests, strict=True):
            if isinstance(test, dict) and "fixture" in test:
                if fixture == test["fixture"]:
                    return str(original)
                if fixture.startswith(test["fixture"] + "/"):
                    return str(original) + fixture.removeprefix(test["fixture"])
    return f"/{fixture}"


def text_of(content: Any, folder: Path) -> bytes:
    """The bytes of an input, inline or from the fixture beside the case."""
    if content is None:
        return b""
    if isinstance(content, dict):
        return (folder / content["fixture"]).read_bytes()
    return str(content).encode()


def write_step(step: dict[str, Any], folder: Path, target: Path) -> None:
    """A case's step as a folder that `Replay` reads."""
    target.mkdir()
    changed = step["class_attributes_changed"]
    calls: list[dict[str, Any]] = []
    started: list[str] = []

    def answer(call: str, args: list[Any], result: Any) -> None:
        calls.append({"call": call, "args": args, "result": result})

    for number, given in enumerate(step["inputs"]):
        content, via = given.get("content"), given.get("via") or ""
        if given["kind"] == "file":
            file = target / real_path(given["path"], changed).lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(text_of(content, folder))
        elif via == "posixpath.isdir":
            for path in {given["args"][0], given["args"][0].rstrip("/")}:
                answer("exists", [path], content)
        elif via == "os.listdir":
            for path in {given["args"][0], given["args"][0].rstrip("/")}:
                answer("listdir", [path], sorted(content))
        elif via == "os.stat":
            fields = dict.fromkeys(("size", "uid", "gid", "mtime", "rdev"), 0)
            answer("stat", given["args"], {"mode": 0o40755, "dev": number + 1, **fields})
        elif via == "os.statvfs":
            f = content["attributes"]
            sizes = [f[name] * f["f_frsize"] for name in ("f_blocks", "f_bfree", "f_bavail")]
            answer("statvfs", given["args"], [*sizes, f["f_files"], f["f_ffree"], f["f_favail"]])
        elif given["kind"] == "command" and isinstance(content, dict):
            started = given["argv"][0]  # what it writes comes with the next
        elif given["kind"] == "command":
            output, errors = [text_of(part, folder).decode("latin-1") for part in content]
            argv = STARTED.get(step["class"], list)(given["argv"] or started)
            answer("run", argv, {"status": 0, "body": output, "errors": errors})
        elif given["kind"] == "http":
            url = given["request"] if isinstance(given["request"], str) else given["request"]["url"]
            answer("http", ["GET", url], {"status": 200, "body": text_of(content, folder).decode("latin-1")})
    (target / "calls.json").write_text(json.dumps(calls))


def moment_of(step: dict[str, Any], before: float | None) -> float:
    """When a step was: what its clock said, else one interval after the step before."""
    for given in step["inputs"]:
        if given.get("via") == "time.time":
            return float(given["content"])
    return 0.0 if before is None else before + float(step["interval"])


def options_of(name: str, step: dict[str, Any]) -> dict[str, Any]:
    """The options of a step that the collector has; the others must be listed above."""
    cls = COLLECTORS[step["class"]]
    given = {}
    for key, value in fold(cls.options, step["config"]).items():
        if isinstance(value, dict) and "fixture" in value:
            value = f"/{value['fixture']}"
        if key in cls.options:
            given[key] = value
        else:
            assert (cls.name, key) in OPTIONS_LEFT_OUT, f"{name}: {cls.name} has no option {key!r}, and no reason is given"
    return given


def lines_of(batch: Batch | None, path: str) -> tuple[dict[str, str], set[str]]:
    """A batch's lines by name without the prefix, and the names that have no rate yet."""
    head = ".".join((*PREFIX, path)) + "." if path != "." else ".".join(PREFIX) + "."
    given = {name.removeprefix(head): value for name, value in spelled(batch, "diamond").items()}
    points = Plan(batch.shape, Naming("diamond", PREFIX).spell).points if batch is not None else []
    return given, {point.name.removeprefix(head) for point in points} - set(given)


def replay(name: str, folder: Path, steps: list[dict[str, Any]], root: Path) -> list[str]:
    """What differs from the original, each as "step name: original's text, ours"."""
    cls = COLLECTORS[steps[0]["class"]]
    options = options_of(name, steps[0])
    differences = []
    collector = None
    moment: float | None = None
    for number, step in enumerate(steps, 1):
        options_of(name, step)
        write_step(step, folder, root / str(number))
        before, moment = moment, moment_of(step, moment)
        host = Replay(str(root / str(number)), moment)
        if collector is None:
            collector = cls(host, parse_options(cls, options))
            intake = Intake(collector)
        collector.host = host
        collector.elapsed = 0.0 if before is None else moment - before
        try:
            batch = intake.publish(*intake.gather(), host.time(), moment)
        except NoData:
            batch = None
        given, pending = lines_of(batch, step["path"])
        expected = {p["name"]: p["line_value"] for p in step["published"]}
        for metric in sorted({*expected, *given}):
            theirs, ours = expected.get(metric), given.get(metric)
            if theirs == ours or (ours is None and metric in pending and theirs is not None and float(theirs) == 0):
                continue
            differences.append(f"{number} {metric}: {theirs}, {ours}")
    return differences


def test_collectors_can_be_imported() -> None:
    assert not BROKEN


@pytest.mark.parametrize(("name", "file", "case"), CASES, ids=[name for name, _, _ in CASES])
def test_case(name: str, file: Path, case: dict[str, Any], tmp_path: Path) -> None:
    results = PASSED.setdefault(COLLECTORS[case["steps"][0]["class"]].name, [])
    results.append(False)
    found = replay(name, file.parent, case["steps"], tmp_path)
    listed = {entry for entries in DIFFERENCES.get(name, {}).values() for entry in entries}
    assert not [line for line in found if line.partition(":")[0] not in listed], "not as the original"
    assert listed == {line.partition(":")[0] for line in found}, "a difference is listed that is none"
    results[-1] = True


def test_summary(capsys: pytest.CaptureFixture[str]) -> None:
    """Not a check: how much of the corpus was run and matches, one line a collector."""
    if not PASSED:
        pytest.skip("no conformance case was run")
    with capsys.disabled():
        for name, results in sorted(PASSED.items()):
            print(f"\n  diamond conformance: {name} {sum(results)} of {len(results)} cases", end="")
