// The review page. Everything it shows comes from the server, which holds what is on the disk.

import { Minimap, Viewport } from './view.js';

const element = document.getElementById('review');
const KEYS = [
  ['a', 'accept'], ['r', 'reject'], ['1–9', 'class'], ['d', 'draw again'], ['i', 'insert missing'],
  ['n / p', 'next / previous region'], ['space', 'next image'], ['shift+space', 'previous image'],
  ['u', 'undo'], ['m', 'masks'], ['z', 'zoom to the region'], ['+ − 0', 'zoom in, out, whole image'],
  ['arrows', 'move'], ['esc', 'stop drawing'],
];
const PERSON = 'loomsight review person';
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const DRAW_STEP_PX = 4; // on the screen, for an arrow key
const ANSWER_MS = 60000; // a question to the teacher alone may take longer
const find = (name) => element.querySelector('.' + name);
const svg = find('cloth');
const viewport = new Viewport(svg);
const minimap = new Minimap(find('minimap'), viewport, () => draw());
const page = { overview: null, view: null, chosen: -1, drawing: null, from: null, masks: true, keyBox: null,
  answer: [], busy: false, wanted: 'queued' };

function make(name, attributes, parent) {
  const node = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  parent.append(node);
  return node;
}

function say(text, kind = '') {
  const line = find('said');
  line.textContent = text;
  line.className = 'said ' + kind;
}

async function call(path, body) {
  const options = body && { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(body) };
  const ended = new AbortController();
  const patience = path === 'ask' ? 0 : setTimeout(() => ended.abort(), ANSWER_MS);
  let response;
  try {
    response = await fetch('review/' + path, { ...options, signal: ended.signal });
  } catch {
    throw new Error('The program does not answer: has it ended? Start it again; what was decided is safe.');
  } finally {
    clearTimeout(patience);
  }
  if (!response.ok) {
    const answer = await response.json().catch(() => ({}));
    throw new Error(answer.problem || 'The program answered ' + response.status + '.');
  }
  return response;
}

const asked = async (path, body) => (await call(path, body)).json();
const query = (values) => '?' + new URLSearchParams(values);

// One thing at a time: a key pressed while an answer is awaited is skipped.
async function alone(work) {
  if (page.busy) return;
  page.busy = true;
  try {
    await work();
  } catch (error) {
    say(error.message, 'bad');
  } finally {
    page.busy = false;
    element.setAttribute('data-idle', String(Number(element.getAttribute('data-idle') || 0) + 1));
  }
}

// What is decided

const isOpen = (region) => region.review === 'queued' || (page.wanted === 'all' && region.review === 'unreviewed');

async function decide(choice) {
  const { view } = page;
  if (!view || (choice.action !== 'add' && page.chosen < 0)) return;
  let warning;
  try {
    const body = { image: view.image, version: view.version, place: Math.max(page.chosen, 0), by: person(), ...choice };
    ({ warning } = await asked('decide', body));
  } catch (error) {
    await refresh(page.chosen).catch(() => {});
    throw new Error('Not done: ' + error.message);
  }
  const added = choice.action === 'add' ? view.regions.length : page.chosen;
  await refresh(added);
  if (['accept', 'reject', 'relabel'].includes(choice.action)) chooseNextOpen();
  draw();
  if (warning) say(warning, 'bad');
  else say(choice.action + ': done', 'good');
}

async function undo() {
  const { image, warning } = await asked('undo', { wanted: page.wanted, by: person() });
  const chosen = image === page.view.image ? page.chosen : 0;
  await open({ name: image });
  page.chosen = Math.min(chosen, page.view.regions.length - 1);
  draw();
  say(warning || 'undone in ' + image, warning ? 'bad' : 'good');
}

async function finish() {
  const { decisions } = await asked('finish', { wanted: page.wanted });
  say('Written: label files, COCO files and manifest hold every decision (' + decisions + ' since last time).', 'good');
}

async function refresh(chosen) {
  page.view = await asked('image' + query({ wanted: page.wanted, name: page.view.image }));
  page.chosen = Math.min(chosen, page.view.regions.length - 1);
  draw();
}

function chooseNextOpen() {
  const { order, regions } = page.view;
  const from = order.indexOf(page.chosen);
  const ahead = [...order.slice(from + 1), ...order.slice(0, from + 1)];
  const next = ahead.find((place) => isOpen(regions[place]));
  if (next !== undefined) choose(next);
}

