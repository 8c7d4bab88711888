"""The page in a real Chromium, over a real agent: what a person would see, and that nothing goes wrong on the way."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from agents import RunningAgent
from browser import Browser
from probe import Probe, Site
from servers import free_port, require

from adamas.web.page import STATIC

CONFIG = """
[agent]
interval = "1s"
state_dir = "{state}"
plugins = ["{folder}/plugins"]
[web]
listen = "127.0.0.1:PORT"
[collectors.broken]
[outputs.nowhere]
type = "graphite"
address = "127.0.0.1:9"
"""

BROKEN = """
from adamas import Collector, Gauge

class Broken(Collector):
    \"\"\"Fails.\"\"\"

    name = "broken"
    value = Gauge("value", "Never there")

    def collect(self):
        raise ValueError("the door is shut")
        yield
"""

TILES = ("cpu", "load", "memory", "network", "disk")
DRAWN = f"window.adamas && {list(TILES)}.every(id => adamas.overview.tiles.find(t => t.id === id).drawn)"
PICTURES = f"{list(TILES)}.map(id => document.querySelector(`#tile-${{id}} canvas`).toDataURL())"

FAINT = """
(() => {
  const parse = (text) => {
    const numbers = text.match(/[\\d.]+/g).map(Number);
    const [r, g, b] = text.startsWith("color(") ? numbers.slice(0, 3).map((n) => n * 255) : numbers;
    return { rgb: [r, g, b], alpha: numbers[3] ?? 1 };
  };
  const behind = (element) => {
    const layers = [];
    for (let e = element; e; e = e.parentElement) {
      const layer = parse(getComputedStyle(e).backgroundColor);
      if (layer.alpha > 0) layers.push(layer);
      if (layer.alpha === 1) break;
    }
    return layers.reverse().reduce((under, { rgb, alpha }) => rgb.map((c, i) => c * alpha + under[i] * (1 - alpha)), [255, 255, 255]);
  };
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || !element.checkVisibility() || !element.getClientRects().length) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color).rgb), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.add(`${element.tagName}.${element.className} "${element.textContent.trim().slice(0, 20)}" ${contrast.toFixed(2)}`);
  }
  return [...faint];
})()
"""
"""Text whose contrast is below WCAG's 4.5."""

NAMELESS = """
[...document.querySelectorAll("button, a, input, [role=img], [role=meter], meter")]
  .filter((e) => e.checkVisibility())
  .filter((e) => !(e.textContent.trim() || e.getAttribute("aria-label") || e.labels?.length || e.querySelector("img[alt]")))
  .map((e) => e.outerHTML.slice(0, 80))
"""
"""Controls and pictures that have no name for who cannot see them."""

WIDER = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningAgent, str]]:
    """A real agent that measures every second, with a collector that fails and an output whose peer is away."""
    require("chromium")
    if not (STATIC / "vendor" / "uPlot.iife.min.js").exists():
        message = "the chart library is not there: npm ci --ignore-scripts && npm run vendor"
        (pytest.fail if os.environ.get("REQUIRE_SERVERS") == "1" else pytest.skip)(message)
    folder = tmp_path_factory.mktemp("agent")
    (folder / "plugins").mkdir()
    (folder / "plugins" / "broken.py").write_text(BROKEN)
    port = free_port()
    running = RunningAgent(folder, CONFIG.replace("PORT", str(port)))
    running.wait(lambda status: status["address"] and all(c["runs"] > 2 for c in status["collectors"] if c["state"] == "ok"))
    yield running, f"http://127.0.0.1:{port}/"
    running.end()


