"""`import diamond`: metrics and their text, paths, rates, configuration, units, the kit for tests."""

from __future__ import annotations

import importlib
import io
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import configobj
import pytest

import diamond.testing
from diamond import convertor
from diamond.collector import MAX_COUNTER, Collector, ProcessCollector, get_hostname, str_to_bool
from diamond.error import DiamondException
from diamond.metric import Metric
from diamond.utils import classes, signals
from diamond.utils.config import load_config

# metrics


@pytest.mark.parametrize(
    ("value", "precision", "text"),
    [
        (5, 0, "5"),
        (5, 2, "5.00"),
        (2.5, 0, "2"),
        (3.5, 0, "4"),
        (-1.005, 2, "-1.00"),
        (1 / 3, 4, "0.3333"),
        (2**63, 0, "9223372036854775808"),
        (9.97143369909e-05, 0, "0"),
        (True, 0, "1"),
        ("5", 0, "5"),
        ("2.5", 0, "3"),
        ("-2.5", 0, "-3"),
        ("2.55", 1, "2.5"),
        ("9.97143369909e-05", 0, "0"),
        ("1e3", 0, "1000"),
    ],
)
def test_the_text_of_a_metric(value: Any, precision: int, text: str) -> None:
    metric = Metric("a.b", value, timestamp=7, precision=precision)
    assert str(metric) == repr(metric) == f"a.b {text} 7\n"


def test_what_is_no_metric() -> None:
    for arguments in (("a", None), (None, 1), ("a", "text"), ("a", "")):
        with pytest.raises(DiamondException):
            Metric(*arguments)
    with pytest.raises(DiamondException):
        Metric("a", 1, metric_type="RATE")
    with pytest.raises(DiamondException):
        Metric("a", 1, timestamp="yesterday")
    with pytest.raises(TypeError):
        Metric("a", object())


def test_a_precision_that_is_no_number_is_0(caplog: pytest.LogCaptureFixture) -> None:
    assert str(Metric("a", 1.5, timestamp=1, precision="2")) == "a 2 1\n"
    assert "precision" in caplog.text


def test_a_metric_goes_through_pickle() -> None:
    metric = Metric("a.b", 1.5, 3, 7, 2, "h", "GAUGE", 20.0)
    again = pickle.loads(pickle.dumps(metric))
    assert [getattr(again, slot) for slot in Metric.__slots__] == [getattr(metric, slot) for slot in Metric.__slots__]


@pytest.mark.parametrize("line", ["a.b 5 7\n", "a.b-c_d 5.25 7", "x 0 0\n"])
def test_a_line_is_parsed_and_written_again(line: str) -> None:
    metric = Metric.parse(line)
    assert str(metric).strip() == line.strip()
    assert metric.metric_type == "COUNTER"


@pytest.mark.parametrize("line", ["", "a", "a 5", "a -5 7", "a 1e5 7", "a b 7", "a 5 7 8", "a 5 7\n\n", "a/b 5 7", "a 1.2.3 4"])
def test_a_line_that_is_none(line: str) -> None:
    with pytest.raises(DiamondException):
        Metric.parse(line)


@pytest.mark.parametrize(
    ("path", "host", "parts"),
    [
        ("servers.com.example.www.cpu.total.idle", "com.example.www", ("servers", "cpu", "total.idle")),
        ("custom.path.prefix.com.example.www.cpu.total.idle", "com.example.www", ("custom.path.prefix", "cpu", "total.idle")),
        ("servers.host.cpu.total.idle", None, ("servers", "cpu", "total.idle")),
        ("data.a.cpu.total", "a", ("data", "cpu", "total")),
        ("h.cpu.total", "h", ("", "cpu", "total")),
        ("instances.vm.cpu.total", "h", ("instances", "cpu", "total")),
        ("servers.h.cpu", "h", ("servers", "cpu", "")),
        ("x", None, ("x", "", "")),
    ],
)
def test_the_parts_of_a_path(path: str, host: str | None, parts: tuple[str, str, str]) -> None:
    metric = Metric(path, 0, host=host)
    assert (metric.getPathPrefix(), metric.getCollectorPath(), metric.getMetricPath()) == parts


