"""Graphite's API as Grafana and scripts ask it: over HTTP, against a past that is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from probe import Probe, Site

from adamas.web import when
from adamas.web.pattern import Pattern, spread
from adamas.web.target import Call, Parser, Path

STEP = 10


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Ten minutes of history, on the clock's tens, with a pause of two minutes in it."""
    probe = Probe(tmp_path_factory.mktemp("probe"))
    for moment in range(end() - 600, end() + 1, STEP):
        if not end() - 300 < moment < end() - 180:
            probe.run(float(moment))
    assert probe.past is not None
    probe.past.flush()
    running = Site(probe)
    yield running
    running.stop()
    probe.stop()


_END = int(time.time()) // STEP * STEP - 60


def end() -> int:
    return _END


def level(moment: int) -> float:
    return float(1000 + moment % 100)


def render(site: Site, target: str | list[str], start: Any = None, until: Any = None, **more: Any) -> Any:
    asked = {"target": target, "format": "json", "from": start or end() - 100, "until": until or end(), **more}
    return site.get("/render", **asked)


# the tree


def texts(nodes: list[dict[str, Any]]) -> list[tuple[str, str, int]]:
    return [(node["text"], node["id"], node["leaf"]) for node in nodes]


def test_the_tree_is_walked_as_grafana_does(site: Site) -> None:
    assert texts(site.get("/metrics/find", query="*")) == [("wave", "wave", 0)]
    assert texts(site.get("/metrics/find", query="wave.*")) == [
        ("core", "wave.core", 0),
        ("eth0", "wave.eth0", 0),
        ("eth1", "wave.eth1", 0),
        ("level", "wave.level", 1),
    ]
    assert site.get("/metrics/find", query="wave.level") == [
        {"text": "level", "id": "wave.level", "leaf": 1, "expandable": 0, "allowChildren": 0, "context": {}}
    ]
    assert site.get("/metrics/find", query="wave.level.*") == []
    assert site.get("/metrics/find", query="nothing.*") == []


def test_the_tree_has_the_prefix_of_a_graphite_server(site: Site) -> None:
    assert texts(site.get("/metrics/find", query="servers")) == [("servers", "servers", 0)]
    assert texts(site.get("/metrics/find", query="servers.*")) == [("box_example", "servers.box_example", 0)]
    assert texts(site.post("/metrics/find/", query="servers.*.wave.eth[0-9].*_bytes")) == [
        ("rx_bytes", "servers.box_example.wave.eth0.rx_bytes", 1),
        ("tx_bytes", "servers.box_example.wave.eth0.tx_bytes", 1),
        ("rx_bytes", "servers.box_example.wave.eth1.rx_bytes", 1),
        ("tx_bytes", "servers.box_example.wave.eth1.tx_bytes", 1),
    ]
    assert site.get("/metrics/find", query="servers.other.*") == []


def test_other_ways_to_list(site: Site) -> None:
    assert site.get("/metrics/find", query="wave.eth*", format="completer") == {
        "metrics": [
            {"path": "wave.eth0.", "name": "eth0", "is_leaf": "0"},
            {"path": "wave.eth1.", "name": "eth1", "is_leaf": "0"},
        ]
    }
    assert site.get("/metrics/expand", query=["wave.eth0.*", "wave.l*"])["results"] == [
        "wave.eth0.rx_bytes",
        "wave.eth0.tx_bytes",
        "wave.level",
    ]
    assert site.get("/metrics/expand", query="wave.*", leavesOnly="1") == {"results": ["wave.level"]}
    index = site.get("/metrics/index.json")
    assert len(index) == 11 and index == sorted(index)
    assert site.ask("/metrics/find").error == "query: one pattern"
    assert site.ask("/metrics/find", {"query": "a", "format": "pickle"}).status == 400


# points


def test_render_gives_one_slot_for_each_interval(site: Site) -> None:
    (line,) = render(site, "wave.level")
    assert line["target"] == "wave.level"
    assert line["tags"] == {"name": "wave.level"}
    # From is exclusive, until is not, as Graphite has it.
    assert line["datapoints"] == [[level(t), t] for t in range(end() - 90, end() + 1, STEP)]


def test_a_pause_is_a_gap(site: Site) -> None:
    (line,) = render(site, "wave.level", end() - 360, end() - 120)
    assert [value for value, _ in line["datapoints"]] == [
        None if end() - 300 < t < end() - 180 else level(t) for t in range(end() - 350, end() - 110, STEP)
    ]


