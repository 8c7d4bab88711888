// The points behind the charts: loaded from the history where there is one, continued with what the agent measures now.

import { ask, now } from "./api.js";

const AT_ONCE = 32;
const KEEP_LIVE = 21600;
export const POINTS = 300;

/** One series: times and values in step, and the least and most of each bucket where the history made buckets. */
class Line {
  times = [];
  values = [];
  low = [];
  high = [];
  width = 0; // of the history's buckets
  #begun = 0;

  push(time, value, low = value, high = value) {
    if (this.times.length && time <= this.times[this.times.length - 1]) return;
    this.times.push(time);
    this.values.push(value);
    this.low.push(low);
    this.high.push(high);
  }

  /** What was measured just now. Beside wide buckets only the newest of each width stays, so that no part is denser. */
  live(time, value) {
    const last = this.times.length - 1;
    if (this.#begun && time - this.#begun < 0.9 * this.width && time > this.times[last]) {
      this.times[last] = time;
      this.values[last] = value;
      this.low[last] = Math.min(this.low[last], value);
      this.high[last] = Math.max(this.high[last], value);
    } else {
      this.push(time, value);
      this.#begun = time;
    }
  }

  trim(before) {
    let drop = 0;
    while (drop < this.times.length && this.times[drop] < before) drop += 1;
    if (drop) for (const column of [this.times, this.values, this.low, this.high]) column.splice(0, drop);
  }
}

/** The series that the page watches, over one range of time. */
export class Feed {
  lines = new Map();
  range = 300;
  history = null; // null until the agent said whether it keeps one
  newest = 0;
  #epoch = 0;
  #loaded = new Map();

  /** Take in what /api/latest gave. */
  push(batches) {
    const oldest = now() - (this.history ? this.range * 1.05 : KEEP_LIVE);
    for (const batch of batches) {
      this.newest = Math.max(this.newest, batch.time);
      for (const [name, value] of Object.entries(batch.values)) {
        let line = this.lines.get(name);
        if (!line) this.lines.set(name, (line = new Line()));
        line.live(Math.round(1000 * batch.time) / 1000, value);
        if (line.times[0] < oldest) line.trim(oldest);
      }
    }
  }

  /** Another range: what was loaded for the old one is no longer good, but stays until the new arrives. */
  setRange(range) {
    this.range = range;
    this.forget();
  }

  /** Everything has to be loaded anew. */
  forget() {
    this.#epoch += 1;
    this.#loaded.clear();
  }

  /** Load those of the names that were not loaded yet, or so long ago that the buckets of a long range moved on. */
  async load(names) {
    if (!this.history) return;
    const old = now() - (this.range > 900 ? Math.max(30, (2 * this.range) / POINTS) : Infinity);
    const wanted = names.filter((name) => !(this.#loaded.get(name) > old));
    const epoch = this.#epoch;
    for (const name of wanted) this.#loaded.set(name, now());
    for (let at = 0; at < wanted.length; at += AT_ONCE) {
      const part = wanted.slice(at, at + AT_ONCE);
      try {
        const data = await ask("api/query", { series: part, from: `-${this.range}s`, points: POINTS });
        if (epoch !== this.#epoch) return;
        for (const one of data.series) this.#take(one);
      } catch (error) {
        for (const name of wanted.slice(at)) this.#loaded.delete(name);
        throw error;
      }
    }
  }

  #take({ name, times, values, min, max }) {
    const line = new Line();
    times.forEach((time, i) => line.push(time, values[i], min[i], max[i]));
    const before = this.lines.get(name);
    line.width = typicalStep(times);
    if (before) before.times.forEach((time, i) => line.live(time, before.values[i]));
    this.lines.set(name, line);
  }

  /** When the first of what is here was measured. */
  oldest() {
    let first = Infinity;
    for (const line of this.lines.values()) if (line.times.length) first = Math.min(first, line.times[0]);
    return first === Infinity ? 0 : first;
  }

  /** How old the newest value of some series is. */
  age(names) {
    return now() - Math.max(0, ...names.map((name) => this.lines.get(name)?.times.at(-1) ?? 0));
  }

  /** The newest value of a series, or undefined. */
  last(name) {
    const line = this.lines.get(name);
    return line?.values[line.values.length - 1];
  }

  /**
   * [times, values of each name...] of the range, as uPlot wants them: one time axis, null where a series has nothing,
   * and a null where it paused for longer than it should.
   */
  table(names, which = "values") {
    return tabulate(
      names.map((name) => this.lines.get(name) ?? new Line()),
      now() - this.range * 1.02,
      which,
    );
  }
}

/** One table of several lines; `which` of their columns, or a list of one for each. */
export function tabulate(lines, from, which = "values") {
  const longest = lines.reduce((a, b) => (b.times.length > a.times.length ? b : a), { times: [] }).times;
  const same = lines.every((l) => l.times.length === longest.length && l.times[0] === longest[0] && l.times.at(-1) === longest.at(-1));
  const all = same ? longest : [...new Set(lines.flatMap((line) => line.times))].sort((a, b) => a - b);
  const step = typicalStep(longest);
  const times = [];
  for (const time of all) {
    if (time < from) continue;
    const before = times[times.length - 1];
    if (step && before !== undefined && time - before > step * 3) times.push(before + step);
    times.push(time);
  }
  return [times, ...lines.map((line, i) => spread(line, times, Array.isArray(which) ? which[i] : which))];
}

function typicalStep(times) {
  if (times.length < 3) return 0;
  const steps = times.slice(1).map((time, i) => time - times[i]);
  return steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)];
}

function spread(line, times, which) {
  const own = line.times;
  const step = typicalStep(own);
  let next = 0; // the first own sample at or after the time
  return times.map((time) => {
    while (next < own.length && own[next] < time) next += 1;
    if (own[next] === time) return line[which][next];
    // Between two of its own samples a series is drawn through (undefined); where it paused there is a gap (null).
    const paused = next === 0 || next === own.length || !step || own[next] - own[next - 1] > 2.5 * step;
    return paused ? null : undefined;
  });
}
