// Requests by outcome, and the clients that were refused or failed most.

import { Chart, sum } from '../chart.js';
import { $, mark, part, rows, say, show, template } from '../dom.js';
import { SPAN, growth, latest, live, mean, perSecond } from '../live.js';
import { clock, count, many, millis, rate, share, spell } from '../text.js';
import { drawTile, quotient, tileOf } from '../tile.js';

const OUTCOMES = [
  ['ok', 'Served'],
  ['client_error', 'Client errors'],
  ['cancelled', 'Cancelled'],
  ['denied', 'Limited'],
  ['banned', 'Banned'],
  ['refused', 'Other refusals'],
  ['server_error', 'Server errors'],
];

const OUTCOME = template(`<tr><th scope="row"><span class="swatch" aria-hidden="true"></span><span class="name"></span></th><td class="num rate"></td><td class="num total"></td></tr>`);
const CLIENT = template(`<tr><th scope="row" class="client"><span class="name"></span> <span class="tag" hidden>banned</span></th><td class="num count"><span class="share"></span><b></b></td><td class="bound"></td></tr>`);

const sections = {
  tiles: [
    tileOf('tile-requests', 'Requests', 'per s', 'Requests that ended, in one second. The line below covers the last 5 minutes.'),
    tileOf('tile-refused', 'Refused', 'per s', 'Requests refused by a limit, for a ban, by a limit that could not ask its store, or by another layer.'),
    tileOf('tile-errors', 'Server errors', 'per s', 'Answers 5xx of the service, and requests that ended without any answer.'),
    tileOf('tile-latency', 'Mean response', 'ms', 'From the request to the head of its response, the layers and the service together; a mean, so that a few slow ones hide in it.'),
  ].join(''),
  now: `
  <section class="panel wide" id="traffic" aria-labelledby="traffic-title">
    <header><h2 id="traffic-title">Requests by outcome</h2>
      <details class="help"><summary aria-label="What the outcomes mean">?</summary><div>
        <p>Each request that ended, once, by what became of it. Every point is a mean of three seconds.</p>
        <p><b>Served</b> is a status below 400. <b>Client errors</b> are 4xx of the service's own. <b>Limited</b> were refused by a limit, <b>banned</b> for a ban; <b>other refusals</b> are those of other layers, such as maintenance. <b>Server errors</b> are 5xx and no response at all. <b>Cancelled</b>: the client left first.</p>
        <p>A hatched part is time that nobody told this page about; it is not zero.</p>
      </div></details>
      <p class="sub">per second, last 5 minutes</p>
    </header>
    <div class="traffic">
      <div class="chart" id="chart" tabindex="0" role="group" aria-roledescription="chart" aria-label="Requests per second by outcome. Left and right arrow read a moment into the table.">
        <svg id="chart-svg" aria-hidden="true"></svg>
        <p class="chart-empty" id="chart-empty">No requests yet. The first one shows here within a second.</p>
      </div>
      <table class="legend">
        <caption class="unseen">Requests by outcome</caption>
        <thead><tr><th scope="col">Outcome</th><th scope="col" class="num" id="legend-when">per s</th><th scope="col" class="num" title="Since the process started">since start</th></tr></thead>
        <tbody id="legend"></tbody>
      </table>
    </div>
  </section>`,
  clients: `
  <section class="panel" id="limited" aria-labelledby="limited-title">
    <header><h2 id="limited-title">Most limited clients</h2>
      <details class="help"><summary aria-label="How exact the counts are">?</summary><div>
        <p>Clients whose requests were refused most. <span class="bounds"></span> A count is never too low; how much it may be too high stands beside it.</p>
      </div></details>
      <p class="sub" id="limited-sub"></p>
    </header>
    <table class="top" id="limited-table"><caption class="unseen">Clients that were denied most</caption>
      <thead><tr><th scope="col">Client</th><th scope="col" class="num">Denied</th><th scope="col">May be too high by</th></tr></thead><tbody id="limited-list"></tbody></table>
    <p class="empty" id="limited-empty"></p>
    <p class="foot" id="limited-foot"></p>
  </section>
  <section class="panel" id="suspicious" aria-labelledby="suspicious-title">
    <header><h2 id="suspicious-title">Suspicious clients</h2>
      <details class="help"><summary aria-label="What makes a client suspicious">?</summary><div>
        <p>Clients whose requests failed most: 401, 404, and other 4xx of the service's own; refusals by limits and bans do not count. <span class="bounds"></span> A count is never too low; how much it may be too high stands beside it.</p>
      </div></details>
      <p class="sub" id="suspicious-sub"></p>
    </header>
    <table class="top" id="suspicious-table"><caption class="unseen">Clients whose requests failed most</caption>
      <thead><tr><th scope="col">Client</th><th scope="col" class="num">Failed</th><th scope="col">May be too high by</th></tr></thead><tbody id="suspicious-list"></tbody></table>
    <p class="empty" id="suspicious-empty"></p>
    <p class="foot" id="suspicious-foot"></p>
  </section>`,
};

// Of a sample.
const total = (s) => s.requests.total;
const refused = (s) => s.requests.denied + s.requests.banned + s.requests.refused;
const failed = (s) => s.requests.server_error;
const took = (s) => s.seconds;
const outcomes = OUTCOMES.map(([name]) => (s) => s.requests[name]);

