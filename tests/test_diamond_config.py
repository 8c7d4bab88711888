"""A diamond.conf: read as Diamond reads it, every setting in our tables or told of with its file and line."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adamas.config import Config, Instance, build, load
from adamas.config.diamond import ini, read
from adamas.config.source import is_diamond
from adamas.errors import ConfigError
from adamas.host import Host
from adamas.lines import Plan
from adamas.naming import Naming
from adamas.pipeline import Intake
from adamas.registry import KINDS, Registry, classes

PLAIN = """\
[server]
handlers = diamond.handler.graphite.GraphiteHandler
[handlers]
[[GraphiteHandler]]
host = carbon.example.org
[collectors]
[[default]]
hostname = web7
interval = 30
[[LoadAverageCollector]]
enabled = True
"""


def write(folder: Path, text: str, name: str = "diamond.conf") -> str:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return str(file)


def mistakes(path: str) -> list[tuple[str, int, str]]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    return [(os.path.basename(m.file), m.line, m.message) for m in caught.value.mistakes]


def said(config: Config) -> dict[str, int]:
    """Warnings and notes: the words up to the reason, and the line."""
    return {": ".join(m.message.split(": ")[:-1]): m.line for m in (*config.warnings, *config.notes)}


def names(config: Config, instance: str) -> set[str]:
    """The names that a collector gives on this machine, as its outputs spell them."""
    one: Instance = config.collectors[instance]
    intake = Intake(one.cls(Host(), dict(one.values), one.name))
    batch = intake.publish(*intake.gather(), 1.0, 1.0)
    return {point.name for point in Plan(batch.shape, Naming("diamond", config.prefix).spell).points} if batch else set()


# which file it is


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("diamond.conf", PLAIN, True),
        ("elsewhere", PLAIN, True),
        ("diamond.toml", PLAIN, False),
        ("a.conf", "[configs]\npath = /etc/d\n", True),
        ("a.conf", "", True),
        ("a.conf", "[agent]\ninterval = 1\n", False),
        ("a.conf", "[collectors.cpu]\n", False),
        ("a", "[collectors.cpu]\n", False),
    ],
)
def test_which_file_it_is(tmp_path: Path, name: str, text: str, expected: bool) -> None:
    assert is_diamond(write(tmp_path, text, name)) is expected


def test_successors_are_those_that_the_classes_name() -> None:
    registry = Registry()
    for kind in KINDS:
        found = {}
        for name in registry.builtin(kind):
            for cls in classes(importlib.import_module(f"adamas.{kind}.{name}"), kind):
                if cls.diamond:  # type: ignore[attr-defined]
                    found[cls.diamond] = name  # type: ignore[attr-defined]
        assert registry.successors(kind) == found


def test_the_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "configobj", None)
    ((_, _, message),) = mistakes(write(tmp_path, PLAIN))
    assert "configobj" in message
    assert "adamas[diamond]" in message


# reading


def test_a_plain_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, PLAIN))
    assert list(config.collectors) == ["loadavg"]
    assert config.sections == {"LoadAverageCollector": "loadavg"}
    assert config.collectors["loadavg"].values["interval"] == 30
    assert config.prefix == ("servers", "web7", "")
    assert config.outputs["graphite"].values == {"naming": "diamond", "address": ["carbon.example.org:2003"]}
    assert names(config, "loadavg") >= {"servers.web7.loadavg.01", "servers.web7.loadavg.processes_total"}


def test_nothing_runs_that_is_not_enabled(tmp_path: Path) -> None:
    config = load(write(tmp_path, PLAIN.replace("enabled = True", "") + "[[CPUCollector]]\nenabled = no\n"))
    assert config.collectors == {}
    assert load(write(tmp_path, "[server]\n")).agent.interval == 300


def test_the_order_of_files(tmp_path: Path) -> None:
    """Main file, [configs], then a file for each handler and collector: the later wins, and lines are those of the winner."""
    main = PLAIN.replace("[server]", f"[configs]\npath = {tmp_path}/configs\nextension = .cfg\n[server]").replace(
        "[handlers]", f"collectors_config_path = {tmp_path}/collectors\nhandlers_config_path = {tmp_path}/handlers\n[handlers]"
    )
    path = write(tmp_path, main)
    write(tmp_path, "[collectors]\n[[default]]\ninterval = 20\n[[CPUCollector]]\nenabled = t\nsimple = no\n", "configs/a.cfg")
    write(tmp_path, "[collectors]\n[[CPUCollector]]\nsimple = yes\n", "configs/b.cfg")
    write(tmp_path, "[collectors]\n[[MemoryCollector]]\nenabled = yes\n", "configs/c.conf")
    write(tmp_path, "\n\npercore = perhaps\n", "collectors/CPUCollector.cfg")
    write(tmp_path, "enabled = Y\npath = second\n", "collectors/CPUCollector two.cfg")
    write(tmp_path, "port = 3003\n", "handlers/GraphiteHandler.cfg")
    assert mistakes(path) == [("CPUCollector.cfg", 3, 'collectors.cpu: percore: expected true or false, not "perhaps"')]
    write(tmp_path, "percore = False\n", "collectors/CPUCollector.cfg")
    config = load(path)
    assert config.agent.interval == 20
    assert config.collectors["cpu"].values["simple"] is True
    assert config.collectors["cpu"].values["percore"] is False
    assert config.outputs["graphite"].values["address"] == ["carbon.example.org:3003"]
    assert list(config.collectors) == ["loadavg", "cpu", "cpu two"]
    assert names(config, "cpu two") >= {"servers.web7.second.total.idle", "servers.web7.second.cpu_count"}
    (twice,) = config.warnings
    assert (os.path.basename(twice.file), twice.line) == ("b.cfg", 3)
    assert f"also set in {tmp_path}/configs/a.cfg:6" in twice.message


def test_folders_that_are_not_there(tmp_path: Path) -> None:
    lines = "collectors_config_path = /nowhere/a\nhandlers_config_path = /nowhere/b\n"
    assert load(write(tmp_path, PLAIN.replace("[handlers]", lines + "[handlers]"))).collectors
    path = write(tmp_path, PLAIN + "[configs]\npath = /nowhere/c\n")
    assert mistakes(path) == [("diamond.conf", 13, "path: /nowhere/c cannot be read: No such file or directory")]


def test_every_mistake_with_its_line(tmp_path: Path) -> None:
    text = """\
