// Rates of several totals, stacked, over the last five minutes; with a cursor that reads a moment.

import { mark, say, shape } from './dom.js';
import { GAP, SPAN, intervals, latest, live, x } from './live.js';
import { count } from './text.js';

const EDGE = { left: 44, right: 8, top: 10, bottom: 26 };

export const sum = (point) => point.r.reduce((a, b) => a + b, 0);

// The next height that splits into steps which are read without thought, and into how many.
const roundUp = (high) => {
  const unit = 10 ** Math.floor(Math.log10(high));
  const heights = [[1, 5], [1.5, 3], [2, 4], [3, 3], [4, 4], [5, 5], [6, 3], [8, 4], [10, 5]];
  const [n, steps] = heights.find(([m]) => m * unit >= high) ?? [10, 5];
  return [n * unit, steps];
};

const nearest = (points, uptime) => points.reduce((best, point) => (!best || Math.abs(point.uptime - uptime) < Math.abs(best.uptime - uptime) ? point : best), null);

export class Chart {
  #box;
  #svg;
  #draw;
  #cursor = null; // uptime that the reader looks at; null: now
  #shapes;

  // Draws the areas of these classes in `svg`, and has `draw` called when the reader moves the cursor over `box`.
  constructor(box, svg, classes, draw) {
    this.#box = box;
    this.#svg = svg;
    this.#draw = draw;
    this.#shapes = this.#make(classes);
    box.addEventListener('pointermove', (event) => this.#look(this.#readAt(event.clientX)));
    box.addEventListener('pointerleave', () => this.#look(null));
    box.addEventListener('blur', () => this.#look(null));
    box.addEventListener('keydown', (event) => this.#move(event));
  }

  restart() {
    this.#cursor = null;
  }

  // Draws the rates of `picks`, one for each class. Returns the highest sum, and the point under the cursor or null.
  draw(picks) {
    const runs = intervals(picks);
    const points = runs.flat();
    const peak = points.reduce((top, point) => Math.max(top, sum(point)), 0);
    const box = this.#box.getBoundingClientRect();
    const [width, height] = [Math.round(box.width), Math.round(box.height)];
    const seen = this.#cursor === null ? null : nearest(points, this.#cursor);
    if (width < 80 || height < 80) return { peak, seen };
    mark(this.#svg, 'viewBox', `0 0 ${width} ${height}`);
    const inner = width - EDGE.left - EDGE.right;
    const bottom = height - EDGE.bottom;
    const [high, steps] = roundUp(Math.max(peak * 1.02, 4));
    const px = (uptime) => (EDGE.left + Number(x(uptime, inner))).toFixed(1);
    const py = (value) => (bottom - ((bottom - EDGE.top) * value) / high).toFixed(1);
    this.#drawGrid({ width, height, inner, high, steps, py });
    this.#drawGaps({ bottom, px });
    this.#drawAreas(runs, px, py);
    mark(this.#shapes.cursor, 'd', seen ? `M${px(seen.uptime)},${EDGE.top}V${bottom}` : '');
    return { peak, seen };
  }

  #make(classes) {
    const layer = (name) => this.#svg.appendChild(shape('g', name));
    const defs = this.#svg.appendChild(shape('defs'));
    const pattern = defs.appendChild(shape('pattern', 'hatch'));
    for (const [name, value] of [['id', 'hatch'], ['width', '6'], ['height', '6'], ['patternUnits', 'userSpaceOnUse'], ['patternTransform', 'rotate(45)']]) mark(pattern, name, value);
    mark(pattern.appendChild(shape('path')), 'd', 'M0,0V6');
    const [grid, gaps] = [layer('grid'), layer('gaps')];
    const lines = [];
    for (let i = 0; i <= 5; i += 1) {
      const [line, label] = [grid.appendChild(shape('path')), grid.appendChild(shape('text'))];
      mark(label, 'text-anchor', 'end');
      lines.push([line, label]);
    }
    const minutes = [];
    for (let i = 0; i <= 5; i += 1) {
      const label = grid.appendChild(shape('text'));
      mark(label, 'text-anchor', i === 5 ? 'start' : i === 0 ? 'end' : 'middle');
      minutes.push(label);
    }
    const [gap, begun, start] = [gaps.appendChild(shape('path', 'gap')), gaps.appendChild(shape('path', 'begun')), gaps.appendChild(shape('text'))];
    const stack = layer('stack');
    const areas = classes.map((name) => stack.appendChild(shape('path', name)));
    return { lines, minutes, gap, begun, start, areas, cursor: this.#svg.appendChild(shape('path', 'cursor')) };
  }

  #drawGrid({ width, height, inner, high, steps, py }) {
    this.#shapes.lines.forEach(([line, label], i) => {
      const value = (high * Math.min(i, steps)) / steps;
      mark(line, 'd', `M${EDGE.left},${py(value)}H${width - EDGE.right}`);
      mark(label, 'x', String(EDGE.left - 8));
      mark(label, 'y', String(Number(py(value)) + 4));
      say(label, i > steps ? '' : count(value));
    });
    this.#shapes.minutes.forEach((label, i) => {
      mark(label, 'x', String(EDGE.left + inner * (1 - i / 5)));
      mark(label, 'y', String(height - 8));
      // One of them on a narrow screen.
      say(label, i === 0 ? 'now' : i === 5 ? '5 min ago' : inner < 420 && i !== 2 ? '' : `${i} min`);
    });
  }

  // Time that nobody told of, and the start of the process.
  #drawGaps({ bottom, px }) {
    const { samples } = live;
    const { gap, begun, start } = this.#shapes;
    const gaps = samples.flatMap((b, i) => (i > 0 && b.uptime - samples[i - 1].uptime > GAP ? [[Math.max(samples[i - 1].uptime, latest().uptime - SPAN), b.uptime]] : []));
    mark(gap, 'd', gaps.map(([a, b]) => `M${px(a)},${EDGE.top}H${px(b)}V${bottom}H${px(a)}Z`).join(''));
    const isYoung = latest().uptime < SPAN - 1000;
    mark(begun, 'd', isYoung ? `M${px(0)},${EDGE.top}V${bottom}` : '');
    say(start, isYoung && Number(px(0)) > EDGE.left + 60 ? 'started' : '');
    mark(start, 'text-anchor', 'end');
    mark(start, 'x', String(Number(px(0)) - 6));
    mark(start, 'y', String(EDGE.top + 14));
  }

