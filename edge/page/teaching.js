// The line about the article on the loom: what the device knows of it, how far it is with learning it, the buttons.

import { Refusal, tell } from "./device.js";

const PATIENCE_MS = 5000; // a frame that takes what was asked for comes sooner, if cloth passes

export class ArticleLine {
  constructor(line, onKeyMissing) {
    Object.assign(this, { line, onKeyMissing, mark: null, request: null });
    [this.text, this.more, this.sheet, this.bar, this.button, this.said] = ["strong", ".more", "a", "progress", "button", ".said"]
      .map((which) => line.querySelector(which));
    this.button.addEventListener("click", () => this.ask());
  }

  show(known) {
    const mark = JSON.stringify(known);
    if (mark === this.mark) return;
    this.mark = mark;
    this.line.hidden = !known;
    if (!known) return;
    this.line.className = `trouble ${known.level}`;
    this.text.textContent = known.text;
    this.more.textContent = known.more;
    this.sheet.hidden = !known.is_taught;
    this.showTeaching(known);
  }

  // Nothing is known while the device does not answer: not that all is well, either.
  away() {
    this.mark = null;
    this.line.classList.remove("good");
  }

  showTeaching({ teaching, can_teach, is_taught }) {
    this.bar.hidden = !teaching;
    if (teaching) Object.assign(this.bar, { max: teaching.of_metres, value: teaching.metres });
    this.button.hidden = !can_teach;
    this.button.textContent = teaching ? "Cancel" : is_taught ? "Teach again" : "Teach this article";
    const request = teaching ? "cancel" : "begin";
    if (request !== this.request) this.ready();
    this.request = request;
  }

  ready() {
    this.said.textContent = "";
    this.button.disabled = false;
  }

  async ask() {
    const request = this.request;
    this.button.disabled = true;
    try {
      await tell("/teaching", { request });
      if (this.request !== request) return; // a state has said it already
      this.said.textContent = "… starts with the next cloth";
      setTimeout(() => { if (this.request === request) this.ready(); }, PATIENCE_MS); // a stop, a device that was started again
      return;
    } catch (error) {
      if (error instanceof Refusal && error.status === 401) this.onKeyMissing();
      this.said.textContent = error instanceof Refusal ? error.message : "The device does not answer.";
    }
    this.button.disabled = false;
  }
}
