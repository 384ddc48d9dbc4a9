// JSON as it was written, indented and in colours. It is not parsed and printed again, which would reorder members
// and round numbers.
const TOKEN = /"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g;

/** Pairs of text and class, which together are the indented JSON. */
function* tokens(text) {
  let depth = 0;
  const line = () => ["\n" + "  ".repeat(depth), ""];
  const found = text.match(TOKEN) ?? [];
  for (const [i, token] of found.entries()) {
    if (token === "{" || token === "[") {
      yield [token, ""];
      depth += 1;
      if (found[i + 1] !== "}" && found[i + 1] !== "]") yield line();
    } else if (token === "}" || token === "]") {
      depth -= 1;
      if (found[i - 1] !== "{" && found[i - 1] !== "[") yield line();
      yield [token, ""];
    } else if (token === ",") {
      yield [token, ""];
      yield line();
    } else if (token === ":") yield [": ", ""];
    else yield [token, token[0] !== '"' ? "value" : found[i + 1] === ":" ? "name" : "text"];
  }
}

/** The indented text. */
export const indented = (text) => Array.from(tokens(text), ([part]) => part).join("");

/** Show JSON in an element, always as text. */
export function show(element, text) {
  const parts = Array.from(tokens(text), ([part, name]) => {
    if (!name) return part;
    const span = document.createElement("span");
    span.className = name;
    span.textContent = part;
    return span;
  });
  element.replaceChildren(...parts);
}

/** Put text on the clipboard, and confirm it on the button for a moment. */
export async function copy(text, button) {
  let said = "Copied";
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    said = "Not allowed";
  }
  if (!button) return;
  button.dataset.label ??= button.textContent;
  button.textContent = said;
  setTimeout(() => (button.textContent = button.dataset.label), 1200);
}