def test_fewer_points_are_means(site: Site) -> None:
    (line,) = render(site, "wave.level", end() - 100, end(), maxDataPoints=2)
    assert len(line["datapoints"]) <= 3
    step = line["datapoints"][1][1] - line["datapoints"][0][1]
    assert step == 50
    for value, slot in line["datapoints"]:
        inside = [level(t) for t in range(slot, slot + step, STEP) if end() - 100 <= t <= end()]
        if len(inside) == 5:
            assert value == pytest.approx(sum(inside) / 5)


def test_patterns_in_render(site: Site) -> None:
    def targets(pattern: str) -> list[str]:
        return [line["target"] for line in render(site, pattern)]

    assert targets("wave.eth*.rx_bytes") == ["wave.eth0.rx_bytes", "wave.eth1.rx_bytes"]
    assert targets("wave.{eth1,level}.{rx,tx}_bytes") == ["wave.eth1.rx_bytes", "wave.eth1.tx_bytes"]
    assert targets("wave.core.[0-9].user") == ["wave.core.0.user", "wave.core.1.user"]
    assert targets("wave.core.?.user") == ["wave.core.0.user", "wave.core.1.user"]
    assert targets("wave.*") == ["wave.level"]
    assert targets("*.level") == ["wave.level"]
    assert targets("servers.*.wave.level") == ["servers.box_example.wave.level"]
    assert targets("servers.box_example.wave.eth0.tx_bytes") == ["servers.box_example.wave.eth0.tx_bytes"]
    assert targets("nothing.here") == []
    assert [line["target"] for line in render(site, ["wave.level", "wave.eth0.rx_bytes"])] == ["wave.level", "wave.eth0.rx_bytes"]


def values(lines: list[dict[str, Any]]) -> list[list[float | None]]:
    return [[value for value, _ in line["datapoints"]] for line in lines]


def test_functions(site: Site) -> None:
    (line,) = render(site, "alias(wave.level, 'How high')")
    assert line["target"] == "How high"
    assert line["datapoints"][0][0] == level(end() - 90)
    assert [x["target"] for x in render(site, "aliasByNode(servers.*.wave.eth*.rx_bytes, 1, -2)")] == [
        "box_example.eth0",
        "box_example.eth1",
    ]
    assert [x["target"] for x in render(site, "aliasByMetric(wave.eth0.*)")] == ["rx_bytes", "tx_bytes"]

    total = render(site, "sumSeries(wave.eth*.rx_bytes)")
    assert [x["target"] for x in total] == ["sumSeries(wave.eth*.rx_bytes)"]
    assert values(total)[0] == pytest.approx([100.0] * 10)
    assert values(render(site, "averageSeries(wave.eth0.rx_bytes,wave.eth0.tx_bytes)"))[0] == pytest.approx([35.0] * 10)
    assert values(render(site, "maxSeries(wave.eth0.*)"))[0] == pytest.approx([50.0] * 10)
    assert values(render(site, "minSeries(wave.eth0.*)"))[0] == pytest.approx([20.0] * 10)
    scaled = render(site, "scale(wave.eth0.rx_bytes, 8)")
    assert scaled[0]["target"] == "scale(wave.eth0.rx_bytes,8)"
    assert values(scaled)[0] == pytest.approx([400.0] * 10)
    assert values(render(site, "offset(wave.eth0.rx_bytes,-1.5e1)"))[0] == pytest.approx([35.0] * 10)
    shares = render(site, "asPercent(wave.core.0.*)")
    assert values(shares)[0] == pytest.approx([100 * 0.5 / 0.75] * 10)
    assert values(shares)[1] == pytest.approx([100 * 0.25 / 0.75] * 10)
    assert values(render(site, "asPercent(wave.core.0.user, 2)"))[0] == pytest.approx([12.5] * 10)
    assert values(render(site, "sumSeries(nothing.*)")) == []
    assert values(render(site, "scale(wave.level, 1e308)"))[0] == [None] * 10
    assert set(values(render(site, "constantLine(1e999)"))[0]) == {None}


