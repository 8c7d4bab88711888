"""The documents tell the truth: docs/ is what the declarations give, everything declared is explained, no link is dead."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from adamas import Collector, Counter, Gauge, Otel, Raw, describe, option
from adamas.config import load
from adamas.errors import DeclarationError
from adamas.option import options_of
from adamas.output import Output

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "docs"))

import generate

CLASSES = generate.declared()
WRITTEN = [p for p in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")] if "node_modules" not in p.parts]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"|<source[^>]*srcset=\"([^\"]+)\"")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)


def test_pages_are_what_the_code_declares() -> None:
    wanted = generate.pages()
    different = [p for p, text in wanted.items() if not (ROOT / "docs" / p).exists() or (ROOT / "docs" / p).read_text() != text]
    assert different + generate.stale(wanted) == [], "run `make docs` and commit what it writes"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.name)
def test_everything_declared_is_explained(cls: describe.Kind) -> None:
    silent = [f"option {name}" for name, declared in cls.options.items() if not declared.help]
    if issubclass(cls, Collector):
        silent += [f"metric {name}" for name, declared in cls.declarations.items() if not declared.help]
    assert describe.about(cls) and describe.source(cls)
    assert silent == []


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.name)
def test_the_example_is_valid(cls: describe.Kind) -> None:
    table = tomllib.loads(describe.example(cls))[describe.kind(cls) + "s"][cls.name]
    for name, value in table.items():
        if not cls.options[name].required:
            assert cls.options[name].parse(value) == cls.options[name].default


@pytest.mark.parametrize("cls", CLASSES, ids=lambda c: c.name)
def test_the_terminal_shows_every_option_and_metric(cls: describe.Kind) -> None:
    shown = describe.describe(cls)
    for name in [*cls.options, *(cls.declarations if issubclass(cls, Collector) else ())]:
        assert f"\n  {name} (" in shown


def _anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", FENCE.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_link_is_dead(page: Path) -> None:
    dead = []
    for groups in LINK.findall(FENCE.sub("", page.read_text())):
        target = next(filter(None, groups))
        if target.startswith(("https://", "http://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        aim = (page.parent / path).resolve() if path else page
        if not aim.exists() or (anchor and anchor not in _anchors(aim.read_text())):
            dead.append(target)
    assert dead == []


def blocks(language: str) -> list[str]:
    """The code in the README in this language."""
    return [code for found, code in FENCE.findall((ROOT / "README.md").read_text()) if found == language]


def test_what_the_readme_shows_works(tmp_path: Path) -> None:
    first, second = blocks("toml")
    (code,) = blocks("python")
    assert code.count("\n") <= 22
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins/dropbox.py").write_text(code)
    for folder, files in (("incoming", "ab"), ("failed", "c")):
        (tmp_path / "srv" / folder).mkdir(parents=True)
        for name in files:
            (tmp_path / "srv" / folder / name).touch()
    file = tmp_path / "adamas.toml"
    file.write_text(first)
    config = load(str(file))
    assert config.collectors["diskspace"].values["interval"] == 60 and list(config.outputs) == ["carbon", "remote"]
    file.write_text(second.replace("/srv/dropbox", str(tmp_path / "srv")))
    assert not load(str(file)).warnings
    shown = {}
    for spelling in ("path", "prometheus"):
        argv = [sys.executable, "-m", "adamas", "once", "dropbox", "-c", str(file), "--as", spelling]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True)
        shown[spelling] = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert [re.sub(r"^servers\.[^.]+\.", "", line).rsplit(" ", 1)[0] for line in shown["path"]] == [
        "dropbox.incoming.files 2",
        "dropbox.failed.files 1",
    ]
    assert shown["prometheus"] == ['dropbox_waiting{queue="incoming"} 2', 'dropbox_waiting{queue="failed"} 1']


class Meter(Collector):
    """Measures. In two lines,
    of which this is one.

    And a second paragraph."""

    name = "meter"
    path = "gauges"
    diamond = "MeterCollector"
    needs = ("/proc/meter",)
    byte_unit: list[str] = option(["byte"], "The units of `size`")
    url: str = option(None, "Where it is", required=True)
    wait: Any = None

    time = Counter(
        "cpu{cpu}.{mode}",
        "Time in each mode",
        unit="s",
        diamond=None,
        prometheus=Raw("node_cpu_seconds_total", values={"mode": lambda mode: str(int(mode))}),
        otel=Otel("system.cpu.time", cpu="cpu.logical_number", mode="cpu.mode"),
    )
    share = Counter("share", "A share", unit="s", path=None)
    field = Gauge(
        "{field}", "As it is", unit="By", diamond=Raw("{field}_{unit}", units="byte_unit"), prometheus="x_{field}_bytes"
    )
    minutes = Gauge("m.{minutes:02}", "A|B", prometheus=None, otel="load.{minutes}m")


def test_names_have_their_labels_left_open() -> None:
    assert {name: describe.names(Meter, declaration) for name, declaration in Meter.declarations.items()} == {
        "time": {
            "path": "servers.HOST.gauges.cpu{cpu}.{mode} (per second)",
            "diamond": "",
            "prometheus": "node_cpu_seconds_total{cpu,mode}",
            "otel": "system.cpu.time{cpu.logical_number,cpu.mode}",
        },
        "share": {"path": "", "diamond": "", "prometheus": "meter_share_seconds_total", "otel": "meter.share"},
        "field": {
            "path": "servers.HOST.gauges.{field}",
            "diamond": "servers.HOST.gauges.{field}_{unit} (in the units of byte_unit)",
            "prometheus": "x_<field>_bytes",
            "otel": "meter.field{field}",
        },
        "minutes": {
            "path": "servers.HOST.gauges.m.{minutes}",
            "diamond": "",
            "prometheus": "",
            "otel": "load.<minutes>m",
        },
    }


def test_a_page() -> None:
    page = generate.markdown(Meter)
    assert page.startswith(
        "# meter\n\nMeasures. In two lines,\nof which this is one.\n\nAnd a second paragraph.\n\nThe documents tell"
    )
    assert "| `minutes` | gauge |  | A\\|B |" in page
    assert "| `url` | text | required | Where it is |" in page
    assert '```toml\n[collectors.meter]\nbyte_unit = ["byte"]\nurl = ""\n```' in page
    assert "- **Needs**: /proc/meter\n- **Dotted names**: under `gauges`\n- **In a diamond.conf**: `MeterCollector`\n" in page


def test_options_say_what_limits_them() -> None:
    every = options_of(Collector)
    assert describe.limits(every["interval"]) == 'at least "100ms"'
    assert describe.limits(every["memory_limit"]) == 'at least "32MiB"'
    assert describe.limits(every["isolation"]) == 'one of `"thread"`, `"process"`'
    assert describe.limits(options_of(Output)["allow"]) == "regular expressions"


def test_an_attribute_that_is_no_option_is_told() -> None:
    with pytest.raises(DeclarationError, match="an option's type is one of"):

        class Wrong(Collector):
            name = "wrong"
            when: complex = option(1j, "Never")


def test_every_make_target_explains_itself() -> None:
    (phony,) = re.findall(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.M)
    shown = subprocess.run(["make", "-C", ROOT, "--no-print-directory"], capture_output=True, text=True, timeout=20, check=True)
    assert [line.split()[:2] for line in shown.stdout.splitlines()] == [["make", target] for target in phony.split()]