let chart = null;
const start = (redraw) => {
  chart = new Chart($('chart'), $('chart-svg'), OUTCOMES.map(([name]) => `o-${name}`), redraw);
};
const restart = () => chart.restart();

const title = () => `${rate(perSecond(total))}/s`;

// One figure of a process that is up for long says nothing of its last minutes.
const isTold = (ms) => growth(ms, total) !== null;

const judge = () => {
  if (!isTold(60_000)) return [[10, 'wait', 'Waiting for the first figures', 'A rate takes two of them, a second apart.']];
  const of = (pick) => growth(60_000, pick).by;
  const span = latest().uptime < 60_000 ? 'since start' : 'in the last minute';
  const [all, errors, denied] = [of(total), of(failed), of((s) => s.requests.denied)];
  const failures = `${many(errors, 'server error')} ${span}: ${share(errors, all)} of all requests.`;
  const found = [];
  if (errors > all / 100) found.push([80, 'bad', 'The service fails requests', failures]);
  else if (errors > 0) found.push([50, 'warn', 'A few server errors', failures]);
  if (denied > 0) found.push([60, 'warn', 'Limits are refusing requests', `${many(denied, 'request')} ${span}: ${share(denied, all)} of all.`]);
  if (found.length > 0) return found;
  if (all === 0) return [[0, 'quiet', 'Quiet', `No request ${span}; the page is live and waits.`]];
  return [[0, 'quiet', 'All quiet', `${many(all, 'request')} ${span}: no server error, and no limit refused any.`]];
};

const drawTiles = () => {
  const { requests, active } = latest();
  const window = (pick) => growth(SPAN, pick)?.by ?? 0;
  const [all, errors] = [window(total), window(failed)];
  const under = (text) => (isTold(SPAN) ? text : 'waiting for figures');
  drawTile('tile-requests', rate(perSecond(total)), `${active} under way, ${count(requests.total)} since start`, [total]);
  drawTile('tile-refused', rate(perSecond(refused)), under(all ? `${share(window(refused), all)} of requests in 5 min` : 'no requests in 5 min'), [refused]);
  drawTile('tile-errors', rate(perSecond(failed)), under(errors ? `${count(errors)} in 5 min, ${share(errors, all)}` : 'none in 5 min'), [failed], errors ? 'bad' : '');
  drawTile('tile-latency', millis(mean(took, total)), under(all ? `${millis(mean(took, total, SPAN))} ms over 5 min` : 'no requests in 5 min'), [took, total], '', quotient);
};

const drawTraffic = () => {
  const { peak, seen } = chart.draw(outcomes);
  show($('chart-empty'), peak === 0);
  if (!live.hello.fed) say($('chart-empty'), 'Requests are not counted.');
  say($('legend-when'), seen ? `at ${clock.format(seen.sample.at)}` : 'per s');
  const { requests } = latest();
  rows($('legend'), OUTCOME, [...OUTCOMES].reverse().concat([['total', 'All']]), ([name]) => name, (row, [name, label]) => {
    mark(part(row, '.swatch'), 'class', `swatch o-${name}`);
    say(part(row, '.name'), label);
    const index = OUTCOMES.findIndex(([other]) => other === name);
    const at = seen ? (index < 0 ? sum(seen) : seen.r[index]) : perSecond((s) => s.requests[name]);
    say(part(row, '.rate'), rate(at));
    say(part(row, '.total'), count(requests[name]));
  });
};

const drawTop = (id, top, what, nobody, appears) => {
  const { hello } = live;
  const over = spell(hello.top.seconds);
  const some = top.clients.length > 0;
  say($(`${id}-sub`), `last ${over}`);
  show($(`${id}-table`), some);
  show($(`${id}-empty`), !some);
  say($(`${id}-empty`), `${nobody} in the last ${over}. A client appears when ${appears}.`);
  const highest = top.clients[0]?.count ?? 1;
  rows($(`${id}-list`), CLIENT, top.clients, (one) => one.client, (row, one) => {
    say(part(row, '.name'), one.client);
    show(part(row, '.tag'), one.banned);
    say(part(row, 'b'), count(one.count));
    say(part(row, '.bound'), one.error > 0 ? `at most ${count(one.error)} too high` : 'exact');
    part(row, '.share').style.width = `${(100 * one.count) / highest}%`;
  });
  const exact = top.error > 0 ? `no count is more than ${count(top.error)} too high` : 'all counts are exact';
  const missing = top.missing > 0 ? `nobody missing has more than ${count(top.missing)}` : 'nobody is missing';
  say($(`${id}-foot`), some ? `${count(top.total)} ${what} in all; ${exact}, and ${missing}.` : '');
  say(part($(id), '.bounds'), `They are counted by Space-Saving with ${count(hello.top.counters)} counters in each minute, whoever comes.`);
};

const draw = () => {
  drawTiles();
  drawTraffic();
  drawTop('limited', live.now.limited, 'denied', 'Nobody was denied', 'a limit denies it for the first time');
  drawTop('suspicious', live.now.suspicious, 'failed', 'No request failed', 'it gets its first 401, 404 or other 4xx');
};

export default { sections, start, restart, title, judge, draw };
