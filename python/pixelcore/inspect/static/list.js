// The list of events, newest first: the kept ones, the shown ones, and the reader's place.
import { Entry } from "./entry.js";
import { copy } from "./json.js";
import { explain } from "./notes.js";

const KEPT = 500;
const MOVING = 1500; // milliseconds after a movement during which the pointer may be on its way to a row
const LATE = 1000; // milliseconds that an event may arrive after newer ones, because journals are read one by one
const KEY = /^[\w-]{1,64}$/;
const FILTERS = ["search", "pipeline", "type", "outcome", "client"];
const at = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

/** Set a filter. A select gets an option that it does not have yet. */
function choose(id, value) {
  const field = at(id);
  field.value = value;
  if (field.value === value) return;
  if (id === "client" && value.startsWith("name:")) at("clients").append(new Option(value.slice(5), value));
  else if (id === "outcome" && value.startsWith("reason:")) at("reasons").append(new Option(value.slice(7), value));
  else if (id === "pipeline" && KEY.test(value)) field.append(new Option(value));
  else value = "";
  field.value = value;
}

export class List {
  #entries = []; // newest first
  #incoming = []; // oldest first: not shown yet
  #pipelines = new Map();
  #paused = false;
  #pausedAt = 0;
  #total = 0;
  #every = { accepted: 1, rejected: 1 };
  #sampledUntil = 0;
  #isDue = false;
  #missed = false;
  #movingUntil = 0;
  #current = null;

