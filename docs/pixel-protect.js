// Signed and sealed pixel URLs, as pixelcore.pixel_url() makes them with a secret: for servers only, since whoever has the secret
// can make URLs. Needs WebCrypto: Node 18 and later, Deno, Bun, workers. `docs/signing.md` has the construction.

import { pixelUrl } from "./pixel-url.js";

const crypto = globalThis.crypto ?? (await import("node:crypto")).webcrypto;
const encode = (text) => new TextEncoder().encode(text);
// Bytes as a text of a character each, which sorts as bytes do.
const binary = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const bytesOf = (text) => Uint8Array.from(text, (character) => character.charCodeAt());
const base64url = (text) => btoa(text).replace(/[+/=]/g, (c) => ({ "+": "-", "/": "_", "=": "" })[c]);

/** A text behind its length. */
function sized(text) {
  const bytes = encode(text);
  const length = new DataView(new ArrayBuffer(4));
  length.setUint32(0, bytes.length);
  return binary(new Uint8Array(length.buffer)) + binary(bytes);
}

async function derive(secret, info, algorithm, usage) {
  const key = await crypto.subtle.importKey("raw", encode(secret), "HKDF", false, ["deriveKey"]);
  const hkdf = { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: encode(info) };
  return crypto.subtle.deriveKey(hkdf, key, algorithm, false, [usage]);
}

function check(secret) {
  const repeats = (period) => period <= secret.length / 2 && secret.slice(period) === secret.slice(0, -period);
  if (typeof secret !== "string" || secret.length < 32) throw new Error("secret: it is shorter than 32 characters");
  if (!/^[!-~]*$/.test(secret)) throw new Error("secret: it has a character that is not visible ASCII");
  if (new Set(secret).size < 10 || Array.from(secret, (_, i) => i + 1).some(repeats))
    throw new Error("secret: it repeats itself");
}

async function sign(type, covered, secret) {
  const pairs = covered.map((pair) => pair.split("=").map((part) => sized(decodeURIComponent(part))).join(""));
  const key = await derive(secret, "pixelcore sign v1", { name: "HMAC", hash: "SHA-256", length: 256 }, "sign");
  const mac = await crypto.subtle.sign("HMAC", key, bytesOf(sized(type) + pairs.sort().join("")));
  return base64url(binary(new Uint8Array(mac, 0, 16)));
}

async function sealed(type, wk, inside, secret) {
  const iv = crypto.getRandomValues(new Uint8Array(12));
  const additionalData = bytesOf(sized(type) + sized(wk));
  const key = await derive(secret, "pixelcore seal v1", { name: "AES-GCM", length: 256 }, "encrypt");
  const text = await crypto.subtle.encrypt({ name: "AES-GCM", iv, additionalData }, key, encode(inside));
  return base64url("\x01" + binary(iv) + binary(new Uint8Array(text)));
}

/**
 * The URL of pixelUrl(), signed with `more.secret`, or sealed with it where `more.seal` is true. A promise, which is rejected
 * with an Error for what pixelUrl() refuses, for a secret that can be guessed, and for `mergeTags`: what a tag will say
 * cannot be signed before it is filled.
 */
export async function protectedUrl(base, type, key, { secret, seal = false, ...more } = {}) {
  check(secret);
  if (more.mergeTags) throw new Error("mergeTags: a merge tag cannot be signed before it is filled");
  if (seal && /^a/.test(more.mode)) throw new Error("seal: a URL for aggregate counts is the same for all");
  const clear = pixelUrl(base, type, key, more);
  const [path, query] = clear.split("?");
  const written = query.split("&");
  const isFree = (pair) => /^(cb=|utm_)/.test(pair);
  const [wk, ...inside] = written.filter((pair) => !isFree(pair));
  const url = seal
    ? [`${path}?${wk}`, "x=" + (await sealed(type, key, inside.join("&"), secret)), ...written.filter(isFree)].join("&")
    : `${clear}&s=${await sign(type, [wk, ...inside], secret)}`;
  if (!seal && written.length === 256) throw new Error("query: too_many_parameters");
  if (url.length - path.length - 1 > 8192) throw new Error("query: query_too_long");
  if (url.length > 2000 && clear.length <= 2000)
    console.warn(`a URL of ${url.length} characters; some mail clients take 2,000`);
  return url;
}
