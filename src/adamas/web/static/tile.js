// A tile of the overview: a title, the value now, a legend and a chart that moves.

import { Chart, Legend } from "./chart.js";
import { h, say } from "./dom.js";
import { clock, duration, parts } from "./format.js";

/**
 * What a tile shows is said by a plan:
 *   id, title, collector (whose trouble explains an empty tile), match (patterns for /api/latest), href (its series),
 *   optional: not there where it has nothing to show;
 *   names(known): the series it needs, none where it cannot be shown;
 *   lines(known): [{label, colour, unit, dash, fill, help}]; stacked, tops: as Chart has them;
 *   table(feed, known): [times, a column for each line...];
 *   headline(row, feed): {value, unit}; note(row, feed): a short text beside it.
 */
export class Tile {
  #plan;
  #chart = null;
  #legend = null;
  #shape = "";
  #hovered = null;
  #table = [[]];
  #known = [];

  constructor(plan) {
    this.#plan = plan;
    this.number = h("b", {}, "–");
    this.unit = h("span", { class: "unit" });
    this.note = h("span", { class: "note" });
    this.when = h("span", { class: "when" });
    this.holder = h("div", { class: "chart", role: "img" });
    this.empty = h("p", { class: "empty" });
    this.problem = h("p", { class: "problem" });
    this.keys = h("div", { class: "keys" });
    this.element = h(
      "article",
      { class: "tile", id: `tile-${plan.id}` },
      h(
        "header",
        {},
        h("h2", {}, h("a", { href: plan.href, title: "Its series" }, plan.title)),
        this.when,
        plan.tools?.(),
        h("p", { class: "now" }, this.number, this.unit, this.note),
      ),
      this.problem,
      this.keys,
      this.holder,
      this.empty,
    );
  }

  get id() {
    return this.#plan.id;
  }

  get collector() {
    return this.#plan.collector;
  }

  get match() {
    return this.#plan.match;
  }

  /** The series that the history should be asked for. */
  names(known) {
    return this.#plan.names(known);
  }

  /** Show what the feed has. */
  refresh(feed, known, from, to, trouble) {
    const names = this.#plan.names(known);
    const shape = JSON.stringify([names, this.#plan.lines(names)]);
    this.element.classList.toggle("blank", names.length === 0);
    this.element.hidden = Boolean(this.#plan.optional) && names.length === 0;
    say(this.problem, names.length && trouble ? `${trouble} Its last values are ${duration(feed.age(names))} old.` : "");
    if (names.length === 0) {
      say(this.empty, trouble || `Waiting for the first values of ${this.#plan.collector}…`);
      return;
    }
    if (shape !== this.#shape) this.#build(names, shape);
    this.#known = names;
    this.#table = this.#plan.table(feed, names);
    if (this.#chart) this.#chart.show(this.#table, from, to);
    this.#tell(feed);
  }

  #build(names, shape) {
    this.#shape = shape;
    const lines = this.#plan.lines(names);
    this.#legend = new Legend(lines);
    this.keys.replaceChildren(this.#legend.element);
    this.#chart?.destroy();
    this.#chart = window.uPlot
      ? new Chart(this.holder, {
          lines,
          stacked: this.#plan.stacked,
          tops: this.#plan.tops,
          sync: "overview",
          onhover: (at) => this.#hover(at),
        })
      : null;
    if (!this.#chart) say(this.holder, "The chart library is not installed: npm ci && npm run vendor");
  }

  #hover(at) {
    this.#hovered = at;
    this.#tell(null);
  }

  /** The legend's values: under the cursor where there is one, else the newest. The headline is always the newest. */
  #tell(feed) {
    const [times, ...columns] = this.#table;
    const hovered = this.#hovered !== null && this.#hovered < times.length ? this.#hovered : null;
    const at = hovered ?? times.length - 1;
    const row = columns.map((column) => column[at] ?? before(column, at));
    this.#legend?.show(row);
    say(this.when, hovered === null ? "" : clock(times[at]));
    if (!feed) return;
    const newest = columns.map((column) => before(column, times.length - 1));
    const { value, unit } = this.#plan.headline(newest, feed, this.#known);
    const shown = parts(value, unit);
    say(this.number, shown.number);
    say(this.unit, shown.unit.trim());
    say(this.note, this.#plan.note?.(newest, feed, this.#known) ?? "");
    this.holder.setAttribute("aria-label", `${this.#plan.title}: now ${shown.number} ${shown.unit}`);
  }

  slide(from, to) {
    this.#chart?.slide(from, to);
  }

  /** The theme changed. */
  recolour() {
    this.#chart?.renew();
  }

  get drawn() {
    return this.#chart?.drawn ?? false;
  }
}

/** The last value of a column at or before a place. */
function before(column, at) {
  for (let i = at; i >= 0 && i > at - 5; i -= 1) if (column[i] !== null && column[i] !== undefined) return column[i];
  return undefined;
}
