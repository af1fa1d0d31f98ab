// One defect, its image as large as it is: what it is can be said here, too.

export class LargeImage {
  constructor(dialog) {
    Object.assign(this, { dialog, id: null });
    dialog.addEventListener("close", () => { this.id = null; });
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
  }

  open(id, url, name, place) {
    const image = this.dialog.querySelector("img");
    image.src = url;
    image.alt = `${name} at ${place.trim()}`;
    this.dialog.querySelector("strong").textContent = name;
    this.dialog.querySelector(".soft").textContent = place;
    this.dialog.querySelector(".verdicts").replaceChildren();
    this.say("");
    this.id = id;
    if (!this.dialog.open) this.dialog.showModal();
  }

  close() {
    this.dialog.close();
  }

  say(words) {
    this.dialog.querySelector(".said").textContent = words;
  }

  // Shows the verdict that holds; `fill` puts its buttons into a row.
  stamp(verdict, fill) {
    this.dialog.classList.remove("confirmed", "rejected");
    if (verdict) this.dialog.classList.add(verdict);
    fill(this.dialog.querySelector(".verdicts"));
  }
}
