// Charts: uPlot with the page's colours, units and habits.

import { css, h, say } from "./dom.js";
import { increments, text, ticks } from "./format.js";

/** The page's font at three quarters of its size, for what is drawn. */
function font() {
  const { fontSize, fontFamily } = getComputedStyle(document.body);
  return `${Math.round(parseFloat(fontSize) * 0.74)}px ${fontFamily}`;
}

const TIME_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800];

const hourMinute = (date) => `${String(date.getHours()).padStart(2, "0")}:${String(date.getMinutes()).padStart(2, "0")}`;

const timeSpace = (u, axis, from, to) => (to - from < 240 ? 74 : 46);

function timeTicks(u, splits, axis, space, step) {
  const { min, max } = u.scales.x;
  const width = u.bbox.width / devicePixelRatio;
  let day = "";
  return splits.map((at) => {
    if (((max - at) / (max - min)) * width < 18) return ""; // it would be cut off at the edge
    const date = new Date(at * 1000);
    const today = date.toDateString();
    const midnight = date.getHours() === 0 && date.getMinutes() === 0;
    if (step >= 86400 || (midnight && today !== day)) {
      day = today;
      return `${date.toLocaleDateString(undefined, { weekday: "short" })} ${date.getDate()}`;
    }
    return step < 60 ? `${hourMinute(date)}:${String(date.getSeconds()).padStart(2, "0")}` : hourMinute(date);
  });
}

/** A colour with another opacity; colours are hexadecimal in the page's CSS. */
export function fade(colour, opacity) {
  return colour + Math.round(opacity * 255).toString(16).padStart(2, "0");
}

const ruler = document.createElement("canvas").getContext("2d");

/** How wide the widest of some labels is. */
function widest(labels) {
  ruler.font = font();
  return Math.max(0, ...labels.map((label) => ruler.measureText(label ?? "").width));
}

/** The least axis of a chart of values in a unit that are never negative: from 0 to a little above the most. */
function limits(top) {
  return (u, low, high) => {
    if (low === null || high === null) return [0, top || 1];
    if (top) return [Math.min(0, low), Math.max(top, high)];
    if (low < 0) return [low * 1.1, Math.max(high, 0) * 1.1 || 1];
    return [0, high > 0 ? high * 1.12 : 1];
  };
}

/**
 * A chart in an element that it fills.
 *
 * lines: [{label, colour (a CSS custom property), unit, fill, dash, edge}]; stacked: each on top of those before;
 * tops: {unit: where its axis ends at least}; onhover(index or null); onzoom(from, to); sync: a key that shares the cursor.
 */
export class Chart {
  #options;
  #holder;
  #plot = null;
  #table = [[]];
  #shown = null;
  #observer;

  constructor(holder, options) {
    this.#holder = holder;
    this.#options = options;
    this.#observer = new ResizeObserver(() => this.#fit());
    this.#observer.observe(holder);
  }

