// Runs before the page's script, and stands in for its stream: the test tells the page what it likes.
window.streams = [];
window.EventSource = class {
  static OPEN = 1;
  constructor(url) {
    Object.assign(this, { url, readyState: 1, on: {} });
    streams.push(this);
  }
  addEventListener(name, take) {
    this.on[name] = take;
  }
  close() {
    this.readyState = 2;
  }
};
window.tell = (name, data) => streams.at(-1).on[name]({ data: JSON.stringify(data) });
const requests = (ok) => ({ total: ok, ok, client_error: 0, denied: 0, banned: 0, refused: 0, server_error: 0, cancelled: 0 });
window.sample = (uptime, ok, more = {}) => ({
  at: 1_790_000_000_000 + uptime, uptime, requests: requests(ok), active: 0, seconds: ok / 100,
  decisions: [{ admitted: ok, denied: 0, dry_run_denied: 0, fallback_admitted: 0, fallback_denied: 0 }],
  stages: [ok, ok / 2], visitors: [], maintenance: { refused: 0, exempt: 0 }, ...more,
});
window.hello = (history, more = {}) => ({
  service: 'told', fed: true, version: '1.2.3', started: 1_790_000_000_000, store: 'memory',
  policies: [{ name: 'ip', key: 'ip', quota: '200/1m', by_segment: [['vip', '400/1m']], routes: [], on_store_failure: 'local', dry_run: false }],
  watches: [{ kind: 'abuse', count: 20, window: '5m' }], bans: { first: '10m', longest: '1day', dry_run: false },
  stages: ['look', 'buy'], visitors: false, segments: true, maintenance: null, actions: true, top: { counters: 256, seconds: 600 }, history, ...more,
});
window.now = (one, more = {}) => ({
  sample: one, store: { state: 'ok', last_error: null, corrupt_keys: 0, calls: 0, failed: 0, seconds: 0 },
  population: [['returning', 3], ['vip', 1]], segments: [['new', 4], ['returning', 5]],
  limited: { clients: [], total: 0, error: 0, missing: 0 }, suspicious: { clients: [], total: 0, error: 0, missing: 0 },
  events: [], bans: { list: [], total: 0, stale: false }, incidents: [['abuse', 0]], ...more,
});
// Ten requests a second, from one second to another.
window.steady = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => sample((from + i) * 1000, (from + i) * 10));
window.ban = (client) => ({ client, reason: 'abuse', strikes: 2, since: 1_790_000_000_000, until: 1_790_000_600_000 });
// Resolves when the page has drawn what it was told.
window.drawn = () => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
