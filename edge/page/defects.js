// The last defects as cards: image, place, and a verdict with one tap.

import { ask, Refusal, tell } from "./device.js";

const SHOWN = 30;
const MOST_MISSED = 100;
const HELD_MS = 1500; // so long after a pointer moved over the list, no card moves under it
const UNCLASSIFIED = "unclassified";
const STAMPS = { confirmed: "✓ real defect", rejected: "✗ no defect" };

function made(name, className, text = "") {
  const element = document.createElement(name);
  element.className = className;
  element.textContent = text;
  return element;
}

// What a defect is called: its class, and its kind or its shape where they are known.
function nameOf(one) {
  const finer = [one.kind, one.shape].filter((word) => word && word !== one.label).join(", ");
  return finer ? `${one.label}: ${finer}` : one.label;
}

const SVG = "http://www.w3.org/2000/svg";

// One of the pictograms that the page brings along.
export function icon(name) {
  const drawing = document.createElementNS(SVG, "svg");
  drawing.setAttribute("class", "icon");
  drawing.setAttribute("aria-hidden", "true");
  drawing.append(document.createElementNS(SVG, "use"));
  drawing.firstChild.setAttribute("href", `#i-${name}`);
  return drawing;
}

export class DefectList {
  constructor(list, said, large, verdicts, onVerdict, onKeyMissing, onFrame) {
    Object.assign(this, { list, said, large, verdicts, onVerdict, onKeyMissing, onFrame });
    this.images = new Map();
    this.cards = new Map();
    this.waiting = new Map(); // images that did not come yet
    this.chosen = null;
    this.judged = null; // the last one that was judged here
    this.heldUntilMs = 0;
    this.later = 0;
    for (const kind of ["pointermove", "pointerdown"]) list.addEventListener(kind, () => this.hold());
  }

  hold() {
    this.heldUntilMs = performance.now() + HELD_MS;
  }

  release() {
    this.heldUntilMs = 0;
    clearTimeout(this.later);
  }

  clear() {
    this.release();
    this.large.close();
    this.list.replaceChildren();
    this.cards.clear();
    this.waiting.clear();
    for (const url of this.images.values()) URL.revokeObjectURL(url);
    this.images.clear();
  }

  // Shows the last defects, newest first, one that was chosen on the map, wherever it lies, and those that
  // somebody is busy with here: however many come meanwhile, none goes from under a finger. While a pointer
  // moves over the list it waits, or a verdict would be given to the card that slid under the pointer.
  show(defects, classes, canReview, isMissed = () => false) {
    const heldMs = this.heldUntilMs - performance.now();
    clearTimeout(this.later);
    if (heldMs > 0 && this.cards.size) {
      this.later = setTimeout(() => this.show(defects, classes, canReview, isMissed), heldMs);
      return;
    }
    const missed = defects.slice(-MOST_MISSED).findIndex(isMissed);
    const most = missed < 0 ? SHOWN : Math.max(SHOWN, Math.min(MOST_MISSED, defects.length) - missed);
    const last = defects.slice(-most).reverse();
    const chosen = defects.find((one) => one.id === this.chosen);
    if (chosen && !last.includes(chosen)) last.unshift(chosen);
    last.push(...defects.filter((one) => [this.judged, this.large.id].includes(one.id) && !last.includes(one)));
    const waiting = [...this.waiting.values()];
    this.waiting.clear();
    for (const [one, image] of waiting) this.load(one, image);
    const ids = new Set(last.map((one) => one.id));
    for (const [id, card] of this.cards) if (!ids.has(id)) this.drop(id, card);
    last.forEach((one, place) => {
      const card = this.cards.get(one.id) || this.card(one, classes, canReview);
      this.markMissed(card, isMissed(one));
      if (this.list.children[place] !== card) this.list.insertBefore(card, this.list.children[place] || null);
    });
  }

  markMissed(card, isMissed) {
    card.classList.toggle("missed", isMissed);
    const tag = card.querySelector("em");
    if (isMissed && !tag) card.querySelector(".where").append(made("em", "", "while you were away"));
    else if (!isMissed && tag) tag.remove();
  }

  drop(id, card) {
    if (this.large.id === id) this.large.close();
    card.remove();
    this.cards.delete(id);
    this.waiting.delete(id);
    if (this.images.has(id)) URL.revokeObjectURL(this.images.get(id));
    this.images.delete(id);
  }

