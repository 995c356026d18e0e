// Security events, bans and the button that lifts them, and incidents by kind.

import { act } from '../act.js';
import { $, announce, mark, part, rows, say, show, template } from '../dom.js';
import { SPAN, live, moment, serverNow } from '../live.js';
import { count, dayAndClock, lasting, many, said, words } from '../text.js';
import { drawTile, tileOf } from '../tile.js';

const KINDS = {
  credential_stuffing: 'answers 401: guessed passwords or tokens',
  endpoint_scanning: 'answers 404: a search for paths',
  abuse: 'answers 4xx of any kind',
  credential_stuffing_slow: 'answers 401, spread over a long time',
  password_spraying: 'accounts whose login failed, from one network',
  distributed_stuffing: 'networks whose login failed, for one account',
  success_after_failures: 'a login that succeeded during one of these',
};

const EVENT = template(`<li><p class="event-head"><span class="tag"></span><time></time></p><p class="event-client"></p><p class="event-detail"></p></li>`);
const BAN = template(`<tr role="row"><th scope="row" role="rowheader" class="client"></th><td role="cell" class="reason"></td><td role="cell" class="num strikes"></td><td role="cell" class="num left"></td><td role="cell" class="act"><button type="button" class="lift">Lift</button><span class="sure" hidden><button type="button" class="yes">Lift it</button><button type="button" class="no">Keep</button></span><span class="outcome"></span></td></tr>`);
const INCIDENT = template(`<tr><th scope="row"><span class="name"></span><span class="meta"></span></th><td class="when"></td><td class="num count"></td></tr>`);

const sections = {
  tiles: tileOf('tile-bans', 'Banned clients', 'now', 'Clients and users that are refused now, whatever they ask for. The line begins when this page was opened.'),
  now: `
  <section class="panel" id="events" aria-labelledby="events-title">
    <header><h2 id="events-title">Security events</h2>
      <details class="help"><summary aria-label="What security events are">?</summary><div>
        <p>What the security log says, newest first: incidents, bans, lifted bans. An incident is reported once when a client's failures reach a threshold, and once more for each full window that they go on; so few lines can stand for many requests.</p>
      </div></details>
      <p class="sub" id="events-sub">newest first</p>
    </header>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="events-title">
      <ol id="events-list" class="events"></ol>
      <p class="empty" id="events-empty"></p>
    </div>
  </section>`,
  rules: `
  <section class="panel mid" id="bans" aria-labelledby="bans-title">
    <header><h2 id="bans-title" tabindex="-1">Bans</h2>
      <details class="help"><summary aria-label="What a ban is">?</summary><div>
        <p>Clients, and verified users wherever they come from, that every process refuses until their time is up. A strike is one offence: each lasts twice as long as the one before.</p>
        <p>Lifting lets them in again within a second, and forgets its strikes. It is written to the security log.</p>
      </div></details>
      <p class="sub" id="bans-sub"></p>
    </header>
    <p class="note" id="bans-note" hidden></p>
    <div class="scroll" tabindex="0" role="region" aria-labelledby="bans-title">
      <table class="bans" id="bans-table" role="table">
        <caption class="unseen">Banned clients; those whose ban lasts longest first</caption>
        <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Client</th><th scope="col" role="columnheader">Reason</th><th scope="col" role="columnheader" class="num">Strikes</th><th scope="col" role="columnheader" class="num">Time left</th><th scope="col" role="columnheader" class="act"><span class="unseen">Action</span></th></tr></thead>
        <tbody id="bans-list" role="rowgroup"></tbody>
      </table>
      <p class="empty" id="bans-empty"></p>
    </div>
  </section>`,
  clients: `
  <section class="panel" id="incidents" aria-labelledby="incidents-title">
    <header><h2 id="incidents-title">Incidents by kind</h2>
      <details class="help"><summary aria-label="What an incident is">?</summary><div>
        <p>What is watched for, when it is reported, and how often it was. One incident is one event of the security log, not one request.</p>
      </div></details>
      <p class="sub">since start</p>
    </header>
    <table class="incidents" id="incidents-table"><caption class="unseen">Incidents by kind since start</caption>
      <thead><tr><th scope="col">Kind</th><th scope="col">Reported at</th><th scope="col" class="num">Incidents</th></tr></thead><tbody id="incidents-list"></tbody></table>
    <p class="empty" id="incidents-empty">Nothing is watched for. With <code>[suspicion]</code> on, each kind of incident shows here with its threshold.</p>
  </section>`,
};

let newestEvent = null;

const restart = () => {
  newestEvent = null;
};

const learn = ({ events, bans }) => {
  tellEvents(events);
  return { banned: bans?.total ?? 0 };
};

