"""The rules of ARCHITECTURE.md, read off the code: layers, cycles, plugins apart, file sizes, names, a small memory."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "adamas"
STANDS_APART = "diamond"
"""The names that old code imports: src/diamond imports Adamas, never the other way round."""

LAYERS = (
    ("errors", "log", "metric"),
    (
        "answer",
        "host",
        "http",
        "ledger",
        "naming",
        "netlink",
        "option",
        "process",
        "protobuf",
        "queue",
        "rate",
        "ring",
        "schedule",
        "spool",
        "starts",
    ),
    ("", "collector", "exposition", "lines", "messages", "otlp", "output", "pipeline", "recording", "transport"),
    ("collectors", "outputs"),
    (
        "config",
        "control",
        "describe",
        "history",
        "letters",
        "registry",
        "runner",
        "sender",
        "spill",
        "translate",
        "web",
        "worker",
    ),
    ("agent",),
    ("__main__", "cli"),
)
"""What stands in each layer; "" is the package itself, which gives plugins their names."""

LONG = {
    "agent.py": "start, reload and stop are one story, told by the only module that knows all the parts",
    "metric.py": "declarations, series, shapes and batches are one model, and their hot paths share its insides",
    "runner.py": "lanes, windows and the watch over them change the same task under one lock",
    "sender.py": "one thread's life: what is sent, confirmed, refused and put back is accounted for in one place",
    "spool.py": "one format on disk: who writes it, reads it, recovers it and makes room share every rule of it",
    "worker.py": "both ends of one protocol, and a child must import little more than this file",
}
"""Files past 400 lines, and why."""

FORBIDDEN_NAMES = {"utils", "util", "common", "base", "manager", "helpers", "helper", "misc", "core"}

WORDS = {
    "adamas": "the package's own name",
    "diamond": "a spelling, and the attribute that names what is succeeded",
    "file": "any file",
    "files": "any files",
    "graphite": "a format of lines, which messages may have",
    "http": "the protocol",
    "ip": "the protocol",
    "memory": "a place in the ledger, and where a queue keeps",
    "network": "any network",
    "proc": "a directory",
    "smart": "Diamond's way to find the host's name",
    "tcp": "the protocol",
    "udp": "the protocol",
}
"""Plugins whose names are words that the core may use for themselves."""

HEADLESS_WITHOUT = {
    "asyncio": "an event loop: the page's business",
    "argparse": "only commands besides `run`",
    "concurrent": "threads are started directly",
    "ctypes": "only a child of the worker needs it",
    "dataclasses": "imports inspect",
    "email": "comes with http",
    "http": "only what speaks HTTP",
    "inspect": "imports ast, dis and tokenize",
    "logging": "adamas.log does it",
    "multiprocessing": "adamas.worker does it",
    "sqlite3": "the history's business",
    "ssl": "only what speaks TLS",
    "starlette": "the page's business",
    "urllib": "comes with http",
    "uvicorn": "the page's business",
}
"""What a headless agent with host collectors must not import, and why it need not."""


def module_name(path: Path) -> str:
    parts = path.relative_to(SRC).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(p): p for p in sorted(PACKAGE.rglob("*.py"))}


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text())


@cache
def imports(name: str) -> frozenset[str]:
    """The modules of the package that a module imports, wherever in it and for whatever purpose."""
    found = set()
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}: imports are absolute"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in MODULES else node.module or "")
    return frozenset(f for f in found if f.split(".")[0] in ("adamas", STANDS_APART) and f != name)


def unit(name: str) -> str:
    """The part of the package that has a layer: a module, or a folder of them."""
    return name.split(".")[1] if "." in name else ""


def layer(name: str) -> int:
    return next((number for number, units in enumerate(LAYERS) if unit(name) in units), -1)


def plugin(name: str) -> tuple[str, str] | None:
    """(collectors or outputs, the plugin) that a module belongs to; what several share begins with an underscore."""
    parts = name.split(".")
    return (parts[1], parts[2]) if len(parts) > 2 and parts[1] in ("collectors", "outputs") and parts[2][0] != "_" else None


PLUGINS = {found for name in MODULES if (found := plugin(name))}


def test_every_module_has_a_layer() -> None:
    assert [name for name in MODULES if layer(name) < 0] == [], "give it a place in LAYERS and in ARCHITECTURE.md"


@pytest.mark.parametrize("name", MODULES)
def test_imports_point_downwards(name: str) -> None:
    assert [other for other in imports(name) if layer(other) > layer(name) or other.startswith(STANDS_APART)] == []


def test_there_is_no_cycle() -> None:
    done: set[str] = set()
    path: list[str] = []

    def visit(name: str) -> None:
        assert name not in path, " imports ".join([*path[path.index(name) :], name])
        if name in done or name not in MODULES:
            return
        path.append(name)
        for other in sorted(imports(name)):
            visit(other)
        path.pop()
        done.add(name)

    for name in MODULES:
        visit(name)


@pytest.mark.parametrize("name", [name for name in MODULES if plugin(name)])
def test_plugins_do_not_know_each_other(name: str) -> None:
    assert [other for other in imports(name) if plugin(other) not in (None, plugin(name))] == []


def _texts(name: str) -> Iterator[str]:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("name", [name for name in MODULES if unit(name) not in ("collectors", "outputs")])
def test_the_core_knows_no_plugin(name: str) -> None:
    assert [other for other in imports(name) if plugin(other)] == []
    names = {which for _, which in PLUGINS} - set(WORDS)
    assert [text for text in _texts(name) if text in names or text.startswith(("adamas.collectors.", "adamas.outputs."))] == []


@pytest.mark.parametrize("path", MODULES.values(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short(path: Path) -> None:
    lines = path.read_text().count("\n")
    reason = LONG.get(str(path.relative_to(PACKAGE)))
    assert lines <= 400 or reason, "past 400 lines: divide it, or say in LONG why not"
    assert lines > 400 or not reason, "no longer long: take it out of LONG"


def test_no_module_is_called_after_nothing() -> None:
    assert [name for name in MODULES if FORBIDDEN_NAMES & set(name.split("."))] == []


def _files() -> Iterator[Path]:
    generated = {".git", ".venv", "node_modules", "vendor", "__pycache__", "dist", "build"}
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [f for f in folders if f not in generated and not f.endswith(("_cache", ".egg-info")) and f != ".hypothesis"]
        for file in files:
            path = Path(folder, file)
            if not path.is_symlink():
                yield path


def test_no_file_names_a_place_that_is_not_the_projects() -> None:
    # Written in pieces, so that this file does not name them either.
    hosts = ["py" + "pi.org", "python" + "hosted", "registry." + "npmjs", "deb." + "debian.org"]
    places = ["/w" + "ork/", "/r" + "oot/", "/f" + "arm", ".lib" + "rary/"]
    pattern = re.compile("|".join([*map(re.escape, hosts), *[r"(?<![\w.])" + re.escape(p) for p in places]]))
    found = []
    for path in _files():
        text = path.read_bytes().decode("utf-8", "ignore")
        found += [f"{path.relative_to(ROOT)}: {match[0]}" for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("name", ["run", "test"])
def test_locks_hold_every_dependency_by_its_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text().replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert entries and all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:", entry) for entry in entries)


def test_the_lock_has_what_the_package_wants() -> None:
    lists = "".join((ROOT / "requirements" / name).read_text() for name in ("run.txt", "test.txt"))
    locked = {name.lower(): version for name, version in re.findall(r"^([\w.-]+)==([\d.]+)", lists, re.M)}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert set(re.findall(r"[\w-]+", extras.pop("all")[0])) == {"adamas", *extras}
    each = [one for extra in extras.values() for one in extra]
    for wanted in [*project["project"]["dependencies"], *each, *project["build-system"]["requires"]]:
        name, minimum = re.fullmatch(r"([\w.-]+)>=([\d.]+)", wanted).groups()  # type: ignore[union-attr]
        assert [int(n) for n in locked[name.lower()].split(".")] >= [int(n) for n in minimum.split(".")]


def test_every_extra_is_an_outputs_or_diamonds() -> None:
    """What an output says it needs is what its extra installs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = set(project["project"]["optional-dependencies"]) - {"all", "diamond"}
    said = {found for module in MODULES.values() for found in re.findall(r'^    extra = "([\w-]+)"', module.read_text(), re.M)}
    assert said <= extras
    for name in extras - said:
        assert name == "remote-write", f"no output says that it needs {name}"


def headless_modules() -> list[str]:
    """Everything that a headless agent with the default collectors and the classic output imports."""
    wanted = ["adamas.__main__", "adamas.agent"]
    defaults = next(
        ast.literal_eval(node.value)
        for node in tree("adamas.collectors").body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DEFAULT"
    )
    return [*wanted, *[m for d in defaults if (m := f"adamas.collectors.{d}") in MODULES], "adamas.outputs.graphite"]


def test_a_headless_agent_imports_little() -> None:
    code = "import sys; sys.path.insert(0, sys.argv[1]); \n"
    code += "for name in sys.argv[2:]: __import__(name)\n"
    code += "import json; print(json.dumps(sorted(sys.modules)))"
    argv = [sys.executable, "-I", "-S", "-c", code, str(SRC), *headless_modules()]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr.decode()
    loaded = json.loads(done.stdout)
    assert "adamas.pipeline" in loaded
    assert [m for m in loaded if m.split(".")[0] in HEADLESS_WITHOUT] == []
