// The explore view: find any series, lay several over one another, zoom in.

import { ask } from "./api.js";
import { Chart } from "./chart.js";
import { h, say } from "./dom.js";
import { clock, count, text } from "./format.js";
import { tabulate } from "./feed.js";

const COLOURS = ["--blue", "--amber", "--teal", "--pink", "--violet", "--green", "--red", "--sky", "--slate", "--ochre"];
const MOST = COLOURS.length;
const SHOWN = 2000;
const OPEN = 120; // so many series are listed at once, more only by their groups
const ZOOM_POINTS = 800;

/** A name as a pattern that matches it and nothing else. */
export const exactly = (name) => name.replace(/[*?[]/g, "[$&]");

export class ExploreView {
  #root;
  #feed;
  #span;
  #change;
  #search;
  #list;
  #found;
  #holder;
  #legend;
  #hint;
  #back;
  #chart = null;
  #known = new Map();
  #chosen = [];
  #zoom = null;
  #table = [[]];
  #hovered = null;
  #turn = 0;
  #timer = 0;

  /** `span` gives the [from, to] of charts; `change` is called when what is chosen changed: the page keeps it in its address and asks for its values. */
  constructor(root, feed, span, change) {
    this.#root = root;
    this.#feed = feed;
    this.#span = span;
    this.#change = change;
    this.#search = h("input", { type: "search", id: "search", placeholder: "cpu user, iostat.*.read*, eth0 …", autocomplete: "off", spellcheck: "false", oninput: () => this.#later() });
    this.#found = h("p", { class: "quiet", role: "status" });
    this.#list = h("div", { class: "list" });
    this.#holder = h("div", { class: "chart big", role: "img", "aria-label": "The chosen series" });
    this.#hint = h("p", { class: "empty" });
    this.#back = h("button", { type: "button", hidden: true, onclick: () => this.zoom(null) }, "Reset zoom");
    this.#legend = h("table", { class: "series" });
    root.append(
      h(
        "article",
        { class: "tile finder" },
        h("label", { for: "search" }, "Find series"),
        this.#search,
        this.#found,
        this.#list,
      ),
      h(
        "article",
        { class: "tile stage" },
        h("header", {}, h("h2", {}, "Chosen series"), h("span", { class: "note" }, "drag across the chart to zoom in"), this.#back),
        this.#holder,
        this.#hint,
        h("div", { class: "scroll" }, this.#legend),
      ),
    );
    this.#holder.addEventListener("dblclick", () => this.zoom(null));
    this.#search.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") {
        event.preventDefault();
        this.#list.querySelector("summary")?.focus();
      }
    });
    this.#list.addEventListener("keydown", (event) => this.#walk(event));
  }

  get chosen() {
    return this.#chosen;
  }

  get text() {
    return this.#search.value;
  }

  get zoomed() {
    return this.#zoom !== null;
  }

  /** What the page's address says: a search and the chosen series. */
  open(query, chosen) {
    if (query !== null && query !== this.#search.value) this.#search.value = query;
    this.#chosen = chosen.slice(0, MOST);
    this.#draw();
    void this.find();
  }

  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      void this.find();
      this.#change();
    }, 180);
  }

  #walk(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = [...this.#list.querySelectorAll("summary, [open] button")];
    const to = all.indexOf(document.activeElement) + step;
    if (to < 0) this.#search.focus();
    else all[to]?.focus();
  }

  /** List what matches the search. */
  async find() {
    const turn = (this.#turn += 1);
    let answer;
    try {
      answer = await ask("api/series", { match: this.#search.value, limit: SHOWN });
      const missing = this.#chosen.filter((name) => !this.#known.has(name) && !answer.series.some((one) => one.name === name));
      for (const name of missing) {
        const one = await ask("api/series", { match: exactly(name), limit: 5 });
        for (const series of one.series) this.#known.set(series.name, series);
      }
    } catch (error) {
      if (turn === this.#turn) say(this.#found, error.status ? error.message : "The agent does not answer.");
      return;
    }
    if (turn !== this.#turn) return;
    for (const series of answer.series) this.#known.set(series.name, series);
    const more = answer.count > answer.series.length ? `, the first ${answer.series.length} shown` : "";
    say(this.#found, answer.count === 0 ? "No series has this in its name." : `${count(answer.count)} series${more}`);
    this.#fill(answer.series);
    this.#draw();
  }

  #fill(series) {
    const groups = new Map();
    for (const one of series) {
      const group = one.name.split(".")[0];
      groups.set(group, [...(groups.get(group) ?? []), one]);
    }
    const open = series.length <= OPEN;
    this.#list.replaceChildren(
      ...[...groups].map(([group, members]) =>
        h(
          "details",
          { open: open || members.some((one) => this.#chosen.includes(one.name)) },
          h("summary", {}, group, h("small", {}, String(members.length))),
          h("ul", {}, members.map((one) => this.#item(one, group))),
        ),
      ),
    );
  }

  #item(one, group) {
    const name = one.name.slice(group.length + 1) || one.name;
    const value = one.value === null ? "" : text(one.value, one.unit);
    const button = h(
      "button",
      { type: "button", "data-name": one.name, title: one.help, "aria-pressed": String(this.#chosen.includes(one.name)), onclick: () => this.toggle(one.name) },
      h("span", {}, name),
      h("span", { class: "value" }, value),
    );
    return h("li", {}, button);
  }

  /** Choose a series, or let it go. */
  toggle(name) {
    if (this.#chosen.includes(name)) this.#chosen = this.#chosen.filter((one) => one !== name);
    else this.#chosen = [...this.#chosen, name].slice(-MOST);
    for (const button of this.#list.querySelectorAll("button")) button.setAttribute("aria-pressed", String(this.#chosen.includes(button.dataset.name)));
    this.#draw();
    this.#change();
    if (this.#zoom) void this.zoom(this.#zoom);
  }

  /** Show [from, to] only, loaded as finely as the history has it; null: the range that is chosen above. */
  async zoom(span) {
    this.#zoom = span && { from: span.from, to: span.to, lines: null };
    this.#back.hidden = span === null;
    this.refresh();
    if (!span || !this.#feed.history || !this.#chosen.length) return;
    const mine = this.#zoom;
    try {
      const answer = await ask("api/query", { series: this.#chosen, from: span.from.toFixed(3), until: span.to.toFixed(3), points: ZOOM_POINTS });
      if (mine !== this.#zoom) return;
      mine.lines = new Map(answer.series.map((one) => [one.name, { times: one.times, values: one.values, low: one.min, high: one.max }]));
      this.refresh();
    } catch {
      // what is there already stays on the screen; the banner says why nothing comes
    }
  }

  #draw() {
    this.#chart?.destroy();
    this.#chart = null;
    if (this.#chosen.length && window.uPlot) {
      const lines = this.#chosen.flatMap((name, i) => {
        const colour = COLOURS[i];
        const unit = this.#unit(name);
        return [
          { label: name, colour, unit, fill: this.#chosen.length === 1 ? 0.1 : 0 },
          { label: name, colour, unit, edge: "high" },
          { label: name, colour, unit, edge: "low" },
        ];
      });
      this.#chart = new Chart(this.#holder, { lines, onzoom: (from, to) => void this.zoom({ from, to }), onhover: (at) => this.#hover(at) });
    }
    say(this.#hint, this.#chosen.length ? "" : "Choose a series from the list to see it here. Several may be laid over one another.");
    this.#root.querySelector(".stage").classList.toggle("blank", !this.#chosen.length);
    this.#rows();
    this.refresh();
  }

  #hover(at) {
    this.#hovered = at;
    this.#tell();
  }

  #unit(name) {
    return this.#known.get(name)?.unit ?? "";
  }

  #rows() {
    const head = h("tr", {}, ...["Series", "Now", "Least", "Mean", "Most", ""].map((title) => h("th", { scope: "col" }, title)));
    const rows = this.#chosen.map((name, i) =>
      h(
        "tr",
        { "data-name": name },
        h("th", { scope: "row" }, h("i", { class: "mark", "--mark": `var(${COLOURS[i]})` }), h("span", {}, name), h("small", {}, this.#known.get(name)?.help ?? "")),
        ...["now", "least", "mean", "most"].map((which) => h("td", { class: which })),
        h("td", {}, h("button", { type: "button", class: "icon", "aria-label": `Remove ${name}`, onclick: () => this.toggle(name) }, "✕")),
      ),
    );
    this.#legend.replaceChildren(...(rows.length ? [h("thead", {}, head), h("tbody", {}, rows)] : []));
  }

  #lines() {
    const empty = { times: [], values: [], low: [], high: [] };
    return this.#chosen.map((name) => this.#zoom?.lines?.get(name) ?? this.#feed.lines.get(name) ?? empty);
  }

  /** Show what the feed has now. */
  refresh() {
    if (!this.#chart || this.#root.hidden) return;
    const [from, to] = this.#zoom ? [this.#zoom.from, this.#zoom.to] : this.#span();
    const lines = this.#lines().flatMap((line) => [line, line, line]);
    const which = this.#chosen.flatMap(() => ["values", "high", "low"]);
    this.#table = tabulate(lines, this.#zoom ? from : from - this.#feed.range * 0.02, which);
    this.#chart.show(this.#table, from, to);
    this.#tell();
  }

  /** The figures below the chart: those of what it shows, and under the cursor where there is one. */
  #tell() {
    const [times, ...columns] = this.#table;
    const hovered = times[this.#hovered] === undefined ? null : this.#hovered;
    const from = this.#zoom?.from ?? -Infinity;
    const to = this.#zoom?.to ?? Infinity;
    const inside = (column) => column.filter((v, at) => v !== null && v !== undefined && times[at] >= from && times[at] <= to);
    this.#chosen.forEach((name, i) => {
      const row = this.#legend.tBodies[0]?.rows[i];
      if (!row) return;
      const [values, high, low] = columns.slice(3 * i, 3 * i + 3).map(inside);
      const show = (which, value) => say(row.querySelector(which), text(value, this.#unit(name)));
      show(".now", hovered === null ? values.at(-1) : columns[3 * i][hovered]);
      show(".least", low.length ? Math.min(...low) : undefined);
      show(".mean", values.length ? values.reduce((a, b) => a + b, 0) / values.length : undefined);
      show(".most", high.length ? Math.max(...high) : undefined);
    });
    const head = this.#legend.tHead?.rows[0].cells[1];
    if (head) say(head, hovered !== null ? clock(times[hovered]) : this.#zoom ? "Last" : "Now");
  }

  slide(from, to) {
    if (!this.#zoom) this.#chart?.slide(from, to);
  }

  recolour() {
    this.#chart?.renew();
  }

  get drawn() {
    return this.#chart?.drawn ?? false;
  }
}
