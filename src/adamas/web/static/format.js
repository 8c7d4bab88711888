// Numbers as people read them: three significant digits, a unit that fits, no more than that.

const IEC = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
const SI = ["", "k", "M", "G", "T", "P", "E"];
const SMALL = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];

/** A percentage: one digit after the point says enough, but for what is less than one. */
function percent(value) {
  return String(Number(value.toFixed(Math.abs(value) < 1 ? 2 : 1)));
}

/** A number with three significant digits at most; thousands stay whole. */
export function digits(value) {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size < 0.001) return value.toExponential(1);
  const decimals = size >= 100 ? 0 : size >= 10 ? 1 : size >= 0.1 ? 2 : 3;
  return String(Number(value.toFixed(decimals)));
}

function steps(value, base, names, unit) {
  let step = 0;
  let size = Math.abs(value);
  while (size >= base * 0.9995 && step < names.length - 1) {
    size /= base;
    step += 1;
  }
  return { number: digits(value / base ** step), unit: names[step] + unit, scale: base ** step };
}

function time(value) {
  const size = Math.abs(value);
  if (size >= 172800) return { number: digits(value / 86400), unit: "d", scale: 86400 };
  if (size >= 7200) return { number: digits(value / 3600), unit: "h", scale: 3600 };
  if (size >= 120) return { number: digits(value / 60), unit: "min", scale: 60 };
  const [scale, unit] = SMALL.find(([step]) => size >= step) ?? (size === 0 ? SMALL[0] : SMALL[3]);
  return { number: digits(value / scale), unit, scale };
}

/** {number, unit, scale} of a value in one of the units that series declare (UCUM: By, s, 1, %, By/s, ...). */
export function parts(value, unit = "") {
  if (value === null || value === undefined || !Number.isFinite(value)) return { number: "–", unit: "", scale: 1 };
  switch (unit) {
    case "By":
      return steps(value, 1024, IEC, "B");
    case "By/s":
      return steps(value, 1024, IEC, "B/s");
    case "bit":
      return steps(value, 1000, SI, "bit");
    case "bit/s":
      return steps(value, 1000, SI, "bit/s");
    case "Hz":
      return steps(value, 1000, SI, "Hz");
    case "s":
      return time(value);
    case "1":
      return { number: percent(value * 100), unit: "%", scale: 0.01 };
    case "%":
      return { number: percent(value), unit, scale: 1 };
    case "s/s":
      return { number: digits(value), unit, scale: 1 };
    case "Cel":
      return { number: digits(value), unit: "°C", scale: 1 };
    default: {
      const name = unit.replace(/^\{(.*)\}/, "$1").replace(/^1\/s$/, "/s");
      return Math.abs(value) >= 100000 ? steps(value, 1000, SI, name ? ` ${name}` : "") : { number: digits(value), unit: name, scale: 1 };
    }
  }
}

/** A value with its unit, as one text. */
export function text(value, unit) {
  const { number, unit: name } = parts(value, unit);
  return name ? `${number} ${name.trim()}` : number;
}

/** Tick labels of an axis: one unit for all, as many decimals as the steps need. */
export function ticks(values, unit) {
  const largest = Math.max(...values.map(Math.abs));
  const { scale, unit: name } = parts(largest, unit);
  const step = values.length > 1 ? Math.abs(values[1] - values[0]) / scale : largest / scale;
  let decimals = 0;
  while (decimals < 5 && Math.abs(step * 10 ** decimals - Math.round(step * 10 ** decimals)) > 1e-6 * step * 10 ** decimals) decimals += 1;
  return values.map((value) => {
    const number = (value / scale).toFixed(decimals);
    return name && value !== 0 ? `${number} ${name.trim()}` : Number(number) === 0 ? "0" : number;
  });
}

const POWERS = [0, 1, 2, 3, 4, 5, 6];

/** The steps that an axis may take, for units that do not count in tens. */
export function increments(unit) {
  if (unit === "By" || unit === "By/s") {
    return POWERS.flatMap((power) => [1, 2, 5, 10, 20, 50, 100, 200, 500].map((n) => n * 1024 ** power));
  }
  return undefined;
}

/** How long ago, or how long: "3 s", "4 min", "2 h 5 min", "3 d 4 h". */
export function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const s = Math.max(0, seconds);
  if (s < 1) return "0 s";
  if (s < 90) return `${Math.round(s)} s`;
  if (s < 5400) return `${Math.round(s / 60)} min`;
  if (s < 86400) return pair(s, 3600, "h", 60, "min");
  return pair(s, 86400, "d", 3600, "h");
}

function pair(s, large, first, small, second) {
  const rest = Math.floor((s % large) / small);
  return `${Math.floor(s / large)} ${first}${rest ? ` ${rest} ${second}` : ""}`;
}

/** A count, with thin spaces between thousands. */
export function count(value) {
  return Number.isFinite(value) ? Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f") : "–";
}

/** A clock time, with the date where it is not today. */
export function clock(seconds, withSeconds = true) {
  const date = new Date(seconds * 1000);
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${withSeconds ? `:${two(date.getSeconds())}` : ""}`;
  if (date.toDateString() === new Date().toDateString()) return time;
  return `${date.toLocaleDateString(undefined, { day: "numeric", month: "short" })} ${time}`;
}
