// Sign in, and one's own sessions: listed, ended, and told as they come and go by the server's events.
import { $, announce, mark, part, rows, say, show, template } from './dom.js';
import { dayAndClock, lasting, many, words } from './text.js';

const SESSIONS = '/api/v1/users/me/sessions';
const ALERTS = 20;
const row = template(
  '<tr><th scope="row"><span class="name"></span><span class="tag" hidden>This device</span><span class="meta"></span></th>'
    + '<td class="created"></td><td class="active"></td><td><button type="button">End</button></td></tr>',
);
const alertRow = template(
  '<li><p class="event-head"><span class="tag"></span><time></time></p><p class="event-detail"></p></li>',
);

// The sessions by id, and the id of this one, while somebody is signed in.
let sessions = new Map();
let current = null;
let stream = null;
let alerts = [];

// One request. An answer that is no success is an error with its status and what the problem says.
const ask = async (method, path, body) => {
  const headers = { accept: 'application/json' };
  if (body) headers['content-type'] = 'application/json';
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw Object.assign(new Error('The shop does not answer.'), { status: 0 });
  }
  const text = await response.text();
  let json = null;
  try {
    json = text ? JSON.parse(text) : null;
  } catch {
    // Not the shop's own answer: the status tells enough.
  }
  if (response.ok) return json;
  const why = json?.detail ?? json?.title ?? `The shop answered ${response.status}.`;
  throw Object.assign(new Error(why), { status: response.status });
};

const tell = (text, level = 'warn') => {
  say($('told'), text);
  mark($('told'), 'data-level', level);
  show($('told'), Boolean(text));
};

// Who signed in here, as long as the session is the same: the session itself does not say.
const nameOf = (id) => {
  try {
    const kept = JSON.parse(sessionStorage.getItem('webstore-user'));
    return kept?.id === id ? kept.user : null;
  } catch {
    return null;
  }
};
const keepName = (id, user) => {
  try {
    sessionStorage.setItem('webstore-user', JSON.stringify({ id, user }));
  } catch {
    // Storage may be forbidden; the name is then not shown after a reload.
  }
};

const age = (time) => {
  const ms = Date.now() - Date.parse(time);
  return ms < 5000 ? 'just now' : `${lasting(ms)} ago`;
};

const fill = (node, session) => {
  const { session_id: id, client_info: client, session_type: type, login_method: method } = session;
  const device = session.user_agent ?? (type === 'mobile' ? 'A phone' : 'A device that says nothing of itself');
  const details = [client?.device, type, method && `by ${method}`, session.device_id].filter(Boolean);
  node.dataset.id = id;
  say(part(node, '.name'), device);
  show(part(node, '.tag'), id === current);
  say(part(node, '.meta'), details.join(' · '));
  say(part(node, '.created'), dayAndClock.format(new Date(session.created_at)));
  say(part(node, '.active'), age(session.last_activity));
  const button = part(node, 'button');
  mark(button, 'aria-label', id === current ? 'End this session' : `End the session of ${device}`);
  button.onclick = () => end(id);
};

const draw = () => {
  const list = [...sessions.values()];
  // This one first; then the newest activity.
  list.sort((a, b) => (b.session_id === current) - (a.session_id === current)
    || Date.parse(b.last_activity) - Date.parse(a.last_activity));
  const { lostFocus } = rows($('list'), row, list, (it) => it.session_id, fill);
  if (lostFocus) $('main').focus();
  const user = nameOf(current);
  say($('who'), `${many(list.length, 'session')}${user ? ` of ${user}` : ''}`);
  $('end-others').disabled = list.length < 2;
};

const drawAlerts = () => {
  show($('alerts'), alerts.length > 0);
  rows($('alerts-list'), alertRow, alerts, (it) => it.key, (node, it) => {
    say(part(node, '.tag'), words(it.kind));
    say(part(node, 'time'), dayAndClock.format(it.time));
    say(part(node, '.event-detail'), it.detail);
  });
};

const connection = (state, text) => {
  show($('connection'), Boolean(state));
  mark($('connection'), 'data-state', state ?? '');
  say($('connection-text'), text ?? '');
};