# collectors


def config_of(name: str = "Collector", default: dict[str, Any] | None = None, **section: Any) -> Any:
    config = configobj.ConfigObj()
    config["server"] = {"collectors_config_path": ""}
    config["collectors"] = {"default": {"hostname": "h", **(default or {})}, name: section}
    return config


class Kept:
    def __init__(self) -> None:
        self.metrics: list[Metric] = []
        self.flushes = 0

    def _process(self, metric: Metric) -> None:
        self.metrics.append(metric)

    def _flush(self) -> None:
        self.flushes += 1

    def lines(self) -> list[str]:
        lines = [str(m).rsplit(" ", 1)[0] for m in self.metrics]
        self.metrics.clear()
        return lines


@pytest.mark.parametrize(
    ("section", "instance", "path"),
    [
        ({}, None, "servers.h.Collector.x"),
        ({"path": "p"}, None, "servers.h.p.x"),
        ({"path": "."}, None, "servers.h.x"),
        ({"path": ""}, None, "servers.h.x"),
        ({"path_suffix": "s"}, None, "servers.h.s.Collector.x"),
        ({"path_prefix": ""}, None, "h.Collector.x"),
        ({"path_prefix": "a.b"}, None, "a.b.h.Collector.x"),
        ({"hostname_method": "none", "path": "p"}, None, "servers.h.p.x"),
        ({}, "vm", "instances.vm.Collector.x"),
        ({"path": "."}, "vm", "instances.vm.x"),
        ({"instance_prefix": "guests", "path": "p", "path_prefix": "z"}, "vm", "guests.vm.p.x"),
    ],
)
def test_paths(section: dict[str, Any], instance: str | None, path: str) -> None:
    assert Collector(config_of(**section), []).get_metric_path("x", instance=instance) == path


def test_no_host_and_no_prefix() -> None:
    config = config_of(path_prefix="", path="bar", hostname_method="none")
    del config["collectors"]["default"]["hostname"]
    assert Collector(config, []).get_metric_path("foo") == "bar.foo"


def test_hostnames() -> None:
    get_hostname.cached_results.clear()  # type: ignore[attr-defined]
    full, node, name = socket.getfqdn(), os.uname().nodename, socket.gethostname()
    found = {m: get_hostname({}, m) for m in ("fqdn_short", "fqdn", "FQDN_rev", "uname_short", "uname_rev", "hostname")}
    assert found == {
        "fqdn_short": full.split(".")[0],
        "fqdn": full.replace(".", "_"),
        "FQDN_rev": ".".join(reversed(full.split("."))),
        "uname_short": node.split(".")[0],
        "uname_rev": ".".join(reversed(node.split("."))),
        "hostname": name,
    }
    short = full.split(".")[0]
    assert get_hostname({}) == (short if short != "localhost" else name.split(".")[0])
    assert get_hostname({}, "none") is None
    assert get_hostname({"hostname": "echo x.y", "hostname_method": "shell"}) == "x.y"
    assert get_hostname({"hostname": "exit 3", "hostname_method": "shell"}) == "x.y", "kept for the life of the process"
    assert get_hostname({"hostname": "literal", "hostname_method": "fqdn"}) == "literal"
    with pytest.raises(NotImplementedError):
        get_hostname({"hostname_method": "guess"})
    get_hostname.cached_results.clear()  # type: ignore[attr-defined]
    with pytest.raises(subprocess.CalledProcessError):
        get_hostname({"hostname": "exit 3", "hostname_method": "shell"})
    with pytest.raises(DiamondException):
        get_hostname({"hostname_method": "shell"})