def test_a_sum_over_a_gap_is_a_gap(site: Site) -> None:
    gaps = values(render(site, "sumSeries(wave.eth0.*)", end() - 360, end() - 120))[0]
    assert gaps.count(None) == 11
    # The first sample after the pause has its rate over all of it.
    assert all(value == pytest.approx(70.0) for value in gaps if value is not None)


def test_the_health_check_of_grafana(site: Site) -> None:
    """Grafana's `Save & test`: constantLine(100) over the last hour, as a POST."""
    now = int(time.time())
    answer = site.post("/render", target="constantLine(100)", **{"from": now - 3600}, until=now, format="json", maxDataPoints=100)
    assert answer[0]["target"] == "100"
    assert len(answer[0]["datapoints"]) == 100
    assert {value for value, _ in answer[0]["datapoints"]} == {100.0}


def test_the_rest_of_what_grafana_asks(site: Site) -> None:
    assert site.get("/version") == site.get("/version/") == "1.1.10"
    functions = site.get("/functions")
    assert functions["aliasByNode"]["params"][0] == {"name": "seriesList", "type": "seriesList", "required": True}
    assert functions["aliasByNode"]["params"][1]["multiple"] is True
    assert set(functions["sumSeries"]) == {"name", "function", "description", "module", "group", "params"}
    assert site.get("/functions/alias") == functions["alias"]
    assert site.ask("/functions/holtWinters").status == 404
    for path in ("/tags", "/tags/autoComplete/tags", "/tags/autoComplete/values", "/events/get_data"):
        assert site.get(path, expr="name=~.*", tag="x") == []
        assert site.post(path, expr="name=~.*") == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"target": "wave.level", "format": "png"}, "format=json is what there is"),
        ({"target": "holtWinters(wave.level)"}, "target: holtWinters() is not known here; there are alias, "),
        ({"target": "alias(wave.level)"}, "target: alias(seriesList, newName), not alias(wave.level)"),
        ({"target": "alias(wave.level, 5)"}, "target: alias(seriesList, newName): newName is a string"),
        ({"target": "scale(wave.level, 'x')"}, "target: scale(seriesList, factor): factor is a float"),
        ({"target": "alias(wave.level, 'x'"}, 'target: a ")" to end alias('),
        ({"target": "wave.level)"}, "target: a pattern or a function"),
        ({"target": ""}, "target: a pattern at character 1"),
        ({"target": "(" * 50}, "target: a pattern at character 1"),
        ({"target": "sum(" * 50 + "a" + ")" * 50}, "target: functions at most 8 deep"),
        ({"target": "x" * 600}, "target: a pattern of at most 512 characters"),
        ({"target": ["a"] * 51}, "at most 50 targets"),
        ({"target": "wave.level", "from": "tomorrowish"}, "from: a time such as"),
        ({"target": "wave.level", "from": "now", "until": "-1h"}, "from: earlier than until"),
        ({"target": "wave.level", "maxDataPoints": "many"}, "maxDataPoints: a number from 1"),
        ({"target": "wave.level", "tz": "Nowhere/Land"}, "tz: the name of a time zone"),
        ({"target": "wave.level", "tz": "../../etc/passwd"}, "tz: the name of a time zone"),
        ({"target": ["constantLine(1)"] * 50, "from": "-30d", "maxDataPoints": "20000"}, "more than 500000 points"),
    ],
)
def test_render_refuses_in_words(site: Site, query: dict[str, Any], said: str) -> None:
    reply = site.ask("/render", query)
    assert reply.status == 400
    assert reply.error.startswith(said), reply.error


def test_render_without_history_gives_what_there_is_now(tmp_path: Any) -> None:
    probe = Probe(None)
    now = time.time()
    probe.run(now)
    own = Site(probe)
    try:
        (line,) = own.get("/render", target="wave.level", **{"from": "-1min"})
        there = [point for point in line["datapoints"] if point[0] is not None]
        assert there == [[pytest.approx(1000 + now % 100), pytest.approx(now, abs=2)]]
    finally:
        own.stop()


# patterns and expressions by themselves


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("*", "a", True),
        ("a*c", "abc", True),
        ("a?c", "a.c", False),
        ("{a,b}x.{1,2}", "bx.2", True),
        ("{a,b}x.{1,2}", "cx.2", False),
        ("a{,b}", "a", True),
        ("x[0-9][!a]", "x1b", True),
        ("x[0-9][!a]", "x1a", False),
        ("a+b.(c)", "a+b.(c)", True),
        ("A", "a", False),
        ("a.b*{c,d}*", "a.bxdx", True),
    ],
)
def test_patterns(pattern: str, name: str, fits: bool) -> None:
    assert Pattern(pattern).matches(name.split(".")) is fits


