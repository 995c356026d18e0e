// The funnel: how many reached each stage, and how many went on.

import { $, mark, part, rows, say, show, template } from '../dom.js';
import { SPAN, growth, latest, live, since } from '../live.js';
import { count, lasting, many, share, words } from '../text.js';

const STAGE = template(`<li><p class="stage"><span class="name"></span><span class="count"></span></p><svg class="body" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><path/></svg><p class="also"></p><p class="step"><b></b><span></span></p><svg class="neck" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true"><path/></svg></li>`);

const sections = {
  customers: `
  <section class="panel wide" id="funnel" aria-labelledby="funnel-title">
    <header><h2 id="funnel-title">Funnel</h2>
      <details class="help"><summary aria-label="How the funnel counts">?</summary><div>
        <p id="funnel-help"></p>
      </div></details>
      <p class="sub" id="funnel-sub"></p>
      <div class="switch" role="group" aria-label="Time that the funnel covers">
        <button type="button" id="funnel-window" aria-pressed="true">Last 5 min</button><button type="button" id="funnel-start" aria-pressed="false">Since start</button>
      </div>
    </header>
    <ol id="funnel-list" class="funnel"></ol>
    <p class="empty" id="funnel-empty" hidden></p>
    <p class="foot" id="funnel-foot"></p>
  </section>`,
};

// The buttons, and whether the funnel covers the last minutes or all time since start.
const SPANS = { 'funnel-window': 'window', 'funnel-start': 'start' };
let funnelSpan = 'window';

const start = (redraw) => {
  for (const [id, span] of Object.entries(SPANS)) {
    $(id).addEventListener('click', () => {
      funnelSpan = span;
      for (const other of Object.keys(SPANS)) mark($(other), 'aria-pressed', String(other === id));
      redraw();
    });
  }
};

const draw = () => {
  const { hello } = live;
  const { stages } = hello;
  show($('funnel'), stages.length > 0);
  if (stages.length === 0) return;
  const people = hello.visitors && latest().visitors.length === stages.length;
  const of = (list, ms) => stages.map((_, i) => (ms ? growth(ms, (s) => s[list][i] ?? 0)?.by ?? 0 : latest()[list][i] ?? 0));
  const span = funnelSpan === 'window' ? SPAN : 0;
  const main = of(people ? 'visitors' : 'stages', span);
  const other = of('stages', span);
  const begin = since(SPAN);
  const full = begin && !begin.zero && latest().uptime - begin.uptime > SPAN - 5000;
  const covers = full && span ? 'last 5 min' : span === 0 ? `since start, ${lasting(latest().uptime)} ago` : begin ? `last ${lasting(latest().uptime - begin.uptime)}` : 'last 5 min';
  const unit = people ? 'visitors' : 'responses';
  say($('funnel-sub'), `${unit}, ${covers}`);
  say($('funnel-help'), people
    ? 'Visitors who reached each stage for the first time in 24 hours, in the order of the stages, over all processes as far as this one counted them. Beside them the responses, of which one visitor may cause many.'
    : 'Responses that reached each stage. Visitors are not told apart here, so a stage may have more than the one before it.');
  const widest = Math.max(...main, 1);
  const empty = main.every((n) => n === 0);
  mark($('funnel-list'), 'data-empty', String(empty));
  const wide = (n) => Math.max((100 * n) / widest, n > 0 ? 1 : 0.35);
  rows($('funnel-list'), STAGE, stages, (name, i) => `${i} ${name}`, (row, name, i) => {
    say(part(row, '.name'), words(name));
    say(part(row, '.count'), count(main[i]));
    say(part(row, '.also'), people ? many(other[i], 'response') : '');
    // Without figures, a shadow of what will stand here.
    const [w, next] = empty ? [100 * 0.6 ** i, 100 * 0.6 ** (i + 1)] : [wide(main[i]), wide(main[i + 1] ?? 0)];
    const edge = (half) => [50 - half / 2, 50 + half / 2].map((n) => n.toFixed(2));
    const [l, r] = edge(w);
    mark(part(row, '.body path'), 'd', `M${l},0H${r}V10H${l}Z`);
    const last = i === stages.length - 1;
    show(part(row, '.step'), !last);
    mark(part(row, '.neck'), 'data-last', String(last));
    if (last) return;
    const [nl, nr] = edge(next);
    mark(part(row, '.neck path'), 'd', `M${l},0L${nl},10H${nr}L${r},0Z`);
    const lost = main[i] - main[i + 1];
    say(part(row, '.step b'), main[i] === 0 ? '' : `${share(main[i + 1], main[i])} go on`);
    say(part(row, '.step span'), main[i] === 0 ? 'nobody to go on yet' : lost >= 0 ? `${count(lost)} drop off` : `${count(-lost)} more than before`);
  });
  const [first, end] = [main[0], main.at(-1)];
  const whole = stages.length > 1 && first > 0 ? `${share(end, first)} of ${words(stages[0])} reach ${words(stages.at(-1))}.` : '';
  say($('funnel-foot'), empty ? `Nothing reached a stage ${span ? 'in this time' : 'since start'}. The first response of ${words(stages[0])} shows here within a second.` : whole);
};

export default { sections, start, draw };
