// Pixel URLs and image tags, as pixelcore.pixel_url() and pixelcore.img_tag() make them, for browsers and Node.
// Throws an Error that names the path where an object would not come back as it is.

// Merge tags of mail tools, left as they are where `mergeTags` is true.
const TAGS =
  /(\{\{\{.+?\}\}\}|\{\{.+?\}\}|\{%.+?%\}|\*\|.+?\|\*|%%.+?%%|\[\[.+?\]\]|<%.+?%>|\$\{.+?\}|%[A-Za-z][\w.]{2,}%)/;
const aroundTags = (text, escape, tags) =>
  (tags ? text.split(TAGS) : [text]).map((part, i) => (i % 2 ? part : escape(part))).join("");
const percent = (text) =>
  encodeURIComponent(text).replace(/[!'()*]/g, (c) => "%" + c.charCodeAt().toString(16).toUpperCase());
const fail = (path, why) => {
  throw new Error(path.replace(/^p(?=\.|$)/, "properties").replace(/^t(?=\.|$)/, "traits") + ": " + why);
};
const isNode = (value) => typeof value === "object" && value !== null;

function scalar(path, value) {
  if (!/^(string|boolean)$/.test(typeof value) && !Number.isFinite(value)) fail(path, "no string, number or boolean");
  if (/\p{Cs}/u.test(path + "\n" + value)) fail(path, "a lone surrogate");
  return [[path, String(value)]];
}

function nested(path, value) {
  if (path.split(".").length > 33) fail(path, "too_deep");
  if (!isNode(value)) return scalar(path, value);
  const names = Object.keys(value);
  if (!names.length) fail(path, "empty");
  if (Array.isArray(value)) {
    const repeats = value.length > 1 && !value.some(isNode);
    return Array.from(value).flatMap((each, i) => (repeats ? scalar(path, each) : nested(path + "." + i, each)));
  }
  for (const name of names) if (name.includes(".")) fail(path, "a dot in the name " + name);
  if (path.includes(".") && names.every((_, i) => Object.hasOwn(value, i))) fail(path, "would become a list");
  return names.flatMap((name) => nested(path + "." + name, value[name]));
}

/**
 * The URL whose request becomes an event. `more`: event, name, userId, anonymousId, groupId, messageId, timestamp (a
 * Date or Unix milliseconds), mode (individual, deliverability, aggregate or none), campaign, properties, traits, cacheBuster (true or a text), gif, path (one of
 * PIXELCORE_PATHS), mergeTags.
 */
export function pixelUrl(base, type, key, more = {}) {
  const { event, name, timestamp: at, campaign = {}, cacheBuster: cb, mergeTags: tags, path: own } = more;
  const known = (text, pattern) => pattern.test(text) || (tags && TAGS.test(text));
  if (!/^https?:\/\/[\w.\-~:@/[\]%!$'()*+,;=]+$/.test(base)) fail("base", "no http(s) URL: " + base);
  if (!/^(track|page|identify|group)$/.test(type)) fail("type", type);
  if (!known(key, /^[\w-]{1,64}$/)) fail("key", key);
  if (event ? type !== "track" : type === "track") fail("event", "a track has one, and no other");
  if (name && type !== "page") fail("name", "only a page has one");
  const free = /^(?!\/(v1\/pixel|pixel\/v1)(\/|$)|\/(healthz|readyz|robots\.txt)$)(\/[\w~-][\w.~-]*)+(?<!\.gif)$/;
  if (own && !free.test(own)) fail("path", own);
  if (more.secret || more.seal) fail("secret", "protectedUrl() of pixel-protect.js signs and seals");
  const ts = at instanceof Date ? at.getTime() : at;
  if (ts != null && (!known(ts, /^\d{12,15}$/) || ts < 946684800000 || ts >= 253370764800000))
    fail("timestamp", "not Unix milliseconds since 2000");
  const modes = /^(i(ndividual)?|d(eliverability)?|a(ggregate)?|n(one)?)$/;
  const m = more.mode && modes.test(more.mode) ? more.mode[0] : more.mode || "";
  if (m && !known(m, modes)) fail("mode", m);
  for (const name of ["userId", "anonymousId", "groupId", "messageId", "traits", "seal"])
    if (m === "a" && more[name]) fail(name, "a URL for aggregate counts is the same for all");
  const utm = Object.entries(campaign).map(([name, text]) => {
    if (!/^(source|medium|name|term|content|id)$/.test(name)) fail("campaign", name);
    return ["utm_" + (name === "name" ? "campaign" : name), text];
  });
  const random = () => Math.random().toString(36).slice(2);
  const reserved = [
    ["wk", key], ["e", event || name], ["uid", more.userId], ["aid", more.anonymousId], ["gid", more.groupId],
    ["mid", more.messageId], ["ts", ts], ["m", m], ...utm, ["cb", cb === true ? random() : cb || ""],
  ];
  const pairs = reserved.flatMap(([name, value]) => (value == null || value === "" ? [] : scalar(name, value)));
  for (const [root, value] of [["p", more.properties], ["t", more.traits]])
    if (value && (!isNode(value) || Array.isArray(value))) fail(root, "no object");
    else if (value && Object.keys(value).length) pairs.push(...nested(root, value));
  if (pairs.length > 256) fail("query", "too_many_parameters");
  const written = pairs.map(([name, value]) => percent(name) + "=" + aroundTags(value, percent, tags));
  const query = written.join("&");
  if (new TextEncoder().encode(query).length > 8192) fail("query", "query_too_long");
  const path = (own || "/v1/pixel/" + type) + (more.gif ? ".gif" : "") + "?";
  const url = base.replace(/\/+$/, "").replace(/\/v1\/pixel$/, "") + path + query;
  if (url.length > 2000) {
    const longest = written.sort((a, b) => b.length - a.length).slice(0, 3);
    const named = longest.map((pair) => `${pair.split("=")[0]} (${pair.length})`).join(", ");
    console.warn(`a URL of ${url.length} characters; some mail clients take 2,000; longest: ${named}`);
  }
  return url;
}

/** The HTML of an invisible image: nothing hides it (Gmail skips hidden images), nothing defers it. */
export function imgTag(url, alt = "", mergeTags = false) {
  const entities = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#x27;" };
  const escape = (text) => text.replace(/[&<>"']/g, (c) => entities[c]);
  const [src, label] = [url, alt].map((text) => aroundTags(text, escape, mergeTags));
  return `<img src="${src}" width="1" height="1" alt="${label}" style="border:0">`;
}
