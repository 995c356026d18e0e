// Actions that a panel offers.

const PATIENCE = 20_000; // ms that an answer may take; the service gives up its store before

let token = document.querySelector('meta[name="palisade-token"]').content;
let isStale = false;

// The process may be another one, with another token.
export const forgetToken = () => {
  isStale = true;
};

const freshToken = async () => {
  if (isStale) {
    const page = await fetch('.', { cache: 'no-store' });
    const read = new DOMParser().parseFromString(await page.text(), 'text/html');
    token = read.querySelector('meta[name="palisade-token"]')?.content ?? '';
    isStale = false;
  }
  return token;
};

// Sends `what` to the action at `path`, and returns what it answered: `told`, or the `problem` in a sentence.
export const act = async (path, what, unanswered) => {
  try {
    const reply = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-palisade-token': await freshToken() },
      body: JSON.stringify(what),
      signal: AbortSignal.timeout(PATIENCE),
    });
    const told = await reply.json().catch(() => ({}));
    if (reply.status === 403) forgetToken();
    if (reply.ok) return { told, problem: '' };
    return { told: {}, problem: told.detail || told.title || `The service answered ${reply.status}.` };
  } catch {
    return { told: {}, problem: unanswered };
  }
};
