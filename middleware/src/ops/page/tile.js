// A tile: a figure, a line of text under it, and the last five minutes as a line.

import { $, mark, part, say, shape } from './dom.js';
import { intervals, x } from './live.js';

export const tileOf = (id, name, unit, title) => `
  <div class="tile" id="${id}" title="${title}">
    <h3>${name}</h3><p class="figure"><span>–</span> <small>${unit}</small></p><p class="under">–</p><svg class="spark" viewBox="0 0 300 30" preserveAspectRatio="none" aria-hidden="true"></svg>
  </div>`;

export const quotient = ([part, whole]) => (whole > 0 ? part / whole : 0);

// The line shows `value` of the rates of `picks`.
export const drawTile = (id, figure, under, picks, flag = '', value = (rates) => rates[0]) => {
  const box = $(id);
  say(part(box, '.figure span'), figure);
  say(part(box, '.under'), under);
  mark(box, 'data-flag', flag);
  const svg = part(box, '.spark');
  if (!svg.firstChild) {
    for (const name of ['area', 'line']) svg.append(shape('path', name));
  }
  const runs = intervals(picks).map((run) => run.map((point) => [x(point.uptime, 300), value(point.r, point.sample)]));
  const high = runs.flat().reduce((top, [, v]) => Math.max(top, v), 0) * 1.15;
  // Nothing but zeros is no line: the figure says it.
  if (!(high > 0)) runs.length = 0;
  const at = ([px, v]) => `${px},${(29 - (27 * v) / high).toFixed(1)}`;
  mark(svg.firstChild, 'd', runs.map((run) => `M${run[0][0]},30L${run.map(at).join('L')}L${run.at(-1)[0]},30Z`).join(''));
  mark(svg.lastChild, 'd', runs.map((run) => `M${run.map(at).join('L')}`).join(''));
};
