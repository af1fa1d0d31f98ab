// The contact sheet of the article on the loom: a tap on a place says that it is a defect.

import { ask, Refusal, setToken, tell } from "./device.js";

const NEXT_TRY_MS = 2000;

const at = (id) => document.getElementById(id);
let sheet = null;

function say(error) {
  at("key").hidden = !(error instanceof Refusal && error.status === 401);
  at("said").textContent = error instanceof Refusal ? error.message : "The device does not answer.";
}

// Shows the sheet; while the device does not answer, or the record is busy, it is tried again.
async function show() {
  try {
    const known = await (await ask("/sheet.json")).json();
    const image = await createImageBitmap(await (await ask("/sheet.png")).blob());
    sheet = known;
    at("said").textContent = sheet.places.length ? "" : "Nothing came near to an alarm.";
    at("title").textContent = `Contact sheet: ${sheet.article}`;
    at("promise").textContent = `Promised: ${sheet.promise}.`;
    at("places").replaceChildren(...sheet.places.map((place, number) => card(place, number, image)));
    showMarks(sheet);
  } catch (error) {
    say(error);
    if (!(error instanceof Refusal) || error.status === 503) setTimeout(show, NEXT_TRY_MS);
  }
}

function card(place, number, image) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.number = place.number;
  button.setAttribute("aria-label", `Place ${place.number} is a defect; an alarm at ${place.alarm_at}`);
  const canvas = document.createElement("canvas");
  const words = document.createElement("span");
  [canvas.width, canvas.height] = [sheet.cell_px, sheet.cell_px];
  const x = (number % sheet.columns) * sheet.cell_px;
  const y = Math.floor(number / sheet.columns) * (sheet.cell_px + sheet.text_px) + sheet.text_px;
  canvas.getContext("2d").drawImage(image, x, y, sheet.cell_px, sheet.cell_px, 0, 0, sheet.cell_px, sheet.cell_px);
  words.textContent = `${place.number} · alarm at ${place.alarm_at}`;
  const stamp = document.createElement("span");
  stamp.className = "mark";
  button.append(canvas, words, stamp);
  button.addEventListener("click", () => mark(button));
  item.append(button);
  return item;
}

async function mark(button) {
  const is_defect = button.getAttribute("aria-pressed") !== "true";
  button.disabled = true;
  try {
    showMarks(await tell("/marks", { sheet: sheet.sheet, number: Number(button.dataset.number), is_defect }));
    at("said").textContent = "";
    at("key").hidden = true;
  } catch (error) {
    say(error);
    at("said").textContent = `Not saved. ${at("said").textContent}`;
  }
  button.disabled = false;
}

function showMarks({ marked, command }) {
  for (const button of at("places").querySelectorAll("button")) {
    const is_defect = marked.includes(Number(button.dataset.number));
    button.setAttribute("aria-pressed", String(is_defect));
    button.querySelector(".mark").textContent = is_defect ? "✗ a defect: left out" : "✓ good cloth";
  }
  at("again").hidden = !command;
  at("again").querySelector("code").textContent = command || "";
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").value);
  at("token").value = "";
  at("key").hidden = true;
  if (sheet) at("said").textContent = "";
  else show();
});
show();
