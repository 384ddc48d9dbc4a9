// The events, newest first: which are kept, which are shown, and where the reader is.
import { Entry } from "./entry.js";

const KEPT = 500;
const MOVING = 1500; // milliseconds that a pointer seems to be on its way to a row
const LATE = 1000; // milliseconds that an event may be behind later ones, since journals are read one after the other
const KEY = /^[\w-]{1,64}$/;
const at = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

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
      clearTimeout(timer);
      timer = setTimeout(() => narrowed().catch(() => {}), 150);
    };
    for (const id of ["search", "pipeline", "type", "outcome"]) at(id).addEventListener("input", changed);
    at("pause").addEventListener("click", () => this.pause());
    at("clear").addEventListener("click", () => this.#clear());
    at("newer").addEventListener("click", () => this.toTop());
    this.root.addEventListener("click", (event) => this.#entryOf(event.target)?.clicked(event));
    this.root.addEventListener("focusin", ({ target }) => this.#select(this.#entryOf(target)));
    // Nothing moves under the hands of somebody who reads or aims; when that ends, what came is shown.
    this.root.addEventListener("focusout", () => this.#soon());
    this.root.addEventListener("scroll", () => this.root.scrollTop === 0 && this.#soon());
    this.root.addEventListener("mouseleave", () => this.#moving(0));
    // A row that moves below the pointer makes such an event, too, but one without a movement.
    this.root.addEventListener("mousemove", (event) => (event.movementX || event.movementY) && this.#moving(MOVING));
  }

  /** A stream begins, the first one or another after a break. */
  begin(reasons, isFirst) {
    at("reasons").replaceChildren(...reasons.map((reason) => new Option(reason, `reason:${reason}`)));
    if (!isFirst) this.#missed = true;
    this.#note();
  }

  /** Take a line of the stream; null for one that is no event. */
  add(kind, line) {
    let entry;
    try {
      entry = new Entry(kind, line);
    } catch {
      return null;
    }
    if (!this.#pipelines.has(entry.key) && KEY.test(entry.key) && this.#pipelines.size < 200) this.#addPipeline(entry);
    this.#incoming.push(entry);
    if (this.#incoming.length > KEPT) this.#incoming.shift();
    this.#soon();
    return entry;
  }

  /** Take the counts: of all, and which part of them is shown. */
  sampled(every, total) {
    this.#total = total.accepted + total.rejected;
    if (every.accepted > 1 || every.rejected > 1) {
      this.#every = every;
      this.#sampledUntil = performance.now() + 2000;
    }
    this.#note();
  }

  /** Texts that a line must have to be shown: for the server, which then has a better sample. */
  contains() {
    const { text, pipeline, type, outcome } = this.#filter();
    const of = { accepted: '{"type":', rejected: '{"reason":' };
    const reason = outcome.startsWith("reason:") ? `{"reason":"${outcome.slice(7)}"` : of[outcome];
    return [...text, pipeline, type && type !== "other" ? `"type":"${type}"` : "", reason ?? ""].filter(Boolean);
  }

  pause() {
    this.#paused = !this.#paused;
    this.#pausedAt = this.#total;
    at("pause").setAttribute("aria-pressed", this.#paused);
    at("pause").textContent = this.#paused ? "Go on" : "Pause";
    this.#soon();
    this.#note();
  }

  /** Go so many rows down, or up. */
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

  /** Back to the newest. */
  toTop() {
    if (this.root.contains(document.activeElement)) document.activeElement.blur();
    this.root.scrollTop = 0;
    this.#moving(0);
  }

  #filter() {
    const text = at("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    return { text, pipeline: at("pipeline").value, type: at("type").value, outcome: at("outcome").value };
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

  /** Draw with the next frame. A page in the background has none, and keeps what came last. */
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

  /** Show what came. */
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

  /** Show what is kept again, by another filter. */
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
    const isFiltered = this.#entries.length > 0;
    at("empty-text").textContent = isFiltered ? "Nothing here matches. What comes and matches is shown." : "Waiting for the first event.";
    at("empty-hint").hidden = at("curl").hidden = isFiltered;
    this.#note();
  }

  #addPipeline(entry) {
    this.#pipelines.set(entry.key, entry.pipeline);
    const options = [...this.#pipelines].sort(([a], [b]) => (a < b ? -1 : 1));
    const [all] = at("pipeline").options;
    const chosen = at("pipeline").value;
    at("pipeline").replaceChildren(all, ...options.map(([key, id]) => new Option(id ? `${id} · ${key}` : key, key)));
    at("pipeline").value = chosen;
  }

  /** One line of what is not as it seems. */
  #note() {
    const parts = [];
    if (this.#paused) parts.push(`Paused; ${whole.format(this.#total - this.#pausedAt)} came since.`);
    if (performance.now() < this.#sampledUntil) {
      const share = ([kind, n]) => (n > 1 ? `1 of every ${whole.format(n)} ${kind}` : `all ${kind}`);
      const among = this.contains().length ? " of those that match" : "";
      parts.push(`Showing ${Object.entries(this.#every).map(share).join(", ")}${among}; the counts are exact.`);
    }
    if (this.#missed) parts.push("The connection broke; what came in between is not in this list.");
    const text = parts.join(" ");
    if (at("note").textContent !== text) at("note").textContent = text;
  }
}
