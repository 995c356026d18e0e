// The limits: their settings, and what each decided.

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
        <p>A limit's name is followed by its quota, whom it counts apart, and what it does while the store fails: <i>local</i> keeps limiting in each process alone, <i>open</i> lets pass, <i>closed</i> refuses.</p>
      </div></details>
      <p class="sub">decisions per second, and since start</p>
    </header>
    <table class="limits" role="table">
      <caption class="unseen">Decisions of each limit, per second and since start</caption>
      <thead role="rowgroup"><tr role="row"><th scope="col" role="columnheader">Limit</th><th scope="col" role="columnheader" class="num">Admitted</th><th scope="col" role="columnheader" class="num">Denied</th><th scope="col" role="columnheader" class="num">Dry run</th><th scope="col" role="columnheader" class="num">Fallback</th></tr></thead>
      <tbody id="limits-list" role="rowgroup"></tbody>
    </table>
    <p class="empty" id="limits-empty">No limits are active. Each policy of <code>[rate_limit]</code> shows here from the start.</p>
  </section>`,
};

const draw = () => {
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

export default { sections, draw };
