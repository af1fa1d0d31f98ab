// The page before those of the cameras: for each whether all is well, and the way to its page.

import { ask, Refusal, setToken, showAway } from "./device.js";

const ASK_MS = 1000;

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
  return [...known(now.along_m, "m", 2), ...speed, ...seen, `${now.defects} defects`].join(" · ");
}

function card(name) {
  const link = made("a", "", made("strong", "", name));
  link.href = `${encodeURIComponent(name)}/`;
  const said = made("span", "said");
  said.setAttribute("aria-live", "polite");
  const item = made("li", "", link, said, made("span", "numbers"));
  item.dataset.camera = name;
  at("cameras").append(item);
  return item;
}

function show(name, now) {
  const item = at("cameras").querySelector(`[data-camera="${name}"]`) || card(name);
  const worst = now.troubles[0];
  const words = worst ? [worst.text, worst.cure].filter(Boolean).join(" ") : "✓ All is well.";
  item.className = `trouble ${worst ? worst.level : "good"}`;
  if (item.querySelector(".said").textContent !== words) item.querySelector(".said").textContent = words;
  item.querySelector(".numbers").textContent = numbers(now);
}

function onAway(error) {
  const needsKey = error instanceof Refusal && error.status === 401;
  at("key").hidden = !needsKey;
  at("away").hidden = needsKey;
  showAway(at("away"), error);
  at("cameras").replaceChildren();
}

async function look() {
  try {
    const cameras = await (await ask("/cameras.json")).json();
    at("away").hidden = at("key").hidden = true;
    for (const [name, now] of Object.entries(cameras)) show(name, now);
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