const judge = () => {
  const { bans, events, sample } = live.now;
  const found = [];
  const lately = events.filter((e) => e.event === 'suspicious_activity' && sample.at - e.at < SPAN).length;
  if (lately > 0) {
    found.push([70, 'warn', 'Suspicious activity', `${lately >= 50 ? '50 or more incidents' : many(lately, 'incident')} in the last 5 minutes; ${!bans ? 'bans are off' : bans.total ? `${many(bans.total, 'client is', 'clients are')} banned` : bans.stale ? 'the store does not tell who is banned' : 'nobody is banned'}.`]);
  }
  if (bans?.total > 0) found.push([0, 'quiet', '', `${many(bans.total, 'client stays', 'clients stay')} banned.`]);
  return found;
};

const titleOf = (event) => ({ client_banned: 'banned', ban_lifted: 'ban lifted', client_unblocked: 'unblocked' })[event.event] ?? words(event.kind);
const tellEvents = (events) => {
  const top = events[0]?.number ?? 0;
  if (newestEvent !== null && top > newestEvent) {
    const fresh = events.filter((event) => event.number > newestEvent);
    const [last] = fresh;
    const what = `${titleOf(last)}, ${last.client}`;
    announce(fresh.length === 1 ? `Security event: ${what}.` : `${fresh.length} new security events; the newest: ${what}.`);
  }
  newestEvent = top;
};

const drawEvents = () => {
  const { hello, now } = live;
  rows($('events-list'), EVENT, now.events, (event) => `${hello.started} ${event.number}`, (row, event, _, fresh) => {
    if (fresh) {
      row.dataset.event = event.event;
      if (serverNow() - event.at < 5000) row.classList.add('new');
      say(part(row, '.tag'), titleOf(event));
      say(part(row, '.event-client'), event.client);
      say(part(row, '.event-detail'), event.event === 'client_banned' ? `${words(event.kind)}: ${event.detail}` : event.detail);
      part(row, 'time').dateTime = new Date(event.at).toISOString();
    }
    say(part(row, 'time'), moment(event.at));
  });
  show($('events-empty'), now.events.length === 0);
  say($('events-sub'), now.events.length >= 50 ? 'the newest 50, newest first' : 'newest first');
  const [watch] = hello.watches;
  const first = watch ? `One appears when a client's failures reach a threshold (${words(watch.kind)}: ${watch.count} in ${said(watch.window)})` : 'Suspicious activity is not watched for; one appears';
  say($('events-empty'), `No security events yet. ${first}${watch ? ', ' : ' '}when a client is banned, or when a ban is lifted.`);
};

const drawIncidents = () => {
  const { hello, now } = live;
  const watched = new Map(hello.watches.map((watch) => [watch.kind, watch]));
  const counted = now.incidents.filter(([kind, number]) => watched.has(kind) || number > 0);
  for (const kind of watched.keys()) if (!counted.some(([other]) => other === kind)) counted.push([kind, 0]);
  show($('incidents-table'), counted.length > 0);
  show($('incidents-empty'), counted.length === 0);
  rows($('incidents-list'), INCIDENT, counted, ([kind]) => kind, (row, [kind, number]) => {
    say(part(row, '.name'), words(kind));
    say(part(row, '.meta'), KINDS[kind] ?? '');
    const watch = watched.get(kind);
    say(part(row, '.when'), !watch ? '–' : watch.count > 1 ? `${watch.count} in ${said(watch.window)}` : `any in ${said(watch.window)}`);
    say(part(row, '.count'), count(number));
    mark(row, 'data-flag', number > 0 ? 'some' : '');
  });
};

