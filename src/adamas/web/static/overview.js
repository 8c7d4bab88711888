// The overview: what a stranger wants to know of a machine, a tile for each.

import { h, memory, say, set } from "./dom.js";
import { digits, text } from "./format.js";
import { Tile } from "./tile.js";

const part = (name, at) => name.split(".")[at];

/** The rows of some columns added up: null where none has a value. */
function sum(columns, length) {
  return Array.from({ length }, (_, i) => {
    let total = null;
    for (const column of columns) if (column[i] !== null && column[i] !== undefined) total = (total ?? 0) + column[i];
    return total;
  });
}

const MODES = [
  ["system", "system", "--red"],
  ["user", "user", "--blue"],
  ["nice", "nice", "--sky"],
  ["iowait", "iowait", "--amber"],
  ["irq", "interrupts", "--violet"],
  ["softirq", "interrupts", "--violet"],
  ["steal", "stolen", "--pink"],
];
const GUESTS = ["guest", "guest_nice"];
const HELP = {
  iowait: "Idle while something waits for a disk",
  stolen: "Taken by the hypervisor for others",
  nice: "Programs of low priority",
  interrupts: "Serving devices",
};

const cpu = {
  id: "cpu",
  title: "CPU",
  collector: "cpu",
  href: "#explore?q=cpu.total.",
  match: ["cpu.total.*", "cpu.cpu_count"],
  stacked: true,
  tops: { "%": 100 },
  names: (known) => known.filter((name) => name.startsWith("cpu.total.") && !GUESTS.includes(part(name, 2))),
  lines(names) {
    const there = MODES.filter(([mode]) => names.includes(`cpu.total.${mode}`));
    const labels = [...new Set(there.map(([, label]) => label))];
    return labels.map((label) => ({ label, colour: there.find((mode) => mode[1] === label)[2], unit: "%", help: HELP[label] }));
  },
  table(feed, names) {
    const [times, ...columns] = feed.table(names);
    const all = sum(columns, times.length);
    const share = (label) => {
      const modes = MODES.filter((mode) => mode[1] === label).map(([mode]) => `cpu.total.${mode}`);
      const some = sum(columns.filter((_, i) => modes.includes(names[i])), times.length);
      return some.map((value, i) => (value === null || !all[i] ? null : (100 * value) / all[i]));
    };
    return [times, ...this.lines(names).map((line) => share(line.label))];
  },
  headline: (row) => ({ value: row.every((v) => v === undefined) ? undefined : row.reduce((a, b) => a + (b ?? 0), 0), unit: "%" }),
  note(row, feed) {
    const count = feed.last("cpu.cpu_count");
    return count ? `of ${count} ${count === 1 ? "CPU" : "CPUs"}` : "";
  },
};

const load = {
  id: "load",
  title: "Load",
  collector: "loadavg",
  href: "#explore?q=loadavg.",
  match: ["loadavg.*"],
  names: (known) => ["loadavg.01", "loadavg.05", "loadavg.15"].filter((name) => known.includes(name)),
  lines: (names) =>
    [
      ["01", "1 min", "--blue", 0.14],
      ["05", "5 min", "--teal", 0],
      ["15", "15 min", "--slate", 0],
    ]
      .filter(([key]) => names.includes(`loadavg.${key}`))
      .map(([, label, colour, fill]) => ({ label, colour, fill, unit: "" })),
  table: (feed, names) => feed.table(names),
  headline: (row) => ({ value: row[0], unit: "" }),
  note(row, feed) {
    const normalized = feed.last("loadavg.01_normalized");
    return normalized === undefined ? "" : `${digits(normalized)} per CPU`;
  },
};

const PARTS = ["MemTotal", "MemFree", "Buffers", "Cached", "SReclaimable"];

const ram = {
  id: "memory",
  title: "Memory",
  collector: "memory",
  href: "#explore?q=memory.",
  match: ["memory.{MemTotal,MemFree,Buffers,Cached,SReclaimable,SwapTotal,SwapFree}"],
  stacked: true,
  tops: {},
  names: (known) => (known.includes("memory.MemTotal") ? PARTS.map((name) => `memory.${name}`).filter((name) => known.includes(name)) : []),
  lines: () => [
    { label: "used", colour: "--blue", unit: "By", help: "What programs and the kernel hold" },
    { label: "buffers", colour: "--violet", unit: "By", help: "Blocks of devices" },
    { label: "cached", colour: "--teal", unit: "By", help: "Files that were read or written, given back when needed" },
    { label: "free", colour: "--empty", unit: "By" },
  ],
  table(feed, names) {
    const [times, ...columns] = feed.table(names);
    const of = (field) => columns[names.indexOf(`memory.${field}`)] ?? times.map(() => 0);
    const [total, free, buffers] = [of("MemTotal"), of("MemFree"), of("Buffers")];
    const cached = sum([of("Cached"), of("SReclaimable")], times.length);
    const used = total.map((t, i) => (t === null || t === undefined ? null : Math.max(0, t - free[i] - buffers[i] - cached[i])));
    this.tops.By = feed.last("memory.MemTotal");
    return [times, used, buffers, cached, free];
  },
  headline: (row) => ({ value: row[0], unit: "By" }),
  note(row, feed) {
    const total = feed.last("memory.MemTotal");
    const swap = (feed.last("memory.SwapTotal") ?? 0) - (feed.last("memory.SwapFree") ?? 0);
    if (!total || row[0] === undefined) return "";
    return `${text((100 * row[0]) / total, "%")} of ${text(total, "By")}${swap > 0 ? `, ${text(swap, "By")} swapped` : ""}`;
  },
};