def test_configuration_is_merged_in_diamonds_order(tmp_path: Path) -> None:
    file = tmp_path / "diamond.conf"
    file.write_text(
        "[server]\n[collectors]\n[[default]]\ninterval = 60\nb = file\n[[Sub two]]\na = 1\nlist = x, y\n[[[deep]]]\nk = v\n"
    )

    class Sub(Collector):
        def get_default_config(self) -> dict[str, Any]:
            return {**super().get_default_config(), "a": 0, "b": "class", "c": "class", "deep": {"k": "d", "l": "d"}}

    collector = Sub(None, [], "Sub two", str(file))
    assert collector.name == "Sub two"
    assert {k: collector.config[k] for k in ("a", "b", "c", "interval", "list")} == {
        "a": "1",
        "b": "file",
        "c": "class",
        "interval": "60",
        "list": ["x", "y"],
    }
    assert dict(collector.config["deep"]) == {"k": "v", "l": "d"}
    assert collector.get_metric_path("x").endswith(".Sub.x")
    override = {"collectors": {"Sub two": {"a": "over"}}}
    collector.load_config(override_config=override)
    assert (collector.config["a"], collector.config["b"]) == ("over", "file")


def test_old_positional_construction() -> None:
    collector = Collector(config_of(byte_unit="bit byte", enabled="yes", measure_collector_time="f"), None)
    assert collector.config["byte_unit"] == ["bit", "byte"]
    assert (collector.config["enabled"], collector.config["measure_collector_time"]) == (True, False)
    collector.publish("x", 1)  # to nobody


def test_truth_in_words() -> None:
    assert [str_to_bool(w) for w in ("True", " t", "YES", "y", "false", "f", "no", "N", "", True, 0)] == [True] * 4 + [
        False
    ] * 5 + [True, 0]
    for word in ("1", "on", "maybe"):
        with pytest.raises(NotImplementedError):
            str_to_bool(word)


def test_lists_of_what_is_published() -> None:
    kept = Kept()
    for key, expected in (
        ("metrics_whitelist", ["servers.h.Collector.abc 1"]),
        ("metrics_blacklist", ["servers.h.Collector.xab 2"]),
    ):
        collector = Collector(config_of(**{key: "ab"}), [kept])
        collector.publish("abc", 1)
        collector.publish("xab", 2)
        assert kept.lines() == expected
    with pytest.raises(DiamondException):
        Collector(config_of(metrics_whitelist="a", metrics_blacklist="b"), [])


def test_publishing() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10", ttl_multiplier="3"), [kept, kept])
    collector.publish("x", 1.239, precision=2, timestamp=99)
    metric, same = kept.metrics
    assert metric is same
    assert (metric.ttl, metric.host, metric.metric_type, metric.timestamp) == (30.0, "h", "GAUGE", 99)
    kept.metrics.clear()
    collector = Collector(config_of(), [kept])
    collector.publish_gauge("g", "7", 1, instance="vm")
    collector.publish_metric(Metric("any.path", 1))
    assert kept.lines() == ["instances.vm.Collector.g 7.0", "any.path 1"]


def test_a_run_is_timed_and_flushed() -> None:
    kept = Kept()

    class Fails(Collector):
        def collect(self) -> None:
            self.publish("x", 1)
            if self.config["fails"]:
                raise ValueError

    Fails(config_of("Fails", fails=False, measure_collector_time="true"), [kept])._run()
    assert kept.lines() == ["servers.h.Fails.x 1", "servers.h.Fails.collector_time_ms 0"]
    with pytest.raises(ValueError):
        Fails(config_of("Fails", fails=True), [kept])._run()
    assert kept.flushes == 2


# rates: as Diamond had them where nobody runs the collector, right where someone does


def run_at(collector: Collector, moment: float, *counters: tuple[str, Any], **how: Any) -> None:
    collector._moment = moment
    for name, value in counters:
        collector.publish_counter(name, value, precision=2, **how)


def test_a_collector_that_nobody_runs_divides_by_its_interval() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10"), [kept])
    for value in (100, 150, 20):
        collector.publish_counter("x", value, precision=1)
    assert kept.lines() == ["servers.h.Collector.x 0.0", "servers.h.Collector.x 5.0", "servers.h.Collector.x 0.0"]
    assert collector.derivative("y", 5) == 0 and collector.derivative("y", 25, time_delta=False) == 20
    assert collector.derivative("y", 30, interval=5) == 1
    assert collector.derivative("y", 10, interval=5, allow_negative=True) == -4


