// The form that starts the next roll. A request keeps its id until the device has answered: sent twice, it is one.

import { Refusal, tell } from "./device.js";

function newId() { // randomUUID is there over https only
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

export class NextRoll {
  constructor(details, said, onKeyMissing) {
    Object.assign(this, { details, said, onKeyMissing, id: null, request: "" });
    this.form = details.querySelector("form");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.ask();
    });
  }

  async ask() {
    const button = this.form.querySelector("button");
    const [name, article] = ["name", "article"].map((field) => this.form.elements[field].value.trim() || null);
    const request = JSON.stringify([name, article]);
    if (!this.id || this.request !== request) Object.assign(this, { id: newId(), request });
    button.disabled = true;
    try {
      await tell("/rolls", { id: this.id, name, article });
      this.id = null;
      this.said.textContent = "… the next roll starts";
    } catch (error) {
      if (error instanceof Refusal) {
        this.id = null;
        if (error.status === 401) this.onKeyMissing();
      }
      this.said.textContent = `No new roll. ${error instanceof Refusal ? error.message : "The device does not answer."}`;
    }
    button.disabled = false;
  }

  // Fills in the article; a person checks the form and starts the roll.
  propose(article) {
    this.details.open = true;
    this.form.elements.article.value = article;
    this.details.scrollIntoView({ block: "center" });
    this.form.querySelector("button").focus();
  }

  // The page shows another roll now.
  started() {
    if (!this.said.textContent.startsWith("…")) return;
    this.said.textContent = "";
    this.form.reset();
    this.details.open = false;
  }
}
