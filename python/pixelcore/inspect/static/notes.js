// Notes on a record next to its JSON: why it was rejected and the remedy, which values were repaired, who fetched it.
let words = {};

/** Take the gateway's texts for its reasons. */
export function explain(reasons) {
  words = reasons;
}

/** Sentences about an event or a rejection. */
function* sentences({ reason, context = {} }) {
  if (reason && words[reason]) {
    const [means, repair] = words[reason];
    yield `${reason}: ${means} ${repair}`;
    yield `Then turn the kept rejections into events: pixelcore replay --reason ${reason}`;
  }
  for (const [member, sent] of Object.entries(context.repaired ?? {}))
    yield `${member} was repaired; the sender's value is ${JSON.stringify(sent)}.`;
  for (const name of context.unreadable ?? []) yield `The header ${name} could not be read.`;
  if (context.client?.automated) yield `No person saw this: ${context.client.name} fetched it automatically.`;
}

/** Show them in a list, as text. */
export function note(list, record) {
  const items = Array.from(sentences(record), (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  list.replaceChildren(...items);
  list.hidden = !items.length;
}