const signedOut = (why, level) => {
  stream?.close();
  stream = null;
  current = null;
  sessions = new Map();
  alerts = [];
  draw();
  drawAlerts();
  connection(null);
  show($('mine'), false);
  show($('sign-in'), true);
  if (why) tell(why, level);
  $('user').focus();
};

// What went wrong with a request of somebody who is signed in.
const failed = (error) => {
  if (error.status === 401) return signedOut('You were signed out: this session has ended.');
  tell(error.message);
};

const list = async () => {
  const listed = await ask('GET', SESSIONS);
  sessions = new Map(listed.map((it) => [it.session_id, it]));
  draw();
};

// Once the stream has begun, the list misses nothing.
const watch = () => {
  stream?.close();
  const opened = new EventSource(`${SESSIONS}/events`);
  stream = opened;
  connection('connecting', 'Connecting');
  const on = (name, take) => opened.addEventListener(name, (event) => stream === opened && take(event));
  on('open', () => {
    connection('live', 'Live');
    list().catch(failed);
  });
  on('created', (event) => {
    const session = JSON.parse(event.data);
    sessions.set(session.session_id, session);
    draw();
    announce(`A new session: ${session.user_agent ?? session.session_type}`);
  });
  on('ended', (event) => {
    const { session_id: id } = JSON.parse(event.data);
    if (id === current) return signedOut('You were signed out: this session was ended, here or from another device.');
    if (!sessions.delete(id)) return;
    draw();
    announce('A session has ended');
  });
  on('alert', (event) => {
    const { type, kind, time, session_id: id } = JSON.parse(event.data);
    const at = new Date(time ?? Date.now());
    const of = id && sessions.get(id);
    const detail = of ? `Of the session of ${of.user_agent ?? of.session_type}` : '';
    alerts = [{ key: crypto.randomUUID(), kind: type ?? kind ?? 'alert', time: at, detail }, ...alerts].slice(0, ALERTS);
    drawAlerts();
    announce(`Alert: ${words(alerts[0].kind)}`);
  });
  on('error', () => {
    connection('reconnecting', 'Reconnecting');
    // The browser comes again by itself unless it was refused.
    if (opened.readyState === EventSource.CLOSED) setTimeout(() => stream === opened && resume(), 3000);
  });
};

// Looks whether somebody is signed in.
const resume = async () => {
  try {
    const session = await ask('GET', `${SESSIONS}/current`);
    current = session.session_id;
  } catch (error) {
    if (error.status === 401) return signedOut(current && 'You were signed out: this session has ended.');
    tell(error.message);
    setTimeout(resume, 3000);
    return;
  }
  show($('sign-in'), false);
  show($('mine'), true);
  watch();
};

const end = async (id) => {
  try {
    await ask('DELETE', `${SESSIONS}/${id}`);
  } catch (error) {
    if (error.status !== 404) return failed(error);
  }
  if (id === current) return signedOut('You have signed out.', 'good');
  sessions.delete(id);
  draw();
  tell('That session has ended.', 'good');
};

const leave = async (scope) => {
  try {
    const { ended } = await ask('POST', '/profiles/me/logout', { scope });
    signedOut(scope === 'all' ? `You have signed out everywhere: ${many(ended, 'session')}.` : 'You have signed out.', 'good');
  } catch (error) {
    failed(error);
  }
};

$('form').addEventListener('submit', async (event) => {
  event.preventDefault();
  const [user, password] = [$('user').value.trim(), $('password').value];
  try {
    const { session_id: id } = await ask('POST', '/login', { user, password });
    keepName(id, user);
  } catch (error) {
    $('password').value = '';
    tell(error.message);
    return;
  }
  $('password').value = '';
  tell('');
  await resume();
  $('main').focus();
});
$('end-others').addEventListener('click', async () => {
  try {
    const { terminated } = await ask('POST', `${SESSIONS}/terminate-all`, { keep_current: true });
    await list();
    tell(`${many(terminated, 'other session')} ended.`, 'good');
  } catch (error) {
    failed(error);
  }
});
$('sign-out').addEventListener('click', () => leave('current'));
$('sign-out-all').addEventListener('click', () => leave('all'));
// "3 s ago" does not stay true.
setInterval(() => current && draw(), 5000);
resume();
