// Which part of an image is in view, and the map of the whole image below it.

const SEEN_SCALE = 0.72; // a defect of 7 px has 5 on the screen: what is smaller is overlooked
const STEP = 0.25; // of the part in view, for an arrow key
const MAP_HEIGHTS = [40, 120];

const middle = ([x1, y1, x2, y2]) => [(x1 + x2) / 2, (y1 + y2) / 2];

// A part of the image, as wide and high as the element: by its scale, in screen pixels of an image pixel, and its middle.
// Without a scale all of the image is in view.
export class Viewport {
  constructor(svg) {
    Object.assign(this, { svg, size: [1, 1], scale: null, centre: [0, 0], region: null });
  }

  get screen() {
    return [this.svg.clientWidth || 800, this.svg.clientHeight || 500];
  }

  get fit() {
    return Math.min(...this.screen.map((side, axis) => side / this.size[axis]));
  }

  get isWhole() {
    return !this.region && this.scale === null;
  }

  // Opens an image so that a small defect can be seen: a strip fills the height, around the first box.
  open(size, box) {
    Object.assign(this, { size, region: null, scale: null, centre: box ? middle(box) : [0, 0] });
    if (this.fit < SEEN_SCALE) this.scale = Math.max(1, ...this.screen.map((side, axis) => side / size[axis]));
  }

  // The view box of the SVG.
  frame() {
    if (this.region) {
      const [x, y] = middle(this.region);
      const [x1, y1, x2, y2] = this.region;
      const side = Math.max(x2 - x1, y2 - y1, 16) * 3;
      return [x - side / 2, y - side / 2, side, side];
    }
    if (this.scale === null) return [0, 0, ...this.size];
    const extent = this.screen.map((side) => side / this.scale);
    const start = extent.map((length, axis) => {
      const room = this.size[axis] - length;
      return room <= 0 ? room / 2 : Math.min(Math.max(this.centre[axis] - length / 2, 0), room);
    });
    this.centre = start.map((from, axis) => from + extent[axis] / 2);
    return [...start, ...extent];
  }

  // Shows a region and its surroundings, or what was shown before.
  toggleRegion(box) {
    this.region = this.region || !box ? null : box;
  }

  zoom(factor) {
    const scale = (this.scale ?? this.fit) * factor;
    Object.assign(this, { region: null, scale: scale <= this.fit * 1.001 ? null : Math.min(scale, 32) });
  }

  moveTo(centre) {
    this.region = null;
    if (this.scale !== null) this.centre = centre;
  }

  // Moves by parts of what is in view; false where there is nothing beside it.
  step(right, down) {
    if (this.isWhole) return false;
    const [, , width, height] = this.frame();
    this.moveTo([this.centre[0] + right * STEP * width, this.centre[1] + down * STEP * height]);
    return true;
  }

  reveal(box) {
    if (this.region) this.region = box;
    if (this.scale === null) return;
    const [x, y, width, height] = this.frame();
    const isIn = box[0] >= x && box[1] >= y && box[2] <= x + width && box[3] <= y + height;
    if (!isIn) this.centre = middle(box);
  }
}

// The whole image, small, with all boxes and the part in view, which can be dragged or moved with the arrow keys.
export class Minimap {
  constructor(svg, viewport, onMove) {
    Object.assign(this, { svg, viewport, onMove, isHeld: false });
    svg.addEventListener("pointerdown", (event) => {
      event.preventDefault();
      svg.setPointerCapture(event.pointerId);
      this.isHeld = true;
      this.take(event);
    });
    svg.addEventListener("pointermove", (event) => { if (this.isHeld) this.take(event); });
    for (const end of ["pointerup", "pointercancel"]) svg.addEventListener(end, () => { this.isHeld = false; });
  }

  take(event) {
    const around = this.svg.getBoundingClientRect();
    const [width, height] = this.viewport.size;
    this.viewport.moveTo([(event.clientX - around.left) / around.width * width, (event.clientY - around.top) / around.height * height]);
    this.onMove();
  }

  draw(pixels, boxes) {
    const { svg, viewport } = this;
    svg.parentElement.hidden = viewport.isWhole;
    if (viewport.isWhole) return;
    const [width, height] = viewport.size;
    const [least, most] = MAP_HEIGHTS;
    const room = svg.parentElement.clientWidth || 300;
    const high = Math.min(most, Math.max(least, room * height / width));
    svg.style.height = `${high}px`;
    svg.style.width = `${Math.min(room, high * width / height)}px`;
    svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    svg.replaceChildren();
    if (pixels) this.add("image", { href: pixels, x: 0, y: 0, width, height, preserveAspectRatio: "none" });
    for (const { box, stroke, isChosen } of boxes) {
      const [x1, y1, x2, y2] = box;
      this.add("rect", { x: x1, y: y1, width: x2 - x1, height: y2 - y1, stroke, class: `mark${isChosen ? " chosen" : ""}` });
    }
    const [x, y, across, down] = viewport.frame();
    this.add("rect", { x, y, width: across, height: down, class: "part" });
    const place = Math.round(100 * Math.min(1, Math.max(0, (x + across / 2) / width)));
    for (const [name, value] of [["valuenow", place], ["valuetext", `${place} % from the left`]]) svg.setAttribute(`aria-${name}`, value);
  }

  add(name, attributes) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    this.svg.append(node);
  }
}
