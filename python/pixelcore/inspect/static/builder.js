// The form. The gateway's URL builder makes a URL and an image tag, this browser fires them, and the page shows the result.
import { parameter } from "./entry.js";
import { copy, show } from "./json.js";
import { note } from "./notes.js";

const PATIENCE = 15000; // milliseconds
const LOOPBACK = /^http:\/\/(127\.0\.0\.1|localhost)(:|\/|$)/;
const at = (id) => document.getElementById(id);
const form = at("form");

export class Builder {
  #hello = null;
  #ask;
  #want;
  #waiting = null;
  #timer = 0;
  #build = 0;
  #asked = 0; // changes of the form
  #answered = 0;
  #settling = []; // callbacks that wait until the two are equal

  /** `ask` sends a request to the server. `want` tells it which lines this page shows. */
  constructor(ask, want) {
    this.#ask = ask;
    this.#want = want;
    const wide = matchMedia("(min-width: 1000px)");
    at("builder").open = wide.matches;
    form.addEventListener("input", ({ target }) => this.#changed(target));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.fire();
    });
    for (const button of form.querySelectorAll("[data-copy]"))
      button.addEventListener("click", async () => {
        if (await this.#isReady()) copy(button.dataset.copy === "url" ? at("url").value : at("img").textContent, button);
      });
  }

  /** Begin with the gateway's description of itself. */
  begin(hello) {
    this.#hello = hello;
    form.elements.base.value ||= hello.gateway;
    if (!hello.keys) form.elements.key.value ||= "dk_test_1";
    this.#changed(form.elements.type);
  }

  focus() {
    at("builder").open = true;
    form.elements.type.focus();
  }

  /** Texts by which the server recognises the line of the fired pixel. */
  watched() {
    if (!this.#waiting) return [];
    const { messageId, raw } = this.#waiting;
    return [JSON.stringify(messageId).slice(1, -1), raw].filter(Boolean);
  }

  #changed(target) {
    const isByHand = target.id === "url";
    const type = form.elements.type.value;
    for (const label of form.querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(type);
    if (target === form.elements.type) this.#offerPaths(type);
    clearTimeout(this.#build);
    const round = ++this.#asked;
    this.#build = setTimeout(() => this.#make(isByHand, round), 120);
  }

  /** The paths that this gateway has for a type. */
  #offerPaths(type) {
    const own = (this.#hello?.paths ?? []).filter(([, of]) => of === type);
    at("path").hidden = !own.length;
    form.elements.path.replaceChildren(new Option(`/v1/pixel/${type}`, ""), ...own.map(([path]) => new Option(path)));
  }

  /** Build the URL and the tag, or the tag alone of a URL that was written by hand. An error disables the buttons. */
  async #make(isByHand, round) {
    const shown = [...form.elements].filter((field) => field.name && !field.closest("[hidden]"));
    const values = shown.map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value]);
    const byHand = at("url").value.trim();
    let made;
    try {
      if (isByHand && !URL.canParse(byHand)) made = { error: "This is not a URL." };
      else made = await this.#ask("/url", Object.fromEntries(isByHand ? [...values, ["url", byHand]] : values));
    } catch {
      made = { error: "The page is not connected." };
    }
    if (round !== this.#asked) return;
    at("form-error").textContent = made.error ?? "";
    at("long").hidden = !made.long;
    at("ignored").hidden = !made.ignored?.length;
    at("ignored").textContent = `These parameters have unknown names and are left out of the event: ${made.ignored?.join(", ")}`;
    if (!isByHand) at("url").value = made.url ?? "";
    at("img").textContent = made.img ?? "";
    for (const button of form.querySelectorAll(".buttons button")) button.disabled = Boolean(made.error);
    this.#answered = round;
    for (const go of this.#settling.splice(0)) go();
  }

  /** Whether the URL is built from the current form. Waits for a build that is under way. */
  async #isReady() {
    while (this.#answered !== this.#asked) await new Promise((go) => this.#settling.push(go));
    return !at("fire").disabled;
  }

  /** Load the pixel as an image, like a page or a mail, and wait until it is in the journal. */
  async fire() {
    if (!(await this.#isReady())) return;
    const url = new URL(at("url").value.trim());
    // A URL with a public address is fired at this gateway instead.
    const home = LOOPBACK.test(url.origin) || url.origin === this.#hello.gateway ? url.origin : this.#hello.gateway;
    const added = parameter(url.search, "mid") ? "cb" : "mid"; // a browser does not load the same URL twice
    // A browser sends the characters of merge tags as they are, although HTTP does not allow them.
    const query = url.search.replace(/[{}|^`\\]/g, encodeURIComponent);
    const fired = `${home}${url.pathname}${query ? query + "&" : "?"}${added}=${crypto.randomUUID()}`;
    const sent = new URL(fired).search;
    const waiting = { messageId: parameter(sent, "mid"), raw: /[?&](?:amp;)*mid=([^&]+)/.exec(sent)?.[1] };
    this.#waiting = waiting;
    this.#say("waiting", `Fired at ${home}; waiting for its event …`);
    clearTimeout(this.#timer);
    const late = `No event was journaled within ${PATIENCE / 1000} s. Perhaps its mode keeps no event; if not, see ${home}/readyz and the gateway's log.`;
    this.#timer = setTimeout(() => this.#give(waiting, late), PATIENCE);
    try {
      await this.#want();
    } catch {
      return this.#give(waiting, "The page is not connected.");
    }
    const image = new Image();
    image.addEventListener("error", () => this.#give(waiting, `No GIF arrived from ${home}: check that this browser can reach it.`));
    image.src = fired;
  }

  /** Show an entry as the result if it is the fired pixel's. */
  became(entry) {
    if (!this.#waiting || entry.messageId !== this.#waiting.messageId) return;
    this.#say(entry.kind, entry.kind === "accepted" ? "Accepted; it became" : `Rejected: ${entry.reason}`, entry.line, entry.doubts);
    this.#done();
  }

  #give(waiting, why) {
    if (this.#waiting !== waiting) return;
    this.#say("failed", why);
    this.#done();
  }

  #done() {
    clearTimeout(this.#timer);
    this.#waiting = null;
    this.#want().catch(() => {});
  }

  #say(kind, text, json = "", doubts = {}) {
    at("result").hidden = false;
    at("result").dataset.kind = kind;
    at("result-text").textContent = text;
    note(at("result-notes"), json ? JSON.parse(json) : {}, doubts);
    at("result-json").hidden = !json;
    show(at("result-json"), json);
    at("result").scrollIntoView({ block: "nearest" });
  }
}