const REAL = /^(en|eth|em|wl|ww|ib|p\d+p)/;

/** The interfaces whose traffic is the machine's: its hardware, where it can be told from bridges and tunnels. */
function interfaces(known) {
  const all = [...new Set(known.filter((name) => /^network\..*\.rx_bytes$/.test(name)).map((name) => part(name, 1)))];
  const real = all.filter((name) => REAL.test(name));
  return real.length ? real : all.filter((name) => name !== "lo").concat(all.length === 1 ? all : []);
}

const network = {
  id: "network",
  title: "Network",
  collector: "network",
  href: "#explore?q=network. bytes",
  match: ["network.*.{rx,tx}_bytes"],
  bits: memory.get("bits", "yes") === "yes",
  tools() {
    const button = h("button", { type: "button", class: "small" });
    const tell = () => {
      say(button, this.bits ? "bits" : "bytes");
      set(button, { "aria-label": `Traffic in ${this.bits ? "bits" : "bytes"}; change`, title: `Show ${this.bits ? "bytes" : "bits"}` });
    };
    button.addEventListener("click", () => {
      this.bits = !this.bits;
      memory.set("bits", this.bits ? "yes" : "no");
      tell();
      button.dispatchEvent(new Event("refresh", { bubbles: true }));
    });
    tell();
    return button;
  },
  names: (known) => interfaces(known).flatMap((name) => [`network.${name}.rx_bytes`, `network.${name}.tx_bytes`]),
  lines() {
    const unit = this.bits ? "bit/s" : "By/s";
    return [
      { label: "in", colour: "--teal", fill: 0.18, unit },
      { label: "out", colour: "--violet", fill: 0.12, unit },
    ];
  },
  table(feed, names) {
    const [times, ...columns] = feed.table(names);
    const scale = this.bits ? 8 : 1;
    const total = (end) => sum(columns.filter((_, i) => names[i].endsWith(end)), times.length).map((v) => (v === null ? null : v * scale));
    return [times, total(".rx_bytes"), total(".tx_bytes")];
  },
  headline: (row) => ({ value: row.some((v) => v !== undefined) ? (row[0] ?? 0) + (row[1] ?? 0) : undefined, unit: network.bits ? "bit/s" : "By/s" }),
  note: (row, feed, names) => [...new Set(names.map((name) => part(name, 1)))].slice(0, 3).join(", "),
};

const WHOLE = /^(sd[a-z]+|vd[a-z]+|xvd[a-z]+|hd[a-z]+|nvme\d+n\d+|mmcblk\d+|dasd[a-z]+|pmem\d+)$/;
const LAYERED = /^(loop|ram|zram|dm-|md|sr|fd)/;

function disks(known) {
  const all = [...new Set(known.filter((name) => /^iostat\..*\.read_bytes$/.test(name)).map((name) => part(name, 1)))];
  const whole = all.filter((name) => WHOLE.test(name));
  return whole.length ? whole : all.filter((name) => !LAYERED.test(name));
}

const disk = {
  id: "disk",
  title: "Disk",
  collector: "diskusage",
  href: "#explore?q=iostat.",
  match: ["iostat.*.{read_bytes,write_bytes,utilization}"],
  tops: { "%": 100 },
  names: (known) => disks(known).flatMap((name) => ["read_bytes", "write_bytes", "utilization"].map((what) => `iostat.${name}.${what}`)).filter((name) => known.includes(name)),
  lines: () => [
    { label: "read", colour: "--blue", fill: 0.14, unit: "By/s" },
    { label: "written", colour: "--amber", fill: 0.14, unit: "By/s" },
    { label: "busy", colour: "--slate", dash: [4, 4], unit: "%", help: "How much of the time the busiest disk had something to do" },
  ],
  table(feed, names) {
    const [times, ...columns] = feed.table(names);
    const those = (end) => columns.filter((_, i) => names[i].endsWith(end));
    const busy = times.map((_, i) => {
      const there = those(".utilization").map((column) => column[i]).filter((v) => v !== null && v !== undefined);
      return there.length ? Math.min(100, 100 * Math.max(...there)) : null;
    });
    return [times, sum(those(".read_bytes"), times.length), sum(those(".write_bytes"), times.length), busy];
  },
  headline: (row) => ({ value: row[0] === undefined && row[1] === undefined ? undefined : (row[0] ?? 0) + (row[1] ?? 0), unit: "By/s" }),
  note: (row, feed, names) => `${row[2] === undefined ? "" : `${text(row[2], "%")} busy, `}${[...new Set(names.map((name) => part(name, 1)))].slice(0, 3).join(", ")}`,
};

