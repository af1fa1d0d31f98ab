// What came while nobody looked: the network was away, the tab in the background, the browser closed.

import { plural } from "./numbers.js";

const KEY = `loomsight seen ${location.pathname}`;
const AWAY_S = 10;
const SAVE_MS = 1000;

const clock = (utc_s) => new Date(utc_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

export class Missed {
  constructor(line, onSeen) {
    Object.assign(this, { line, onSeen, period: null, last: read(), saved_ms: 0 });
    line.querySelector("button").addEventListener("click", () => {
      this.period = null;
      line.hidden = true;
      this.onSeen();
    });
  }

  // Takes in a state: what comes long after the one before begins with what was missed.
  take(now, known) {
    if (document.hidden) return;
    const last = this.last;
    if (last && now.utc_s - last.utc_s > AWAY_S) {
      const first = this.period ?? last;
      this.period = { since_s: first.since_s ?? first.utc_s, until_s: now.utc_s, roll: first.roll, number: first.number, upto: null };
    }
    const isCounted = known.roll && this.period?.upto !== null; // else the roll is still to come
    if (!isCounted) this.last = last && { ...last, utc_s: now.utc_s };
    else this.last = { utc_s: now.utc_s, roll: known.roll, number: known.defect ?? 0 };
    if (this.last && performance.now() - this.saved_ms > SAVE_MS) this.save();
    if (this.period) this.show(now);
  }

  // Takes in the whole roll: its defects up to here came meanwhile.
  count(known) {
    if (this.period && this.period.upto === null) this.period.upto = known.defect ?? 0;
    this.known = known;
  }

  // Whether a defect came meanwhile.
  isMissed(one) {
    const { period, known } = this;
    if (!period || period.upto === null || !known) return false;
    return one.number <= period.upto && (known.roll !== period.roll || one.number > period.number);
  }

  // Whether a warning began meanwhile.
  isMissedWarning(one) {
    return Boolean(this.period) && one.since_s > this.period.since_s && one.since_s < this.period.until_s;
  }

  show(now, defects = this.defects ?? []) {
    this.defects = defects;
    const { period } = this;
    if (!period || period.upto === null) return;
    const found = defects.filter((one) => this.isMissed(one)).length;
    const warnings = now.past.filter((one) => this.isMissedWarning(one)).length;
    const what = [found && plural(found, "defect"), warnings && plural(warnings, "warning")].filter(Boolean);
    this.line.hidden = !what.length;
    const words = `${what.join(" and ")} since you were away.`;
    const when = `From ${clock(period.since_s)} to ${clock(period.until_s)} nobody looked at this page. They are marked below.`;
    if (this.line.querySelector("strong").textContent !== words) this.line.querySelector("strong").textContent = words;
    this.line.querySelector("span").textContent = when;
  }

  save() {
    this.saved_ms = performance.now();
    localStorage.setItem(KEY, JSON.stringify(this.last));
  }
}

function read() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}