function choose(place) {
  page.chosen = place;
  const region = page.view.regions[place];
  if (region) viewport.reveal(region.box);
}

// Which image

async function open(which) {
  const view = await asked('image' + query({ wanted: page.wanted, ...which }));
  page.view = view;
  page.answer = [];
  page.drawing = page.keyBox = null;
  page.chosen = view.order.find((place) => isOpen(view.regions[place])) ?? view.order[0] ?? -1;
  viewport.open(view.size, view.regions[page.chosen]?.box);
  history.replaceState(null, '', '#' + page.wanted + '/' + encodeURIComponent(view.image));
  say('');
  draw();
  await showPixels(view.image);
}

async function showPixels(name) {
  const old = page.pixels;
  page.pixels = null;
  if (old) URL.revokeObjectURL(old);
  try {
    page.pixels = URL.createObjectURL(await (await call('pixels' + query({ name }))).blob());
  } catch (error) {
    say('This image cannot be shown: ' + error.message + ' Press space for the next one.', 'bad');
  }
  draw();
}

async function step(by) {
  const { position, count } = page.view || {};
  const to = (position ?? -1) + by;
  if (to >= count) return say('This is the last image.', 'good');
  if (to < 0) return say('This is the first image.', 'good');
  return open({ position: to });
}

function stepRegion(by) {
  const { order } = page.view;
  if (!order.length) return;
  const from = order.indexOf(page.chosen);
  choose(order[(from + by + order.length) % order.length]);
  draw();
}

// Drawing

const percent = (score) => (score === null ? 'no score' : score.toFixed(2));
const points = (polygon) => polygon.map((corner) => corner.join(',')).join(' ');