  #drawAreas(runs, px, py) {
    const floor = new Map();
    this.#shapes.areas.forEach((area, i) => {
      const d = runs.map((run) => {
        const under = run.map((point) => `${px(point.uptime)},${py(floor.get(point) ?? 0)}`).reverse();
        const over = run.map((point) => {
          floor.set(point, (floor.get(point) ?? 0) + point.r[i]);
          return `${px(point.uptime)},${py(floor.get(point))}`;
        });
        return run.some((point) => point.r[i] > 0) ? `M${over.join('L')}L${under.join('L')}Z` : '';
      });
      mark(area, 'd', d.join(''));
    });
  }

  #look(uptime) {
    this.#cursor = uptime;
    this.#draw();
  }

  #readAt(clientX) {
    const box = this.#box.getBoundingClientRect();
    const fraction = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    if (!latest() || fraction < 0 || fraction > 1.02) return null;
    return latest().uptime - SPAN * (1 - Math.min(1, fraction));
  }

  #move(event) {
    if (!latest()) return;
    const steps = { ArrowLeft: -5000, ArrowRight: 5000, Home: -Infinity, End: Infinity, Escape: null };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const to = steps[event.key] === null ? null : (this.#cursor ?? latest().uptime) + steps[event.key];
    this.#look(to === null || to >= latest().uptime ? null : Math.max(to, latest().uptime - SPAN, live.samples[0].uptime));
  }
}
