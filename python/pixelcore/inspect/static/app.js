// The page as a whole: the token, the stream of events, the figures, and the keyboard.
import { List } from "./list.js";
import { Builder } from "./builder.js";
import { Plot } from "./plot.js";

const STORED = "token";
const at = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const tokenIn = (text) => (/token=([\w-]+)/.exec(text) ?? /^\s*([\w-]+)\s*$/.exec(text))?.[1] ?? "";

let source = null;
let hello = null;

const token = () => sessionStorage.getItem(STORED);

/** A request to our own server. The token is in a header, which no other site can send for us. */
async function ask(path, body) {
  const headers = { Authorization: `Bearer ${token()}` };
  const options = body === undefined ? { headers } : { method: "POST", headers, body: JSON.stringify(body) };
  const answer = await fetch(path, options);
  if (answer.status === 401) return refuse();
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.status === 204 ? null : answer.json();
}

function refuse() {
  source?.close();
  state("no token");
  if (!at("ask").open) at("ask").showModal();
  throw new Error("the token is not the one of this gateway");
}

function state(word) {
  at("state").textContent = word;
  at("state").dataset.state = word;
}

// Filters and searches also narrow the lines that the server samples. The sample always has a pixel that was fired here.
const builder = new Builder(ask, () => want());
const list = new List(() => want());
let asking = Promise.resolve();
function want() {
  const body = () => ({ stream: hello?.stream ?? "", contains: list.contains(), watched: builder.watched() });
  asking = asking.catch(() => {}).then(() => (hello ? ask("/want", body()) : null));
  return asking;
}

function connect() {
  source?.close();
  source = new EventSource(`/feed?token=${token()}${hello ? "&past=no" : ""}`);
  source.addEventListener("hello", ({ data }) => {
    const isFirst = hello === null;
    hello = JSON.parse(data);
    at("version").textContent = hello.version;
    state("live");
    list.begin(hello.reasons, isFirst);
    if (isFirst) builder.begin(hello);
    at("curl").textContent = `curl '${hello.gateway}/v1/pixel/track?wk=${hello.keys ? "YOUR_KEY" : "dk_test_1"}&e=Hello' -o pixel.gif`;
    want().catch(() => {});
    counted = null;
  });
  for (const kind of ["accepted", "rejected"])
    source.addEventListener(kind, ({ data }) => {
      const entry = list.add(kind, data);
      if (entry) builder.became(entry);
    });
  source.addEventListener("counts", ({ data }) => count(JSON.parse(data)));
  source.onerror = () => {
    // After a refusal the browser does not retry, and does not report the cause.
    source.close();
    if (!at("ask").open) state("reconnecting");
    setTimeout(retry, 1000);
  };
}

async function retry() {
  try {
    await ask("/lag");
  } catch {
    if (!at("ask").open) setTimeout(retry, 1000);
    return;
  }
  connect();
}

const ratePlot = new Plot(at("rate-plot"));
const lagPlot = new Plot(at("lag-plot"));
let counted = null;
let total = { accepted: 0, rejected: 0 };
let before = total;

function count(now) {
  if (counted === null) {
    before = total;
    counted = { seconds: 0, requests: 0 };
  }
  total = { accepted: before.accepted + now.accepted, rejected: before.rejected + now.rejected };
  at("accepted").textContent = whole.format(total.accepted);
  at("rejected").textContent = whole.format(total.rejected);
  list.sampled(now.every, total);
  const passed = now.seconds - counted.seconds;
  if (passed < 0.95) return;
  const requests = now.accepted + now.rejected;
  const rate = (requests - counted.requests) / passed;
  counted = { seconds: now.seconds, requests };
  at("rate").textContent = whole.format(rate < 10 ? Math.round(rate * 10) / 10 : Math.round(rate));
  ratePlot.add(rate, `Requests per second, last two minutes, now ${at("rate").textContent}`);
}

const bytes = (count) => {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(count || 1) / 3)));
  return `${(count / 1000 ** power).toPrecision(3).replace(/\.0+$/, "")} ${["B", "kB", "MB", "GB", "TB"][power]}`;
};

async function lag() {
  try {
    if (hello && !document.hidden && source.readyState === EventSource.OPEN) {
      const { lag: found, journalBytes, stall = "" } = await ask("/lag");
      at("stall").hidden = !stall;
      if (at("stall").textContent !== stall) at("stall").textContent = stall;
      const size = journalBytes.events + journalBytes.rejections;
      at("lag-name").textContent = found ? "Lag, events" : "Journal";
      at("lag").textContent = found ? whole.format(found.events) : bytes(size);
      const text = found
        ? `${whole.format(found.events)} events (${bytes(found.bytes)}) are not in Kafka yet, the oldest for ${found.seconds.toFixed(1)} s`
        : `${bytes(size)} in the journals; no Kafka is set`;
      lagPlot.add(found ? found.events : size, text);
      at("lag-plot").closest(".plotted").title = text;
    }
  } catch {
    // The stream reports the error.
  }
  setTimeout(lag, 1000);
}

const shortcuts = {
  "/": () => at("search").focus(),
  j: () => list.move(1),
  k: () => list.move(-1),
  c: () => list.copy(),
  p: () => list.pause(),
  l: () => list.link(),
  e: () => list.export(),
  n: () => builder.focus(),
  "?": () => at("keys").showModal(),
  ArrowDown: () => list.move(1),
  ArrowUp: () => list.move(-1),
  Escape: () => list.toTop(),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const field = event.target.closest("input, textarea, select");
  if (field) {
    if (event.key === "Escape") field.blur();
    return;
  }
  if (event.key.startsWith("Arrow") && !event.target.matches("body, #list, #list .row")) return;
  const action = Object.hasOwn(shortcuts, event.key) ? shortcuts[event.key] : null;
  if (action) {
    event.preventDefault();
    action();
  }
});

at("help").addEventListener("click", () => at("keys").showModal());
at("keys-close").addEventListener("click", () => at("keys").close());
at("ask").addEventListener("cancel", (event) => event.preventDefault());
at("ask-form").addEventListener("submit", (event) => {
  event.preventDefault();
  begin(tokenIn(at("ask-token").value));
});
addEventListener("hashchange", arrive);

/** Take the token and the filters from the address. The token is removed from it, because people copy the address bar. */
function arrive() {
  const parameters = new URLSearchParams(location.hash.slice(1));
  list.restore(parameters);
  begin(parameters.get("token"));
}

function begin(given) {
  if (given) sessionStorage.setItem(STORED, given);
  if (!token()) {
    state("no token");
    if (!at("ask").open) at("ask").showModal();
    return;
  }
  at("ask").close();
  connect();
}

arrive();
lag();