function box(values, kind, extra = {}) {
  const [x1, y1, x2, y2] = values;
  const place = { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
  return make('rect', { ...place, class: kind, ...extra }, svg);
}

function drawImage() {
  const { view } = page;
  const shown = viewport.frame();
  labels.length = 0;
  svg.replaceChildren();
  svg.setAttribute('viewBox', shown.join(' '));
  svg.classList.toggle('drawing', Boolean(page.drawing));
  if (page.pixels) make('image', { href: page.pixels, x: 0, y: 0, width: view.size[0], height: view.size[1] }, svg);
  const unit = Math.max(shown[2] / (svg.clientWidth || 800), shown[3] / (svg.clientHeight || 500));
  for (const place of [...view.regions.keys()].sort((a, b) => (a === page.chosen) - (b === page.chosen))) {
    drawRegion(view.regions[place], place, unit);
  }
  for (const region of page.answer) {
    if (region.polygon.length) make('polygon', { points: points(region.polygon), class: 'answer' }, svg);
    else box(region.box, 'answer');
  }
  if (page.keyBox) box(page.keyBox, 'drawn');
  const chosen = view.regions[page.chosen];
  const count = view.regions.length === 1 ? '1 region' : view.regions.length + ' regions';
  svg.setAttribute('aria-label', 'Image with ' + count + (chosen ? '; chosen: ' + chosen.label + ' ' + percent(chosen.score) + ', ' + chosen.review : ''));
  minimap.draw(page.pixels, view.regions.map((region, place) => ({ box: region.box, stroke: region.colour, isChosen: place === page.chosen })));
}

const labels = []; // places of those that are drawn already

// A place for a label above its box, below it, or further up: where no other label is.
function freeY(left, wide, top, bottom, unit) {
  const high = 16 * unit;
  const tries = [top - 5 * unit, bottom + 14 * unit, ...[1, 2, 3, 4].map((row) => top - 5 * unit - row * high), ...[1, 2, 3].map((row) => bottom + 14 * unit + row * high)];
  const [, first, , tall] = viewport.frame();
  const isFree = (y) => y > first + 12 * unit && y < first + tall && !labels.some((one) =>
    Math.abs(one.y - y) < high && left < one.left + one.wide && one.left < left + wide);
  const y = tries.find(isFree) ?? Math.max(top - 5 * unit, first + 14 * unit);
  labels.push({ left, wide, y });
  return y;
}

function drawRegion(region, place, unit) {
  const paint = region.colour;
  if (page.masks && region.polygon.length) make('polygon', { points: points(region.polygon), class: 'mask', fill: paint }, svg);
  const kind = 'region ' + region.review + (place === page.chosen ? ' chosen' : '');
  const rect = box(region.box, kind, { stroke: paint, 'data-place': place });
  rect.addEventListener('click', () => { if (!page.drawing && !page.isMoved) { page.chosen = place; draw(); } });
  const [x, y] = [Math.min(region.box[0], region.box[2]), Math.min(region.box[1], region.box[3])];
  const [left, , width] = viewport.frame();
  const isRight = x > left + 0.7 * width; // there a label that begins at the box would be cut off
  const anchor = isRight ? { x: Math.max(region.box[0], region.box[2]), 'text-anchor': 'end' } : { x };
  const words = region.label + ' ' + (region.score === null ? '' : percent(region.score));
  const wide = words.length * 7.5 * unit;
  const at = freeY(isRight ? anchor.x - wide : anchor.x, wide, y, Math.max(region.box[1], region.box[3]), unit);
  const label = make('text', { ...anchor, y: at, 'font-size': 13 * unit }, svg);
  label.textContent = words;
}

function drawList() {
  const items = page.view.order.map((place) => {
    const region = page.view.regions[place];
    const item = document.createElement('li');
    const pick = document.createElement('button');
    pick.type = 'button';
    item.style.borderColor = region.colour;
    item.setAttribute('aria-current', String(place === page.chosen));
    item.dataset.place = place;
    item.dataset.review = region.review;
    const finer = [region.category, region.phrase].filter(Boolean).join(', ');
    pick.textContent = region.label + ' · ' + percent(region.score) + ' · ' + region.review;
    const small = document.createElement('small');
    small.textContent = [finer, region.found_by.length ? 'by ' + region.found_by.join(' + ') : 'by hand',
      region.is_decided && 'decided by ' + (region.by ?? 'nobody named')].filter(Boolean).join(' · ');
    pick.append(small);
    item.append(pick);
    pick.addEventListener('click', () => { choose(place); draw(); });
    return item;
  });
  const list = find('regions');
  const hadFocus = list.contains(document.activeElement);
  list.replaceChildren(...items);
  const current = list.querySelector('[aria-current=true]');
  if (current) list.scrollTop = Math.max(0, current.offsetTop - list.offsetTop - list.clientHeight / 2);
  if (hadFocus) current?.querySelector('button').focus();
}

function draw() {
  const { view } = page;
  if (!view) return;
  const position = view.position === null ? '–' : view.position + 1;
  find('where').textContent = position + ' of ' + view.count + ' · ' + view.image + (view.group ? ' · ' + view.group : '');
  find('counts').textContent = view.queued + ' queued, ' + view.unreviewed + ' unreviewed in all';
  for (const name of ['accept', 'reject', 'draw']) find(name).disabled = page.chosen < 0;
  find('undo').disabled = !view.undo;
  find('undo').title = view.undo || '';
  find('name').value = '';
  drawImage();
  drawList();
}

// The mouse

function at(event) {
  const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
  return [place.x, place.y];
}

function startDrawing(action) {
  if (!page.view) return;
  page.drawing = action === 'redraw' && page.chosen < 0 ? 'add' : action;
  const [x, y, width, height] = viewport.frame();
  const side = Math.min(width, height) / 12;
  const middle = [x + width / 2, y + height / 2];
  page.keyBox = page.drawing === 'redraw' ? [...page.view.regions[page.chosen].box] : [...middle.map((at) => at - side), ...middle.map((at) => at + side)];
  draw();
  svg.focus();
  const what = page.drawing === 'add' ? 'Drag a box around what is missing' : 'Drag the new box';
  say(what + ', or move this one: arrows, shift+arrows change its size, enter takes it (esc stops).', 'good');
}

// Moves the box that is drawn with the keyboard, or its lower right corner.
function moveKeyBox([right, down], isSize) {
  const [, , width] = viewport.frame();
  const step = Math.max(1, DRAW_STEP_PX * width / (svg.clientWidth || 800));
  const [x1, y1, x2, y2] = page.keyBox;
  const by = [right * step, down * step];
  const corner = isSize ? [x1, y1] : [x1 + by[0], y1 + by[1]];
  page.keyBox = [...corner, Math.max(corner[0] + 1, x2 + by[0]), Math.max(corner[1] + 1, y2 + by[1])];
  viewport.reveal(page.keyBox);
  draw();
}

function takeBox(box_xyxy_px) {
  const choice = { action: page.drawing, box_xyxy_px };
  if (page.drawing === 'add') choice.label = page.view.regions[page.chosen]?.label ?? page.overview.classes[0];
  page.from = page.drawing = page.keyBox = null;
  alone(() => decide(choice));
}

svg.addEventListener('pointerdown', (event) => {
  page.isMoved = false;
  if (event.button !== 0) return;
  if (!page.drawing) {
    page.held = viewport.isWhole ? null : { at: [event.clientX, event.clientY], centre: [...viewport.centre] };
    return;
  }
  event.preventDefault();
  svg.setPointerCapture(event.pointerId);
  page.from = at(event);
});
svg.addEventListener('pointermove', (event) => {
  if (page.held) return moveCloth(event);
  if (!page.from) return;
  page.keyBox = null;
  svg.querySelector('.drawn')?.remove();
  box([...page.from, ...at(event)], 'drawn');
});
svg.addEventListener('pointerup', (event) => {
  page.held = null;
  if (page.from) takeBox([...page.from, ...at(event)]);
});
svg.addEventListener('pointercancel', () => { page.from = page.drawing = page.keyBox = page.held = null; draw(); });

// Moves the image under the finger; a touch that does not move chooses a region.
function moveCloth(event) {
  const { at: from, centre } = page.held;
  const moved = [event.clientX - from[0], event.clientY - from[1]];
  if (!page.isMoved && Math.hypot(...moved) < 5) return;
  if (!page.isMoved) svg.setPointerCapture(event.pointerId);
  page.isMoved = true;
  const [, , width] = viewport.frame();
  const unit = width / (svg.clientWidth || 800);
  viewport.moveTo(centre.map((at, axis) => at - moved[axis] * unit));
  draw();
}

// Keys and buttons

const ACTIONS = {
  a: () => alone(() => decide({ action: 'accept' })),
  r: () => alone(() => decide({ action: 'reject' })),
  u: () => alone(undo),
  d: () => startDrawing('redraw'),
  i: () => startDrawing('add'),
  n: () => stepRegion(1),
  p: () => stepRegion(-1),
  m: () => { page.masks = !page.masks; draw(); },
  z: () => { viewport.toggleRegion(page.view.regions[page.chosen]?.box); draw(); },
  '+': () => { viewport.zoom(1.5); draw(); },
  '-': () => { viewport.zoom(1 / 1.5); draw(); },
  0: () => { viewport.zoom(0); draw(); },
  Escape: () => { page.from = page.drawing = page.keyBox = null; say(''); draw(); },
};

// An arrow key moves the box that is drawn, else the part in view; true if there was one to move.
function onArrow(event) {
  const by = ARROWS[event.key];
  if (!by) return false;
  if (page.keyBox) moveKeyBox(by, event.shiftKey);
  else if (viewport.step(...by)) draw();
  else return false;
  return true;
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !page.view) return;
  if (event.target.closest('input, textarea, select, [contenteditable=true], #prompt')) return;
  if (document.querySelector('dialog[open]')) return;
  if (event.key === 'Enter' && page.keyBox) {
    takeBox(page.keyBox);
    event.preventDefault();
    return;
  }
  const isButton = event.target.closest('button, summary, a');
  if (isButton && [' ', 'Enter'].includes(event.key)) return; // it presses the button
  const number = Number(event.key);
  if (onArrow(event)) event.preventDefault();
  if (Object.hasOwn(ARROWS, event.key)) return;
  if (event.key === ' ') alone(() => step(event.shiftKey ? -1 : 1));
  else if (number >= 1 && number <= page.overview.classes.length) {
    alone(() => decide({ action: 'relabel', label: page.overview.classes[number - 1] }));
  } else if (Object.hasOwn(ACTIONS, event.key)) ACTIONS[event.key]();
  else return;
  event.preventDefault();
}