@pytest.fixture(scope="module")
def browser(agent: tuple[RunningAgent, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all of these tests."""
    with Browser(tmp_path_factory.mktemp("profile")) as running:
        running.go(agent[1])
        yield running


@pytest.fixture
def page(agent: tuple[RunningAgent, str], browser: Browser) -> Browser:
    """The page as on a first visit, drawn."""
    browser.evaluate("localStorage.clear()")
    browser.screen(1440, 900)
    browser.go("about:blank")
    browser.requests.clear()
    browser.problems.clear()
    browser.go(agent[1])
    browser.wait(DRAWN)
    return browser


def test_charts_draw_and_move_and_nobody_complains(page: Browser, agent: tuple[RunningAgent, str]) -> None:
    assert page.evaluate("document.getElementById('host').textContent") == agent[0].status()["hostname"]
    page.wait("document.getElementById('uptime').textContent.startsWith('up ')")
    newest = page.evaluate("adamas.feed.newest")
    before = page.evaluate(PICTURES)
    assert all(len(picture) > 2000 for picture in before)
    page.wait(f"adamas.feed.newest >= {newest} + 2", 10)
    after = page.evaluate(PICTURES)
    for tile, old, new in zip(TILES, before, after):
        assert old != new, f"the chart of {tile} does not move"
    assert page.evaluate("document.querySelectorAll('#tile-space .track').length") >= 1
    numbers = page.evaluate("[...document.querySelectorAll('.tile .now b')].map(e => e.textContent)")
    assert numbers and all(number[0].isdigit() for number in numbers)
    assert page.problems == []
    assert {url.split("/")[2] for url in page.requests if url.startswith("http")} == {agent[1].split("/")[2]}


def test_the_value_on_a_tile_is_the_agents(page: Browser) -> None:
    page.wait("adamas.feed.last('memory.MemTotal') > 0")
    with open("/proc/meminfo") as file:
        total = int(file.readline().split()[1]) * 1024
    assert page.evaluate("adamas.feed.last('memory.MemTotal')") == total
    shares = page.evaluate("adamas.overview.tiles[0].element.querySelectorAll('.legend .value').length")
    assert shares >= 5
    assert page.evaluate("document.querySelector('#tile-load .note').textContent").endswith("per CPU")


def test_the_past_is_loaded_from_the_history(page: Browser) -> None:
    page.wait("adamas.feed.newest > 0")
    first = page.evaluate("adamas.feed.oldest()")
    page.evaluate("new Promise(r => setTimeout(r, 1500))")
    page.call("Page.reload")
    page.wait(DRAWN)
    page.wait(f"adamas.feed.oldest() > 0 && adamas.feed.oldest() <= {first} + 0.01")
    page.evaluate("document.querySelector('#ranges [value=\"3600\"]').click()")
    page.wait("adamas.feed.range === 3600 && document.querySelector('#ranges [aria-checked=true]').value === '3600'")
    page.wait(DRAWN)
    assert page.problems == []


def test_any_series_is_found_laid_over_others_and_zoomed(page: Browser) -> None:
    page.evaluate("location.hash = '#explore'")
    page.wait("document.querySelectorAll('#explore .list button').length > 50")
    assert page.evaluate("document.querySelectorAll('#explore .list details:not([open]) > summary').length") > 5
    page.evaluate("document.querySelector('#explore .list summary').click()")
    page.wait("document.querySelector('#explore .list [open] button').checkVisibility()")
    page.evaluate("(e => { e.value = 'cpu total sys'; e.dispatchEvent(new Event('input')) })(document.getElementById('search'))")
    page.wait("document.querySelectorAll('#explore .list button').length === 1")
    page.evaluate("document.querySelector('#explore .list button').click()")
    page.wait("adamas.explore.drawn && document.querySelector('.series .now').textContent.endsWith('s/s')")
    page.evaluate("(e => { e.value = 'memory.MemFree'; e.dispatchEvent(new Event('input')) })(document.getElementById('search'))")
    page.wait("document.querySelector('#explore .list button')?.dataset.name === 'memory.MemFree'")
    page.evaluate("document.querySelector('#explore .list button').click()")
    page.wait("document.querySelectorAll('.series tbody tr').length === 2")
    assert page.evaluate("location.hash") == "#explore?q=memory.MemFree&s=cpu.total.system&s=memory.MemFree"
    assert "accounts" in page.evaluate("document.querySelectorAll('.series small')[1].textContent")

    page.wait("adamas.feed.lines.get('memory.MemFree')?.times.length > 3")
    box = page.evaluate(
        "(r => [r.x, r.y, r.width, r.height])(document.querySelector('#explore .u-over').getBoundingClientRect())"
    )
    x, y, width, height = box
    for kind, at, buttons in (
        ("mouseMoved", 0.5, 0),
        ("mousePressed", 0.5, 1),
        ("mouseMoved", 0.7, 1),
        ("mouseReleased", 0.9, 0),
    ):
        page.call(
            "Input.dispatchMouseEvent",
            type=kind,
            x=x + at * width,
            y=y + height / 2,
            button="none" if kind == "mouseMoved" else "left",
            buttons=buttons,
            clickCount=1,
        )
    page.wait("adamas.explore.zoomed")
    page.wait("!document.querySelector('.stage > header button').hidden")
    page.evaluate("document.querySelector('.stage > header button').click()")
    page.wait("!adamas.explore.zoomed")

    page.call("Page.reload")
    page.wait("document.querySelectorAll('.series tbody tr').length === 2 && adamas.explore.drawn")
    page.evaluate("document.querySelector('.series tbody button').click()")
    page.wait("document.querySelectorAll('.series tbody tr').length === 1")
    assert page.problems == []


def test_the_status_shows_who_is_in_trouble_and_that_the_ledger_adds_up(page: Browser) -> None:
    chip = page.wait("(t => t !== 'Connecting…' && t)(document.querySelector('#health').textContent.trim())")
    assert chip.startswith("broken ")
    page.evaluate("location.hash = '#status'")
    page.wait("document.querySelectorAll('[data-name^=collector]').length > 5")
    first = page.evaluate("document.querySelector('[data-name^=collector]').textContent")
    assert first.startswith("broken") and "the door is shut" in first
    page.evaluate("document.querySelector('[data-name=\"collector broken\"] summary').click()")
    page.wait("document.querySelector('[data-name=\"collector broken\"]').open")
    page.evaluate("new Promise(r => setTimeout(r, 2500))")
    assert page.evaluate("document.querySelector('[data-name=\"collector broken\"]').open"), "it stays open over a renewal"
    assert "Traceback" in page.evaluate("document.querySelector('[data-name=\"collector broken\"] pre').textContent")
    output = page.evaluate("document.querySelector('section.output').textContent")
    assert "nowhere" in output and "retrying" in output and "adds up" in output
    assert "History" in page.evaluate("document.getElementById('status').textContent")
    assert page.problems == []


@pytest.mark.parametrize(("width", "height"), [(390, 844), (768, 1024), (1440, 900), (2560, 1440)])
@pytest.mark.parametrize("dark", [False, True])
def test_it_can_be_read_everywhere(page: Browser, width: int, height: int, dark: bool) -> None:
    page.screen(width, height, dark=dark, mobile=width < 500)
    for view in ("overview", "explore?q=cpu&s=cpu.total.user", "status"):
        page.evaluate(f"location.hash = '#{view}'")
        page.wait(f"!document.getElementById('{view.split('?')[0]}').hidden")
        page.evaluate("new Promise(r => setTimeout(r, 400))")
        assert page.evaluate(WIDER) == 0, f"{view} is wider than the screen"
        assert page.evaluate(FAINT) == [], view
        assert page.evaluate(NAMELESS) == [], view
    if width >= 1440:
        page.evaluate("location.hash = '#overview'")
        page.wait("!document.getElementById('overview').hidden")
        assert page.evaluate("document.documentElement.scrollHeight") <= height, "the overview fits the screen"
    assert page.problems == []


def test_what_is_faint_would_be_found(page: Browser) -> None:
    assert page.evaluate(FAINT) == []
    page.evaluate("document.getElementById('uptime').style.color = '#aaaaaa'")
    assert len(page.evaluate(FAINT)) == 1
    page.evaluate("document.body.append(document.createElement('button'))")
    assert len(page.evaluate(NAMELESS)) == 1


def test_the_theme_can_be_chosen_and_stays(page: Browser) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(background)
    before = page.evaluate(PICTURES)
    page.evaluate("document.getElementById('theme').click()")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    page.evaluate("document.getElementById('theme').click()")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    dark = page.evaluate(background)
    assert dark != light
    assert page.evaluate(PICTURES) != before
    page.call("Page.reload")
    page.wait(DRAWN)
    assert page.evaluate(background) == dark


def test_everything_is_reached_by_keyboard(page: Browser) -> None:
    def press(key: str, code: int) -> None:
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    reached = []
    for _ in range(30):
        press("Tab", 9)
        reached.append(page.evaluate("(e => e.id || e.hash || e.value || e.textContent)(document.activeElement)"))
    assert reached[0] == "#main"
    for wanted in ("#overview", "#explore", "#status", "health", "300", "theme"):
        assert wanted in reached, f"{wanted} cannot be reached: {reached}"
    page.evaluate("document.querySelector('#ranges [aria-checked=true]').focus()")
    press("ArrowRight", 39)
    assert page.evaluate("document.querySelector('#ranges [aria-checked=true]').value") == "3600"
    assert page.evaluate("document.activeElement.value") == "3600"


def test_numbers_read_well(page: Browser) -> None:
    cases: list[tuple[float | None, str, str]] = [
        (0, "By", "0 B"),
        (1023, "By", "1023 B"),
        (1024, "By", "1 KiB"),
        (25.2e9, "By", "23.5 GiB"),
        (1500000, "bit/s", "1.5 Mbit/s"),
        (0.00123, "s", "1.23 ms"),
        (4.2e-5, "s", "42 µs"),
        (90, "s", "90 s"),
        (200000, "s", "2.31 d"),
        (0.256, "1", "25.6 %"),
        (12.345, "%", "12.3 %"),
        (0.123, "%", "0.12 %"),
        (41.5, "Cel", "41.5 °C"),
        (1234567, "", "1.23 M"),
        (99999, "", "99999"),
        (3.14159, "{packet}", "3.14 packet"),
        (7, "1/s", "7 /s"),
        (-2048, "By", "-2 KiB"),
        (None, "By", "\u2013"),
    ]
    for value, unit, expected in cases:
        shown = page.evaluate(f"import('/static/format.js').then(f => f.text({'null' if value is None else value}, '{unit}'))")
        assert shown == expected
    assert page.evaluate("import('/static/format.js').then(f => f.ticks([0, 0.25, 0.5], ''))") == ["0", "0.25", "0.50"]
    assert page.evaluate("import('/static/format.js').then(f => f.ticks([0, 1073741824, 2147483648], 'By'))") == [
        "0",
        "1 GiB",
        "2 GiB",
    ]
    for seconds, expected in ((0.4, "0 s"), (59, "59 s"), (600, "10 min"), (7500, "2 h 5 min"), (86400 * 3, "3 d")):
        assert page.evaluate(f"import('/static/format.js').then(f => f.duration({seconds}))") == expected


def test_a_pause_is_a_gap_in_the_chart(page: Browser) -> None:
    table: Any = page.evaluate(
        """import('/static/feed.js').then(f => f.tabulate([
            { times: [10, 20, 30, 40, 90, 100], values: [1, 2, 3, 4, 9, 10] },
            { times: [10, 30, 50, 70, 90], values: [1, 3, 5, 7, 9] },
        ], 0).map(column => column.map(v => v === undefined ? 'through' : v)))"""
    )
    times, first, second = table
    assert times == [10, 20, 30, 40, 50, 70, 90, 100]
    assert first == [1, 2, 3, 4, None, None, 9, 10]
    assert second == [1, "through", 3, "through", 5, 7, 9, None]


def test_an_agent_that_is_gone_is_said_and_found_again(tmp_path: Path) -> None:
    require("chromium")
    folder = tmp_path / "agent"
    (folder / "plugins").mkdir(parents=True)
    port = free_port()
    config = CONFIG.replace("PORT", str(port)).replace("[collectors.broken]\n", "") + "[history]\nenabled = false\n"
    agent = RunningAgent(folder, config)
    try:
        agent.wait(lambda status: status["address"])
        with Browser(tmp_path / "profile") as page:
            page.go(f"http://127.0.0.1:{port}/")
            page.wait("window.adamas && adamas.feed.newest > 0")
            page.wait("document.getElementById('banner').textContent.startsWith('The history is off')")
            page.wait(DRAWN, 30)
            agent.stop()
            page.wait("document.getElementById('banner').textContent.startsWith('The agent does not answer')", 15)
            assert page.evaluate("document.body.classList.contains('away')")
            agent = RunningAgent(folder, config)
            page.wait("!document.body.classList.contains('away')", 30)
            page.wait("document.getElementById('banner').textContent.startsWith('The history is off')")
            newest = page.evaluate("adamas.feed.newest")
            page.wait(f"adamas.feed.newest > {newest}")
            assert [p for p in page.problems if "ERR_CONNECTION_REFUSED" not in p] == []
    finally:
        agent.end()


def test_the_token_is_asked_for_once(tmp_path: Path) -> None:
    require("chromium")
    probe = Probe(None)
    probe.run(time.time() - 1)
    probe.run(time.time())
    site = Site(probe, token="open sesame")
    try:
        with Browser(tmp_path / "profile") as page:
            page.go(site.url + "/")
            page.wait("document.getElementById('token') !== null")
            assert page.evaluate(FAINT) == []
            page.evaluate("(e => { e.value = 'wrong'; e.form.submit() })(document.getElementById('token'))")
            page.wait("document.querySelector('[role=alert]')?.textContent.includes('not right')")
            page.evaluate("(e => { e.value = 'open sesame'; e.form.submit() })(document.getElementById('token'))")
            page.wait("document.getElementById('host')?.textContent === 'box.example'")
            assert page.evaluate("document.cookie") == ""
            assert [p for p in page.problems if "401" not in p] == []
        with Browser(tmp_path / "other") as page:
            page.go(site.url + "/?token=open+sesame#status")
            page.wait("document.getElementById('host')?.textContent === 'box.example'")
            assert page.evaluate("location.href") == site.url + "/#status"
    finally:
        site.stop()
