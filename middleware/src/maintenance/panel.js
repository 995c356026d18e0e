// Maintenance: whether it is on, and what it refused.

import { $, say, show } from '../dom.js';
import { growth, latest, live } from '../live.js';
import { count, many } from '../text.js';

const sections = {
  facts: '<div id="maintenance" hidden><dt>maintenance</dt><dd id="maintenance-requests">–</dd></div>',
};

const title = () => (live.hello.maintenance ? 'maintenance' : '');

const judge = () => {
  const again = live.hello.maintenance;
  if (!again) return [];
  const span = latest().uptime < 60_000 ? 'since start' : 'in the last minute';
  const of = (which) => growth(60_000, (s) => s.maintenance[which])?.by ?? 0;
  const passed = of('exempt') > 0 ? `, and ${many(of('exempt'), 'exempt request')} passed` : '';
  return [[100, 'warn', 'Maintenance is on', `${many(of('refused'), 'request')} refused ${span}${passed}. Clients are told to come back in ${again}.`]];
};

const draw = () => {
  const isOn = Boolean(live.hello.maintenance);
  show($('maintenance'), isOn);
  if (!isOn) return;
  const { refused, exempt } = latest().maintenance;
  say($('maintenance-requests'), `${count(refused)} refused, ${count(exempt)} exempt`);
};

export default { sections, title, judge, draw };