const SMALL = 2 ** 20; // what is smaller holds nothing that could fill up

const SHORT_OF = [
  ["cpu", "CPU", "--blue"],
  ["memory", "memory", "--violet"],
  ["io", "disk", "--amber"],
];

const pressure = {
  id: "pressure",
  title: "Pressure",
  collector: "pressure",
  optional: true,
  href: "#explore?q=pressure.",
  match: ["pressure.*.some.avg10"],
  names: (known) => SHORT_OF.map(([name]) => `pressure.${name}.some.avg10`).filter((name) => known.includes(name)),
  lines: (names) =>
    SHORT_OF.filter(([name]) => names.includes(`pressure.${name}.some.avg10`)).map(([, label, colour]) => ({
      label,
      colour,
      fill: 0.12,
      unit: "%",
      help: `How much of the time some task waited for ${label}, over 10 seconds`,
    })),
  table(feed, names) {
    const [times, ...columns] = feed.table(names);
    return [times, ...columns.map((column) => column.map((value) => (value === null || value === undefined ? value : 100 * value)))];
  },
  headline: (row) => ({ value: Math.max(...row.map((value) => value ?? 0)), unit: "%" }),
  note: () => "of the time something waits",
};

/** How full each file system is: bars, since this moves in days. */
class Space {
  id = "space";
  collector = "diskspace";
  match = ["diskspace.*.{size,available,used_ratio,inodes,inodes_used}"];
  #mounts = h("ul", { class: "bars" });
  #empty = h("p", { class: "empty" });
  element = h("article", { class: "tile", id: "tile-space" }, h("header", {}, h("h2", {}, h("a", { href: "#explore?q=diskspace.", title: "Its series" }, "Disk space"))), this.#mounts, this.#empty);
  points = new Map();

  names = () => [];
  slide() {}
  recolour() {}
  drawn = false;

  refresh(feed, known, from, to, trouble) {
    const mounts = known.filter((name) => /^diskspace\..*\.used_ratio$/.test(name)).map((name) => name.slice(0, -".used_ratio".length));
    this.element.classList.toggle("blank", !mounts.length);
    say(this.#empty, mounts.length ? "" : trouble || `Waiting for the first values of ${this.collector}…`);
    const rows = mounts.map((mount) => ({
      point: this.points.get(mount) ?? mount.split(".")[1],
      ratio: feed.last(`${mount}.used_ratio`),
      size: feed.last(`${mount}.size`),
      left: feed.last(`${mount}.available`),
      inodes: feed.last(`${mount}.inodes_used`) / feed.last(`${mount}.inodes`),
    }));
    const worth = rows.filter((row) => row.size === undefined || row.size >= SMALL);
    if (worth.length) rows.splice(0, rows.length, ...worth);
    rows.sort((a, b) => (b.ratio ?? 0) - (a.ratio ?? 0));
    this.drawn = rows.length > 0;
    this.#mounts.replaceChildren(...rows.map((row) => this.#bar(row)));
  }

  #bar({ point, ratio, size, left, inodes }) {
    const percent = Math.round(100 * (ratio ?? 0));
    const tone = percent >= 90 || inodes >= 0.9 ? "bad" : percent >= 80 || inodes >= 0.8 ? "fair" : "good";
    const about = [`${text(left, "By")} free of ${text(size, "By")}`];
    if (percent >= 90) about.push("nearly full");
    if (inodes >= 0.8) about.push(`${Math.round(100 * inodes)} % of its inodes used`);
    return h(
      "li",
      { class: tone },
      h("span", { class: "mount", title: point }, point),
      h("span", { class: "percent" }, `${percent} %`),
      h("div", { class: "track", role: "meter", "aria-label": `${point} used`, "aria-valuemin": "0", "aria-valuemax": "100", "aria-valuenow": String(percent), "--part": `${percent}%` }, h("i")),
      h("span", { class: "left" }, about.join(", ")),
    );
  }
}

export class Overview {
  #space = new Space();
  tiles = [new Tile(cpu), new Tile(load), new Tile(ram), new Tile(network), new Tile(disk), new Tile(pressure), this.#space];

  constructor(root) {
    root.append(h("div", { class: "grid" }, this.tiles.map((tile) => tile.element)));
  }

  /** The patterns of everything that the tiles read. */
  get match() {
    return [...this.tiles.flatMap((tile) => tile.match), "uptime.seconds"];
  }

  /** Where the file systems are mounted, by the labels of their series. */
  name(series) {
    for (const one of series) if (one.labels?.mountpoint) this.#space.points.set(one.name.slice(0, one.name.lastIndexOf(".")), one.labels.mountpoint);
  }

  /** The series that charts need of the past. */
  names(known) {
    return this.tiles.flatMap((tile) => tile.names(known));
  }

  refresh(feed, known, from, to, troubles) {
    for (const tile of this.tiles) tile.refresh(feed, known, from, to, troubles.get(tile.collector));
  }
}