const drawBans = () => {
  const { hello, now: { bans } } = live;
  const off = bans === null || !hello.bans;
  show($('bans-table'), !off && bans.list.length > 0);
  show($('bans-empty'), off || bans.list.length === 0);
  if (off) {
    say($('bans-sub'), 'off');
    say($('bans-empty'), 'Bans are off. With [suspicion.bans] in the configuration, a client whose failures are an incident is refused for a time, and shows here.');
    show($('bans-note'), false);
    rows($('bans-list'), BAN, [], String, () => {});
    return;
  }
  const shown = bans.list.length < bans.total ? `the ${bans.list.length} longest of ${count(bans.total)}` : many(bans.total, 'client');
  say($('bans-sub'), `${bans.total ? `${shown}; ` : ''}first ${said(hello.bans.first)}, at most ${said(hello.bans.longest)}`);
  const notes = [
    hello.bans.dry_run && 'Dry run: bans are noted, nobody is refused.',
    bans.stale && 'The store does not tell now: this is what was last known, and what this process imposed alone since.',
  ].filter(Boolean);
  show($('bans-note'), notes.length > 0);
  say($('bans-note'), notes.join(' '));
  const nobody = bans.stale ? 'The store has not told of any ban.' : 'No bans.';
  say($('bans-empty'), `${nobody} A client is banned when its failures are an incident: for ${said(hello.bans.first)}, then for twice as long at each further offence, at most ${said(hello.bans.longest)}.`);
  const { lostFocus } = rows($('bans-list'), BAN, bans.list, nameOf, fillBan);
  // The row that had the focus is gone: the next button, or the heading if there is none.
  if (lostFocus) (part($('bans-list'), 'button.lift:not([hidden])') ?? $('bans-title')).focus();
};
// A client by its address, a user by the word and the id.
const nameOf = (ban) => (ban.user === undefined ? ban.client : `user ${ban.user}`);
const fillBan = (row, ban, _, fresh) => {
  if (fresh) {
    const name = nameOf(ban);
    const button = part(row, '.lift');
    button.setAttribute('aria-label', `Lift the ban of ${name}`);
    part(row, '.yes').setAttribute('aria-label', `Lift it: let ${name} in`);
    part(row, '.no').setAttribute('aria-label', `Keep the ban of ${name}`);
    say(part(row, '.client'), name);
    button.addEventListener('click', () => ask(row, true));
    part(row, '.no').addEventListener('click', () => ask(row, false));
    part(row, '.sure').addEventListener('keydown', (event) => event.key === 'Escape' && ask(row, false));
    part(row, '.yes').addEventListener('click', () => lift(row, row.ban));
    show(button, live.hello.actions);
  }
  if (row.ban?.since !== ban.since || (row.lifted && performance.now() - row.lifted > 5000)) {
    // Banned again, or still: what was said about the ban before is no longer true.
    row.lifted = 0;
    if (row.dataset.state === 'lifted') {
      row.dataset.state = '';
      say(part(row, '.outcome'), '');
      show(part(row, '.lift'), live.hello.actions);
    }
  }
  row.ban = ban;
  say(part(row, '.reason'), words(ban.reason));
  say(part(row, '.strikes'), ban.strikes);
  mark(part(row, '.strikes'), 'data-unit', ban.strikes === 1 ? 'strike' : 'strikes');
  const left = part(row, '.left');
  const remains = ban.until - serverNow();
  say(left, remains > 0 ? lasting(remains) : 'ending');
  mark(left, 'title', `Since ${dayAndClock.format(ban.since)}, until ${dayAndClock.format(ban.until)}`);
};
const ask = (row, sure) => {
  show(part(row, '.lift'), !sure);
  show(part(row, '.sure'), sure);
  if (sure) {
    say(part(row, '.outcome'), '');
    say($('answer'), '');
  }
  part(row, sure ? '.yes' : '.lift').focus();
};

const lift = async (row, ban) => {
  if (row.dataset.state === 'busy') return;
  const [outcome, name] = [part(row, '.outcome'), nameOf(ban)];
  row.dataset.state = 'busy';
  row.querySelectorAll('.sure button').forEach((button) => mark(button, 'aria-disabled', 'true'));
  const { told, problem } = await act('bans/lift', ban.user === undefined ? { client: ban.client } : { user: ban.user }, 'The service did not answer; the ban may last on.');
  row.querySelectorAll('.sure button').forEach((button) => button.removeAttribute('aria-disabled'));
  const focused = row.contains(document.activeElement) || document.activeElement === document.body;
  show(part(row, '.sure'), false);
  if (problem) {
    row.dataset.state = 'failed';
    say(outcome, problem);
    say($('answer'), `The ban of ${name} was not lifted. ${problem}`);
    show(part(row, '.lift'), true);
    if (focused && row.isConnected) part(row, '.lift').focus();
    return;
  }
  row.dataset.state = 'lifted';
  row.lifted = performance.now();
  const lifted = told?.lifted === true;
  say(outcome, lifted ? 'Lifted' : 'Had ended');
  say($('answer'), lifted ? `The ban of ${name} is lifted.` : `${name} was no longer banned.`);
  if (focused) {
    const others = [...$('bans-list').querySelectorAll('button.lift:not([hidden])')].filter((button) => !row.contains(button));
    (others[0] ?? $('bans-title')).focus();
  }
};

const drawTileOfBans = () => {
  const { hello, now: { bans } } = live;
  const under = !bans ? 'bans are off' : bans.stale ? 'as last known' : hello.bans?.dry_run ? 'dry run: nobody is refused' : `first ${said(hello.bans?.first)}, at most ${said(hello.bans?.longest)}`;
  drawTile('tile-bans', bans && (bans.total || !bans.stale) ? count(bans.total) : '–', under, [(s) => s.banned ?? NaN], '', (_, sample) => sample.banned);
};

const draw = () => {
  drawTileOfBans();
  drawEvents();
  drawBans();
  drawIncidents();
};

export default { sections, restart, learn, judge, draw };
