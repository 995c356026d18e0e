// The store: whether it answers, and how long it takes.

import { $, part, say, show } from '../dom.js';
import { latest, live } from '../live.js';
import { count, lasting, many, millis } from '../text.js';
import { drawTile, quotient, tileOf } from '../tile.js';

const sections = {
  facts: '<div><dt>store</dt><dd id="store-kind">–</dd></div>',
  tiles: tileOf('tile-store', 'Store call', 'ms', 'How long a call to the store took. Requests wait for it at most once. The line begins when this page was opened.'),
};

let failingSince = null;

const restart = () => {
  failingSince = null;
};

const learn = ({ store, sample }) => {
  failingSince = store.state === 'ok' ? null : failingSince ?? sample.uptime;
  return { store };
};

const isFine = () => live.now.store.state === 'ok';
const title = () => (isFine() ? '' : 'store failing');

const judge = () => {
  const { last_error: error, corrupt_keys: corrupt } = live.now.store;
  const found = [];
  if (!isFine()) {
    const modes = (mode) => (live.hello.policies ?? []).filter((p) => !p.dry_run && p.on_store_failure === mode).map((p) => p.name).join(', ');
    const does = [
      modes('local') && `${modes('local')}: kept in each process alone`,
      modes('open') && `${modes('open')}: not kept`,
      modes('closed') && `${modes('closed')}: every request refused`,
    ].filter(Boolean);
    const why = error ? ` Last error: ${error}.` : '';
    const until = `The breaker is open, for at least ${lasting(latest().uptime - failingSince)}.`;
    found.push([90, 'bad', 'The store is failing', `${until}${why}${does.length ? ` Limits meanwhile: ${does.join('; ')}.` : ''}`]);
  }
  if (corrupt > 0) {
    found.push([40, 'warn', 'The store holds what palisade did not write', `${many(corrupt, 'key')} could not be read since start; what writes to the prefix besides palisade?`]);
  }
  return found;
};

const draw = () => {
  const { hello, now: { store }, samples } = live;
  say($('store-kind'), hello.store);
  // The history has no store: its line begins with the page.
  const calls = (s) => s.store?.calls ?? NaN;
  const waited = (s) => s.store?.seconds ?? NaN;
  const before = samples.slice(-11).find((s) => s.store)?.store ?? store;
  // A page that was just opened has one figure: the mean since start.
  const [waitedBy, made] = before === store ? [store.seconds, store.calls] : [store.seconds - before.seconds, store.calls - before.calls];
  const broken = store.failed ? `${count(store.failed)} of ${many(store.calls, 'call')} failed` : many(store.calls, 'call');
  const figure = isFine() ? millis(made > 0 ? waitedBy / made : null) : 'failing';
  const under = hello.store === 'memory' ? 'in memory: none to wait for' : `${hello.store}, ${broken}`;
  drawTile('tile-store', figure, under, [waited, calls], isFine() ? '' : 'bad', quotient);
  show(part($('tile-store'), 'small'), isFine());
};

export default { sections, restart, learn, judge, title, draw };