  constructor(narrowed) {
    this.root = at("list");
    this.narrowed = narrowed;
    let timer = 0;
    const changed = () => {
      this.#show();
      this.#keep();
      clearTimeout(timer);
      timer = setTimeout(() => narrowed().catch(() => {}), 150);
    };
    for (const id of FILTERS) at(id).addEventListener("input", changed);
    at("link").addEventListener("click", () => this.link());
    at("export").addEventListener("click", () => this.export());
    at("pause").addEventListener("click", () => this.pause());
    at("clear").addEventListener("click", () => this.#clear());
    at("newer").addEventListener("click", () => this.toTop());
    this.root.addEventListener("click", (event) => this.#entryOf(event.target)?.clicked(event));
    this.root.addEventListener("focusin", ({ target }) => this.#select(this.#entryOf(target)));
    // Nothing moves while somebody reads or aims. New events are shown afterwards.
    this.root.addEventListener("focusout", () => this.#soon());
    this.root.addEventListener("scroll", () => this.root.scrollTop === 0 && this.#soon());
    this.root.addEventListener("mouseleave", () => this.#moving(0));
    // A row that moves below the pointer also makes this event, but without a movement.
    this.root.addEventListener("mousemove", (event) => (event.movementX || event.movementY) && this.#moving(MOVING));
  }

  /** Take note that a stream begins: the first one, or another one after a break. */
  begin(reasons, isFirst) {
    explain(reasons);
    const chosen = at("outcome").value;
    at("reasons").replaceChildren(...Object.keys(reasons).map((reason) => new Option(reason, `reason:${reason}`)));
    choose("outcome", chosen);
    if (!isFirst) this.#missed = true;
    this.#note();
  }

  /** Take a message of the stream; null if it is not an event. */
  add(kind, data) {
    let entry;
    try {
      entry = new Entry(kind, data);
    } catch {
      return null;
    }
    if (!this.#pipelines.has(entry.key) && KEY.test(entry.key) && this.#pipelines.size < 200) this.#addPipeline(entry);
    this.#addClient(entry.client);
    this.#incoming.push(entry);
    if (this.#incoming.length > KEPT) this.#incoming.shift();
    this.#soon();
    return entry;
  }

  /** Take the counts of all lines, and the sampling rates of the shown ones. */
  sampled(every, total) {
    this.#total = total.accepted + total.rejected;
    if (every.accepted > 1 || every.rejected > 1) {
      this.#every = every;
      this.#sampledUntil = performance.now() + 2000;
    }
    this.#note();
  }

  /** Texts that a line must have to be shown. The server samples from these lines alone. */
  contains() {
    const { text, pipeline, type, outcome, client } = this.#filter();
    const of = { accepted: '{"type":', rejected: '{"reason":' };
    const reason = outcome.startsWith("reason:") ? `{"reason":"${outcome.slice(7)}"` : of[outcome];
    const who = client.startsWith("name:") ? JSON.stringify(client.slice(5)) : client === "automated" ? '"automated":true' : "";
    return [...text, pipeline, type && type !== "other" ? `"type":"${type}"` : "", reason ?? "", who].filter(Boolean);
  }

  /** Take filters from the address of a link. */
  restore(parameters) {
    for (const id of FILTERS) choose(id, parameters.get(id) ?? "");
    this.#show();
    this.#keep();
  }

  /** Put the filters into the address bar, for reloads and links. The token stays out of it. */
  #keep() {
    const chosen = FILTERS.map((id) => [id, at(id).value]).filter(([, value]) => value);
    history.replaceState(null, "", chosen.length ? `/#${new URLSearchParams(chosen)}` : "/");
  }

  link() {
    return copy(location.href, at("link"));
  }

  /** Save the shown events as a file, oldest first. Each line is as it is in the journal. */
  export() {
    const lines = this.#shown().map((entry) => entry.line).reverse();
    if (!lines.length) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\n") + "\n"], { type: "application/x-ndjson" }));
    link.download = "pixelcore.ndjson";
    link.click();
    URL.revokeObjectURL(link.href);
  }

  pause() {
    this.#paused = !this.#paused;
    this.#pausedAt = this.#total;
    at("pause").setAttribute("aria-pressed", this.#paused);
    at("pause").textContent = this.#paused ? "Resume" : "Pause";
    this.#soon();
    this.#note();
  }

  /** Move down by so many rows, or up. */
  move(by) {
    const shown = this.#shown();
    const index = document.activeElement === this.#current?.row ? shown.indexOf(this.#current) + by : by > 0 ? 0 : -1;
    const next = shown[Math.max(0, Math.min(index, shown.length - 1))];
    if (!next) return;
    if (index < 0) this.toTop();
    next.row.focus({ preventScroll: true });
    next.row.scrollIntoView({ block: "nearest" });
  }

  copy() {
    if (this.#current && this.root.contains(document.activeElement)) this.#current.copy();
  }

  /** Return to the newest event. */
  toTop() {
    if (this.root.contains(document.activeElement)) document.activeElement.blur();
    this.root.scrollTop = 0;
    this.#moving(0);
  }

  #filter() {
    const text = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return { text, pipeline: at("pipeline").value, type: at("type").value, outcome: at("outcome").value, client: at("client").value };
  }

  #shown() {
    return this.#entries.filter((entry) => entry.node?.isConnected);
  }

  #entryOf(target) {
    const node = target.closest("li");
    return this.#entries.find((entry) => entry.node === node);
  }

  #select(entry) {
    if (!entry) return;
    if (this.#current) this.#current.row.tabIndex = -1;
    this.#current = entry;
    entry.row.tabIndex = 0;
  }

  #clear() {
    this.#entries = [];
    this.#incoming = [];
    this.#missed = false;
    this.#current = null;
    this.toTop();
    this.#show();
  }

  #moving(milliseconds) {
    this.#movingUntil = performance.now() + milliseconds;
    this.#soon();
  }

  #isHeld() {
    const isRead = this.root.scrollTop > 0 || this.root.contains(document.activeElement);
    return this.#paused || isRead || performance.now() < this.#movingUntil;
  }

  /** Draw with the next frame. A page in the background has no frames, and keeps the last events. */
  #soon() {
    if (this.#isDue) return;
    this.#isDue = true;
    requestAnimationFrame(() => {
      this.#isDue = false;
      if (!this.#isHeld()) this.#draw();
      else if (performance.now() < this.#movingUntil) setTimeout(() => this.#soon(), MOVING);
      const newer = this.#incoming.filter((entry) => entry.matches(this.#filter())).length;
      at("newer").hidden = this.#paused || newer === 0;
      at("newer").textContent = `↑ ${whole.format(newer)} newer`;
    });
  }

  /** Show the new events. */
  #draw() {
    const filter = this.#filter();
    for (const entry of this.#incoming) {
      const isBehind = (other) => other.receivedAt > entry.receivedAt && entry.cameAt - other.cameAt < LATE;
      let i = 0;
      while (i < this.#entries.length && isBehind(this.#entries[i])) i += 1;
      this.#entries.splice(i, 0, entry);
      if (!entry.matches(filter)) continue;
      while (++i < this.#entries.length && !this.#entries[i].node?.isConnected);
      this.root.insertBefore(entry.build(), this.#entries[i]?.node ?? null);
    }
    this.#incoming = [];
    this.#trim();
    this.#settle();
  }

  #trim() {
    for (let i = this.#entries.length - 1; this.#entries.length > KEPT && i >= 0; i--) {
      const entry = this.#entries[i];
      if (entry.isOpen) continue; // somebody reads it
      this.#entries.splice(i, 1);
      entry.node?.remove();
    }
  }

  /** Show the kept events again, with another filter. */
  #show() {
    const filter = this.#filter();
    this.root.replaceChildren(...this.#entries.filter((entry) => entry.matches(filter)).map((entry) => entry.build()));
    this.toTop();
    this.#settle();
  }

  #settle() {
    const first = this.root.firstElementChild;
    if (!this.#current?.node?.isConnected) this.#select(first ? this.#entryOf(first) : null);
    at("empty").hidden = first !== null;
    at("export").disabled = first === null;
    const isFiltered = this.#entries.length > 0;
    at("empty-text").textContent = isFiltered ? "No event here matches. New events that match will appear." : "Waiting for the first event.";
    at("empty-hint").hidden = at("curl").hidden = isFiltered;
    this.#note();
  }

  #addPipeline(entry) {
    this.#pipelines.set(entry.key, entry.pipeline);
    const options = [...this.#pipelines].sort(([a], [b]) => (a < b ? -1 : 1));
    const [all] = at("pipeline").options;
    const chosen = at("pipeline").value;
    at("pipeline").replaceChildren(all, ...options.map(([key, id]) => new Option(id ? `${id} · ${key}` : key, key)));
    choose("pipeline", chosen);
  }

  #addClient(name) {
    const options = [...at("clients").children];
    const isThere = options.some((option) => option.textContent === name);
    if (!name || isThere || options.length >= 100) return;
    const after = options.find((option) => option.textContent > name) ?? null;
    at("clients").insertBefore(new Option(name, `name:${name}`), after);
  }

  /** One line about what the list does not show. */
  #note() {
    const parts = [];
    if (this.#paused) parts.push(`Paused; ${whole.format(this.#total - this.#pausedAt)} arrived since.`);
    if (performance.now() < this.#sampledUntil) {
      const share = ([kind, n]) => (n > 1 ? `1 of every ${whole.format(n)} ${kind}` : `all ${kind}`);
      const among = this.contains().length ? " that match" : "";
      parts.push(`Showing ${Object.entries(this.#every).map(share).join(", ")}${among}; the counts are exact.`);
    }
    if (this.#missed) parts.push("The connection broke; events that arrived meanwhile are not in this list.");
    const text = parts.join(" ");
    if (at("note").textContent !== text) at("note").textContent = text;
  }
}
