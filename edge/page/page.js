// The page: states come as a stream; images and the roll are asked for when there is something new.

import { ask, follow, Refusal, setToken, showAway } from "./device.js";
import { DefectList, icon } from "./defects.js";
import { RollMap } from "./map.js";
import { NextRoll } from "./next.js";
import { LargeImage } from "./image.js";
import { ArticleLine } from "./teaching.js";
import { Frames } from "./frames.js";
import { Missed } from "./missed.js";
import { gradeWords, plural, seesWords, showStrips, widthOf } from "./numbers.js";

const CAMERA = { ok: "✓", silent: "✗ no image", down: "✗ failed", unknown: "?", starting: "… starting", ended: "■ finished" };
const GAPS = { overrun: "too fast", "lost lines": "lines lost", "camera down": "camera off",
  unreadable: "bad image", lamp: "no light" };
const ROLL_MS = 2000;

const at = (id) => document.getElementById(id);
const verdicts = new Map();
let state = null;
let roll = emptyRoll();
let shown = 0;
let loading = false;
let asking = false;
let readingNeedsKey = false;

const list = new DefectList(at("defects"), at("said"), new LargeImage(at("large")), verdicts, take, showKey, showFrame);
const next = new NextRoll(at("next"), at("next-said"), showKey);
const article = new ArticleLine(at("article"), showKey);
const frames = new Frames(at("frames"), at("cloth"), at("frame-said"));
const missed = new Missed(at("missed"), () => {
  drawRoll();
  showPast();
});
const map = new RollMap(at("map"), (id) => {
  list.choose(id);
  drawRoll();
  list.choose(id);
  list.reveal(id);
});

function emptyRoll() {
  return { known: {}, defects: [], forgotten: 0, gaps: [], length_m: 0, width_mm: null };
}

// Where reading is open, only a change asks for the token: the states that go on coming leave the form alone.
function showKey() {
  at("key").hidden = false;
}

// Shows the frame of a defect, once frames can be looked through; else says when.
function showFrame(number) {
  if (!frames.isOpen) return;
  frames.show(number);
  at("cloth").scrollIntoView({ block: "center", behavior: "smooth" });
}

function take(id, verdict, named, who) {
  note(id, verdict, named, who);
  drawMap();
}

function note(id, verdict, named, who) {
  if (verdict === "undone") verdicts.delete(id);
  else verdicts.set(id, { verdict, named, who });
  list.stamp(id);
}

function onState(now) {
  if (state && state.version !== now.version) location.reload();
  if (state && state.run !== now.run) shown = 0;
  state = now;
  document.body.classList.remove("away");
  at("away").hidden = true;
  if (readingNeedsKey) at("key").hidden = true;
  readingNeedsKey = false;
  const isEnded = now.phase === "ended";
  showTroubles();
  article.show(state.article);
  showNumbers();
  missed.take(now, roll.known);
  showPast();
  at("next").hidden = isEnded;
  if (isEnded && now.stays) frames.open();
  if (isEnded && !now.image && !frames.isOpen) at("cloth").querySelector("span").textContent = "No image came.";
  if (now.image !== shown && !loading && !frames.isOpen) loadCloth();
}

function onAway(error) {
  const needsKey = error instanceof Refusal && error.status === 401;
  if (needsKey || readingNeedsKey) at("key").hidden = !needsKey;
  readingNeedsKey = needsKey;
  at("away").hidden = needsKey;
  showAway(at("away"), error);
  document.body.classList.add("away");
  clearTroubles();
  article.away();
  at("camera").classList.add("bad");
  at("camera").querySelector("span").textContent = "?";
}

function item(className, ...parts) {
  const element = document.createElement("li");
  element.className = className;
  element.append(...parts);
  return element;
}

function text(name, words) {
  const element = document.createElement(name);
  element.textContent = words;
  return element;
}

// What was wrong may have changed meanwhile; with the next state all of it is drawn, and read aloud, once more.
function clearTroubles() {
  at("troubles").replaceChildren();
  delete at("troubles").dataset.mark;
}

function showTroubles() {
  const wrong = state.troubles.map((one) => item(
    `trouble ${one.level}`, icon(one.level), " ", text("strong", one.text), ...(one.cure ? [text("span", one.cure)] : []),
    ...(one.article ? [rollOf(one.article)] : [])));
  const mark = JSON.stringify(state.troubles);
  if (at("troubles").dataset.mark === mark) return; // a reader aloud says it once
  at("troubles").dataset.mark = mark;
  at("troubles").replaceChildren(...(wrong.length ? wrong : [
    item("trouble good", icon("good"), " ", text("strong", "All is well."), text("span", "Cloth and device."))]));
}

// A button that fills in the form for a roll of an article.
function rollOf(name) {
  const button = text("button", `▶ New roll of ${name}`);
  button.type = "button";
  button.addEventListener("click", () => next.propose(name));
  return button;
}