def test_braces_are_spread_and_bounded() -> None:
    assert sorted(spread("a{1,2}b{x,{y,z}}")) == ["a1bx", "a1by", "a1bz", "a2bx", "a2by", "a2bz"]
    assert spread("a}b{c") == ["a}b{c"]
    with pytest.raises(ValueError, match="64 combinations"):
        spread("{a,b}" * 7)


def test_expressions() -> None:
    assert Parser(" wave.{a,b}.* ").parse() == Path("wave.{a,b}.*")
    found = Parser('aliasByNode( sum(a.*, b) , 1,-2, "x, (y)")').parse()
    assert isinstance(found, Call)
    assert found.name == "aliasByNode"
    assert found.arguments[1:] == [1.0, -2.0, "x, (y)"]
    assert found.arguments[0] == Call("sum", [Path("a.*"), Path("b")], "sum(a.*, b)")


# times

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)  # a Saturday


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("now", NOW),
        ("", NOW),
        ("-1h", NOW - timedelta(hours=1)),
        ("-90s", NOW - timedelta(seconds=90)),
        ("-5m", NOW - timedelta(minutes=5)),
        ("-5min", NOW - timedelta(minutes=5)),
        ("-5minutes", NOW - timedelta(minutes=5)),
        ("-1mon", NOW - timedelta(days=30)),
        ("-1month", NOW - timedelta(days=30)),
        ("-2w", NOW - timedelta(weeks=2)),
        ("-1y", NOW - timedelta(days=365)),
        ("now-1d", NOW - timedelta(days=1)),
        ("-1h30min", NOW - timedelta(minutes=90)),
        ("now+5min", NOW + timedelta(minutes=5)),
        ("1700000000", datetime.fromtimestamp(1700000000, UTC)),
        ("1700000000.5", datetime.fromtimestamp(1700000000.5, UTC)),
        ("today", NOW.replace(hour=0, minute=0, second=0)),
        ("yesterday", NOW.replace(day=13, hour=0, minute=0, second=0)),
        ("midnight", NOW.replace(hour=0, minute=0, second=0)),
        ("noon yesterday", NOW.replace(day=13, hour=12, minute=0, second=0)),
        ("noon+1h", NOW.replace(hour=13, minute=0, second=0)),
        ("teatime", NOW.replace(hour=16, minute=0, second=0)),
        ("20260228", NOW.replace(month=2, day=28, hour=0, minute=0, second=0)),
        ("04:30_20260228", NOW.replace(month=2, day=28, hour=4, minute=30, second=0)),
        ("6:15pm_20260228", NOW.replace(month=2, day=28, hour=18, minute=15, second=0)),
        ("12:05am", NOW.replace(hour=0, minute=5, second=0)),
        ("02/28/26", NOW.replace(month=2, day=28, hour=0, minute=0, second=0)),
        ("02/28/2026", NOW.replace(month=2, day=28, hour=0, minute=0, second=0)),
        ("Mar 3", NOW.replace(day=3, hour=0, minute=0, second=0)),
        ("monday", NOW.replace(day=9, hour=0, minute=0, second=0)),
        ("saturday", NOW.replace(hour=0, minute=0, second=0)),
        ("2026-03-14T10:00:00Z", NOW.replace(hour=10, minute=0, second=0)),
        ("2026-03-14T10:00:00+02:00", NOW.replace(hour=8, minute=0, second=0)),
    ],
)
def test_times(text: str, expected: datetime) -> None:
    assert when.seconds(text, NOW.timestamp(), UTC) == pytest.approx(expected.timestamp(), abs=0.001)


def test_a_day_begins_where_the_reader_lives() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert when.seconds("midnight", NOW.timestamp(), berlin) == datetime(2026, 3, 14, tzinfo=berlin).timestamp()


@pytest.mark.parametrize(
    "text", ["soon", "-", "-1", "1h", "-1q", "25:99_20260101", "13/45/26", "-9999999999y", "x" * 65, "-1h" * 30]
)
def test_what_is_no_time_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="a time"):
        when.seconds(text, NOW.timestamp(), UTC)
