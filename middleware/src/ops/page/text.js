// Numbers and times in words.

const grouped = new Intl.NumberFormat('en-GB');
export const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
export const dayAndClock = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit',
});

export const words = (name) => String(name).replaceAll('_', ' ');
export const count = (n) => grouped.format(n);
export const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;

export const rate = (r) => {
  if (r === null || !Number.isFinite(r)) return '–';
  if (r === 0) return '0';
  if (r < 0.05) return '<0.1';
  return r < 9.95 ? r.toFixed(1) : count(Math.round(r));
};

export const share = (part, whole) => {
  if (!(whole > 0)) return '–';
  const percent = (100 * part) / whole;
  if (percent === 0) return '0 %';
  if (percent < 0.1) return '<0.1 %';
  // 99.97 % of something is not all of it.
  if (percent > 99.9 && percent < 100) return '>99.9 %';
  return percent < 9.95 || (percent > 99 && percent < 100) ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`;
};

// Seconds as milliseconds.
export const millis = (s) => {
  if (s === null || !Number.isFinite(s)) return '–';
  const ms = s * 1000;
  return ms < 9.95 ? ms.toFixed(ms < 0.995 ? 2 : 1) : count(Math.round(ms));
};

// A time of so many milliseconds, such as `4 min 05 s`.
export const lasting = (ms) => {
  const s = Math.max(0, Math.round(ms / 1000));
  const two = (n) => String(n).padStart(2, '0');
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86400)} d ${two(Math.floor((s % 86400) / 3600))} h`;
};

// Seconds in the way people say them: `300` is `5 min`.
export const spell = (s) => (s % 3600 === 0 ? `${s / 3600} h` : s % 60 === 0 ? `${s / 60} min` : `${s} s`);
// A duration of the settings: `1day 5m` is `1 day 5 min`.
export const said = (setting) => String(setting).replace(/(\d)([a-z]+)/g, (_, n, unit) => `${n} ${unit === 'm' ? 'min' : unit}`);
