// The review page. Everything it shows comes from the server, which holds what is on the disk.

const element = document.getElementById('review');
const KEYS = [
  ['a', 'accept'], ['r', 'reject'], ['1–9', 'class'], ['d', 'draw again'], ['i', 'insert missing'],
  ['n / p', 'next / previous region'], ['space', 'next image'], ['shift+space', 'previous image'],
  ['u', 'undo'], ['m', 'masks'], ['z', 'zoom'], ['esc', 'stop drawing'],
];
const ANSWER_MS = 60000; // a question to the teacher alone may take longer
const find = (name) => element.querySelector('.' + name);
const svg = find('cloth');
const page = { overview: null, view: null, chosen: -1, drawing: null, from: null, masks: true, zoomed: false,
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
    const body = { image: view.image, version: view.version, place: Math.max(page.chosen, 0), ...choice };
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
  const { image, warning } = await asked('undo', { wanted: page.wanted });
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
  if (next !== undefined) page.chosen = next;
}

// Which image

async function open(which) {
  const view = await asked('image' + query({ wanted: page.wanted, ...which }));
  page.view = view;
  page.answer = [];
  page.drawing = null;
  page.zoomed = false;
  page.chosen = view.order.find((place) => isOpen(view.regions[place])) ?? view.order[0] ?? -1;
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
  page.chosen = order[(from + by + order.length) % order.length];
  draw();
}

// Drawing

const percent = (score) => (score === null ? 'no score' : score.toFixed(2));
const points = (polygon) => polygon.map((corner) => corner.join(',')).join(' ');

function frame() {
  const [width, height] = page.view.size;
  const region = page.view.regions[page.chosen];
  if (!page.zoomed || !region) return [0, 0, width, height];
  const [x1, y1, x2, y2] = region.box;
  const side = Math.max(x2 - x1, y2 - y1, 16) * 3;
  return [(x1 + x2 - side) / 2, (y1 + y2 - side) / 2, side, side];
}

function box(values, kind, extra = {}) {
  const [x1, y1, x2, y2] = values;
  const place = { x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) };
  return make('rect', { ...place, class: kind, ...extra }, svg);
}

function drawImage() {
  const { view } = page;
  const shown = frame();
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
}

function drawRegion(region, place, unit) {
  const paint = region.colour;
  if (page.masks && region.polygon.length) make('polygon', { points: points(region.polygon), class: 'mask', fill: paint }, svg);
  const kind = 'region ' + region.review + (place === page.chosen ? ' chosen' : '');
  const rect = box(region.box, kind, { stroke: paint, 'data-place': place });
  rect.addEventListener('click', () => { if (!page.drawing) { page.chosen = place; draw(); } });
  const [x, y] = [Math.min(region.box[0], region.box[2]), Math.min(region.box[1], region.box[3])];
  const [left, , width] = frame();
  const isRight = x > left + 0.7 * width; // there a label that begins at the box would be cut off
  const anchor = isRight ? { x: Math.max(region.box[0], region.box[2]), 'text-anchor': 'end' } : { x };
  const label = make('text', { ...anchor, y: Math.max(y - 5 * unit, 14 * unit), 'font-size': 13 * unit }, svg);
  label.textContent = region.label + ' ' + (region.score === null ? '' : percent(region.score));
}

function drawList() {
  const items = page.view.order.map((place) => {
    const region = page.view.regions[place];
    const item = document.createElement('li');
    item.style.borderColor = region.colour;
    item.setAttribute('aria-current', String(place === page.chosen));
    item.dataset.place = place;
    item.dataset.review = region.review;
    const finer = [region.category, region.phrase].filter(Boolean).join(', ');
    item.textContent = region.label + ' · ' + percent(region.score) + ' · ' + region.review;
    const small = document.createElement('small');
    small.textContent = [finer, region.found_by.length ? 'by ' + region.found_by.join(' + ') : 'by hand'].filter(Boolean).join(' · ');
    item.append(small);
    item.addEventListener('click', () => { page.chosen = place; draw(); });
    return item;
  });
  find('regions').replaceChildren(...items);
  find('regions').querySelector('[aria-current=true]')?.scrollIntoView({ block: 'nearest' });
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
  draw();
  say(page.drawing === 'add' ? 'Drag a box around what is missing (esc stops).' : 'Drag the new box (esc stops).', 'good');
}

svg.addEventListener('pointerdown', (event) => {
  if (!page.drawing || event.button !== 0) return;
  event.preventDefault();
  svg.setPointerCapture(event.pointerId);
  page.from = at(event);
});
svg.addEventListener('pointermove', (event) => {
  if (!page.from) return;
  svg.querySelector('.drawn')?.remove();
  box([...page.from, ...at(event)], 'drawn');
});
svg.addEventListener('pointerup', (event) => {
  if (!page.from) return;
  const choice = { action: page.drawing, box_xyxy_px: [...page.from, ...at(event)] };
  if (page.drawing === 'add') choice.label = page.view.regions[page.chosen]?.label ?? page.overview.classes[0];
  page.from = page.drawing = null;
  alone(() => decide(choice));
});
svg.addEventListener('pointercancel', () => { page.from = page.drawing = null; draw(); });

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
  z: () => { page.zoomed = !page.zoomed; draw(); },
  Escape: () => { page.from = page.drawing = null; say(''); draw(); },
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || !page.view) return;
  if (event.target.closest('input, textarea, select, [contenteditable=true], #prompt')) return;
  const number = Number(event.key);
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

async function start() {
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

for (const [name, key] of [['accept', 'a'], ['reject', 'r'], ['draw', 'd'], ['add', 'i'], ['undo', 'u']]) {
  find(name).addEventListener('click', (event) => { event.currentTarget.blur(); ACTIONS[key](); });
}
for (const [name, work] of [['next', () => step(1)], ['previous', () => step(-1)], ['finish', finish]]) {
  find(name).addEventListener('click', (event) => { event.currentTarget.blur(); alone(work); });
}
find('wanted').addEventListener('change', (event) => alone(() => changeWanted(event)));
find('name').addEventListener('change', relabel);
document.addEventListener('keydown', onKey);
find('prompt').addEventListener('submit', (event) => { event.preventDefault(); ask(); });
alone(start);