function relabel(event) {
  const [kind, name] = [event.target.value.slice(0, 1), event.target.value.slice(1)];
  event.target.blur();
  if (kind) alone(() => decide({ action: 'relabel', ...(kind === 'c' ? { category: name } : { label: name }) }));
}

// The teacher

// Other things go on meanwhile: an answer to a question about another image is not drawn.
async function ask() {
  const button = find('ask');
  const image = page.view?.image ?? '';
  button.disabled = true;
  try {
    const body = { task: find('task').value, text: find('words').value, image, place: page.chosen };
    const { text, regions } = await asked('ask', body);
    find('answer-text').value = text;
    if (page.view?.image === image) page.answer = regions;
    draw();
  } catch (error) {
    find('answer-text').value = error.message;
  }
  button.disabled = false;
}

function fillPrompt() {
  const { tasks, no_teacher } = page.overview;
  find('no-teacher').textContent = tasks.length ? '' : no_teacher;
  find('prompt').hidden = !tasks.length;
  find('task').replaceChildren(...tasks.map((name) => new Option(name, name)));
}

function fill() {
  const { classes, kinds, problems } = page.overview;
  const named = (value, text) => new Option(text, value);
  find('name').replaceChildren(
    named('', 'change to …'),
    ...classes.map((name, place) => named('l' + name, (place < 9 ? place + 1 + '  ' : '') + name)),
    ...kinds.map((kind) => named('c' + kind.category, kind.name)),
  );
  find('keys').replaceChildren(...KEYS.map(([key, text]) => {
    const [item, shown] = [document.createElement('span'), document.createElement('kbd')];
    shown.textContent = key;
    item.append(shown, ' ' + text);
    return item;
  }));
  find('problems').hidden = !problems.length;
  find('problems').querySelector('summary').textContent = problems.length + ' files or lines could not be read';
  find('problems').querySelector('ul').replaceChildren(...problems.map((line) => {
    const item = document.createElement('li');
    item.textContent = line;
    return item;
  }));
}

