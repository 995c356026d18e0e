// The frame of the live page: the stream, what is said of the connection, and the verdict. It knows no panel by name.
//
// The server lists the panels in the page's head, each a module whose default export has any of:
//
// - `sections`: markup by its place on the page, the name of a `data-place`;
// - `start(draw)`: runs once, when the sections stand; `draw` has the page drawn anew;
// - `restart()`: the process is another one, whose totals begin at zero;
// - `learn(told)`: a message of now; what it returns is kept with its sample;
// - `judge()`: findings for the verdict, each `[weight, level, title, detail]`, where a weight of 0 is no trouble;
// - `title()`: what the window's title says, or nothing; the last panel that says something counts;
// - `draw()`: draws what `live` holds.
//
// A panel that fails is named in the verdict, and the others go on.

import { forgetToken } from './act.js';
import { $, announce, mark, part, say, show, template } from './dom.js';
import { begin, keep, latest, live, moment } from './live.js';
import { dayAndClock, lasting } from './text.js';

const STALE = 3_000; // ms without news
const SILENT = 10_000; // ms without news after which a connection that claims to be open is given up

// ---- the panels ------------------------------------------------------------------------------------------------

const listed = [...document.querySelectorAll('script[data-panel]')];
const panels = [];
const failed = new Map(); // the error by the panel's name

// Calls a panel, and notes whether it failed.
const call = (panel, what, ...told) => {
  try {
    const result = panel.module[what]?.(...told);
    if (failed.get(panel.name)?.what === what) failed.delete(panel.name);
    return result;
  } catch (error) {
    fail(panel.name, what, error);
    return undefined;
  }
};
const fail = (name, what, error) => {
  if (!failed.has(name)) console.error(`panel ${name}:`, error);
  failed.set(name, { what, error });
};
const load = async ({ dataset: { panel: name }, src }, order) => {
  try {
    const { default: module } = await import(src);
    for (const [place, html] of Object.entries(module.sections ?? {})) {
      const row = part(document, `[data-place="${place}"]`);
      // Modules come in any order, and their sections stand in the order of the list.
      const next = [...row.children].find((it) => Number(it.dataset.order) > order) ?? null;
      for (const node of [...template(html).content.children]) {
        node.dataset.order = order;
        row.insertBefore(node, next);
      }
    }
    panels.push({ name, module, order });
    panels.sort((a, b) => a.order - b.order);
    call({ name, module }, 'start', draw);
  } catch (error) {
    fail(name, 'load', error);
  }
  draw();
};

// ---- the connection --------------------------------------------------------------------------------------------

let source = null;
let state = 'connecting'; // live, stale, reconnecting
let again = 0;
let tries = 0;
let trouble = '';

const become = (next) => {
  if (state === next) return;
  const before = state;
  state = next;
  if (next === 'live' && before !== 'connecting') announce('The page is live again.');
  if (next === 'stale') announce('No news from the service: the figures are old.');
  if (next === 'reconnecting') announce('The connection to the service broke. Reconnecting.');
  draw();
};
const connect = () => {
  again = 0;
  source?.close();
  source = new EventSource('events');
  source.addEventListener('hello', (event) => heard(event, greet));
  source.addEventListener('now', (event) => heard(event, learn));
  source.onerror = reconnect;
};
// A browser gives up after an answer that is no stream, such as a proxy's 502, and waits long after others.
const reconnect = () => {
  source.close();
  if (again) return;
  become(live.news === null && tries < 1 ? 'connecting' : 'reconnecting');
  again = setTimeout(connect, Math.min(500 * 2 ** tries, 5000));
  tries += 1;
  if (tries > 1) askWhy();
};
// A stream that is refused tells its page nothing; the same question asked otherwise is told why.
const askWhy = async () => {
  const stop = new AbortController();
  try {
    const reply = await fetch('events', { signal: stop.signal });
    trouble = reply.ok ? '' : `The service says: ${(await reply.json()).detail}.`;
  } catch {
    trouble = '';
  }
  stop.abort();
  draw();
};
const heard = (event, take) => {
  let told;
  try {
    told = JSON.parse(event.data);
  } catch {
    return reconnect();
  }
  live.news = performance.now();
  tries = 0;
  trouble = '';
  take(told);
};
const greet = (told) => {
  const { hello } = live;
  // Another build has another page; one that a stack feeds by now has its panels.
  const isOld = (hello && hello.version !== told.version) || (told.fed && listed.length === 0);
  if (isOld) return void location.reload();
  if (hello && hello.started !== told.started) {
    live.now = null;
    forgetToken();
    for (const panel of panels) call(panel, 'restart');
    announce('The service has started anew; its figures begin at zero.');
  }
  live.hello = told;
  begin(told.history, hello?.started === told.started);
  draw();
};
const learn = (told) => {
  if (!live.hello) return;
  for (const panel of panels) Object.assign(told.sample, call(panel, 'learn', told));
  keep(told.sample);
  live.now = told;
  become('live');
  draw();
};
const silence = () => (live.news === null ? 0 : performance.now() - live.news);
// Once a second, also when nothing comes: then the page says so.
const tick = () => {
  if (state === 'live' && silence() > STALE) become('stale');
  if (silence() > SILENT && source?.readyState === EventSource.OPEN) reconnect();
  draw();
};

