// What a screen reader says.

import { $, say } from './dom.js';

let announced = 0;
let waiting = '';

// One sentence in three seconds, the newest: a flood of events must not become a flood of speech. What an action came to
// has a region of its own, `answer`, so that no event displaces it.
export const announce = (text) => {
  const due = announced + 3000 - performance.now();
  waiting = text;
  if (due > 0) return void setTimeout(() => waiting && announce(waiting), due);
  announced = performance.now();
  waiting = '';
  say($('announce'), text);
};