// Who reviews

function person() {
  return localStorage.getItem(PERSON) || null;
}

function showPerson() {
  find('person').textContent = person() ?? 'no name';
  find('person').setAttribute('aria-label', 'Reviewer: ' + (person() ?? 'no name') + '. Change');
}

// Keeps a name, or that there is to be none; asked once.
function keepPerson(name) {
  localStorage.setItem(PERSON, name.trim());
  showPerson();
}

const who = document.getElementById('who');
const whoName = document.getElementById('who-name');
function askWho() {
  whoName.value = person() ?? '';
  who.showModal();
}
who.querySelector('form').addEventListener('submit', () => keepPerson(whoName.value));
document.getElementById('who-none').addEventListener('click', () => { keepPerson(''); who.close(); });
find('person').addEventListener('click', askWho);

async function start() {
  showPerson();
  if (localStorage.getItem(PERSON) === null) askWho();
  page.overview = await asked('overview');
  fill();
  fillPrompt();
  const [wanted, name] = location.hash.slice(1).split('/', 2);
  page.wanted = ['queued', 'all'].includes(wanted) ? wanted : 'queued';
  if (page.wanted === 'queued' && !page.overview.queued) page.wanted = 'all';
  find('wanted').value = page.wanted;
  if (name) await open({ name: decodeURIComponent(name) }).catch(() => open({}));
  else await open({});
  if (!page.overview.queued) say('Nothing is queued: all images are shown.', 'good');
}

async function changeWanted(event) {
  const before = page.wanted;
  page.wanted = event.target.value;
  event.target.blur();
  try {
    await open({});
  } catch (error) {
    page.wanted = event.target.value = before;
    throw error;
  }
}

// After a click the keys are free again; who presses a button with the keyboard stays on it.
function leave(event) {
  if (event.detail) event.currentTarget.blur();
}

for (const [name, key] of [['accept', 'a'], ['reject', 'r'], ['draw', 'd'], ['add', 'i'], ['undo', 'u']]) {
  find(name).addEventListener('click', (event) => { leave(event); ACTIONS[key](); });
}
for (const [name, key] of [['zoom-in', '+'], ['zoom-out', '-'], ['zoom-whole', 0]]) {
  find(name).addEventListener('click', () => ACTIONS[key]());
}
window.addEventListener('resize', draw);
for (const [name, work] of [['next', () => step(1)], ['previous', () => step(-1)], ['finish', finish]]) {
  find(name).addEventListener('click', (event) => { leave(event); alone(work); });
}
find('wanted').addEventListener('change', (event) => alone(() => changeWanted(event)));
find('name').addEventListener('change', relabel);
document.addEventListener('keydown', onKey);
find('prompt').addEventListener('submit', (event) => { event.preventDefault(); ask(); });
alone(start);