// ---- drawing, once a frame and never in a hidden tab -----------------------------------------------------------

let asked = false;
const draw = () => {
  drawTitle();
  if (asked || document.hidden) return;
  asked = true;
  requestAnimationFrame(() => {
    asked = false;
    if (document.hidden) return;
    drawConnection();
    showPlaces();
    if (live.hello && live.now) {
      for (const panel of panels) call(panel, 'draw');
      showPlaces();
      drawVerdict(judge());
    } else drawVerdict([[0, 'wait', 'Waiting for the first figures', trouble || 'They come within a second of the connection.']]);
  });
};
// Before the first figures the panels have nothing to say, and an empty list would claim that there is nothing.
const showPlaces = () => {
  for (const place of document.querySelectorAll('.tiles, .row')) {
    show(place, Boolean(live.hello && live.now) && [...place.children].some((it) => !it.hidden));
  }
};

const drawTitle = () => {
  const name = live.hello?.service ?? 'palisade';
  const what = state !== 'live' ? state : panels.map((panel) => call(panel, 'title')).filter(Boolean).at(-1);
  const title = what ? `${name}: ${what}` : name;
  if (document.title !== title) document.title = title;
};

const drawConnection = () => {
  const { hello, news } = live;
  const passed = news === null ? null : lasting(silence());
  mark($('connection'), 'data-state', state);
  mark(document.body, 'data-state', state);
  say($('connection-text'), {
    connecting: 'Connecting',
    live: 'Live',
    stale: `Stale: no news for ${passed}`,
    reconnecting: passed ? `Reconnecting: no news for ${passed}` : 'Reconnecting: no answer yet',
  }[state]);
  if (!hello) return;
  say($('service'), hello.service);
  say($('version'), hello.version);
  if (!latest()) return;
  say($('uptime'), lasting(latest().uptime + (state === 'live' ? 0 : silence())));
  mark($('uptime'), 'title', `Since ${dayAndClock.format(hello.started)}`);
};

// The one sentence for somebody who was just woken; what is worst goes first.
const judge = () => {
  const { hello, now } = live;
  const found = [];
  if (state !== 'live') {
    found.push([100, 'bad', 'No news from the service', `What stands here is from ${moment(now.sample.at)}. This page goes on asking. ${trouble}`.trim()]);
  }
  if (hello.fed) {
    found.push(...panels.flatMap((panel) => call(panel, 'judge') ?? []));
  } else {
    // Its zeros are not those of a quiet night.
    found.push([90, 'warn', 'Nothing is counted here', 'No stack feeds this page: the service runs without its layers, or its stack was built without this page. Whether requests come, and what becomes of them, it cannot tell.']);
  }
  for (const [name, { error }] of failed) {
    found.push([65, 'warn', `The panel “${name}” failed`, `${error?.message ?? error}. The other panels go on; reload the page to try again.`]);
  }
  const troubles = found.filter(([weight]) => weight > 0).sort(([a], [b]) => b - a);
  if (troubles.length > 0) return troubles;
  const title = found.map(([, , what]) => what).find(Boolean) ?? 'Live';
  return [[0, 'quiet', title, found.map(([, , , detail]) => detail).join(' ')]];
};
const drawVerdict = ([[, level, title, detail], ...others]) => {
  mark($('verdict'), 'data-level', level);
  say($('verdict-mark'), { wait: '…', quiet: '✓', warn: '!', bad: '✕' }[level]);
  say($('verdict-title'), title);
  say($('verdict-detail'), detail);
  // Their figures stand in the panels below.
  const besides = others.map(([, , what]) => what.charAt(0).toLowerCase() + what.slice(1));
  say($('verdict-also'), besides.length ? `Also: ${besides.join('; ')}.` : '');
};

// ---- start -----------------------------------------------------------------------------------------------------

// One explanation at a time; Escape or a click elsewhere closes it.
const helps = () => [...document.querySelectorAll('details.help')];
const close = (but) => helps().forEach((help) => help !== but && help.removeAttribute('open'));
document.addEventListener('click', (event) => close(event.target.closest('details.help')));
document.addEventListener('keydown', (event) => {
  if (event.key !== 'Escape') return;
  const open = helps().find((help) => help.open);
  close(null);
  if (open?.contains(document.activeElement)) part(open, 'summary').focus();
});
document.addEventListener('visibilitychange', draw);
addEventListener('resize', draw);
setInterval(tick, 1000);
connect();
listed.forEach(load);