[server]
handlers = diamond.handler.graphite.GraphiteHandler, myown.FifoHandler
[handlers]
[[GraphiteHandler]]
port = many
[collectors]
[[default]]
hostname_method = fqdn_shrot
[[CPUCollector]]
enabled = 1
[[MemoryCollector]]
enabled = yes
interval = often
byte_unit = byte furlong
[[LoadAverageCollector]]
enabled = yes
metrics_whitelist = a
metrics_blacklist = (
[[SpecialCollector]]
enabled = yes
"unbalanced = '
"""
    found = mistakes(write(tmp_path, text))
    expected = [
        (2, "FifoHandler: Adamas has no such output, and there is no handlers_path to load it from"),
        (5, "outputs.graphite: address: expected"),
        (8, "hostname_method: expected one of smart,"),
        (10, "CPUCollector: enabled: expected true, t, yes or y"),
        (13, 'collectors.memory: interval: expected a time such as "10s"'),
        (14, "collectors.memory: byte_unit: expected units such as byte"),
        (18, "LoadAverageCollector: metrics_whitelist and metrics_blacklist: one or the other"),
        (18, "collectors.loadavg: deny: expected a regular expression"),
        (19, "SpecialCollector: Adamas has no such collector, and there is no collectors_path"),
        (21, "not ConfigObj's syntax"),
    ]
    assert sorted(line for _, line, _ in found) == sorted(line for line, _ in expected)
    for line, words in expected:
        assert [m for _, at, m in found if at == line and words in m], (line, words, found)
    assert any('did you mean "fqdn_short"' in message for _, _, message in found)


@pytest.mark.parametrize("word", ["true", "True", "T", "YES", "y"])
def test_words_that_enable(tmp_path: Path, word: str) -> None:
    assert load(write(tmp_path, PLAIN.replace("enabled = True", f"enabled = {word}"))).collectors


@pytest.mark.parametrize("word", ["false", "F", "No", "n", ""])
def test_words_that_do_not(tmp_path: Path, word: str) -> None:
    assert not load(write(tmp_path, PLAIN.replace("enabled = True", f"enabled = {word}"))).collectors


def test_text_is_filled_in_where_diamond_looks_and_nowhere_else(tmp_path: Path) -> None:
    config = load(
        write(
            tmp_path,
            PLAIN.replace("hostname = web7", "site = ams\nhostname = web.%(site)s")
            + "[formatter_x]\nformat = %(asctime)s %(message)s\n",
        )
    )
    assert config.hostname == "web.ams"
    path = write(tmp_path, PLAIN.replace("web7", "%(nothing)s"))
    assert mistakes(path)[0][1:] == (8, 'hostname: missing option "nothing" in interpolation')


def test_lines_of_what_spans_lines() -> None:
    text = '[a]\nx = """\n[b]\ny = 1\n"""\n[[ "c d" ]] # words\n"k" = 1, 2\n# [e]\n[f]\nz=1'
    assert ini.scan(text) == {("a",): 1, ("a", "x"): 2, ("a", "c d"): 6, ("a", "c d", "k"): 7, ("f",): 9, ("f", "z"): 10}


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["[server]", "[collectors]", "[[default]]", "[[CPUCollector]]", "[handlers]", "[adamas]", "enabled = True"]
            ),
            st.sampled_from(
                ["[[[x]]]", "[[web]]", "path = .", "handlers = x.GraphiteHandler, a.B", "hostname_method = fqdn", "'''"]
            ),
            st.sampled_from(
                ["interval = 1", "metrics_whitelist = a, b", "[[GraphiteHandler]]", "host = a, b", "port =", "[configs]"]
            ),
            st.text(st.characters(codec="utf-8", exclude_characters="\r"), max_size=20),
        ),
        max_size=25,
    )
)
def test_any_text_is_a_configuration_or_a_mistake(tmp_path: Path, lines: list[str]) -> None:
    path = write(tmp_path, "\n".join(lines))
    try:
        config = build(read(path), path)
    except ConfigError as error:
        assert error.mistakes
    else:
        assert config.agent.defaults is False


# names


def names_of(tmp_path: Path, default: str, section: str) -> set[str]:
    text = f"[server]\n[collectors]\n[[default]]\n{default}\n[[LoadAverageCollector]]\nenabled = yes\n{section}\n"
    return {n.removesuffix(".processes_running") for n in names(load(write(tmp_path, text)), "loadavg") if n.endswith("_running")}


@pytest.mark.parametrize(
    ("default", "section", "expected"),
    [
        ("hostname = h", "", "servers.h.loadavg"),
        ("hostname = h", "path_prefix = apps", "apps.h.loadavg"),
        ("hostname = h\npath_prefix = apps", "", "apps.h.loadavg"),
        ("hostname = h\npath_suffix = rack2", "", "servers.h.rack2.loadavg"),
        ("hostname = h", "path_suffix = rack2", "servers.h.rack2.loadavg"),
        ("hostname = h\npath_suffix = rack2", "path_suffix =", "servers.h.loadavg"),
        ("hostname = h", "hostname = db.example", "servers.db.example.loadavg"),
        ("hostname_method = none", "", "servers.loadavg"),
        ("hostname = h", "path = load", "servers.h.load"),
        ("hostname = h", "path = .", "servers.h"),
        ("hostname = h", "path =", "servers.h"),
        ("hostname_method = NONE\npath_prefix =", "", "loadavg"),
        ("hostname_method = none\npath_prefix =", "path = .", ""),
        ("hostname = a b", "path = c d", "servers.a_b.c_d"),
        ("hostname = h", "path_prefix = a b", "a_b.h.loadavg"),
        ("hostname = h", "hostname_method = none", "servers.h.loadavg"),
    ],
)
def test_where_names_begin(tmp_path: Path, default: str, section: str, expected: str) -> None:
    assert names_of(tmp_path, default, section) == ({expected} if expected else {"processes_running"})


def test_methods_of_the_host_name(tmp_path: Path) -> None:
    uname = os.uname().nodename
    assert names_of(tmp_path, "hostname_method = uname_short", "") == {f"servers.{uname.split('.')[0]}.loadavg"}
    assert names_of(tmp_path, "hostname = h", "hostname_method = shell\nhostname = echo from-$((1 + 1))") == {
        "servers.from-2.loadavg"
    }


def test_a_command_that_others_can_write_is_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"[server]\n[collectors]\n[[default]]\nhostname_method = shell\nhostname = touch {mark} && echo h\n"
    path = write(tmp_path, text)
    os.chmod(path, 0o666)
    ((_, line, message),) = mistakes(path)
    assert line == 5
    assert "must belong to root, and nobody else may be able to write it" in message
    assert not mark.exists()
    os.chmod(path, 0o644)
    if os.getuid() == 0:
        assert load(path).hostname == "h"
        assert mark.exists()
        os.chown(path, 65534, 0)
    assert "must belong to root" in mistakes(path)[0][2]


@pytest.mark.skipif(os.getuid() != 0, reason="the file must be root's")
@pytest.mark.parametrize(
    ("command", "words"), [("exit 3", "ended with status 3"), ("echo a b", "no host's name"), ("", "needs a command")]
)
def test_a_command_that_names_no_host(tmp_path: Path, command: str, words: str) -> None:
    path = write(tmp_path, f"[server]\n[collectors]\n[[default]]\nhostname_method = shell\nhostname = {command}\n")
    ((_, _, message),) = mistakes(path)
    assert words in message


def test_two_instances(tmp_path: Path) -> None:
    two = "[[LoadAverageCollector two]]\nenabled = True\n"
    config = load(write(tmp_path, PLAIN + two))
    (warning,) = config.warnings
    assert warning.line == 12
    assert "[[LoadAverageCollector two]] has the names of [[LoadAverageCollector]]" in warning.message
    assert names(config, "loadavg two") == names(config, "loadavg")  # as Diamond; in one agent they are kept apart
    config = load(write(tmp_path, PLAIN + two + "path_suffix = b\n"))
    assert not config.warnings
    assert "servers.web7.b.loadavg.01" in names(config, "loadavg two")


def test_whitelist_and_blacklist_mean_diamonds_names(tmp_path: Path) -> None:
    text = f"{PLAIN}[[NetworkCollector]]\nenabled = True\ninterfaces = lo\n"
    every = names(load(write(tmp_path, text)), "network")
    assert len(every) == 18
    for setting, expected in (
        ("metrics_whitelist = lo\\.rx_byte$", {"rx_byte"}),
        ("metrics_whitelist = lo\\.rx_byte$, .*_bit", {"rx_byte", "rx_bit", "tx_bit"}),
        ("metrics_whitelist = rx", set()),
        ("metrics_whitelist = .*receive", set()),
        ("metrics_blacklist = lo\\.(rx_bit|[rt]x_[^b])", {"rx_byte", "tx_byte", "tx_bit"}),
        ("metrics_blacklist = .*", set()),
        ("metrics_blacklist =", {name.removeprefix("servers.web7.network.lo.") for name in every}),
    ):
        found = names(load(write(tmp_path, text + setting + "\n")), "network")
        assert {name.removeprefix("servers.web7.network.lo.") for name in found} == expected, setting


def test_units_and_options_of_default(tmp_path: Path) -> None:
    more = "byte_unit = kilobyte megabyte\nnothing = 1\nsimple = True\n[[MemoryCollector]]\nenabled = True\n"
    more += "[[NetworkCollector]]\nenabled = yes\nbyte_unit = byte\n"
    config = load(write(tmp_path, PLAIN.replace("[[LoadAverageCollector]]", more + "[[LoadAverageCollector]]")))
    assert config.collectors["memory"].values["byte_unit"] == ["kilobyte", "megabyte"]
    assert config.collectors["network"].values["byte_unit"] == ["byte"]
    assert config.collectors["loadavg"].values["simple"] is True
    assert said(config) == {"nothing": 11}


def test_settings_that_diamond_took_otherwise(tmp_path: Path) -> None:
    text = f"{PLAIN}[[NetworkCollector]]\nenabled = T\ninterfaces = eth\n[[MemoryCollector]]\nenabled = T\ndetailed = False\n"
    config = load(write(tmp_path, text))
    assert config.collectors["network"].values["interfaces"] == ["e", "t", "h"]
    assert config.collectors["memory"].values["detailed"] is True
    assert [warning.line for warning in config.warnings] == [14, 17]
    config = load(write(tmp_path, text.replace("= eth", "= eth,").replace("detailed = False", "")))
    assert config.collectors["network"].values["interfaces"] == ["eth"]
    assert "detailed" not in config.collectors["memory"].values
    assert not config.warnings


# what is said


EVERYTHING = """\
[server]
handlers = diamond.handler.graphite.GraphiteHandler, diamond.handler.archive.ArchiveHandler, diamond.handler.null.NullHandler
user = diamond
group = diamond
pid_file = /var/run/diamond.pid
collectors_path = /usr/share/diamond/collectors/
collectors_config_path = /nowhere/collectors/
handlers_config_path = /nowhere/handlers/
handlers_path = /usr/share/diamond/handlers/
collectors_load_delay = 1.0
metric_queue_size = 16384
abort_on_handlers_process_exit = True
colectors_path = /x
[handlers]
keys = rotated_file
[[default]]
server_error_interval = 120
[[ArchiveHandler]]
log_file = /tmp/a.log
when = midnight
days = 7
rollover_interval = 1
encoding = utf-8
propagate = True
[[GraphiteHandler]]
host = ::1
port = 2003
proto = udp
timeout = 15
batch = 1
max_backlog_multiplier = 5
trim_backlog_multiplier = 4
keepalive = 0
keepaliveinterval = 10
flow_info = 0
scope_id = 0
reconnect_interval = 1
compress = 1
[collectors]
[[default]]
path_prefix = servers
instance_prefix = instances
path_suffix =
interval = 300
stagger_collection = True
ttl_multiplier = 2
byte_unit = byte
measure_collector_time = False
method = Threaded
splay = 1
enabled = True
[[CPUCollector]]
enabled = True
ttl_multiplier = 3
simpel = True
[[Nonsense]]
enabled = True
[loggers]
keys = root
[formatters]
keys = default
[logger_root]
level = WARNING
handlers = rotated_file
[handler_rotated_file]
class = handlers.TimedRotatingFileHandler
args = ('/var/log/diamond/diamond.log', 'midnight', 1, 7)
[formatter_default]
format = [%(asctime)s] [%(threadName)s] %(message)s
datefmt =
[other]
x = 1
"""

HONOURED = {
    *("handlers", "collectors_config_path", "handlers_config_path", "log_file", "host", "port", "timeout", "level"),
    *(
        "path_prefix",
        "path_suffix",
        "interval",
        "byte_unit",
        "enabled",
        "class",
        "args",
        "format",
        "datefmt",
        "x",
        "when",
        "days",
    ),
}
"""Keys of EVERYTHING that do something, and those of sections that are told of as a whole."""


def test_every_setting_is_honoured_or_told_of(tmp_path: Path) -> None:
    config = load(write(tmp_path, EVERYTHING))
    told = {m.line for m in (*config.warnings, *config.notes)}
    for number, line in enumerate(EVERYTHING.splitlines(), 1):
        key = line.partition(" =")[0]
        if line[0] != "[" and key not in HONOURED and not (key in ("keys", "handlers") and number > 50):
            assert number in told, f"{number}: {line}: nothing is said of it"
    lines = dict(enumerate(EVERYTHING.splitlines(), 1))
    assert {"[loggers]", "[formatters]", "[logger_root]", "[handler_rotated_file]", "[formatter_default]", "[other]"} <= {
        lines[n] for n in told
    }
    assert sorted(m.message for m in config.warnings) == [
        'CPUCollector: simpel: Adamas\' cpu has no such option; did you mean "simple"?',
        "GraphiteHandler: compress: Adamas' graphite_udp has no such option",
        "[[Nonsense]]: this is no collector's class: Diamond did not run it either",
    ]
    assert config.agent.log_level == "warning"
    assert list(config.outputs) == ["graphite_udp", "file"]
    assert config.outputs["graphite_udp"].values == {"naming": "diamond", "timeout": 15, "address": "[::1]:2003"}
    assert config.outputs["file"].values == {"naming": "diamond", "path": "/tmp/a.log", "rotate_every": 86400, "keep": 7}


def test_handlers(tmp_path: Path) -> None:
    def loading(handlers: str, sections: str = "") -> Config:
        return load(write(tmp_path, f"[server]\nhandlers = {handlers}\nhandlers_path = {tmp_path}\n[handlers]\n{sections}"))

    both = loading("diamond.handler.multigraphite.MultiGraphiteHandler,", "[[MultiGraphiteHandler]]\nhost = a, b, c\nport = 5\n")
    assert [o.values["address"] for o in both.outputs.values()] == [["a:5"], ["b:5"], ["c:5"]]
    assert {o.cls.__name__ for o in both.outputs.values()} == {"Graphite"}
    with pytest.raises(ConfigError, match="NonsenseHandler: Diamond has no handler"):
        loading("diamond.handler.nonsense.NonsenseHandler")
    shipped = loading("diamond.handler.stats_d.StatsdHandler", "[[StatsdHandler]]\nhost = 127.0.0.1\nport = 8125\n").outputs
    about: dict[str, Any] = shipped["StatsdHandler"].values
    assert shipped["StatsdHandler"].cls.__name__ == "Diamond"
    assert about["class"] == "diamond.handler.stats_d.StatsdHandler"
    assert about["config"] == {"host": "127.0.0.1", "port": "8125"}
    own = loading("mine.FifoHandler", "[[default]]\na = 1\n[[FifoHandler]]\nb = 2, 3\n")
    values: dict[str, Any] = own.outputs["FifoHandler"].values
    assert (values["class"], values["handlers_path"], values["config"]) == (
        "mine.FifoHandler",
        [str(tmp_path)],
        {"a": "1", "b": ["2", "3"]},
    )
    none = loading("diamond.handler.null.NullHandler")
    assert none.outputs == {}


def test_collectors_that_adamas_does_not_have(tmp_path: Path) -> None:
    text = PLAIN.replace("[handlers]", f"collectors_path = {tmp_path}, /usr/share/x\n[handlers]")
    text += "[[SpecialCollector]]\nenabled = True\ninterval = 5\nlist = a, b\n[[[deep]]]\nk = v\n[[SpecialCollector two]]\nenabled = T\n"
    config = load(write(tmp_path, text))
    one, two = (config.collectors[name].values for name in ("SpecialCollector", "SpecialCollector two"))
    assert one["class"] == two["class"] == "SpecialCollector"
    assert one["collectors_path"] == [str(tmp_path), "/usr/share/x"]
    assert one["config"] == {"hostname": "web7", "interval": "5", "list": ["a", "b"], "deep": {"k": "v"}}
    assert (one["interval"], two["interval"]) == (5, 30)
    assert config.sections["SpecialCollector two"] == "SpecialCollector two"


def test_the_old_class_where_that_is_wanted(tmp_path: Path) -> None:
    text = PLAIN.replace("[handlers]", f"collectors_path = {tmp_path}\n[handlers]")
    config = load(write(tmp_path, text + "[adamas]\nlegacy = LoadAverageCollector\n"))
    assert config.collectors["LoadAverageCollector"].values["class"] == "LoadAverageCollector"


def test_a_section_of_our_own(tmp_path: Path) -> None:
    text = PLAIN + "[adamas]\nstate_dir = /srv/state\ninterval = 7\n[[web]]\nenabled = no\n[[history]]\nretention = 2d\n"
    text += "[[collectors]]\n[[[pressure]]]\n[[[loadavg]]]\nsimple = yes\n[[outputs]]\n[[[more]]]\ntype = file\npath = /tmp/x\n"
    config = load(write(tmp_path, text))
    assert (config.state_dir, config.agent.interval, config.web.enabled, config.history.retention) == (
        "/srv/state",
        7,
        False,
        172800,
    )
    assert list(config.collectors) == ["loadavg", "pressure"]
    assert config.collectors["loadavg"].values["simple"] is True
    assert config.outputs["more"].values["path"] == "/tmp/x"
    assert mistakes(write(tmp_path, PLAIN + "[adamas]\nstate_dri = /srv\n"))[0][1] == 13


def test_the_section_that_the_guide_shows(tmp_path: Path) -> None:
    guide = (Path(__file__).parent.parent / "docs" / "moving-from-diamond.md").read_text()
    text = PLAIN.replace("[handlers]", f"collectors_path = {tmp_path}\n[handlers]") + "[[NetworkCollector]]\nenabled = True\n"
    config = load(write(tmp_path, text + guide.partition("```ini\n")[2].partition("```")[0]))
    assert (config.state_dir, config.web.enabled, config.history.retention) == ("/var/lib/adamas", False, 7 * 86400)
    assert list(config.collectors) == ["loadavg", "NetworkCollector", "pressure"]


def test_a_prefix_of_its_own_in_our_files(tmp_path: Path) -> None:
    text = '[agent]\nhostname = "h"\ndefaults = false\n[collectors.loadavg]\nprefix = "apps.x"\n[outputs.file]\nallow = ["loadavg.0"]\n'
    config = load(write(tmp_path, text, "adamas.toml"))
    assert "apps.x.loadavg.01" in names(config, "loadavg")
    one = config.collectors["loadavg"]
    intake = Intake(one.cls(Host(), dict(one.values), one.name))
    batch = intake.publish(*intake.gather(), 1.0, 1.0)
    assert batch is not None
    output = config.outputs["file"].cls(config.outputs["file"].values)
    output.spell(Naming("path", config.prefix))
    assert {line.split()[0] for line in output.encode([batch]).decode().splitlines()} == {
        *("apps.x.loadavg.01", "apps.x.loadavg.01_normalized", "apps.x.loadavg.05", "apps.x.loadavg.05_normalized")
    }
    local = {point.name for point in Plan(batch.shape, Naming("path").spell).points}
    assert "loadavg.01" in local  # the history and the page have no prefix