  /** Show [times, values...], from one time to another. */
  show(table, from, to) {
    this.#table = table;
    this.#shown = { min: from, max: to };
    const drawn = this.#options.stacked ? stack(table) : table;
    if (!this.#plot) this.#make(drawn);
    else this.#plot.batch(() => { this.#plot.setData(drawn, false); this.#plot.setScale("x", this.#shown); });
  }

  /** Move along without new values. */
  slide(from, to) {
    if (!this.#plot || this.zoomed) return;
    this.#shown = { min: from, max: to };
    this.#plot.setScale("x", this.#shown);
  }

  /** Draw again in other colours or with other lines. */
  renew(options = {}) {
    Object.assign(this.#options, options);
    this.#plot?.destroy();
    this.#plot = null;
    if (this.#shown) this.show(this.#table, this.#shown.min, this.#shown.max);
  }

  destroy() {
    this.#observer.disconnect();
    this.#plot?.destroy();
    this.#plot = null;
  }

  /** Whether something other than the background is on it: for tests and for the reader of the page. */
  get drawn() {
    return this.#plot !== null && this.#table[0].length > 1;
  }

  #size() {
    return { width: Math.max(60, this.#holder.clientWidth), height: Math.max(60, this.#holder.clientHeight) };
  }

  #fit() {
    if (!this.#plot || !this.#holder.clientWidth) return;
    const size = this.#size();
    if (size.width !== this.#plot.width || size.height !== this.#plot.height) this.#plot.setSize(size);
  }

  #make(data) {
    const { lines, stacked, tops, sync, onhover, onzoom } = this.#options;
    const grid = { stroke: css("--grid"), width: 1 };
    const axis = { stroke: css("--muted"), font: font(), grid, ticks: { show: false }, gap: 6 };
    const units = [...new Set(lines.map((line) => line.unit))];
    this.#plot = new window.uPlot(
      {
        ...this.#size(),
        padding: [8, 8, 0, 0],
        legend: { show: false },
        cursor: {
          points: { size: 7, width: 1.5, fill: css("--card"), show: !stacked },
          drag: { x: Boolean(onzoom), y: false, setScale: false },
          sync: sync ? { key: sync, setSeries: false } : undefined,
          y: false,
        },
        scales: {
          x: { time: true },
          ...Object.fromEntries(units.map((name) => [`y${name}`, { range: limits(tops?.[name]) }])),
        },
        axes: [
          { ...axis, values: timeTicks, space: timeSpace, size: 26, incrs: TIME_STEPS },
          ...units.slice(0, 2).map((name, i) => ({
            ...axis,
            scale: `y${name}`,
            side: i ? 1 : 3,
            grid: i ? { show: false } : grid,
            space: Math.max(34, this.#size().height / 10),
            incrs: increments(name),
            values: (u, splits) => ticks(splits, name),
            size: (u, labels) => Math.max(38, 14 + widest(labels ?? [])),
          })),
        ],
        series: [{}, ...lines.map((line) => lineOptions(line, stacked))],
        bands: stacked ? lines.slice(1).map((_, i) => ({ series: [i + 2, i + 1] })) : bandsOf(lines),
        hooks: {
          setCursor: [(u) => onhover?.(u.cursor.idx ?? null)],
          setSelect: [(u) => this.#zoom(u, onzoom)],
        },
      },
      data,
      this.#holder,
    );
    this.#plot.setScale("x", this.#shown);
  }

  #zoom(u, onzoom) {
    if (!onzoom || u.select.width < 8) return;
    onzoom(u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x"));
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
  }
}

function lineOptions(line, stacked) {
  const colour = css(line.colour);
  return {
    label: line.label,
    scale: `y${line.unit}`,
    stroke: line.edge ? "transparent" : colour,
    width: line.edge || stacked ? 0 : 1.75,
    dash: line.dash,
    fill: line.edge ? undefined : stacked ? fade(colour, 0.88) : line.fill ? fade(colour, line.fill) : undefined,
    points: { show: false },
  };
}

/** The area between the least and the most of a bucket, behind its line. */
function bandsOf(lines) {
  const bands = [];
  lines.forEach((line, i) => {
    if (line.edge === "high") bands.push({ series: [i + 1, i + 2], fill: fade(css(line.colour), 0.16) });
  });
  return bands;
}

/** Each line on top of those before it; where one has nothing it counts as 0, where all have nothing there is a gap. */
function stack([times, ...columns]) {
  const sums = new Array(times.length).fill(0);
  return [
    times,
    ...columns.map((column) =>
      column.map((value, i) => {
        if (columns.every((c) => c[i] === null || c[i] === undefined)) return null;
        return (sums[i] += value ?? 0);
      }),
    ),
  ];
}

/** The legend of a chart: a coloured mark, a name and a value for each line. */
export class Legend {
  #values = [];
  #lines;

  constructor(lines) {
    this.#lines = lines;
    this.element = h("ul", { class: "legend" });
    for (const line of lines) {
      const value = h("span", { class: "value" }, "–");
      this.#values.push(value);
      const mark = h("i", { class: line.dash ? "mark dashed" : "mark", "--mark": `var(${line.colour})` });
      this.element.append(h("li", { title: line.help ?? null }, mark, h("span", {}, line.label), value));
    }
  }

  /** Show these values. */
  show(values) {
    this.#values.forEach((element, i) => say(element, text(values[i], this.#lines[i].unit)));
  }
}
