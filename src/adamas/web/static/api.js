// Asking the agent, and knowing whether it answers.

const PATIENCE = 15000;

/** Whether the agent answers; `since` is when it last did (ms). Dispatches "change". */
class Link extends EventTarget {
  state = "starting";
  since = Date.now();
  skew = 0;

  set(state) {
    if (state === "ok") this.since = Date.now();
    if (state === this.state) return;
    this.state = state;
    this.dispatchEvent(new Event("change"));
  }
}

export const link = new Link();

/** Seconds since 1970 on the agent's clock. */
export const now = () => Date.now() / 1000 + link.skew;

/** An answer that says no, in the agent's words. */
export class Refusal extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** The JSON of an address; values of `parameters` may be lists. Throws Refusal, or TypeError where nobody answers. */
export async function ask(path, parameters = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of [value].flat()) query.append(name, one);
  }
  let answer;
  try {
    answer = await fetch(query.size ? `${path}?${query}` : path, { signal: AbortSignal.timeout(PATIENCE), cache: "no-store" });
  } catch (error) {
    link.set("away");
    throw error;
  }
  if (answer.ok) {
    const data = await answer.json();
    if (data.now) link.skew = data.now - Date.now() / 1000;
    link.set("ok");
    return data;
  }
  link.set(answer.status === 401 ? "token" : "ok");
  const message = await answer.json().then(
    (data) => data.error,
    () => answer.statusText,
  );
  throw new Refusal(answer.status, message);
}
