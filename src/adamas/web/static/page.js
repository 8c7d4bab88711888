// The page: asks the agent, hands what it says to the view that is open, and says when it does not answer.

import { Refusal, ask, link, now } from "./api.js";
import { h, memory, say, set, svg } from "./dom.js";
import { ExploreView, exactly } from "./explore.js";
import { Feed } from "./feed.js";
import { clock, duration } from "./format.js";
import { Overview } from "./overview.js";
import { StatusView, askStatus, summary } from "./status.js";

const RANGES = [
  [300, "5 min"],
  [3600, "1 h"],
  [21600, "6 h"],
  [86400, "24 h"],
  [604800, "7 d"],
];
const VIEWS = ["overview", "explore", "status"];
const STATUS_EVERY = 10;
const AFTER = 0.35; // seconds after a window until its values can be asked for
const LATE = 4;
const FEWEST = 6; // intervals that a chart spans at least

const $ = (id) => document.getElementById(id);
const feed = new Feed();
const overview = new Overview($("overview"));
const explore = new ExploreView($("explore"), feed, span, remember);
const statusView = new StatusView($("status"));

let view = "";
let known = [];
let interval = 10;
let status = null;
let troubles = new Map();
let failures = 0;
let refused = "";
let timer = 0;
let statusDue = 0;

// the address: #view?q=search&s=series&r=range

function address() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  return { name: VIEWS.includes(name) ? name : "overview", query: new URLSearchParams(query) };
}

function remember() {
  const query = new URLSearchParams();
  if (explore.text) query.set("q", explore.text);
  for (const name of explore.chosen) query.append("s", name);
  history.replaceState(null, "", query.size ? `#explore?${query}` : "#explore");
  void tick();
}

function open() {
  const { name, query } = address();
  const changed = name !== view;
  view = name;
  for (const one of VIEWS) $(one).hidden = one !== view;
  for (const anchor of document.querySelectorAll("nav a")) set(anchor, { "aria-current": anchor.hash === `#${view}` ? "page" : null });
  document.body.dataset.view = view;
  if (view === "explore") explore.open(query.get("q"), query.getAll("s"));
  if (view === "status") statusDue = 0;
  if (changed) window.scrollTo(0, 0);
  void tick();
}

// the range of time

function chooseRange(seconds) {
  feed.setRange(seconds);
  memory.set("range", seconds);
  for (const button of $("ranges").children) {
    const chosen = Number(button.value) === seconds;
    set(button, { "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1" });
  }
  if (explore.zoomed) void explore.zoom(null);
  refresh();
  void tick();
}

function makeRanges() {
  const group = $("ranges");
  for (const [seconds, label] of RANGES) {
    group.append(h("button", { type: "button", role: "radio", value: String(seconds), onclick: () => chooseRange(seconds) }, label));
  }
  group.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...group.children];
    const to = all[(all.indexOf(document.activeElement) + step + all.length) % all.length];
    to.focus();
    to.click();
  });
  const kept = Number(memory.get("range", 300));
  chooseRange(RANGES.some(([seconds]) => seconds === kept) ? kept : 300);
}

// the theme

const THEMES = { auto: "Theme of the system", light: "Light theme", dark: "Dark theme" };
const DRAWN = {
  auto: () => [svg("circle", { cx: 12, cy: 12, r: 8 }), svg("path", { d: "M12 4a8 8 0 0 1 0 16z", fill: "currentColor" })],
  light: () => [svg("circle", { cx: 12, cy: 12, r: 4.5 }), svg("path", { d: "M12 2v3M12 19v3M2 12h3M19 12h3M5 5l2 2M17 17l2 2M19 5l-2 2M7 17l-2 2" })],
  dark: () => [svg("path", { d: "M20 14.500A8.500 8.500 0 1 1 9.500 4a7 7 0 0 0 10.500 10.500z" })],
};

function setTheme(theme) {
  window.putOnTheme(theme);
  memory.set("theme", theme);
  const button = $("theme");
  button.replaceChildren(svg("svg", { viewBox: "0 0 24 24", width: 20, height: 20, "aria-hidden": "true" }, ...DRAWN[theme]()));
  set(button, { title: THEMES[theme], "aria-label": `${THEMES[theme]}; change`, "data-now": theme });
}

function recolour() {
  for (const tile of overview.tiles) tile.recolour();
  explore.recolour();
}

// what the agent says

function takeStatus(answer) {
  status = answer;
  feed.history = Boolean(answer.history);
  interval = Math.min(10, ...answer.collectors.filter((c) => c.state === "ok").map((c) => c.interval));
  troubles = new Map(answer.collectors.filter((c) => c.state !== "ok" && c.state !== "starting").map((c) => [c.type, `The collector ${c.name} gives nothing (${c.state})${c.error ? `: ${c.error.replace(/\.$/, "")}` : ""}.`]));
  for (const tile of overview.tiles) {
    if (tile.collector && !answer.collectors.some((c) => c.type === tile.collector)) troubles.set(tile.collector, `The collector ${tile.collector} is not on.`);
  }
  say($("host"), answer.hostname);
  document.title = `${answer.hostname} – Adamas`;
  const { tone, text } = summary(answer);
  set($("health"), { class: `chip ${tone}`, title: answer.health.problems.join("\n") || "What the agent does" });
  say($("health").querySelector("span"), text);
  if (view === "status") statusView.show(answer);
}

