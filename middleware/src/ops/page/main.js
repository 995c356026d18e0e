'use strict';
// The live page. Every text from the stream goes through textContent: events may quote what a client wrote.
// Everything that is kept is bounded: 300 samples, and rows that are used again by their key.
(() => {
  const SPAN = 300_000; // ms that the chart and the history cover
  const KEPT = 300; // samples
  const MEAN = 10_000; // ms that rates are means of
  const GAP = 2_500; // ms between samples from which on nothing is drawn
  const STALE = 3_000; // ms without news
  const LIFT = 20_000; // ms that the answer to an action may take; the service gives up its store before
  const SILENT = 10_000; // ms without news after which a connection that claims to be open is given up

  const OUTCOMES = [
    ['ok', 'Served'],
    ['client_error', 'Client errors'],
    ['cancelled', 'Cancelled'],
    ['denied', 'Limited'],
    ['banned', 'Banned'],
    ['server_error', 'Server errors'],
  ];
  const KINDS = {
    credential_stuffing: 'answers 401: guessed passwords or tokens',
    endpoint_scanning: 'answers 404: a search for paths',
    abuse: 'answers 4xx of any kind',
    credential_stuffing_slow: 'answers 401, spread over a long time',
    password_spraying: 'accounts whose login failed, from one network',
    distributed_stuffing: 'networks whose login failed, for one account',
    success_after_failures: 'a login that succeeded during one of these',
  };
  const ON_FAILURE = {
    local: 'if the store fails: local',
    open: 'if the store fails: open',
    closed: 'if the store fails: closed',
  };

  // ---- theme: before anything is painted -------------------------------------------------------------------------

  const THEMES = ['system', 'light', 'dark'];
  let theme = 'system';
  try {
    const kept = localStorage.getItem('palisade-theme');
    if (THEMES.includes(kept)) theme = kept;
  } catch {
    // Storage may be forbidden; the theme is then not remembered.
  }
  const showTheme = () => {
    document.documentElement.dataset.theme = theme;
    const label = document.getElementById('theme-text');
    if (label) say(label, `Theme: ${theme}`);
  };
  const nextTheme = () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
      localStorage.setItem('palisade-theme', theme);
    } catch {
      // As above.
    }
    showTheme();
  };

  // ---- text and numbers ------------------------------------------------------------------------------------------

  const $ = (id) => document.getElementById(id);
  const say = (node, text) => {
    const now = String(text);
    if (node.textContent !== now) node.textContent = now;
  };
  const show = (node, yes) => {
    if (node.hidden === yes) node.hidden = !yes;
  };
  const mark = (node, name, value) => {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  };
  const words = (name) => String(name).replaceAll('_', ' ');
  const grouped = new Intl.NumberFormat('en-GB');
  const count = (n) => grouped.format(n);
  const many = (n, one, more = `${one}s`) => `${count(n)} ${n === 1 ? one : more}`;
  const rate = (r) => {
    if (r === null || !Number.isFinite(r)) return '–';
    if (r === 0) return '0';
    if (r < 0.05) return '<0.1';
    return r < 9.95 ? r.toFixed(1) : count(Math.round(r));
  };
  const share = (part, whole) => {
    if (!(whole > 0)) return '–';
    const percent = (100 * part) / whole;
    if (percent === 0) return '0 %';
    if (percent < 0.1) return '<0.1 %';
    // 99.97 % of something is not all of it.
    if (percent > 99.9 && percent < 100) return '>99.9 %';
    return percent < 9.95 || (percent > 99 && percent < 100) ? `${percent.toFixed(1)} %` : `${Math.round(percent)} %`;
  };
  const millis = (s) => {
    if (s === null || !Number.isFinite(s)) return '–';
    const ms = s * 1000;
    return ms < 9.95 ? ms.toFixed(ms < 0.995 ? 2 : 1) : count(Math.round(ms));
  };
  const lasting = (ms) => {
    const s = Math.max(0, Math.round(ms / 1000));
    const two = (n) => String(n).padStart(2, '0');
    if (s < 60) return `${s} s`;
    if (s < 3600) return `${Math.floor(s / 60)} min ${two(s % 60)} s`;
    if (s < 86400) return `${Math.floor(s / 3600)} h ${two(Math.floor((s % 3600) / 60))} min`;
    return `${Math.floor(s / 86400)} d ${two(Math.floor((s % 86400) / 3600))} h`;
  };
  // Seconds in the way people say them, `300` as `5 min`; and durations of the settings, `1day 5m` as `1 day 5 min`.
  const spell = (s) => (s % 3600 === 0 ? `${s / 3600} h` : s % 60 === 0 ? `${s / 60} min` : `${s} s`);
  const said = (setting) => String(setting).replace(/(\d)([a-z]+)/g, (_, n, unit) => `${n} ${unit === 'm' ? 'min' : unit}`);
  const clock = new Intl.DateTimeFormat('en-GB', { hour: '2-digit', minute: '2-digit', second: '2-digit' });
  const dayAndClock = new Intl.DateTimeFormat('en-GB', {
    day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit', second: '2-digit',
  });
  const moment = (ms) => (Math.abs(serverNow() - ms) < 64_800_000 ? clock : dayAndClock).format(ms);

  let announced = 0;
  let waiting = '';
  // One sentence in three seconds, the newest: a flood of events must not become a flood of speech. What an action came to
  // has a region of its own, so that no event displaces it.
  const announce = (text) => {
    const due = announced + 3000 - performance.now();
    waiting = text;
    if (due > 0) return void setTimeout(() => waiting && announce(waiting), due);
    announced = performance.now();
    waiting = '';
    say($('announce'), text);
  };

  // ---- rows that are used again ----------------------------------------------------------------------------------

  // Keeps the rows of `list` in the order of `items`, one for each key, and leaves the focus where it is.
  const rows = (list, template, items, keyOf, fill) => {
    const had = (list.rowsByKey ??= new Map());
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    const wanted = new Set();
    let place = list.firstElementChild;
    items.forEach((item, index) => {
      const key = keyOf(item, index);
      if (wanted.has(key)) return;
      wanted.add(key);
      let row = had.get(key);
      const fresh = !row;
      if (fresh) {
        row = $(template).content.firstElementChild.cloneNode(true);
        had.set(key, row);
      }
      if (row === place) place = place.nextElementSibling;
      else list.insertBefore(row, place);
      fill(row, item, index, fresh);
    });
    for (const [key, row] of had) {
      if (wanted.has(key)) continue;
      had.delete(key);
      row.remove();
    }
    if (focused && focused.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
    return { lostFocus: Boolean(focused && !focused.isConnected) };
  };
  const part = (row, selector) => row.querySelector(selector);

  // ---- what is known ---------------------------------------------------------------------------------------------

  let hello = null;
  let now = null;
  let samples = [];
  let news = null; // performance.now() of the last message
  let failingSince = null;
  let newestEvent = null;
  let funnelSpan = 'window';
  let cursor = null; // uptime that the chart's reader looks at; null: now

  const latest = () => samples.at(-1) ?? null;
  // The server's clock now: its last word and what has passed since.
  const serverNow = () => (now ? now.sample.at + (performance.now() - news) : Date.now());

  // The sample that a span of `ms` begins with. Totals begin at zero, so a process younger than the span has its start.
  const since = (ms) => {
    const end = latest();
    if (!end) return null;
    if (end.uptime <= ms) return end.uptime >= 900 ? { uptime: 0, zero: true } : null;
    const from = end.uptime - ms - 500;
    const begin = samples.find((sample) => sample.uptime >= from);
    return begin && begin !== end ? begin : null;
  };
  // How much `pick` (of a sample, a total) grew in the last `ms`, and in how many seconds; null if nothing tells.
  const growth = (ms, pick) => {
    const begin = since(ms);
    if (!begin) return null;
    const end = latest();
    return { by: pick(end) - (begin.zero ? 0 : pick(begin)), seconds: (end.uptime - begin.uptime) / 1000 };
  };
  const perSecond = (pick, ms = MEAN) => {
    const grown = growth(ms, pick);
    return grown && grown.by / grown.seconds;
  };

  const keep = (sample) => {
    const last = latest();
    if (last && sample.uptime < last.uptime) samples = [];
    else if (last && sample.uptime === last.uptime) samples.pop();
    samples.push(sample);
    if (samples.length > KEPT) samples.splice(0, samples.length - KEPT);
  };

  // ---- the connection --------------------------------------------------------------------------------------------

  let source = null;
  let state = 'connecting'; // live, stale, reconnecting
  let again = 0;
  let tries = 0;
  let trouble = '';

  const become = (next) => {
    if (state === next) return;
    const before = state;
    state = next;
    if (next === 'live' && before !== 'connecting') announce('The page is live again.');
    if (next === 'stale') announce('No news from the service: the figures are old.');
    if (next === 'reconnecting') announce('The connection to the service broke. Reconnecting.');
    draw();
  };
  const connect = () => {
    again = 0;
    source?.close();
    source = new EventSource('events');
    source.addEventListener('hello', (event) => heard(event, greet));
    source.addEventListener('now', (event) => heard(event, learn));
    source.onerror = reconnect;
  };
  // A browser gives up after an answer that is no stream, such as a proxy's 502, and waits long after others.
  const reconnect = () => {
    source.close();
    if (again) return;
    become(news === null && tries < 1 ? 'connecting' : 'reconnecting');
    again = setTimeout(connect, Math.min(500 * 2 ** tries, 5000));
    tries += 1;
    if (tries > 1) askWhy();
  };
  // A stream that is refused tells its page nothing; the same question asked otherwise is told why.
  const askWhy = async () => {
    const stop = new AbortController();
    try {
      const reply = await fetch('events', { signal: stop.signal });
      trouble = reply.ok ? '' : `The service says: ${(await reply.json()).detail}.`;
    } catch {
      trouble = '';
    }
    stop.abort();
    draw();
  };
  const heard = (event, take) => {
    let told;
    try {
      told = JSON.parse(event.data);
    } catch {
      return reconnect();
    }
    news = performance.now();
    tries = 0;
    trouble = '';
    take(told);
  };
  const greet = (told) => {
    if (hello && hello.version !== told.version) return void location.reload();
    if (hello && hello.started !== told.started) {
      now = null;
      newestEvent = null;
      failingSince = null;
      cursor = null;
      token.stale = true;
      announce('The service has started anew; its figures begin at zero.');
    }
    const known = new Map(hello?.started === told.started ? samples.map((sample) => [sample.uptime, sample]) : []);
    hello = told;
    samples = told.history.slice(-KEPT).map((sample) => known.get(sample.uptime) ?? sample);
  };
  const learn = (told) => {
    if (!hello) return;
    keep(Object.assign(told.sample, { store: told.store, banned: told.bans?.total ?? 0 }));
    now = told;
    if (told.store.state === 'ok') failingSince = null;
    else failingSince ??= told.sample.uptime;
    tellEvents(told.events);
    become('live');
    draw();
  };
  const titleOf = (event) => ({ client_banned: 'banned', ban_lifted: 'ban lifted' })[event.event] ?? words(event.kind);
  const tellEvents = (events) => {
    const top = events[0]?.number ?? 0;
    if (newestEvent !== null && top > newestEvent) {
      const fresh = events.filter((event) => event.number > newestEvent);
      const [last] = fresh;
      const what = `${titleOf(last)}, ${last.client}`;
      announce(fresh.length === 1 ? `Security event: ${what}.` : `${fresh.length} new security events; the newest: ${what}.`);
    }
    newestEvent = top;
  };
  // Once a second, also when nothing comes: then the page says so.
  const tick = () => {
    const silence = news === null ? 0 : performance.now() - news;
    if (state === 'live' && silence > STALE) become('stale');
    if (silence > SILENT && source?.readyState === EventSource.OPEN) reconnect();
    draw();
  };

  // ---- drawing, once a frame and never in a hidden tab -----------------------------------------------------------

  let asked = false;
  const draw = () => {
    drawTitle();
    if (asked || document.hidden) return;
    asked = true;
    requestAnimationFrame(() => {
      asked = false;
      if (document.hidden) return;
      drawConnection();
      if (!hello || !now) return void say($('verdict-detail'), trouble || 'They come within a second of the connection.');
      drawVerdict();
      drawTiles();
      drawTraffic();
      drawEvents();
      drawLimits();
      drawBans();
      drawTop('limited', now.limited, 'denied', 'Nobody was denied', 'a limit denies it for the first time');
      drawTop('suspicious', now.suspicious, 'failed', 'No request failed', 'it gets its first 401, 404 or other 4xx');
      drawIncidents();
      drawFunnel();
      drawSegments();
    });
  };

  const drawTitle = () => {
    const name = hello?.service ?? 'palisade';
    const what = state !== 'live' ? state : now?.store.state !== 'ok' ? 'store failing' : `${rate(perSecond((s) => s.requests.total))}/s`;
    const title = `${name}: ${what}`;
    if (document.title !== title) document.title = title;
  };

  const drawConnection = () => {
    const silence = news === null ? null : lasting(performance.now() - news);
    mark($('connection'), 'data-state', state);
    mark(document.body, 'data-state', state);
    say($('connection-text'), {
      connecting: 'Connecting',
      live: 'Live',
      stale: `Stale: no news for ${silence}`,
      reconnecting: silence ? `Reconnecting: no news for ${silence}` : 'Reconnecting: no answer yet',
    }[state]);
    if (!hello) return;
    say($('service'), hello.service);
    say($('version'), hello.version);
    say($('store-kind'), hello.store);
    if (!latest()) return;
    say($('uptime'), lasting(latest().uptime + (state === 'live' ? 0 : performance.now() - news)));
    mark($('uptime'), 'title', `Since ${dayAndClock.format(hello.started)}`);
  };

  // The one sentence for somebody who was just woken; what is worst goes first.
  const judge = () => {
    const found = [];
    const of = (pick) => growth(60_000, pick)?.by ?? 0;
    const span = latest().uptime < 60_000 ? 'since start' : 'in the last minute';
    if (state !== 'live') {
      found.push(['bad', 'No news from the service', `What stands here is from ${moment(now.sample.at)}. This page goes on asking. ${trouble}`.trim()]);
    }
    // Its zeros are not those of a quiet night.
    if (!hello.fed) {
      found.push(['warn', 'Nothing is counted here', 'No stack feeds this page: the service runs without its layers, or its stack was built without this page. Whether requests come, and what becomes of them, it cannot tell.']);
      return found;
    }
    if (now.store.state !== 'ok') {
      const modes = (mode) => hello.policies.filter((p) => !p.dry_run && p.on_store_failure === mode).map((p) => p.name).join(', ');
      const does = [
        modes('local') && `${modes('local')}: kept in each process alone`,
        modes('open') && `${modes('open')}: not kept`,
        modes('closed') && `${modes('closed')}: every request refused`,
      ].filter(Boolean);
      const why = now.store.last_error ? ` Last error: ${now.store.last_error}.` : '';
      const until = `The breaker is open, for at least ${lasting(latest().uptime - failingSince)}.`;
      found.push(['bad', 'The store is failing', `${until}${why}${does.length ? ` Limits meanwhile: ${does.join('; ')}.` : ''}`]);
    }
    const total = of((s) => s.requests.total);
    const errors = of((s) => s.requests.server_error);
    const failures = `${many(errors, 'server error')} ${span}: ${share(errors, total)} of all requests.`;
    if (errors > total / 100) found.push(['bad', 'The service fails requests', failures]);
    const lately = now.events.filter((e) => e.event === 'suspicious_activity' && now.sample.at - e.at < SPAN).length;
    if (lately > 0) {
      found.push(['warn', 'Suspicious activity', `${lately >= 50 ? '50 or more incidents' : many(lately, 'incident')} in the last 5 minutes; ${!now.bans ? 'bans are off' : now.bans.total ? `${many(now.bans.total, 'client is', 'clients are')} banned` : 'nobody is banned'}.`]);
    }
    const denied = of((s) => s.requests.denied);
    if (denied > 0) found.push(['warn', 'Limits are refusing requests', `${many(denied, 'request')} ${span}: ${share(denied, total)} of all.`]);
    if (errors > 0 && errors <= total / 100) found.push(['warn', 'A few server errors', failures]);
    if (now.store.corrupt_keys > 0) {
      found.push(['warn', 'The store holds what palisade did not write', `${many(now.store.corrupt_keys, 'key')} could not be read since start; what writes to the prefix besides palisade?`]);
    }
    if (found.length > 0) return found;
    const banned = now.bans?.total ?? 0;
    const rest = banned > 0 ? ` ${many(banned, 'client stays', 'clients stay')} banned.` : '';
    if (total === 0) return [['quiet', 'Quiet', `No request ${span}; the page is live and waits.${rest}`]];
    return [['quiet', 'All quiet', `${many(total, 'request')} ${span}: no server error, and no limit refused any.${rest}`]];
  };
  const drawVerdict = () => {
    const found = judge();
    const worst = found.find(([level]) => level === 'bad') ?? found[0];
    const [level, title, detail] = worst;
    mark($('verdict'), 'data-level', level);
    say($('verdict-mark'), { quiet: '✓', warn: '!', bad: '✕' }[level]);
    say($('verdict-title'), title);
    say($('verdict-detail'), detail);
    // Their figures stand in the panels below.
    const besides = found.filter((one) => one !== worst).map(([, what]) => what.charAt(0).toLowerCase() + what.slice(1));
    say($('verdict-also'), besides.length ? `Also: ${besides.join('; ')}.` : '');
  };

  // The line shows `value` of the rates of `picks`.
  const tile = (id, figure, under, picks, flag = '', value = (r) => r[0]) => {
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
  const quotient = ([part, whole]) => (whole > 0 ? part / whole : 0);
  const mean = (part, whole, ms) => {
    const [sum, number] = [growth(ms, part), growth(ms, whole)];
    return sum && number.by > 0 ? sum.by / number.by : null;
  };
  const drawTiles = () => {
    const { requests, active } = latest();
    const all = (s) => s.requests.total;
    const refused = (s) => s.requests.denied + s.requests.banned;
    const failed = (s) => s.requests.server_error;
    const took = (s) => s.seconds;
    const window = (pick) => growth(SPAN, pick)?.by ?? 0;
    const total = window(all);
    const errors = window(failed);
    tile('tile-requests', rate(perSecond(all)), `${active} under way, ${count(requests.total)} since start`, [all]);
    tile('tile-refused', rate(perSecond(refused)), total ? `${share(window(refused), total)} of requests in 5 min` : 'no requests in 5 min', [refused]);
    tile('tile-errors', rate(perSecond(failed)), errors ? `${count(errors)} in 5 min, ${share(errors, total)}` : 'none in 5 min', [failed], errors ? 'bad' : '');
    tile('tile-latency', millis(mean(took, all, MEAN)), total ? `${millis(mean(took, all, SPAN))} ms over 5 min` : 'no requests in 5 min', [took, all], '', quotient);
    // The history has no store and no bans: their lines begin with the page.
    const { store, bans } = now;
    const calls = (s) => s.store?.calls ?? NaN;
    const waited = (s) => s.store?.seconds ?? NaN;
    const before = samples.slice(-11).find((s) => s.store)?.store ?? store;
    // A page that was just opened has one figure: the mean since start.
    const [waitedBy, made] = before === store ? [store.seconds, store.calls] : [store.seconds - before.seconds, store.calls - before.calls];
    const broken = store.failed ? `${count(store.failed)} of ${many(store.calls, 'call')} failed` : many(store.calls, 'call');
    const fine = store.state === 'ok';
    tile('tile-store', fine ? millis(made > 0 ? waitedBy / made : null) : 'failing', hello.store === 'memory' ? 'in memory: none to wait for' : `${hello.store}, ${broken}`, [waited, calls], fine ? '' : 'bad', quotient);
    show(part($('tile-store'), 'small'), fine);
    const under = !bans ? 'bans are off' : bans.stale ? 'as last known' : hello.bans?.dry_run ? 'dry run: nobody is refused' : `first ${said(hello.bans?.first)}, at most ${said(hello.bans?.longest)}`;
    tile('tile-bans', bans ? count(bans.total) : '–', under, [calls], '', (_, sample) => sample.banned);
  };

  // ---- the chart -------------------------------------------------------------------------------------------------

  const shape = (name, className) => {
    const node = document.createElementNS('http://www.w3.org/2000/svg', name);
    if (className) node.setAttribute('class', className);
    return node;
  };
  const x = (uptime, width) => (width * (1 - (latest().uptime - uptime) / SPAN)).toFixed(1);
  // Rates between samples, in runs that no gap interrupts. Each is a mean over three intervals of its run.
  const intervals = (picks) => {
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
      const begin = run[Math.max(0, run.length - 3)].sample;
      const seconds = (b.uptime - begin.uptime) / 1000;
      run.push({ uptime: b.uptime, sample: b, r: picks.map((pick) => (pick(b) - pick(begin)) / seconds) });
    }
    for (const points of runs) points[0].r = points[1].r;
    return runs;
  };
  // The next height that splits into steps which are read without thought, and into how many.
  const roundUp = (high) => {
    const unit = 10 ** Math.floor(Math.log10(high));
    const heights = [[1, 5], [1.5, 3], [2, 4], [3, 3], [4, 4], [5, 5], [6, 3], [8, 4], [10, 5]];
    const [n, steps] = heights.find(([m]) => m * unit >= high) ?? [10, 5];
    return [n * unit, steps];
  };
  const outcomePicks = OUTCOMES.map(([name]) => (sample) => sample.requests[name]);
  const EDGE = { left: 44, right: 8, top: 10, bottom: 26 };
  let chart = null;
  const makeChart = () => {
    const svg = $('chart-svg');
    const layer = (name) => svg.appendChild(shape('g', name));
    const made = { svg, hatch: null, grid: layer('grid'), gaps: layer('gaps'), areas: [], cursor: null, lines: [], minutes: [] };
    const defs = svg.insertBefore(shape('defs'), svg.firstChild);
    const pattern = defs.appendChild(shape('pattern', 'hatch'));
    for (const [name, value] of [['id', 'hatch'], ['width', '6'], ['height', '6'], ['patternUnits', 'userSpaceOnUse'], ['patternTransform', 'rotate(45)']]) mark(pattern, name, value);
    const stroke = pattern.appendChild(shape('path'));
    mark(stroke, 'd', 'M0,0V6');
    made.gap = made.gaps.appendChild(shape('path', 'gap'));
    made.begun = made.gaps.appendChild(shape('path', 'begun'));
    made.start = made.gaps.appendChild(shape('text'));
    for (let i = 0; i <= 5; i += 1) {
      const line = made.grid.appendChild(shape('path'));
      const label = made.grid.appendChild(shape('text'));
      mark(label, 'text-anchor', 'end');
      made.lines.push([line, label]);
    }
    for (let i = 0; i <= 5; i += 1) {
      const label = made.grid.appendChild(shape('text'));
      mark(label, 'text-anchor', i === 5 ? 'start' : i === 0 ? 'end' : 'middle');
      made.minutes.push(label);
    }
    const stack = layer('stack');
    for (const [name] of OUTCOMES) made.areas.push(stack.appendChild(shape('path', `o-${name}`)));
    made.cursor = svg.appendChild(shape('path', 'cursor'));
    return made;
  };
  const drawTraffic = () => {
    chart ??= makeChart();
    const box = $('chart').getBoundingClientRect();
    const [width, height] = [Math.round(box.width), Math.round(box.height)];
    if (width < 80 || height < 80) return;
    mark(chart.svg, 'viewBox', `0 0 ${width} ${height}`);
    const inner = width - EDGE.left - EDGE.right;
    const bottom = height - EDGE.bottom;
    const runs = intervals(outcomePicks);
    const sum = (point) => point.r.reduce((a, b) => a + b, 0);
    const peak = runs.flat().reduce((top, point) => Math.max(top, sum(point)), 0);
    const [high, steps] = roundUp(Math.max(peak * 1.02, 4));
    const px = (uptime) => (EDGE.left + Number(x(uptime, inner))).toFixed(1);
    const py = (value) => (bottom - ((bottom - EDGE.top) * value) / high).toFixed(1);
    chart.lines.forEach(([line, label], i) => {
      const value = (high * Math.min(i, steps)) / steps;
      mark(line, 'd', `M${EDGE.left},${py(value)}H${width - EDGE.right}`);
      mark(label, 'x', String(EDGE.left - 8));
      mark(label, 'y', String(Number(py(value)) + 4));
      say(label, i > steps ? '' : count(value));
    });
    chart.minutes.forEach((label, i) => {
      mark(label, 'x', String(EDGE.left + inner * (1 - i / 5)));
      mark(label, 'y', String(height - 8));
      // One of them on a narrow screen.
      say(label, i === 0 ? 'now' : i === 5 ? '5 min ago' : inner < 420 && i !== 2 ? '' : `${i} min`);
    });
    const gaps = samples.flatMap((b, i) => (i > 0 && b.uptime - samples[i - 1].uptime > GAP ? [[Math.max(samples[i - 1].uptime, latest().uptime - SPAN), b.uptime]] : []));
    mark(chart.gap, 'd', gaps.map(([a, b]) => `M${px(a)},${EDGE.top}H${px(b)}V${bottom}H${px(a)}Z`).join(''));
    const begun = latest().uptime < SPAN - 1000;
    mark(chart.begun, 'd', begun ? `M${px(0)},${EDGE.top}V${bottom}` : '');
    say(chart.start, begun && Number(px(0)) > EDGE.left + 60 ? 'started' : '');
    mark(chart.start, 'text-anchor', 'end');
    mark(chart.start, 'x', String(Number(px(0)) - 6));
    mark(chart.start, 'y', String(EDGE.top + 14));
    const floor = new Map();
    chart.areas.forEach((area, i) => {
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
    show($('chart-empty'), peak === 0);
    if (!hello.fed) say($('chart-empty'), 'Requests are not counted.');
    const points = runs.flat();
    const seen = cursor === null ? null : nearest(points, cursor);
    mark(chart.cursor, 'd', seen ? `M${px(seen.uptime)},${EDGE.top}V${bottom}` : '');
    say($('legend-when'), seen ? `at ${clock.format(seen.sample.at)}` : 'per s');
    const total = latest().requests;
    rows($('legend'), 't-legend', [...OUTCOMES].reverse().concat([['total', 'All']]), ([name]) => name, (row, [name, label]) => {
      mark(part(row, '.swatch'), 'class', `swatch o-${name}`);
      say(part(row, '.name'), label);
      const index = OUTCOMES.findIndex(([other]) => other === name);
      const at = seen ? (index < 0 ? sum(seen) : seen.r[index]) : perSecond((s) => s.requests[name]);
      say(part(row, '.rate'), rate(at));
      say(part(row, '.total'), count(total[name]));
    });
  };
  const nearest = (points, uptime) => points.reduce((best, point) => (!best || Math.abs(point.uptime - uptime) < Math.abs(best.uptime - uptime) ? point : best), null);
  const readAt = (clientX) => {
    const box = $('chart').getBoundingClientRect();
    const fraction = (clientX - box.left - EDGE.left) / (box.width - EDGE.left - EDGE.right);
    if (!latest() || fraction < 0 || fraction > 1.02) return null;
    return latest().uptime - SPAN * (1 - Math.min(1, fraction));
  };
  const moveCursor = (event) => {
    if (!latest()) return;
    const steps = { ArrowLeft: -5000, ArrowRight: 5000, Home: -Infinity, End: Infinity, Escape: null };
    if (!(event.key in steps)) return;
    event.preventDefault();
    const to = steps[event.key] === null ? null : (cursor ?? latest().uptime) + steps[event.key];
    cursor = to === null || to >= latest().uptime ? null : Math.max(to, latest().uptime - SPAN, samples[0].uptime);
    draw();
  };

  // ---- lists -----------------------------------------------------------------------------------------------------

  const drawEvents = () => {
    rows($('events-list'), 't-event', now.events, (event) => `${hello.started} ${event.number}`, (row, event, _, fresh) => {
      if (fresh) {
        row.dataset.event = event.event;
        if (serverNow() - event.at < 5000) row.classList.add('new');
        say(part(row, '.tag'), titleOf(event));
        say(part(row, '.event-client'), event.client);
        say(part(row, '.event-detail'), event.event === 'client_banned' ? `${words(event.kind)}: ${event.detail}` : event.detail);
        part(row, 'time').dateTime = new Date(event.at).toISOString();
      }
      say(part(row, 'time'), moment(event.at));
    });
    show($('events-empty'), now.events.length === 0);
    say($('events-sub'), now.events.length >= 50 ? 'the newest 50, newest first' : 'newest first');
    const [watch] = hello.watches;
    const first = watch ? `One appears when a client's failures reach a threshold (${words(watch.kind)}: ${watch.count} in ${said(watch.window)})` : 'Suspicious activity is not watched for; one appears';
    say($('events-empty'), `No security events yet. ${first}${watch ? ', ' : ' '}when a client is banned, or when a ban is lifted.`);
  };

  const drawLimits = () => {
    show($('limits-empty'), hello.policies.length === 0);
    show(part($('limits'), 'table'), hello.policies.length > 0);
    const total = latest().decisions;
    rows($('limits-list'), 't-limit', hello.policies, (policy) => policy.name, (row, policy, i) => {
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

  const drawTop = (id, top, what, nobody, appears) => {
    const over = spell(hello.top.seconds);
    const some = top.clients.length > 0;
    say($(`${id}-sub`), `last ${over}`);
    show($(`${id}-table`), some);
    show($(`${id}-empty`), !some);
    say($(`${id}-empty`), `${nobody} in the last ${over}. A client appears when ${appears}.`);
    const highest = top.clients[0]?.count ?? 1;
    rows($(`${id}-list`), 't-top', top.clients, (one) => one.client, (row, one) => {
      say(part(row, '.name'), one.client);
      show(part(row, '.tag'), one.banned);
      say(part(row, 'b'), count(one.count));
      say(part(row, '.bound'), one.error > 0 ? `at most ${count(one.error)} too high` : 'exact');
      part(row, '.share').style.width = `${(100 * one.count) / highest}%`;
    });
    const exact = top.error > 0 ? `no count is more than ${count(top.error)} too high` : 'all counts are exact';
    const missing = top.missing > 0 ? `nobody missing has more than ${count(top.missing)}` : 'nobody is missing';
    say($(`${id}-foot`), some ? `${count(top.total)} ${what} in all; ${exact}, and ${missing}.` : '');
    say(part($(id), '.bounds'), `They are counted by Space-Saving with ${count(hello.top.counters)} counters in each minute, whoever comes.`);
  };

  const drawIncidents = () => {
    const watched = new Map(hello.watches.map((watch) => [watch.kind, watch]));
    const counted = now.incidents.filter(([kind, number]) => watched.has(kind) || number > 0);
    for (const kind of watched.keys()) if (!counted.some(([other]) => other === kind)) counted.push([kind, 0]);
    show($('incidents-table'), counted.length > 0);
    show($('incidents-empty'), counted.length === 0);
    rows($('incidents-list'), 't-incident', counted, ([kind]) => kind, (row, [kind, number]) => {
      say(part(row, '.name'), words(kind));
      say(part(row, '.meta'), KINDS[kind] ?? '');
      const watch = watched.get(kind);
      say(part(row, '.when'), !watch ? '–' : watch.count > 1 ? `${watch.count} in ${said(watch.window)}` : `any in ${said(watch.window)}`);
      say(part(row, '.count'), count(number));
      mark(row, 'data-flag', number > 0 ? 'some' : '');
    });
  };

  // ---- bans ------------------------------------------------------------------------------------------------------

  const drawBans = () => {
    const { bans } = now;
    const off = bans === null || !hello.bans;
    show($('bans-table'), !off && bans.list.length > 0);
    show($('bans-empty'), off || bans.list.length === 0);
    if (off) {
      say($('bans-sub'), 'off');
      say($('bans-empty'), 'Bans are off. With [suspicion.bans] in the configuration, a client whose failures are an incident is refused for a time, and shows here.');
      show($('bans-note'), false);
      rows($('bans-list'), 't-ban', [], String, () => {});
      return;
    }
    const shown = bans.list.length < bans.total ? `the ${bans.list.length} longest of ${count(bans.total)}` : many(bans.total, 'client');
    say($('bans-sub'), `${bans.total ? `${shown}; ` : ''}first ${said(hello.bans.first)}, at most ${said(hello.bans.longest)}`);
    const notes = [
      hello.bans.dry_run && 'Dry run: bans are noted, nobody is refused.',
      bans.stale && 'The store does not tell now: this is what was last known, and what this process imposed alone since.',
    ].filter(Boolean);
    show($('bans-note'), notes.length > 0);
    say($('bans-note'), notes.join(' '));
    say($('bans-empty'), `No bans. A client is banned when its failures are an incident: for ${said(hello.bans.first)}, then for twice as long at each further offence, at most ${said(hello.bans.longest)}.`);
    const { lostFocus } = rows($('bans-list'), 't-ban', bans.list, (ban) => ban.client, fillBan);
    // The row that had the focus is gone: the next button, or the heading if there is none.
    if (lostFocus) (part($('bans-list'), 'button.lift:not([hidden])') ?? $('bans-title')).focus();
  };
  const fillBan = (row, ban, _, fresh) => {
    if (fresh) {
      const button = part(row, '.lift');
      button.setAttribute('aria-label', `Lift the ban of ${ban.client}`);
      part(row, '.yes').setAttribute('aria-label', `Lift it: let ${ban.client} in`);
      part(row, '.no').setAttribute('aria-label', `Keep the ban of ${ban.client}`);
      say(part(row, '.client'), ban.client);
      button.addEventListener('click', () => ask(row, true));
      part(row, '.no').addEventListener('click', () => ask(row, false));
      part(row, '.sure').addEventListener('keydown', (event) => event.key === 'Escape' && ask(row, false));
      part(row, '.yes').addEventListener('click', () => lift(row, row.ban.client));
      show(button, hello.actions);
    }
    if (row.ban?.since !== ban.since || (row.lifted && performance.now() - row.lifted > 5000)) {
      // Banned again, or still: what was said about the ban before is no longer true.
      row.lifted = 0;
      if (row.dataset.state === 'lifted') {
        row.dataset.state = '';
        say(part(row, '.outcome'), '');
        show(part(row, '.lift'), hello.actions);
      }
    }
    row.ban = ban;
    say(part(row, '.reason'), words(ban.reason));
    say(part(row, '.strikes'), ban.strikes);
    mark(part(row, '.strikes'), 'data-unit', ban.strikes === 1 ? 'strike' : 'strikes');
    const left = part(row, '.left');
    const remains = ban.until - serverNow();
    say(left, remains > 0 ? lasting(remains) : 'ending');
    mark(left, 'title', `Since ${dayAndClock.format(ban.since)}, until ${dayAndClock.format(ban.until)}`);
  };
  const ask = (row, sure) => {
    show(part(row, '.lift'), !sure);
    show(part(row, '.sure'), sure);
    if (sure) {
      say(part(row, '.outcome'), '');
      say($('answer'), '');
    }
    part(row, sure ? '.yes' : '.lift').focus();
  };

  const token = { value: '', stale: false };
  // A restarted process has a new token, which its page holds.
  const freshToken = async () => {
    if (token.stale) {
      const page = await fetch('.', { cache: 'no-store' });
      const read = new DOMParser().parseFromString(await page.text(), 'text/html');
      token.value = read.querySelector('meta[name="palisade-token"]')?.content ?? '';
      token.stale = false;
    }
    return token.value;
  };
  const lift = async (row, client) => {
    if (row.dataset.state === 'busy') return;
    const outcome = part(row, '.outcome');
    row.dataset.state = 'busy';
    row.querySelectorAll('.sure button').forEach((button) => mark(button, 'aria-disabled', 'true'));
    let problem = '';
    let lifted = false;
    try {
      const reply = await fetch('bans/lift', {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-palisade-token': await freshToken() },
        body: JSON.stringify({ client }),
        signal: AbortSignal.timeout(LIFT),
      });
      const told = await reply.json().catch(() => ({}));
      if (reply.ok) lifted = told.lifted === true;
      else problem = told.detail || told.title || `The service answered ${reply.status}.`;
      if (reply.status === 403) token.stale = true;
    } catch {
      problem = 'The service did not answer; the ban may last on.';
    }
    row.querySelectorAll('.sure button').forEach((button) => button.removeAttribute('aria-disabled'));
    const focused = row.contains(document.activeElement) || document.activeElement === document.body;
    show(part(row, '.sure'), false);
    if (problem) {
      row.dataset.state = 'failed';
      say(outcome, problem);
      say($('answer'), `The ban of ${client} was not lifted. ${problem}`);
      show(part(row, '.lift'), true);
      if (focused && row.isConnected) part(row, '.lift').focus();
      return;
    }
    row.dataset.state = 'lifted';
    row.lifted = performance.now();
    say(outcome, lifted ? 'Lifted' : 'Had ended');
    say($('answer'), lifted ? `The ban of ${client} is lifted.` : `${client} was no longer banned.`);
    if (focused) {
      const others = [...$('bans-list').querySelectorAll('button.lift:not([hidden])')].filter((button) => !row.contains(button));
      (others[0] ?? $('bans-title')).focus();
    }
  };

  // ---- customers -------------------------------------------------------------------------------------------------

  const drawFunnel = () => {
    const { stages } = hello;
    show($('funnel'), stages.length > 0);
    show($('customers'), stages.length > 0 || hello.segments);
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
    rows($('funnel-list'), 't-stage', stages, (name, i) => `${i} ${name}`, (row, name, i) => {
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

  const drawSegments = () => {
    show($('segments'), hello.segments);
    if (!hello.segments) return;
    const population = new Map(now.population ?? []);
    const actions = new Map(now.segments);
    const names = [...new Set([...actions.keys(), ...population.keys()])];
    const everybody = [...population.values()].reduce((a, b) => a + b, 0);
    say($('segments-sub'), now.population ? `${many(everybody, 'known customer')}` : 'population counted elsewhere');
    rows($('segments-list'), 't-segment', names, String, (row, name) => {
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

  // ---- start -----------------------------------------------------------------------------------------------------

  showTheme();
  document.addEventListener('DOMContentLoaded', () => {
    token.value = part(document, 'meta[name="palisade-token"]').content;
    showTheme();
    $('theme').addEventListener('click', nextTheme);
    const spans = { 'funnel-window': 'window', 'funnel-start': 'start' };
    for (const [id, span] of Object.entries(spans)) {
      $(id).addEventListener('click', () => {
        funnelSpan = span;
        for (const other of Object.keys(spans)) mark($(other), 'aria-pressed', String(other === id));
        draw();
      });
    }
    $('chart').addEventListener('pointermove', (event) => {
      cursor = readAt(event.clientX);
      draw();
    });
    $('chart').addEventListener('pointerleave', () => {
      cursor = null;
      draw();
    });
    $('chart').addEventListener('blur', () => {
      cursor = null;
      draw();
    });
    $('chart').addEventListener('keydown', moveCursor);
    // One explanation at a time; Escape or a click elsewhere closes it.
    const helps = [...document.querySelectorAll('details.help')];
    const close = (but) => helps.forEach((help) => help !== but && help.removeAttribute('open'));
    document.addEventListener('click', (event) => close(event.target.closest('details.help')));
    document.addEventListener('keydown', (event) => {
      if (event.key !== 'Escape') return;
      const open = helps.find((help) => help.open);
      close(null);
      if (open?.contains(document.activeElement)) part(open, 'summary').focus();
    });
    document.addEventListener('visibilitychange', draw);
    addEventListener('resize', draw);
    setInterval(tick, 1000);
    connect();
  });
})();
