// Sessions: how many live, what is done to them, and their security events.

import { $, part, rows, say, show, template } from '../dom.js';
import { growth, latest, live, perSecond } from '../live.js';
import { count, many, rate, words } from '../text.js';

const DONE = [
  ['created', 'Created'],
  ['ended', 'Ended'],
  ['proved', 'Requests with a good token'],
  ['refused', 'Ended or expired tokens'],
  ['forged', 'Forged tokens'],
  ['failed', 'Not done: the store failed'],
];

const ROW = template(`<tr><th scope="row"><span class="name"></span></th><td class="num rate"></td><td class="num total"></td></tr>`);
const ALERT = template(`<tr><th scope="row"><span class="name"></span></th><td class="num total"></td></tr>`);

const sections = {
  customers: `
  <section class="panel" id="sessions" aria-labelledby="sessions-title">
    <header><h2 id="sessions-title">Sessions</h2>
      <details class="help"><summary aria-label="What is counted of sessions">?</summary><div>
        <p>Sessions that <b>live</b> have neither ended nor expired; the store counts those of all processes. What is done to sessions is counted in this process.</p>
        <p>A token that ended or expired is no attack: an app may not know yet. A <b>forged</b> token was never made by this service. An <b>event</b> is something that the owner of a session should look at; the log names the session.</p>
      </div></details>
      <p class="sub" id="sessions-sub"></p>
    </header>
    <table class="incidents"><caption class="unseen">What was done to sessions</caption>
      <thead><tr><th scope="col">Sessions</th><th scope="col" class="num">per s</th><th scope="col" class="num" title="Since the process started">since start</th></tr></thead><tbody id="sessions-list"></tbody></table>
    <table class="incidents" id="session-alerts"><caption class="unseen">Security events of sessions</caption>
      <thead><tr><th scope="col">Event</th><th scope="col" class="num" title="Since the process started">since start</th></tr></thead><tbody id="session-alerts-list"></tbody></table>
    <p class="foot" id="sessions-foot"></p>
  </section>`,
};

const judge = () => {
  const span = latest().uptime < 60_000 ? 'since start' : 'in the last minute';
  const of = (name) => growth(60_000, (s) => s.sessions[name])?.by ?? 0;
  const [failed, alerts] = [of('failed'), of('alerts')];
  const found = [];
  if (failed > 0) found.push([85, 'bad', 'Sessions cannot be proved, created or ended', `The store failed ${many(failed, 'question')} about sessions ${span}.`]);
  if (alerts > 0) found.push([65, 'warn', 'Sessions are used as they should not be', `${many(alerts, 'security event')} ${span}; the log names the sessions.`]);
  return found;
};

const draw = () => {
  const { now: { sessions_active: active, session_alerts: alerts } } = live;
  say($('sessions-sub'), active === null ? 'not counted yet' : `${many(active, 'session')} live`);
  const { sessions } = latest();
  rows($('sessions-list'), ROW, DONE, ([name]) => name, (row, [name, label]) => {
    say(part(row, '.name'), label);
    say(part(row, '.rate'), rate(perSecond((s) => s.sessions[name])));
    say(part(row, '.total'), count(sessions[name]));
  });
  const told = alerts.filter(([, times]) => times > 0);
  show($('session-alerts'), told.length > 0);
  rows($('session-alerts-list'), ALERT, told, ([kind]) => kind, (row, [kind, times]) => {
    say(part(row, '.name'), words(kind));
    say(part(row, '.total'), count(times));
  });
  say($('sessions-foot'), told.length > 0 ? '' : 'No security event since start.');
};

export default { sections, judge, draw };
