// The limits: their settings, and what each decided.

import { act } from '../act.js';
import { $, mark, part, rows, say, show, template } from '../dom.js';
import { latest, live, perSecond } from '../live.js';
import { count, rate, words } from '../text.js';

const ON_FAILURE = {
  local: 'if the store fails: local',
  open: 'if the store fails: open',
  closed: 'if the store fails: closed',
};

const LIMIT = template(`<tr role="row"><th scope="row" role="rowheader"><span class="name"></span> <span class="mode" hidden>dry run</span> <span class="quota"></span><span class="meta"></span></th><td class="num" role="cell"><span class="rate"></span><span class="total"></span></td><td class="num" role="cell"><span class="rate"></span><span class="total"></span></td><td class="num" role="cell"><span class="rate"></span><span class="total"></span></td><td class="num" role="cell"><span class="rate"></span><span class="total"></span></td></tr>`);

const sections = {
  rules: `
  <section class="panel wide" id="limits" aria-labelledby="limits-title">
    <header><h2 id="limits-title">Limits</h2>
      <details class="help"><summary aria-label="What the figures of a limit mean">?</summary><div>
        <p>What each limit decided: a mean rate of the last 10 seconds, and below it the number since start.</p>
        <p><b>Admitted</b>: there was room. <b>Denied</b>: refused with 429. <b>Dry run</b>: would have been denied, but the limit only watches. <b>Fallback</b>: decided without the store, which did not answer; admitted + refused.</p>
        <p><b>Unblock</b> ends a client's ban and forgets what every limit holds against it, or against a customer, in every process within a second. It is written to the security log.</p>
        <p>A limit's name is followed by its quota, whom it counts apart, and what it does while the store fails: <i>local</i> keeps limiting in each process alone, <i>open</i> lets pass, <i>closed</i> refuses.</p>
      </div></details>
      <p class="sub">decisions per second, and since start</p>
    </header>
    <table class="limits" role="table">
      <caption class="unseen">Decisions of each limit, per second and since start</caption>
      <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Limit</th><th scope="col" role="columnheader" class="num">Admitted</th><th scope="col" role="columnheader" class="num">Denied</th><th scope="col" role="columnheader" class="num">Dry run</th><th scope="col" role="columnheader" class="num">Fallback</th></tr></thead>
      <tbody id="limits-list" role="rowgroup"></tbody>
    </table>
    <form class="unblock" id="unblock" aria-label="Let a client or a customer in" hidden>
      <label>Let in <select id="unblock-kind" aria-label="Whom"><option value="client">the client</option><option value="user">the customer</option></select></label>
      <input id="unblock-whom" aria-label="Address, or id of the customer" autocomplete="off" spellcheck="false" required maxlength="256" placeholder="192.0.2.1">
      <button type="submit">Unblock</button>
      <span class="outcome" id="unblock-outcome"></span>
    </form>
    <p class="empty" id="limits-empty">No limits are active. Each policy of <code>[rate_limit]</code> shows here from the start.</p>
  </section>`,
};

const PLACEHOLDERS = { client: '192.0.2.1', user: 'ada@example.org' };
const outcomeOf = ({ was_banned: banned, was_limited: limited }) =>
  banned && limited ? 'Unblocked: its ban is lifted and its limits are forgotten.'
    : banned ? 'Unblocked: its ban is lifted.'
      : limited ? 'Unblocked: its limits are forgotten.'
        : 'Nothing was held against it.';

const unblock = async (event) => {
  event.preventDefault();
  const button = part($('unblock'), 'button');
  if (button.getAttribute('aria-disabled')) return;
  const whom = $('unblock-whom').value.trim();
  button.setAttribute('aria-disabled', 'true');
  say($('unblock-outcome'), '');
  const { told, problem } = await act('limits/unblock', { [$('unblock-kind').value]: whom }, 'The service did not answer; try again.');
  button.removeAttribute('aria-disabled');
  const outcome = problem || outcomeOf(told);
  say($('unblock-outcome'), outcome);
  say($('answer'), `${whom}: ${outcome}`);
  if (!problem) $('unblock-whom').value = '';
};

const start = () => {
  $('unblock').addEventListener('submit', unblock);
  const kind = $('unblock-kind');
  kind.addEventListener('change', () => mark($('unblock-whom'), 'placeholder', PLACEHOLDERS[kind.value]));
};

const draw = () => {
  show($('unblock'), live.hello.actions);
  show($('limits-empty'), live.hello.policies.length === 0);
  show(part($('limits'), 'table'), live.hello.policies.length > 0);
  const total = latest().decisions;
  rows($('limits-list'), LIMIT, live.hello.policies, (policy) => policy.name, (row, policy, i) => {
    say(part(row, '.name'), policy.name);
    say(part(row, '.quota'), policy.quota);
    const about = [
      `by ${policy.key}`,
      policy.dry_run ? 'refuses nobody' : 'enforced',
      ON_FAILURE[policy.on_store_failure] ?? policy.on_store_failure,
      ...policy.by_segment.map(([segment, quota]) => `${words(segment)} ${quota}`),
      ...policy.routes,
    ];
    say(part(row, '.meta'), about.join(' · '));
    show(part(row, '.mode'), policy.dry_run);
    const picks = [
      (d) => d.admitted,
      (d) => d.denied,
      (d) => d.dry_run_denied,
      (d) => d.fallback_admitted + d.fallback_denied,
    ];
    row.querySelectorAll('td').forEach((cell, column) => {
      const pick = (sample) => picks[column](sample.decisions[i] ?? {}) || 0;
      const per = perSecond(pick);
      say(part(cell, '.rate'), rate(per));
      const sum = picks[column](total[i] ?? {}) || 0;
      const { fallback_admitted: in_, fallback_denied: out } = total[i] ?? {};
      say(part(cell, '.total'), column === 3 && sum > 0 ? `${count(in_)} + ${count(out)}` : count(sum));
      mark(cell, 'data-flag', per > 0 && column > 0 ? ['', 'denied', 'dry', 'fallback'][column] : '');
    });
  });
};

export default { sections, start, draw };