def test_a_rate_is_of_the_time_that_passed() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10"), [kept])
    run_at(collector, 1000.0, ("x", 100), ("late", 5))
    assert kept.lines() == [], "the first sample has no rate"
    run_at(collector, 1020.0, ("x", 300))
    assert kept.lines() == ["servers.h.Collector.x 10.00"]
    run_at(collector, 1025.0, ("x", 350), ("late", 30))
    assert kept.lines() == ["servers.h.Collector.x 10.00", "servers.h.Collector.late 1.00"]


def test_a_reset_is_no_spike() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10"), [kept])
    for moment, value in ((0.0, 10**9), (10.0, 5), (20.0, 105)):
        run_at(collector, moment, ("x", value), max_value=MAX_COUNTER)
    assert kept.lines() == ["servers.h.Collector.x 10.00"]


def test_a_counter_near_its_end_wraps() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10"), [kept])
    run_at(collector, 0.0, ("x", 2**32 - 101), max_value=2**32 - 1)
    run_at(collector, 10.0, ("x", 100), max_value=2**32 - 1)
    assert kept.lines() == ["servers.h.Collector.x 20.00"]


def test_the_old_way_by_option() -> None:
    kept = Kept()
    collector = Collector(config_of(interval="10", legacy_derivative="true"), [kept])
    for moment, value in ((0.0, 1000), (20.0, 1100), (21.0, 0)):
        run_at(collector, moment, ("x", value), max_value=2**32 - 1)
    assert kept.lines() == ["servers.h.Collector.x 0.00", "servers.h.Collector.x 10.00", "servers.h.Collector.x 429496619.50"]


def test_a_rate_that_is_not_there_counts_as_nothing_in_sums() -> None:
    kept = Kept()
    collector = Collector(config_of(), [kept])
    collector._moment = 1.0
    rate = collector.derivative("x", 5)
    collector.publish("plain", rate)
    collector.publish("share", rate / 2 + 1)
    assert kept.lines() == ["servers.h.Collector.share 1"]


# programs


class Echo(ProcessCollector):
    def get_default_config(self) -> dict[str, Any]:
        return {**super().get_default_config(), "bin": "/bin/echo"}


def test_running_a_program() -> None:
    collector = Echo(config_of("Echo"), [])
    arguments = ["a", "b"]
    assert collector.run_command(arguments) == ("a b\n", None)
    assert arguments == ["/bin/echo", "a", "b"], "as it always was"
    for wrong in ({"bin": "/etc/passwd"}, {"bin": "/nowhere"}):
        with pytest.raises(Exception, match="not executable"):
            Echo(config_of("Echo", **wrong), []).run_command([])
    with pytest.raises(Exception, match="any binary"):
        ProcessCollector(config_of("ProcessCollector"), []).run_command([])
    assert Echo(config_of("Echo", use_sudo="true", sudo_cmd="/nowhere"), []).run_command([]) is None


def test_finding_a_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    collector = Collector(config_of(), [])
    (tmp_path / "tool").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert collector.find_binary("/bin/echo") == "/bin/echo"
    assert collector.find_binary("/elsewhere/tool") == str(tmp_path / "tool")
    assert Path(collector.find_binary("/elsewhere/true")).exists(), "the usual folders, glued to nothing"
    assert collector.find_binary("/no/such") == "/no/such"


# units


@pytest.mark.parametrize(
    ("value", "old", "new", "result"),
    [
        (1, "byte", "bit", 8),
        (1, "kB", "B", 1024),
        (1, "KiB", "byte", 1024),
        (1, "Mbit", "kbit", 1024),
        (3, "GB", "megabyte", 3072),
        (1, "yottabyte", "Ybit", 8),
        (8, "Mibit", "Mbyte", 1),
        (1, "petabyte", "PiB", 1),
    ],
)
def test_sizes(value: float, old: str, new: str, result: float) -> None:
    assert convertor.binary.convert(value, old, new) == result
    assert convertor.binary(value, old).get(new) == result


