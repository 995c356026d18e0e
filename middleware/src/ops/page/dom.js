// The document, touched only where something changed. Every text from the stream goes through `say`, as text: events may
// quote what a client wrote.

export const $ = (id) => document.getElementById(id);
export const part = (row, selector) => row.querySelector(selector);

export const say = (node, text) => {
  const now = String(text);
  if (node.textContent !== now) node.textContent = now;
};
export const show = (node, yes) => {
  if (node.hidden === yes) node.hidden = !yes;
};
export const mark = (node, name, value) => {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
};

export const shape = (name, className) => {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  if (className) node.setAttribute('class', className);
  return node;
};

// A template of the page's own markup.
export const template = (html) => {
  const node = document.createElement('template');
  node.innerHTML = html;
  return node;
};

// Keeps the rows of `list` in the order of `items`, one for each key, and leaves the focus where it is. A row whose key is
// gone is removed, so what is kept is bounded by what is shown.
export const rows = (list, row, items, keyOf, fill) => {
  const had = (list.rowsByKey ??= new Map());
  const focused = list.contains(document.activeElement) ? document.activeElement : null;
  const wanted = new Set();
  let place = list.firstElementChild;
  items.forEach((item, index) => {
    const key = keyOf(item, index);
    if (wanted.has(key)) return;
    wanted.add(key);
    let node = had.get(key);
    const fresh = !node;
    if (fresh) {
      node = row.content.firstElementChild.cloneNode(true);
      had.set(key, node);
    }
    if (node === place) place = place.nextElementSibling;
    else list.insertBefore(node, place);
    fill(node, item, index, fresh);
  });
  for (const [key, node] of had) {
    if (wanted.has(key)) continue;
    had.delete(key);
    node.remove();
  }
  if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  return { lostFocus: Boolean(focused && !focused.isConnected) };
};

let announced = 0;
let waiting = '';
// Has a screen reader say something, one sentence in three seconds, the newest: a flood of events must not become a flood
// of speech. What an action came to has a region of its own, `answer`, so that no event displaces it.
export const announce = (text) => {
  const due = announced + 3000 - performance.now();
  waiting = text;
  if (due > 0) return void setTimeout(() => waiting && announce(waiting), due);
  announced = performance.now();
  waiting = '';
  say($('announce'), text);
};
