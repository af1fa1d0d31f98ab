// The page before those of the cameras: for each whether all is well, and the way to its page.

import { ask, Refusal, setToken, showAway } from "./device.js";
import { gradeWords, plural, seesWords, showStrips, widthOf } from "./numbers.js";

const ASK_MS = 1000;
const shown = new Map(); // camera to the number of the image that is shown, and its address
const loading = new Set();

const at = (id) => document.getElementById(id);

function made(name, className, ...parts) {
  const element = document.createElement(name);
  element.className = className;
  element.append(...parts);
  return element;
}

function numbers(now) {
  const known = (value, unit, digits) => (value === null ? [] : [`${value.toFixed(digits)} ${unit}`]);
  const seen = now.coverage === null ? [] : [`${(Math.floor(now.coverage * 1000) / 10).toFixed(1)} % seen`];
  const speed = now.speed_m_min === null ? [`${now.frames_per_s.toFixed(1)} /s`] : known(now.speed_m_min, "m/min", 1);
  const found = now.boxes === null ? plural(now.defects, "defect") : plural(now.boxes, "box", "boxes");
  const { main, more } = gradeWords(now.grade, now.phase === "ended");
  const grade = main === "–" ? [] : [`grade ${main} (${more})`];
  return [...known(now.along_m, "m", 2), ...speed, ...seen, found, ...grade].join(" · ");
}

function card(name) {
  const link = made("a", "", made("strong", "", name));
  link.href = `${encodeURIComponent(name)}/`;
  const said = made("span", "said");
  said.setAttribute("aria-live", "polite");
  const image = made("img", "now");
  image.alt = `What ${name} saw last`;
  image.hidden = true;
  const item = made("li", "", link, said, image, made("p", "none", "No image yet."), made("div", "track"), made("span", "sees"), made("span", "numbers"));
  item.querySelector(".track").setAttribute("aria-hidden", "true");
  item.dataset.camera = name;
  at("cameras").append(item);
  return item;
}

// Loads the last image of a camera, one request at a time.
async function load(name, now) {
  const item = at("cameras").querySelector(`[data-camera="${name}"]`);
  if (document.hidden || loading.has(name) || !now.image || shown.get(name)?.number === now.image) return;
  loading.add(name);
  try {
    const answer = await ask(`/${encodeURIComponent(name)}/cloth.jpg`);
    if (answer.status === 200 && item.isConnected) {
      const [image, before] = [item.querySelector("img"), shown.get(name)];
      image.src = URL.createObjectURL(await answer.blob());
      image.hidden = false;
      item.querySelector(".none").hidden = true;
      if (before) URL.revokeObjectURL(before.url);
      shown.set(name, { number: now.image, url: image.src });
    }
  } catch {
    // asked again soon
  }
  loading.delete(name);
}

function show(name, now, width) {
  const item = at("cameras").querySelector(`[data-camera="${name}"]`) || card(name);
  const worst = now.troubles[0];
  const more = now.troubles.length > 1 ? `And ${now.troubles.length - 1} more.` : "";
  const words = worst ? [worst.text, worst.cure, more].filter(Boolean).join(" ") : "✓ All is well.";
  item.className = `trouble ${worst ? worst.level : "good"}`;
  if (item.querySelector(".said").textContent !== words) item.querySelector(".said").textContent = words;
  item.querySelector(".numbers").textContent = numbers(now);
  item.querySelector(".sees").textContent = seesWords(now.sees);
  item.querySelector(".track").hidden = !showStrips(item.querySelector(".track"), now.sees, width);
  if (now.phase === "ended" && !now.image) item.querySelector(".none").textContent = "No image came.";
  load(name, now);
}

function onAway(error) {
  const needsKey = error instanceof Refusal && error.status === 401;
  at("key").hidden = !needsKey;
  at("away").hidden = needsKey;
  showAway(at("away"), error);
  at("cameras").replaceChildren();
  at("across").hidden = true;
  for (const { url } of shown.values()) URL.revokeObjectURL(url);
  shown.clear();
}

async function look() {
  try {
    const cameras = await (await ask("/cameras.json")).json();
    at("away").hidden = at("key").hidden = true;
    const width = widthOf(Object.values(cameras).map((now) => now.sees));
    for (const [name, now] of Object.entries(cameras)) show(name, now, width);
    at("across").hidden = !at("cameras").querySelector(".track:not([hidden])");
  } catch (error) {
    onAway(error);
  }
  setTimeout(look, ASK_MS);
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").value);
  at("token").value = "";
  at("key").hidden = true;
});
look();