def test_times() -> None:
    convert = convertor.time.convert
    assert convert(60000, "MS", "minutes") == 1.0
    assert convert(3600 * 1000 * 1.4, "ms", "h") == 1.4
    assert convert(86400 * 1000 * 365 * 0.7, "ms", "y") == 0.7
    assert convert(1.5, "y", "ns") == 1.5 * 365 * 24 * 3600 * 10**9
    assert convert(2, "us", "ms") == 0.002, "Python 2's floor said 0"
    assert convertor.time(5000).get("s") == 5
    for unit in ("months", "fortnight"):
        with pytest.raises(NotImplementedError):
            convert(1, "s", unit)
    with pytest.raises(NotImplementedError):
        convertor.binary.convert(1, "nibble", "bit")
    assert [convertor.camelcase_to_underscore(n) for n in ("someName", "SomeName", "HTTPCode", "plain")] == [
        "some_name",
        "some_name",
        "http_code",
        "plain",
    ]


# configuration files, classes, signals, log


def test_a_configuration_of_many_files(tmp_path: Path) -> None:
    for folder in ("extra", "collectors", "handlers"):
        (tmp_path / folder).mkdir()
    main = tmp_path / "diamond.conf"
    main.write_text(
        f"[server]\nhandlers = a.B,\ncollectors_config_path = {tmp_path}/collectors\nhandlers_config_path = {tmp_path}/handlers\n"
        f"[configs]\npath = {tmp_path}/extra\nextension = .cf\n[collectors]\n[[X]]\na = main\nb = main\nc = main\n"
    )
    (tmp_path / "extra/1.cf").write_text("[collectors]\n[[X]]\nb = extra\nc = extra\n")
    (tmp_path / "extra/2.conf").write_text("[collectors]\n[[X]]\nb = never\n")
    (tmp_path / "collectors/X.cf").write_text("c = file\nenabled = YES\n")
    (tmp_path / "collectors/X two.cf").write_text("enabled = f\n")
    (tmp_path / "handlers/B.cf").write_text("host = h1, h2\n")
    config = load_config(str(main))
    assert dict(config["collectors"]["X"]) == {"a": "main", "b": "extra", "c": "file", "enabled": True}
    assert config["collectors"]["X two"]["enabled"] is False
    assert config["handlers"]["B"]["host"] == ["h1", "h2"]
    main.write_text("[collectors]\n")
    with pytest.raises(Exception, match="Failed to load config file"):
        load_config(str(main))
    with pytest.raises(OSError):
        load_config(str(tmp_path / "nowhere.conf"))


def test_signals_as_exceptions() -> None:
    for number, expected in ((signal.SIGALRM, signals.SIGALRMException), (signal.SIGHUP, signals.SIGHUPException)):
        with pytest.raises(expected):
            signals.signal_to_exception(number, None)


def test_collectors_of_a_folder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "snmpish").mkdir()
    (tmp_path / "snmpish/snmpish.py").write_text(
        "import diamond.collector\nclass BaseCollector(diamond.collector.Collector): pass\n"
    )
    (tmp_path / "user").mkdir()
    (tmp_path / "user/http.py").write_text(
        "import http.client\nfrom snmpish import BaseCollector as parent_BaseCollector\nclass HttpCollector(parent_BaseCollector): pass\n"
    )
    (tmp_path / "user/broken.py").write_text("import there_is_no_such_module\n")
    (tmp_path / "user/test").mkdir()
    (tmp_path / "user/test/testhttp.py").write_text("raise SystemExit\n")
    found = classes.load_collectors_from_paths(str(tmp_path))
    assert found is not None and set(found) == {"BaseCollector", "HttpCollector"}
    assert issubclass(found["HttpCollector"], found["BaseCollector"])
    assert "broken.py" in caplog.text
    assert sys.modules["http"].__file__ != str(tmp_path / "user/http.py")
    with pytest.raises(OSError):
        classes.load_collectors_from_paths([str(tmp_path / "missing")])
    assert classes.load_collectors_from_paths(None) is None
    made = classes.initialize_collector(found["HttpCollector"], name="HttpCollector two")
    assert made is not None and made.name == "HttpCollector two"