function tellUptime() {
  const up = feed.last("uptime.seconds");
  const agent = status ? duration(now() - status.started) : "";
  say($("uptime"), up === undefined ? (agent && `agent up ${agent}`) : `up ${duration(up)}`);
  if (agent) $("uptime").title = `The agent has been running for ${agent}`;
}

function tellBanner() {
  const banner = $("banner");
  const old = duration((Date.now() - link.since) / 1000);
  const words = refused || {
    away: `The agent does not answer. What you see is from ${clock(link.since / 1000)}, ${old} ago. Trying again…`,
    token: "The agent asks for its token.",
  }[link.state];
  document.body.classList.toggle("away", link.state === "away");
  if (words) {
    banner.hidden = false;
    set(banner, { class: "banner bad" });
    if (link.state === "token") banner.replaceChildren(words, " ", h("a", { href: "/" }, "Show it"));
    else say(banner, words);
    if (link.state === "away") {
      set($("health"), { class: "chip bad", title: null });
      say($("health").querySelector("span"), "No answer");
    }
    return;
  }
  const seen = feed.history === false && view !== "status";
  banner.hidden = !seen;
  if (seen) {
    set(banner, { class: "banner" });
    say(banner, "The history is off: charts begin when this page was opened.");
  }
}

// the loop

/** [from, to] of the charts: the range, or all that there is where that is less, so that a young history fills them too. */
function span() {
  const to = now();
  const from = to - feed.range;
  const oldest = feed.oldest();
  return [oldest > from + feed.range * 0.02 ? Math.min(oldest, to - FEWEST * interval) : from, to];
}

function refresh() {
  const [from, to] = span();
  if (view === "overview") overview.refresh(feed, known, from, to, troubles);
  if (view === "explore") explore.refresh();
  tellUptime();
}

let running = false;
let again = false;

/** Ask for what is new, show it, and come back when there is more. One at a time. */
async function tick() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  clearTimeout(timer);
  try {
    if (Date.now() / 1000 >= statusDue) {
      takeStatus(await askStatus());
      statusDue = Date.now() / 1000 + (view === "status" ? 2 : STATUS_EVERY);
    }
    const answer = await ask("api/latest", { match: [...overview.match, ...explore.chosen.map(exactly)] });
    feed.push(answer.batches);
    known = answer.batches.flatMap((batch) => Object.keys(batch.values));
    await nameMounts();
    refresh();
    const wanted = view === "explore" ? explore.chosen : overview.names(known);
    await feed.load(wanted);
    refresh();
    failures = 0;
    refused = "";
  } catch (error) {
    failures += 1;
    if (error instanceof Refusal) refused = link.state === "token" ? "" : `The agent cannot say what it does: ${error.message}.`;
    else if (link.state !== "away") console.warn(error);
  } finally {
    running = false;
    tellBanner();
    timer = setTimeout(tick, again ? 0 : 1000 * pause());
    again = false;
  }
}

/** Seconds until the next window's values are there; longer and longer where nobody answers. */
function pause() {
  if (failures) return Math.min(10, 2 ** (failures - 1));
  if (document.hidden && feed.history) return 60;
  const due = feed.newest + interval + AFTER - now();
  if (due < -LATE * interval) return Math.min(5, interval);
  return Math.min(Math.max(due, 0.4), interval, view === "status" ? 2 : 10);
}

let mounts = "";

async function nameMounts() {
  const now = known.filter((name) => name.startsWith("diskspace.")).join();
  if (now === mounts) return;
  const answer = await ask("api/series", { match: "diskspace.*.used_ratio", limit: 500 });
  overview.name(answer.series);
  mounts = now;
}

/** Charts move along with time, also between two samples. */
function slide() {
  if (document.hidden) return;
  tellUptime();
  if (link.state === "away") {
    tellBanner();
    return;
  }
  const [from, to] = span();
  if (view === "overview") for (const tile of overview.tiles) tile.slide(from, to);
  if (view === "explore") explore.slide(from, to);
}

// the beginning

if (new URLSearchParams(location.search).has("token")) history.replaceState(null, "", location.pathname + location.hash);
setTheme(memory.get("theme", "auto") in THEMES ? memory.get("theme", "auto") : "auto");
$("theme").addEventListener("click", () => {
  const all = Object.keys(THEMES);
  setTheme(all[(all.indexOf($("theme").dataset.now) + 1) % all.length]);
});
document.addEventListener("theme", recolour);
window.addEventListener("hashchange", open);
document.addEventListener("refresh", refresh);
document.addEventListener("visibilitychange", () => {
  if (document.hidden) return;
  feed.forget();
  statusDue = 0;
  void tick();
});
link.addEventListener("change", () => {
  if (link.state === "ok") feed.forget();
  tellBanner();
});
makeRanges();
open();
// With less motion wanted, charts move when there is something new, not every second.
if (!matchMedia("(prefers-reduced-motion: reduce)").matches) setInterval(slide, 1000);
else setInterval(tellBanner, 5000);

// For those who look at the page from outside (its tests): whether charts have drawn, and what they show.
window.adamas = { feed, overview, explore };
