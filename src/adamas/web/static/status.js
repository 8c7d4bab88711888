// The status view: what the agent does, who is in trouble, and that nothing was lost silently.

import { ask, now } from "./api.js";
import { h, set } from "./dom.js";
import { clock, count, duration, text } from "./format.js";

const TROUBLE = new Set(["failed", "backoff", "stuck"]);
const CALM = new Set(["ok", "no data"]);

/** good, fair, bad or calm: how a state is coloured. */
export function tone(state) {
  if (state === "ok") return "good";
  if (TROUBLE.has(state)) return "bad";
  return state === "no data" ? "calm" : "fair";
}

const ago = (time) => {
  const seconds = now() - time;
  return !time ? "never" : seconds < 1 ? "now" : `${duration(seconds)} ago`;
};
const chip = (state) => h("span", { class: `chip ${tone(state)}` }, h("i"), state);
const fact = (name, value, title) => h("div", { class: "fact", title: title ?? null }, h("dt", {}, name), h("dd", {}, value));

/** The words of the header's chip. */
export function summary(status) {
  const bad = status.collectors.filter((c) => TROUBLE.has(c.state));
  const slow = status.outputs.filter((o) => o.state === "retrying");
  const history = status.history?.error;
  if (status.health.status === "failed") return { tone: "bad", text: "Nothing is measured" };
  if (bad.length) return { tone: "bad", text: bad.length === 1 ? `${bad[0].name} ${bad[0].state}` : `${bad.length} collectors failing` };
  if (!status.reload.ok) return { tone: "bad", text: "Configuration refused" };
  if (history) return { tone: "bad", text: "History in trouble" };
  if (slow.length) return { tone: "fair", text: slow.length === 1 ? `${slow[0].name} retrying` : `${slow.length} outputs retrying` };
  const running = status.collectors.filter((c) => c.state === "ok").length;
  return { tone: "good", text: `${running} collectors ok` };
}

export class StatusView {
  #root;
  #open = new Set();
  #shown = "";

  constructor(root) {
    this.#root = root;
    root.addEventListener("toggle", (event) => this.#remember(event.target), true);
  }

  #remember(details) {
    if (!details.dataset?.name) return;
    if (details.open) this.#open.add(details.dataset.name);
    else this.#open.delete(details.dataset.name);
  }

  /** Show an answer of /api/status. */
  show(status) {
    const focused = document.activeElement?.closest?.("[data-name]")?.dataset.name;
    this.#root.replaceChildren(this.#agent(status), this.#collectors(status), this.#outputs(status), this.#history(status));
    if (focused) this.#root.querySelector(`[data-name="${CSS.escape(focused)}"] > summary`)?.focus();
  }