def test_every_public_module_can_be_imported() -> None:
    for name in (
        "collector",
        "convertor",
        "error",
        "metric",
        "server",
        "testing",
        "util",
        "utils.classes",
        "utils.config",
        "utils.log",
    ):
        importlib.import_module(f"diamond.{name}")
    assert importlib.import_module("diamond.util").get_diamond_version()
    assert importlib.import_module("diamond.server").Server("/etc/diamond.conf").configfile == "/etc/diamond.conf"


def test_logging_as_the_file_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from diamond.utils.log import DebugFormatter, setup_logging

    assert setup_logging(str(tmp_path / "missing.conf")).name == "diamond"
    assert "Error occurs when initialize logging" in capsys.readouterr().err
    record = logging.LogRecord("diamond", logging.ERROR, "file.py", 3, "words", None, None)
    assert DebugFormatter().format(record).endswith("file.py:3")


# the kit


class TestTheKit(diamond.testing.CollectorTestCase):
    def test_assertions(self) -> None:
        mock = diamond.testing.Mock()
        mock("a", 1.04)
        mock("b", 2)
        self.assertPublished(mock, "a", 1)
        self.assertPublished(mock, "a", (1.04, 2))
        self.assertUnpublished(mock, "c", 1)
        with pytest.raises(AssertionError, match=r"actual 1\.04, expected 5"):
            self.assertPublished(mock, "a", 5)
        with pytest.raises(AssertionError, match="number of calls 0, expected 1"):
            self.assertPublished(mock, "c", 5)
        with pytest.raises(AssertionError):
            self.assertUnpublished(mock, "a", 5)
        self.assertPublishedMany([diamond.testing.Mock(), mock], {"a": 1, "b": 2})
        assert not mock.called
        mock(Metric("x.y.z", 3))
        self.assertUnpublishedMetricMany(diamond.testing.Mock(), {"y": 3})
        self.assertPublishedMetricMany(mock, {"y": 3})

    def test_nothing_runs_without_its_predicate(self) -> None:
        assert diamond.testing.run_only(print, lambda: False) is None
        assert diamond.testing.run_only(print, lambda: True) is print


def test_old_tests_run(tmp_path: Path) -> None:
    """A collector's own tests, with the names that they import."""
    (tmp_path / "thing/test/fixtures").mkdir(parents=True)
    (tmp_path / "thing/test/fixtures/input").write_text("7\n")
    (tmp_path / "thing/test/fixtures/results.pkl").write_bytes(pickle.dumps({"x": 7}, protocol=0))
    (tmp_path / "thing/thing.py").write_text(
        "import diamond.collector\nclass ThingCollector(diamond.collector.Collector):\n"
        "    def collect(self):\n        self.publish('x', self.read())\n    def read(self):\n        return 0\n"
    )
    (tmp_path / "thing/test/testthing.py").write_text(
        textwrap.dedent("""
        from test import CollectorTestCase, get_collector_config, unittest, run_only
        from mock import Mock, patch
        from diamond.collector import Collector
        from thing import ThingCollector

        class TestThingCollector(CollectorTestCase):
            def setUp(self):
                self.collector = ThingCollector(get_collector_config('ThingCollector', {'interval': 10}), None)

            def test_import(self):
                self.assertTrue(ThingCollector)

            @patch.object(Collector, 'publish')
            def test_values(self, publish_mock):
                with patch.object(ThingCollector, 'read', Mock(return_value=int(self.getFixture('input').read()))):
                    self.collector.collect()
                self.setDocExample(collector=self.collector.__class__.__name__, metrics={'x': 7}, defaultpath='thing')
                self.assertPublishedMany(publish_mock, self.getPickledResults('results.pkl'))
        """)
    )
    done = subprocess.run(
        [sys.executable, "-m", "diamond.testing", str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "Ran 2 tests" in done.stderr
    (tmp_path / "thing/test/fixtures/input").write_text("8\n")
    done = subprocess.run(
        [sys.executable, "-m", "diamond.testing", str(tmp_path)], capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert done.returncode == 1
    assert "actual 8, expected 7" in done.stderr
    assert isinstance(diamond.testing.CollectorTestCase("id").getFixtures(), list)
    assert io.StringIO is not None
