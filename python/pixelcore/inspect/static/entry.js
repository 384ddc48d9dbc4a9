// One line of a journal: a row with its summary, and its JSON below.
import { copy, indented, show } from "./json.js";
import { note } from "./notes.js";

const TYPES = ["track", "page", "identify", "group"];
const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 });

function* paths(value, path = "") {
  if (typeof value !== "object" || value === null) yield `${path}=${value}`;
  else if (Array.isArray(value) && value.every((each) => typeof each !== "object")) yield `${path}=${value.join(",")}`;
  else for (const [name, member] of Object.entries(value)) yield* paths(member, path ? `${path}.${name}` : name);
}

/** The first value of a query's parameter, as the gateway reads it. */
export function parameter(query, wanted) {
  for (const [name, value] of new URLSearchParams(query))
    if (name.replace(/^(?:amp;)+/, "") === wanted && value.trim()) return value.trim();
  return "";
}

function part(name, text, tag = "span") {
  const made = document.createElement(tag);
  made.className = name;
  made.textContent = text;
  return made;
}

export class Entry {
  cameAt = performance.now();
  isOpen = false;
  node = null;

  /** A line of a journal, and perhaps a second one with the doubts about its ids. Throws if a line is not a JSON object. */
  constructor(kind, data) {
    const [line, doubts = "{}"] = data.split("\n");
    this.doubts = JSON.parse(doubts);
    const value = JSON.parse(line);
    const isAccepted = kind === "accepted";
    Object.assign(this, { kind, line, type: String(value.type), receivedAt: value.receivedAt, reason: value.reason });
    this.key = isAccepted ? value.pipelineKey : parameter(value.query, "wk");
    this.messageId = isAccepted ? value.messageId : parameter(value.query, "mid");
    this.pipeline = value.pipelineId ?? "";
    this.title = isAccepted ? (value.event ?? value.name ?? "") : value.reason;
    this.who = isAccepted ? (value.userId ?? value.anonymousId ?? value.groupId ?? "") : "";
    const more = paths({ ...value.properties, ...value.traits });
    this.detail = isAccepted ? Array.from(more).slice(0, 20).join("  ").slice(0, 300) : value.query.slice(0, 300);
    this.text = line.toLowerCase();
    this.client = value.context?.client?.name ?? "";
    this.isAutomated = value.context?.client?.automated === true;
  }

  matches({ text, pipeline, type, outcome, client }) {
    return (
      text.every((word) => this.text.includes(word)) &&
      (!pipeline || this.key === pipeline) &&
      (!type || (type === "other" ? !TYPES.includes(this.type) : this.type === type)) &&
      (!outcome || (outcome.startsWith("reason:") ? this.reason === outcome.slice(7) : this.kind === outcome)) &&
      (!client || (client.startsWith("name:") ? this.client === client.slice(5) : this.isAutomated === (client === "automated")))
    );
  }

  /** The element, made at its first use. */
  build() {
    if (this.node) return this.node;
    this.node = document.createElement("li");
    this.node.className = this.kind;
    this.row = document.createElement("button");
    this.row.type = "button";
    this.row.className = "row";
    this.row.tabIndex = -1;
    this.row.setAttribute("aria-expanded", "false");
    const time = part("time", clock.format(new Date(this.receivedAt)), "time");
    time.dateTime = this.receivedAt;
    const rest = part("rest", "");
    const badge = part("client", this.client);
    badge.classList.toggle("automated", this.isAutomated);
    if (this.isAutomated) badge.append(part("unseen", " automated"));
    rest.append(...(this.client ? [badge, " "] : []), part("detail", this.detail));
    const parts = [time, part("type", this.type), part("title", this.title), part("who", this.who), rest];
    this.row.append(...parts.flatMap((each) => [each, " "]));
    if (this.kind === "rejected") this.row.prepend(part("unseen", "rejected "));
    this.node.append(this.row);
    return this.node;
  }

  clicked({ target, detail: clicks }) {
    if (target.closest(".row")) this.#toggle();
    else if (target.closest("button")) this.copy(target);
    if (clicks && !this.isOpen) this.row.blur(); // closed with the mouse, so the reader is done
  }

  copy(button = this.node.querySelector(".copy")) {
    return copy(indented(this.line), button);
  }

  #toggle() {
    this.isOpen = !this.isOpen;
    this.row.setAttribute("aria-expanded", this.isOpen);
    if (!this.isOpen) return this.node.lastChild.remove();
    const body = part("body", "", "div");
    const button = part("copy", "Copy", "button");
    button.type = "button";
    const json = document.createElement("pre");
    json.tabIndex = 0;
    json.setAttribute("aria-label", "JSON");
    show(json, this.line);
    const notes = part("notes", "", "ul");
    note(notes, JSON.parse(this.line), this.doubts);
    body.append(notes, button, json);
    this.node.append(body);
  }
}
