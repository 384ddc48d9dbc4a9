// Notes on a record next to its JSON: why it was rejected and the remedy, which values were repaired, which ids are nobody's, who fetched it.
let words = {};

const DOUBTS = {
  nothing: "a program's word for nothing",
  nil_uuid: "the UUID of zeros",
  merge_tag: "a merge tag that nobody filled",
  macro: "a variable of AMP that nobody filled",
};

/** Take the gateway's texts for its reasons. */
export function explain(reasons) {
  words = reasons;
}

/** Sentences about an event or a rejection. `doubts` are the kinds of its ids that are nobody's, by member. */
function* sentences(record, doubts) {
  const { reason, context = {} } = record;
  if (reason && words[reason]) {
    const [means, repair] = words[reason];
    yield `${reason}: ${means} ${repair}`;
    yield `Then turn the kept rejections into events: pixelcore replay --reason ${reason}`;
  }
  for (const [member, sent] of Object.entries(context.repaired ?? {}))
    yield `${member} was repaired; the sender's value is ${JSON.stringify(sent)}.`;
  for (const [member, kind] of Object.entries(doubts))
    yield `${member} is nobody's: ${JSON.stringify(record[member])} is ${DOUBTS[kind]}.`;
  for (const name of context.unreadable ?? []) yield `The header ${name} could not be read.`;
  if (context.client?.automated) yield `No person saw this: ${context.client.name} fetched it automatically.`;
}

/** Show them in a list, as text. */
export function note(list, record, doubts = {}) {
  const items = Array.from(sentences(record, doubts), (text) => {
    const item = document.createElement("li");
    item.textContent = text;
    return item;
  });
  list.replaceChildren(...items);
  list.hidden = !items.length;
}
