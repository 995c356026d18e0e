// What the stream told: settings, what holds now, and samples of the last five minutes. main.js writes it, panels read it.

import { clock, dayAndClock } from './text.js';

export const SPAN = 300_000; // ms that the charts and the history cover
export const GAP = 2_500; // ms between samples from which on nothing is drawn
const KEPT = 300; // samples
const MEAN = 10_000; // ms that rates are means of

export const live = {
  hello: null,
  now: null,
  samples: [],
  news: null, // performance.now() of the last message
};

export const latest = () => live.samples.at(-1) ?? null;
// The server's clock now: its last word and what has passed since.
export const serverNow = () => (live.now ? live.now.sample.at + (performance.now() - live.news) : Date.now());
export const moment = (ms) => (Math.abs(serverNow() - ms) < 64_800_000 ? clock : dayAndClock).format(ms);

// The sample that a span of `ms` begins with. Totals begin at zero, so a process younger than the span has its start.
export const since = (ms) => {
  const end = latest();
  if (!end) return null;
  if (end.uptime <= ms) return end.uptime >= 900 ? { uptime: 0, zero: true } : null;
  const from = end.uptime - ms - 500;
  const begin = live.samples.find((sample) => sample.uptime >= from);
  return begin && begin !== end ? begin : null;
};

// How much `pick` (of a sample, a total) grew in the last `ms`, and in how many seconds; null if nothing tells.
export const growth = (ms, pick) => {
  const begin = since(ms);
  if (!begin) return null;
  const end = latest();
  return { by: pick(end) - (begin.zero ? 0 : pick(begin)), seconds: (end.uptime - begin.uptime) / 1000 };
};
export const perSecond = (pick, ms = MEAN) => {
  const grown = growth(ms, pick);
  return grown && grown.by / grown.seconds;
};
export const mean = (part, whole, ms = MEAN) => {
  const [sum, number] = [growth(ms, part), growth(ms, whole)];
  return sum && number.by > 0 ? sum.by / number.by : null;
};

export const keep = (sample) => {
  const { samples } = live;
  const last = latest();
  if (last && sample.uptime < last.uptime) samples.length = 0;
  else if (last && sample.uptime === last.uptime) samples.pop();
  samples.push(sample);
  if (samples.length > KEPT) samples.splice(0, samples.length - KEPT);
};

// The history of a stream that begins. Samples of the same process are kept, with what the panels added to them.
export const begin = (history, isSame) => {
  const known = new Map(isSame ? live.samples.map((sample) => [sample.uptime, sample]) : []);
  live.samples = history.slice(-KEPT).map((sample) => known.get(sample.uptime) ?? sample);
};

// Where a moment stands on a line of this width.
export const x = (uptime, width) => (width * (1 - (latest().uptime - uptime) / SPAN)).toFixed(1);

// Rates between samples, in runs that no gap interrupts. Each is a mean over three intervals of its run.
export const intervals = (picks) => {
  const { samples } = live;
  const runs = [];
  let run = null;
  const from = latest().uptime - SPAN;
  for (let i = 1; i < samples.length && picks.length; i += 1) {
    const [a, b] = [samples[i - 1], samples[i]];
    const passed = b.uptime - a.uptime;
    if (a.uptime < from) continue;
    if (passed > GAP || passed <= 0 || !Number.isFinite(picks[0](a))) {
      run = null;
      continue;
    }
    if (!run) runs.push((run = [{ uptime: a.uptime, sample: a, r: null }]));
    const first = run[Math.max(0, run.length - 3)].sample;
    const seconds = (b.uptime - first.uptime) / 1000;
    run.push({ uptime: b.uptime, sample: b, r: picks.map((pick) => (pick(b) - pick(first)) / seconds) });
  }
  for (const points of runs) points[0].r = points[1].r;
  return runs;
};
