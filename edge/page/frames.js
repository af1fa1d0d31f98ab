// Look through the frames of a finished run one by one: with buttons, the slider, or the arrow keys.

import { ask, Refusal } from "./device.js";

const INSIDE = "input, textarea, select, [contenteditable=true]";

export class Frames {
  constructor(bar, cloth, said) {
    Object.assign(this, { bar, cloth, said, slider: bar.querySelector("input"), known: null, number: 0, loading: false });
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value) - 1));
    for (const button of bar.querySelectorAll("button")) button.addEventListener("click", () => this.step(button.dataset.step));
    document.addEventListener("keydown", (event) => this.onKey(event));
  }

  get isOpen() {
    return Boolean(this.known?.count);
  }

  // Asks once what there is to look through.
  async open() {
    if (this.known || this.isAsking) return;
    this.isAsking = true;
    try {
      this.known = await (await ask("/frames")).json();
      this.bar.hidden = false;
      this.slider.max = this.known.count;
      for (const one of [this.slider.parentElement, ...this.bar.querySelectorAll("button, .keys")]) one.hidden = !this.isOpen;
      if (this.isOpen) this.show(this.known.found[0] ?? 0);
      else this.said.textContent = this.known.problem || "There is no frame to look at.";
    } catch {
      // asked again with the next state
    }
    this.isAsking = false;
  }

  step(which) {
    if (!this.isOpen) return;
    const { count, found } = this.known;
    const steps = {
      before: () => Math.max(0, this.number - 1),
      after: () => Math.min(count - 1, this.number + 1),
      "found-before": () => found.filter((one) => one < this.number).at(-1),
      "found-after": () => found.find((one) => one > this.number),
      first: () => 0,
      last: () => count - 1,
    };
    if (which === "size") return this.size();
    const next = steps[which]();
    if (next === undefined) this.say("There is no further frame with a defect.");
    else this.show(next);
  }

  // Shows each pixel of the frame, or all of the frame.
  size() {
    const button = this.bar.querySelector("[data-step=size]");
    const isTrue = this.cloth.classList.toggle("true-size");
    button.setAttribute("aria-pressed", String(isTrue));
    if (isTrue) Object.assign(this.cloth, { tabIndex: 0 });
    else this.cloth.removeAttribute("tabindex");
  }

  onKey(event) {
    if (!this.isOpen || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest(INSIDE) || document.querySelector("dialog[open]")) return;
    const side = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
    const which = side ? (event.shiftKey ? `found-${side}` : side) : { Home: "first", End: "last" }[event.key];
    if (!which) return;
    event.preventDefault();
    this.step(which);
  }

  // Shows a frame; while one is loaded, only the last that was asked for comes next.
  async show(number) {
    this.number = number;
    this.slider.value = number + 1;
    if (this.loading) return;
    this.loading = true;
    for (let wanted = null; wanted !== this.number;) {
      wanted = this.number;
      await this.load(wanted);
    }
    this.loading = false;
  }

  async load(number) {
    const { count, found } = this.known;
    const words = [`Frame ${number + 1} of ${count}`];
    const [image, none] = [this.cloth.querySelector("img"), this.cloth.querySelector("p")];
    try {
      const answer = await ask(`/frames/${number}`);
      words.push(decodeURIComponent(answer.headers.get("X-Name") || ""), found.includes(number) ? "with a defect" : "no defect");
      const before = image.src;
      image.src = URL.createObjectURL(await answer.blob());
      image.alt = `${words[0]}, with boxes around defects`;
      await image.decode().catch(() => {});
      if (before) URL.revokeObjectURL(before);
      [image.hidden, none.hidden] = [false, true];
    } catch (error) {
      words.push(error instanceof Refusal ? error.message : "The device does not answer.");
      [image.hidden, none.hidden] = [true, false];
      none.querySelector("span").textContent = "This frame cannot be shown.";
    }
    this.cloth.dataset.frame = number;
    this.say(words.filter(Boolean).join(" · "));
  }

  say(words) {
    this.said.textContent = words;
  }
}