function showNumbers() {
  const known = (value, unit, digits) => (value === null ? "–" : `${value.toFixed(digits)} ${unit}`);
  at("along").textContent = known(state.along_m, "m", 2);
  if (state.phase === "ended") at("speed").textContent = "–";
  else at("speed").textContent = state.speed_m_min === null ? `${state.frames_per_s.toFixed(1)} /s` : known(state.speed_m_min, "m/min", 1);
  at("coverage").textContent = state.coverage === null ? "–" : `${(Math.floor(state.coverage * 1000) / 10).toFixed(1)} %`;
  at("camera").classList.toggle("bad", ["silent", "down", "unknown"].includes(state.camera.state));
  at("camera").querySelector("span").textContent = `${state.camera.name} ${CAMERA[state.camera.state]}`;
  showGrade(state.grade);
  at("sees").hidden = !seesWords(state.sees);
  at("sees").querySelector("p").textContent = seesWords(state.sees);
  at("sees").querySelector(".track").hidden = !showStrips(at("sees").querySelector(".track"), state.sees, widthOf([state.sees]));
  if (state.boxes !== null) at("count").textContent = plural(state.boxes, "box", "boxes"); // no place on the roll is known
  const gaps = Object.entries(state.gaps_m || {});
  at("gaps").replaceChildren(...(gaps.length
    ? gaps.map(([why, metres]) => item("", `${GAPS[why] || why}: ${metres.toFixed(2)} m`)) : [item("", state.coverage !== null && state.coverage < 1 ? "images whose length is not known" : "✓ nothing")]));
  const ms = state.age_ms || state.latency_ms;
  if (ms) at("latency").textContent = `typical ${ms.p50.toFixed(0)} ms · slowest 1 % above ${ms.p99.toFixed(0)} ms · longest ${ms.max.toFixed(0)} ms`;
}

function showGrade(grade) {
  const { main, more } = gradeWords(grade, state.phase === "ended");
  at("grade").textContent = main;
  at("grade-name").textContent = state.phase === "ended" ? "Grade" : "Grade so far";
  at("grade-more").textContent = more;
}

const clock = (utc_s) => new Date(utc_s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

// Warnings of the run, those that are over among them; marked where they came while nobody looked.
function showPast() {
  const mark = JSON.stringify([state.past, missed.period]);
  if (at("past").dataset.mark === mark) return;
  at("past").dataset.mark = mark;
  at("past-box").hidden = !state.past.length;
  at("past-count").textContent = String(state.past.length);
  at("past").replaceChildren(...state.past.map((one) => item(
    missed.isMissedWarning(one) ? "missed" : "", icon(one.level), " ",
    text("time", one.until_s === null ? `since ${clock(one.since_s)}` : `${clock(one.since_s)} to ${clock(one.until_s)}`), " ", one.text,
    ...(missed.isMissedWarning(one) ? [" ", text("em", "while you were away")] : []))));
  if (state.past.some((one) => missed.isMissedWarning(one))) at("past-box").open = true;
}

async function loadCloth() {
  loading = true;
  try {
    const answer = await ask("/cloth.jpg");
    if (answer.status === 200) {
      if (frames.isOpen) return;
      const image = at("cloth").querySelector("img");
      const url = URL.createObjectURL(await answer.blob());
      const before = image.src;
      image.src = url;
      await image.decode().catch(() => {});
      image.hidden = false;
      at("cloth").querySelector("p").hidden = true;
      if (before) URL.revokeObjectURL(before);
      shown = Number(answer.headers.get("X-Number"));
    }
  } catch {
    // the stream says when the device is away
  }
  setTimeout(() => {
    loading = false;
    if (state && state.image !== shown && !document.hidden && !document.body.classList.contains("away")) loadCloth();
  }, 200);
}

async function askRoll() {
  if (asking || !state || document.hidden || document.body.classList.contains("away")) return;
  asking = true;
  try {
    for (let more = true; more;) {
      const answer = await (await ask(`/roll?${new URLSearchParams(roll.known)}`)).json();
      takeRoll(answer);
      more = answer.more;
    }
    missed.count(roll.known);
    drawRoll();
    missed.show(state, roll.defects);
  } catch {
    // asked again soon
  }
  asking = false;
}

function takeRoll(answer) {
  if (answer.roll !== roll.known.roll) next.started();
  if (answer.roll !== roll.known.roll || answer.known.record !== roll.known.record) {
    roll = emptyRoll();
    verdicts.clear();
    list.clear();
  }
  Object.assign(roll, { known: answer.known, length_m: answer.length_m, width_mm: answer.width_mm,
    left_mm: answer.left_mm, unseen: answer.unseen });
  showGrade(answer.grade);
  roll.defects.push(...answer.defects);
  roll.forgotten += answer.forgotten; // before what a run without a record still has
  if (answer.gaps) roll.gaps = answer.gaps;
  for (const [id, verdict, named, who] of answer.verdicts) note(id, verdict, named, who);
  at("roll").textContent = [answer.name || "loomsight", answer.article].filter(Boolean).join(" · ");
  at("events").replaceChildren(...answer.events.map((one) => item(
    "", text("time", one.utc.slice(0, 19).replace("T", " ")), " ", text("strong", one.kind), ` ${one.detail}`)));
}

function drawMap() {
  map.draw(roll, state ? state.along_m : null, verdicts);
}

function drawRoll() {
  const classes = state ? state.classes : [];
  drawMap();
  if (!state || state.boxes === null) at("count").textContent = String(roll.forgotten + roll.defects.length); // those of map and list
  list.show(roll.defects, classes, Boolean(state && state.can_review), (one) => missed.isMissed(one));
  at("none-found").hidden = roll.defects.length > 0;
  const present = [...new Set(roll.defects.map((one) => one.label))].sort();
  at("legend").replaceChildren(...present.map((name) => {
    const those = roll.defects.filter((one) => one.label === name);
    const mark = document.createElement("i");
    mark.style.background = those[0].colour;
    return item("", mark, `${name} ${those.length}`);
  }));
}

at("key").addEventListener("submit", (event) => {
  event.preventDefault();
  setToken(at("token").value);
  at("token").value = "";
  at("key").hidden = true;
  at("said").textContent = "";
});
window.addEventListener("resize", drawMap);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawMap);
document.addEventListener("visibilitychange", askRoll);
setInterval(askRoll, ROLL_MS);
follow((now) => {
  const grew = !state || state.defects !== now.defects || state.roll !== now.roll;
  onState(now);
  if (grew) askRoll();
}, onAway);