  #agent(status) {
    const { reload } = status;
    return h(
      "article",
      { class: "tile wide" },
      h("header", {}, h("h2", {}, "Agent"), chip(status.health.status === "failed" ? "failed" : status.health.problems.length ? "degraded" : "ok")),
      status.health.problems.length
        ? h("ul", { class: "problems" }, status.health.problems.map((problem) => h("li", {}, problem)))
        : null,
      h(
        "dl",
        { class: "facts" },
        fact("Version", status.version),
        fact("Process", String(status.pid)),
        fact("Running for", duration(now() - status.started), `since ${clock(status.started)}`),
        fact("Memory", text(status.memory, "By")),
        fact("CPU", text((100 * status.cpu_seconds) / Math.max(1, now() - status.started), "%"), "of one CPU, since it was started"),
        fact("Configuration", status.config || "the defaults"),
        fact("Configuration read", `${reload.ok ? "" : "refused "}${ago(reload.time || status.started)}`, reload.message || null),
      ),
    );
  }

  #collectors({ collectors }) {
    const rank = (c) => (TROUBLE.has(c.state) ? 0 : CALM.has(c.state) ? (c.state === "ok" ? 2 : 3) : 1);
    const sorted = [...collectors].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
    return h(
      "article",
      { class: "tile wide" },
      h("header", {}, h("h2", {}, "Collectors"), h("span", { class: "note" }, `${collectors.length}`)),
      h(
        "div",
        { class: "rows", role: "list" },
        h("div", { class: "row head", "aria-hidden": "true" }, ...["Collector", "State", "Last run", "Took", "Series", "Runs", "Failures"].map((t) => h("span", {}, t))),
        sorted.map((c) => this.#collector(c)),
      ),
    );
  }

  #collector(c) {
    const removed = Object.entries(c.removed ?? {});
    const details = h(
      "details",
      { "data-name": `collector ${c.name}`, role: "listitem", open: this.#open.has(`collector ${c.name}`) },
      h(
        "summary",
        { class: "row" },
        h("span", { class: "name" }, c.name, c.type !== c.name ? h("small", {}, c.type) : null),
        chip(c.state),
        h("span", { "data-label": "last run" }, ago(c.last_run)),
        h("span", { "data-label": "took" }, c.last_run ? text(c.last_duration, "s") : "–"),
        h("span", { "data-label": "series" }, count(c.series)),
        h("span", { "data-label": "runs" }, count(c.runs)),
        h("span", { "data-label": "failures", class: c.failures ? "bad" : null }, count(c.failures)),
        c.error && c.state !== "ok" ? h("span", { class: TROUBLE.has(c.state) ? "why bad" : "why" }, c.error) : null,
      ),
      h(
        "div",
        { class: "more" },
        h(
          "dl",
          { class: "facts" },
          fact("Interval", duration(c.interval)),
          fact("Next run", c.next_run > now() ? `in ${duration(c.next_run - now())}` : c.state === "stuck" ? "when this one ends" : "now"),
          fact("Runs in", c.isolation === "process" ? "a child process" : "a thread"),
          fact("Samples", count(c.samples)),
          fact("Left out", removed.length ? removed.map(([reason, n]) => `${count(n)} ${reason}`).join(", ") : "nothing"),
        ),
        c.error && !c.stack?.includes(c.error) ? h("pre", {}, c.error) : null,
        c.stack ? h("pre", { "aria-label": "Where it hangs" }, c.stack) : null,
        h("p", {}, h("a", { href: `#explore?q=${encodeURIComponent(`${c.name}.`)}` }, "Its series")),
      ),
    );
    return details;
  }

  #outputs({ outputs }) {
    const list = outputs.length
      ? outputs.map((o) => this.#output(o))
      : [h("p", { class: "quiet" }, "No output is configured: what is measured stays here, on this page and at /metrics.")];
    return h("article", { class: "tile wide" }, h("header", {}, h("h2", {}, "Outputs"), h("span", { class: "note" }, String(outputs.length || ""))), list);
  }

  #output(o) {
    const { ledger, queue, spool } = o;
    const dropped = Object.entries(ledger.dropped);
    const unfit = Object.keys(o.unfit);
    const lost = dropped.reduce((sum, [, n]) => sum + n, 0);
    const places = [
      ["delivered", ledger.delivered, "--green"],
      ["in memory", ledger.memory, "--blue"],
      ["in flight", ledger.flight, "--sky"],
      ["in spool", ledger.spool, "--amber"],
      ["dropped", lost, "--red"],
    ];
    const sum = places.reduce((total, [, n]) => total + n, 0);
    const part = queue.limit ? queue.bytes / queue.limit : 0;
    return h(
      "section",
      { class: "output", "aria-label": o.name },
      h("h3", {}, o.name, h("small", {}, `${o.type}${o.naming ? `, ${o.naming}` : ""}`), chip(o.state)),
      o.error ? h("p", { class: "problem" }, o.error) : null,
      spool && spool.error ? h("p", { class: "problem" }, `Spool: ${spool.error}`) : null,
      h(
        "div",
        { class: "ledger" },
        h("span", { class: "offered" }, h("b", {}, count(ledger.offered)), " offered"),
        h("span", { class: "sign", "aria-hidden": "true" }, "="),
        places.map(([name, n, colour], i) => [
          i ? h("span", { class: "sign", "aria-hidden": "true" }, "+") : null,
          h("span", { class: "place", "--mark": `var(${colour})` }, h("i", { class: "mark" }), h("b", {}, count(n)), ` ${name}`),
        ]),
        h("span", { class: sum === ledger.offered ? "check good" : "check bad" }, sum === ledger.offered ? "✓ adds up" : `✗ differs by ${count(Math.abs(sum - ledger.offered))}`),
      ),
      h(
        "dl",
        { class: "facts" },
        h(
          "div",
          { class: "fact" },
          h("dt", {}, "Queue"),
          h(
            "dd",
            {},
            set(h("meter", { min: "0", max: "1", low: "0.5", high: "0.8", optimum: "0" }), { value: String(part), "aria-label": "Queue" }),
            ` ${text(queue.bytes, "By")} of ${text(queue.limit, "By")}`,
          ),
        ),
        fact("Last send", ago(o.last_send)),
        fact("Reconnects", count(o.reconnects)),
        spool ? fact("Spool", `${text(spool.bytes, "By")} of ${text(spool.limit, "By")}`) : null,
        o.dead_letters.count ? fact("Refused, kept in", o.dead_letters.path) : null,
        unfit.length ? fact("Cannot be carried", `${count(unfit.length)} names, such as ${unfit[0]}`) : null,
        dropped.length ? fact("Dropped for", dropped.map(([reason, n]) => `${count(n)} ${reason}`).join(", ")) : null,
      ),
    );
  }

  #history({ history }) {
    if (!history) {
      return h(
        "article",
        { class: "tile wide" },
        h("header", {}, h("h2", {}, "History"), chip("off")),
        h("p", { class: "quiet" }, "The history is off: charts show what this page has seen since it was opened."),
      );
    }
    const shown = Object.entries(history).filter(([name, value]) => name !== "error" && value !== null);
    return h(
      "article",
      { class: "tile wide" },
      h("header", {}, h("h2", {}, "History"), chip(history.error ? "failed" : "ok")),
      history.error ? h("p", { class: "problem" }, history.error) : null,
      h("dl", { class: "facts" }, shown.map(([name, value]) => fact(words(name), measure(name, value)))),
    );
  }
}

const words = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** A figure of the history, by what its name says it is. */
function measure(name, value) {
  if (typeof value === "object") return Object.entries(value).map(([reason, n]) => `${count(n)} ${reason}`).join(", ") || "nothing";
  if (typeof value === "string") return value;
  if (/bytes|size|memory/.test(name)) return text(value, "By");
  if (/oldest|newest|since|time|from|until/.test(name) && value > 1e9) return `${clock(value, false)} (${ago(value)})`;
  if (/retention|seconds|duration|age/.test(name)) return duration(value);
  return count(value);
}

/** Ask for the status. */
export const askStatus = () => ask("api/status");