  card(one, classes, canReview) {
    const card = made("li", "");
    card.dataset.id = one.id;
    card.style.borderLeftColor = one.colour;
    const image = one.image ? made("img", "image") : this.withoutImage(one);
    if (one.image) {
      Object.assign(image, { tabIndex: 0, role: "button" });
      image.addEventListener("click", () => this.enlarge(one.id));
      image.addEventListener("keydown", (event) => { if (["Enter", " "].includes(event.key)) { event.preventDefault(); this.enlarge(one.id); } });
      this.load(one, image);
    }
    const where = made("div", "where");
    const long = (one.end_m - one.start_m) * 1000;
    const place = made("div", "");
    place.append(icon("metre"), ` ${one.start_m.toFixed(2)}\u00a0m · ↔\u00a0${one.left_mm.toFixed(0)}\u00a0mm`);
    where.append(
      made("strong", "", nameOf(one)),
      place,
      made("div", "soft", `${long.toFixed(0)}\u00a0mm long · confidence\u00a0${one.score.toFixed(2)}`));
    card.append(image, where);
    this.cards.set(one.id, card);
    if (canReview) {
      const row = made("div", "verdicts");
      // A person can name what no detector has a name for.
      row.dataset.names = JSON.stringify(one.label === UNCLASSIFIED ? classes.filter((name) => name !== UNCLASSIFIED) : []);
      card.append(row);
      this.stamp(one.id);
    }
    return card;
  }

  withoutImage(one) {
    if (one.frame === null || one.frame === undefined) return made("div", "image none", "no image");
    const button = made("button", "image none", "show frame");
    button.type = "button";
    button.setAttribute("aria-label", `Show the frame of ${nameOf(one)} at ${one.start_m.toFixed(2)} metres`);
    button.addEventListener("click", () => this.onFrame(one.frame));
    return button;
  }

  async load(one, image) {
    image.alt = `${nameOf(one)} at ${one.start_m.toFixed(2)} metres`;
    try {
      const jpeg = await (await ask(`/images/${one.id}`)).blob();
      if (!this.shows(one.id, image)) return;
      this.images.set(one.id, URL.createObjectURL(jpeg));
      image.src = this.images.get(one.id);
    } catch (error) {
      const isGone = error instanceof Refusal && error.status === 404; // any other refusal passes
      if (isGone) image.replaceWith(made("div", "image none", "no image"));
      else if (this.shows(one.id, image)) this.waiting.set(one.id, [one, image]);
    }
  }

  // Whether a card still is in the list with this image: another roll may have started meanwhile.
  shows(id, image) {
    return Boolean(this.cards.get(id)?.contains(image));
  }

  // Shows the image as large as it is, with the same buttons.
  enlarge(id) {
    const card = this.cards.get(id);
    if (!card || !this.images.has(id)) return;
    this.large.open(id, this.images.get(id), card.querySelector("strong").textContent, card.querySelector(".where div").textContent);
    this.stamp(id);
  }

  stamp(id) {
    const card = this.cards.get(id);
    const row = card && card.querySelector(".verdicts");
    if (!row) return;
    const { verdict } = this.verdicts.get(id) || {};
    card.classList.remove("confirmed", "rejected");
    if (verdict) card.classList.add(verdict);
    this.fill(row, id);
    if (this.large.id === id) this.large.stamp(verdict, (large) => this.fill(large, id));
  }

  // Puts the buttons of a verdict into a row, or the verdict with a way back.
  fill(row, id) {
    const card = this.cards.get(id);
    const names = JSON.parse(card.querySelector(".verdicts").dataset.names);
    const { verdict, named, who } = this.verdicts.get(id) || {};
    row.replaceChildren();
    const button = (className, text, label, next, name = null) => {
      const made_ = made("button", className, text);
      made_.type = "button";
      made_.setAttribute("aria-label", `${label}: ${card.querySelector("strong").textContent}`);
      made_.addEventListener("click", () => this.decide(id, next, name, row));
      return made_;
    };
    if (verdict) {
      const said = named ? `✓ ${named}` : STAMPS[verdict];
      row.append(made("span", "stamp", who ? `${said} · ${who}` : said), button("undo", "↶ Undo", "Undo", "undone"));
    } else {
      row.append(button("yes", "✓ Yes", "Confirm, it is a defect", "confirmed"),
        ...names.map((name) => button("yes", `✓ ${name}`, `It is ${name}`, "confirmed", name)),
        button("no", "✗ No", "Reject, it is no defect", "rejected"));
    }
  }

  async decide(id, verdict, name, row) {
    this.judged = id;
    for (const button of row.querySelectorAll("button")) button.disabled = true;
    try {
      const answer = await tell("/reviews", name ? { id, verdict, class_name: name } : { id, verdict });
      this.say("");
      this.onVerdict(answer.id, answer.verdict, answer.class_name, answer.who);
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) {
        this.large.close();
        this.onKeyMissing();
      }
      this.say(`Not saved. ${error instanceof Refusal ? error.message : "The device does not answer."}`);
      this.stamp(id);
    }
  }

  say(words) {
    this.said.textContent = words;
    this.large.say(words);
  }

  choose(id) {
    this.release();
    this.chosen = id;
    for (const [other, card] of this.cards) card.classList.toggle("chosen", other === id);
  }

  reveal(id) {
    this.cards.get(id)?.scrollIntoView({ block: "center", behavior: "smooth" });
  }
}
