// Customers by segment: the population, and what each segment did.

import { $, mark, part, rows, say, show, template } from '../dom.js';
import { live } from '../live.js';
import { count, many, share, words } from '../text.js';

const SEGMENT = template(`<tr><th scope="row"><span class="swatch" aria-hidden="true"></span><span class="name"></span></th><td class="num people"></td><td class="num part"></td><td class="num actions"></td></tr>`);

const sections = {
  customers: `
  <section class="panel" id="segments" aria-labelledby="segments-title">
    <header><h2 id="segments-title">Customers by segment</h2>
      <details class="help"><summary aria-label="What the segments are">?</summary><div>
        <p>Known customers by the time since their last activity, or by their value (VIP goes first). <b>Actions</b> are what customers of the segment did since start: browse, view, add, check out. A customer is new only until the first action, so the population has none.</p>
      </div></details>
      <p class="sub" id="segments-sub"></p>
    </header>
    <div class="population" id="population" aria-hidden="true"></div>
    <table class="segments"><caption class="unseen">Customers and their actions by segment</caption>
      <thead><tr><th scope="col">Segment</th><th scope="col" class="num">Customers</th><th scope="col" class="num">Share</th><th scope="col" class="num">Actions</th></tr></thead><tbody id="segments-list"></tbody></table>
    <p class="foot" id="segments-foot"></p>
  </section>`,
};

const draw = () => {
  const { hello, now } = live;
  show($('segments'), hello.segments);
  if (!hello.segments) return;
  const population = new Map(now.population ?? []);
  const actions = new Map(now.segments);
  const names = [...new Set([...actions.keys(), ...population.keys()])];
  const everybody = [...population.values()].reduce((a, b) => a + b, 0);
  say($('segments-sub'), now.population ? `${many(everybody, 'known customer')}` : 'population counted elsewhere');
  rows($('segments-list'), SEGMENT, names, String, (row, name) => {
    mark(part(row, '.swatch'), 'class', `swatch s-${name}`);
    say(part(row, '.name'), name === 'vip' ? 'VIP' : words(name));
    const people = population.get(name);
    say(part(row, '.people'), people === undefined ? '–' : count(people));
    say(part(row, '.part'), people === undefined ? '–' : share(people, everybody));
    say(part(row, '.actions'), count(actions.get(name) ?? 0));
  });
  const bar = $('population');
  show(bar, everybody > 0);
  const shown = everybody > 0 ? [...population] : [];
  while (bar.children.length > shown.length) bar.lastChild.remove();
  while (bar.children.length < shown.length) bar.append(document.createElement('span'));
  shown.forEach(([name, people], i) => {
    mark(bar.children[i], 'class', `s-${name}`);
    bar.children[i].style.flexGrow = String(people);
    show(bar.children[i], people > 0);
  });
  say($('segments-foot'), !now.population ? 'One process at a time counts the population, and now it is not this one; its page shows it.'
    : everybody === 0 ? 'No customer is known yet. One counts after the first action with a user.' : '');
};

export default { sections, draw };
