// The form: a URL and an image tag, built by the gateway's own builder, fired by this browser, and what they became.
import { parameter } from "./entry.js";
import { copy, show } from "./json.js";

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

  /** `ask` requests something of the server, `want` tells it what this page is to be shown. */
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
      button.addEventListener("click", () => copy(button.dataset.copy === "url" ? at("url").value : at("img").textContent, button));
  }

  /** Begin with what the gateway says of itself. */
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

  /** Texts by which the server knows the line that is waited for. */
  watched() {
    if (!this.#waiting) return [];
    const { messageId, raw } = this.#waiting;
    return [JSON.stringify(messageId).slice(1, -1), raw].filter(Boolean);
  }

  #changed(target) {
    if (target.id === "url") return;
    const type = form.elements.type.value;
    for (const label of form.querySelectorAll("[data-for]")) label.hidden = !label.dataset.for.split(" ").includes(type);
    clearTimeout(this.#build);
    this.#build = setTimeout(() => this.#make().catch(() => {}), 120);
  }

  async #make() {
    const shown = [...form.elements].filter((field) => field.name && !field.closest("[hidden]"));
    const values = shown.map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value]);
    const made = await this.#ask("/url", Object.fromEntries(values));
    at("form-error").textContent = made.error ?? "";
    at("long").hidden = !made.long;
    if (made.error) return;
    at("url").value = made.url;
    at("img").textContent = made.img;
  }

  /** Load the pixel as an image, as any page or mail would, and wait until it is in the journal. */
  async fire() {
    let url;
    try {
      url = new URL(at("url").value.trim());
    } catch {
      return this.#say("failed", "That is no URL.");
    }
    // Where the URL is for the world outside, the gateway is asked where it is.
    const home = LOOPBACK.test(url.origin) || url.origin === this.#hello.gateway ? url.origin : this.#hello.gateway;
    const added = parameter(url.search, "mid") ? "cb" : "mid"; // a second image of the same URL would not be loaded
    // What HTTP does not allow, and merge tags have, a browser sends as it is.
    const query = url.search.replace(/[{}|^`\\]/g, encodeURIComponent);
    const fired = `${home}${url.pathname}${query ? query + "&" : "?"}${added}=${crypto.randomUUID()}`;
    const sent = new URL(fired).search;
    const waiting = { messageId: parameter(sent, "mid"), raw: /[?&](?:amp;)?mid=([^&]+)/.exec(sent)?.[1] };
    this.#waiting = waiting;
    this.#say("waiting", `Fired at ${home}; waiting for it …`);
    clearTimeout(this.#timer);
    const late = `It was not journaled within ${PATIENCE / 1000} s: see ${home}/readyz, and the gateway's log.`;
    this.#timer = setTimeout(() => this.#give(waiting, late), PATIENCE);
    try {
      await this.#want();
    } catch {
      return this.#give(waiting, "The page is not connected.");
    }
    const image = new Image();
    image.addEventListener("error", () => this.#give(waiting, `No GIF came from ${home}: can this browser reach it?`));
    image.src = fired;
  }

  /** Look whether an entry is the one that is waited for. */
  became(entry) {
    if (!this.#waiting || entry.messageId !== this.#waiting.messageId) return;
    this.#say(entry.kind, entry.kind === "accepted" ? "Accepted; it became" : `Rejected: ${entry.reason}`, entry.line);
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

  #say(kind, text, json = "") {
    at("result").hidden = false;
    at("result").dataset.kind = kind;
    at("result-text").textContent = text;
    at("result-json").hidden = !json;
    show(at("result-json"), json);
    at("result").scrollIntoView({ block: "nearest" });
  }
}
