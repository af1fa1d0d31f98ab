// The way to the device: the token, questions with a time limit, and the stream of states that mends itself.

const KEY = "loomsight token";
const QUIET_MS = 4000; // the device speaks twice a second
const ANSWER_MS = 10000;
const NEXT_TRY_MS = [500, 1000, 2000, 4000];
const HERE = new URL(".", location.href).pathname.slice(0, -1); // of several cameras each has its own page

takeTokenOfAddress();

function takeTokenOfAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (!given) return;
  setToken(given);
  history.replaceState(null, "", location.pathname); // nobody reads it over a shoulder
}

export function token() {
  return localStorage.getItem(KEY);
}

export function setToken(value) {
  localStorage.setItem(KEY, value.trim());
}

function headers(more = {}) {
  return token() ? { Authorization: `Bearer ${token()}`, ...more } : more;
}

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem);
    this.status = status;
  }
}

// Says why there is nothing to show: a refusal is an answer, and says it itself. Read aloud once.
export function showAway(element, error) {
  const words = error instanceof Refusal ? error.message : "The device does not answer.";
  const strong = element.querySelector("strong");
  if (strong.textContent !== words) strong.textContent = words;
}

async function answered(path, options) {
  const answer = await fetch(HERE + path, { ...options, cache: "no-store" });
  if (answer.ok) return answer;
  const said = await answer.json().catch(() => ({}));
  throw new Refusal(answer.status, said.problem || `The device answers with error ${answer.status}.`);
}

export function ask(path) {
  return answered(path, { headers: headers(), signal: AbortSignal.timeout(ANSWER_MS) });
}

export async function tell(path, value) {
  const options = { method: "POST", headers: headers({ "Content-Type": "application/json" }) };
  const answer = await answered(path, { ...options, body: JSON.stringify(value), signal: AbortSignal.timeout(ANSWER_MS) });
  return answer.json();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Calls onState for each state, onAway(error) whenever there is none; goes on for ever.
export async function follow(onState, onAway) {
  for (let tries = 0; ; tries += 1) {
    try {
      await stream((state) => {
        tries = 0;
        onState(state);
      });
      onAway(null);
    } catch (error) {
      onAway(error);
    }
    await pause(NEXT_TRY_MS[Math.min(tries, NEXT_TRY_MS.length - 1)]);
  }
}

async function stream(onState) {
  const ended = new AbortController();
  let quiet = setTimeout(() => ended.abort(), QUIET_MS);
  try {
    const answer = await answered("/events", { headers: headers(), signal: ended.signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      clearTimeout(quiet);
      quiet = setTimeout(() => ended.abort(), QUIET_MS);
      const events = (text + value).split("\n\n");
      text = events.pop();
      const last = events.pop(); // a slow reader skips what is out of date
      if (last) onState(JSON.parse(last.replace(/^data: /, "")));
    }
  } finally {
    clearTimeout(quiet);
    ended.abort();
  }
}
