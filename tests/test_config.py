"""Configuration files: every mistake with its line, what was expected, and the nearest valid name; nothing is lost on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamas.__main__ import main
from adamas.config import build, host_name, load
from adamas.config.source import _lines, read
from adamas.errors import ConfigError
from adamas.option import Secret, parse_duration, parse_list, parse_size, toml


def write(folder: Path, text: str, name: str = "adamas.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def mistakes(folder: Path, text: str) -> list[tuple[int, str]]:
    with pytest.raises(ConfigError) as caught:
        load(write(folder, text))
    return [(m.line, m.message) for m in caught.value.mistakes]


SEVEN = """\
[agent]
interval = "often"
defaults = false
[colectors.cpu]
[collectors.loadavrg]
[collectors.loadavg]
simpel = true
series_limit = 0
[outputs.carbon]
type = "graphite"
address = "carbon.example.org:line"
naming = "prometeus"
"""


def test_seven_mistakes_are_seven_messages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = mistakes(tmp_path, SEVEN)
    expected = [
        (2, 'a time such as "10s"'),
        (4, 'did you mean "collectors"?'),
        (5, 'did you mean "loadavg"?'),
        (7, 'did you mean "simple"?'),
        (8, "at least 1"),
        (11, "a port from 0 to 65535, not 'carbon.example.org:line'"),
        (12, 'did you mean "prometheus"?'),
    ]
    assert [line for line, _ in found] == [line for line, _ in expected]
    for (_, message), (_, words) in zip(found, expected, strict=True):
        assert words in message
    assert main_check(tmp_path) == 1
    printed = capsys.readouterr()
    assert printed.out.count("\n") == 7
    assert all(f"adamas.toml:{line}:" in printed.out for line, _ in expected)
    assert "7 mistakes" in printed.err


def main_check(folder: Path) -> int:
    import sys

    before = sys.argv
    sys.argv = ["adamas", "check", str(folder / "adamas.toml")]
    try:
        return main()
    finally:
        sys.argv = before


def test_syntax_errors_do_not_hide_the_rest(tmp_path: Path) -> None:
    found = mistakes(tmp_path, '[agent]\ninterval = \n[web]\nlisten = "nowhere"\n[history\nretention = "30d"\n')
    assert [line for line, _ in found] == [2, 4, 5]
    assert "not TOML" in found[0][1]
    assert "not TOML" in found[2][1]


def test_types_are_checked_as_written(tmp_path: Path) -> None:
    found = mistakes(
        tmp_path,
        '[agent]\nplugins = "a"\nlabels = ["x"]\ndefaults = 1\n[web]\nenabled = "perhaps"\n[history]\nretention = -5\n'
        '[collectors.loadavg]\nallow = ["("]\ninterval = 0\n',
    )
    assert [line for line, _ in found] == [3, 4, 6, 8, 10, 11]


def test_a_plugin_that_cannot_be_loaded_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "broken.py").write_text("import adamas\n\ndef nonsense(:\n")
    found = mistakes(tmp_path, '[agent]\nplugins = ["plugins"]\n[collectors.broken]\n')
    assert found[0][0] == 3
    assert "broken.py:3" in found[0][1]
    assert "SyntaxError" in found[0][1]


def test_a_plugin_called_like_a_library_module_does_not_hide_it(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    text = 'from adamas import Collector, Gauge\n\n\nclass J(Collector):\n    """J."""\n\n    name = "json"\n    x = Gauge("x", "X")\n'
    (tmp_path / "plugins" / "json.py").write_text(text)
    config = load(write(tmp_path, '[agent]\nplugins = ["plugins"]\ndefaults = false\n[collectors.json]\n'))
    assert config.collectors["json"].cls.__name__ == "J"
    import json

    assert json.dumps([1]) == "[1]"


def test_instances_and_defaults(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            '[agent]\ninterval = "5s"\n[collectors.one]\ntype = "loadavg"\ninterval = "1m"\n[collectors.cpu]\nenabled = false\n',
        )
    )
    assert config.collectors["one"].values["interval"] == 60
    assert config.collectors["loadavg"].values["interval"] == 5
    assert "cpu" not in config.collectors
    none = load(write(tmp_path, "[agent]\ndefaults = false\n"))
    assert none.collectors == {}
    assert load(None).collectors.keys() == load(write(tmp_path, "")).collectors.keys()


def test_includes_are_merged_and_conflicts_found(tmp_path: Path) -> None:
    (tmp_path / "conf.d").mkdir()
    write(tmp_path / "conf.d", '[outputs.file]\npath = "-"\n', "a.toml")
    config = load(write(tmp_path, 'include = ["conf.d/*.toml"]\n[agent]\ndefaults = false\n'))
    assert list(config.outputs) == ["file"]
    write(tmp_path / "conf.d", "[agent]\ndefaults = true\n", "b.toml")
    found = mistakes(tmp_path, 'include = ["conf.d/*.toml", "missing.toml"]\n[agent]\ndefaults = false\n')
    assert any("was set before" in message and "adamas.toml:3" in message for _, message in found)
    assert any("missing.toml does not exist" in message for _, message in found)
    write(tmp_path / "conf.d", 'include = "b.toml"\n', "b.toml")
    assert any("includes itself" in message for _, message in mistakes(tmp_path, 'include = ["conf.d/b.toml"]\n'))


def test_placeholders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ADAMAS_TEST_HOST", "db7")
    (tmp_path / "token").write_text("s3cret\n")
    config = load(
        write(tmp_path, '[agent]\nhostname = "${env:ADAMAS_TEST_HOST}"\n[web]\ntoken = "${file:token}"\nlisten = "0.0.0.0:1"\n')
    )
    assert config.hostname == "db7"
    assert config.web.token == "s3cret"
    assert "s3cret" not in repr(config.web.token) + toml(config.web.token)
    found = mistakes(tmp_path, '[agent]\nhostname = "${env:NOT_THERE_AT_ALL}"\n[web]\ntoken = "${file:nowhere}"\n')
    assert [line for line, _ in found] == [2, 4]


def test_a_secret_is_not_in_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("s3cret\n")
    assert "s3cret" not in str(mistakes(tmp_path, '[web]\nlisten = "${file:token}"\n[agent]\ninterval = "${file:token}"\n'))


def test_anything_but_loopback_needs_a_token(tmp_path: Path) -> None:
    assert "token: needed" in mistakes(tmp_path, '[web]\nlisten = "0.0.0.0:8326"\n')[0][1]
    assert load(write(tmp_path, '[web]\nlisten = "[::1]:8326"\n')).web.listen == "[::1]:8326"


def test_lines_of_keys() -> None:
    text = 'a = 1\n[t]\nlist = [\n  "x = 1",\n]\ntext = """\n[no]\nno = 1\n"""\nb.c = 2\n[t."q.r"]\nd = { e = 1 }\n# f = 1\n[[many]]\ng = "#"\nh = 1\n'
    found = _lines(text)
    assert found[("a",)] == 1
    assert found[("t", "list")] == 3
    assert found[("t", "text")] == 6
    assert found[("t", "b", "c")] == 10
    assert found[("t", "q.r", "d")] == 12
    assert found[("many", "h")] == 16
    assert not any("no" in key or "f" in key or "x" in key for key in found)


def test_digests_change_with_what_matters(tmp_path: Path) -> None:
    def digests(text: str) -> dict[str, str]:
        config = build(read(write(tmp_path, text)), str(tmp_path / "adamas.toml"))
        return {name: i.digest for name, i in {**config.collectors, **config.outputs}.items()}

    base = '[agent]\nhostname = "a"\ndefaults = false\n[collectors.loadavg]\n[collectors.cpu]\n[outputs.file]\n'
    first = digests(base)
    assert digests("# a comment\n" + base) == first
    changed = digests(base.replace("[collectors.loadavg]\n", "[collectors.loadavg]\nsimple = true\n"))
    assert {n for n in first if changed[n] != first[n]} == {"loadavg"}
    changed = digests(base.replace("[agent]\n", '[agent]\npath_prefix = "x"\n'))
    assert {n for n in first if changed[n] != first[n]} == {"file"}


def test_values() -> None:
    assert parse_duration("500ms") == 0.5
    assert parse_duration(3) == 3
    assert parse_duration("2h") == 7200
    assert parse_size("64KiB") == 65536
    assert parse_list("a, b ,c") == ["a", "b", "c"]
    for parse, wrong in ((parse_duration, "1 fortnight"), (parse_duration, True), (parse_size, "64 apples"), (parse_size, -1)):
        with pytest.raises(ValueError, match="such as"):
            parse(wrong)
    assert toml(parse_duration("90s")) == '"90s"'
    assert toml(parse_size(1 << 20)) == '"1MiB"'
    assert toml(Secret("x")) == '"***"'


def test_host_names() -> None:
    assert host_name("none") == ""
    assert "." not in host_name("smart")
    assert "." not in host_name("fqdn")
    assert host_name("hostname_rev").split(".")[::-1] == host_name("hostname").split(".")
