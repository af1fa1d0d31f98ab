// The map of the roll: rows of cloth, the left selvedge above; gaps hatched, each defect a mark.

const ROW_LENGTHS_M = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];
const MOST_ROWS = 12;
const HEIGHT = 34, PITCH = 54, MARGIN = 6, SMALLEST = 6;

function rowLength(length) {
  return ROW_LENGTHS_M.find((metres) => length / metres <= MOST_ROWS) || length / MOST_ROWS;
}

export class RollMap {
  constructor(canvas, onChosen) {
    this.canvas = canvas;
    this.marks = [];
    canvas.addEventListener("click", (event) => {
      const near = this.nearest(event.offsetX, event.offsetY);
      if (near) onChosen(near);
    });
  }

  nearest(x, y) {
    const distance = (mark) => Math.hypot(
      Math.max(mark.x - x, 0, x - mark.x - mark.w), Math.max(mark.y - y, 0, y - mark.y - mark.h));
    const best = this.marks.reduce((a, b) => (a && distance(a) <= distance(b) ? a : b), null);
    return best && distance(best) < 24 ? best.id : null;
  }

  draw(roll, along, verdicts) {
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const length = Math.max(roll.length_m, along || 0, 1e-3);
    const perRow = rowLength(length), rows = Math.max(1, Math.ceil(length / perRow - 1e-9));
    const width = this.canvas.clientWidth, ratio = window.devicePixelRatio || 1;
    const height = rows * PITCH;
    this.canvas.style.height = `${height}px`;
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.font = "12px system-ui, sans-serif";
    const scale = (width - 2 * MARGIN) / perRow;
    const spans = (from, to) => {
      const [start, end] = [from, to].map((at) => Math.min(Math.max(at, 0), length));
      const first = Math.min(Math.floor(start / perRow), rows - 1);
      const last = Math.min(Math.max(first, Math.ceil(end / perRow - 1e-9) - 1), rows - 1);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i).map((row) => ({
        x: MARGIN + (Math.max(start, row * perRow) - row * perRow) * scale,
        w: (Math.min(end, (row + 1) * perRow) - Math.max(start, row * perRow)) * scale,
        y: row * PITCH,
      }));
    };
    pen.fillStyle = colour("--cloth");
    for (const span of spans(0, length)) pen.fillRect(span.x, span.y, span.w, HEIGHT);
    for (const [start, end] of roll.gaps) {
      for (const span of spans(start, end)) this.hatch(pen, span, colour("--gap"), colour("--card"));
    }
    const left = roll.left_mm || 0;
    const cloth = roll.width_mm || roll.defects.reduce((most, one) => Math.max(most, one.right_mm), 0) || 1000;
    const down = (mm) => Math.min(1, Math.max(0, (mm - left) / cloth)) * HEIGHT;
    for (const [from, to] of roll.unseen || []) {
      for (const span of spans(0, length)) {
        const strip = { x: span.x, w: span.w, y: span.y + down(from) };
        this.hatch(pen, strip, colour("--gap"), colour("--card"), Math.max(1, down(to) - down(from)));
      }
    }
    pen.fillStyle = colour("--soft");
    for (let row = 0; row < rows; row += 1) {
      for (const part of [0, 0.5]) {
        const at = (row + part) * perRow;
        if (at <= length) pen.fillText(`${+at.toFixed(2)} m`, MARGIN + part * perRow * scale, row * PITCH + HEIGHT + 14);
      }
    }
    this.marks = [];
    for (const one of roll.defects) this.mark(pen, one, spans, down, colour("--mark-edge"), verdicts.get(one.id)?.verdict);
    if (along !== null) {
      const [span] = spans(along, along);
      pen.fillStyle = colour("--text");
      pen.fillRect(Math.min(span.x, width - 3), span.y - 0, 3, HEIGHT + 3);
    }
    this.canvas.dataset.defects = roll.defects.length;
    this.canvas.dataset.gaps = roll.gaps.length;
    this.canvas.setAttribute("aria-label",
      `Map of the roll: ${length.toFixed(1)} metres, ${roll.defects.length} defects, ${roll.gaps.length} gaps`);
  }

  hatch(pen, span, dark, light, height = HEIGHT) {
    const wide = Math.max(2, span.w);
    pen.save();
    pen.beginPath();
    pen.rect(span.x, span.y, wide, height);
    pen.clip();
    pen.fillStyle = light;
    pen.fillRect(span.x, span.y, wide, height);
    pen.strokeStyle = dark;
    pen.lineWidth = 3;
    for (let x = span.x - height; x < span.x + wide; x += 8) {
      pen.beginPath();
      pen.moveTo(x, span.y + height);
      pen.lineTo(x + height, span.y);
      pen.stroke();
    }
    pen.restore();
  }

  mark(pen, one, spans, down, edge, verdict) {
    const top = down(one.left_mm), tall = Math.max(SMALLEST, down(one.right_mm) - top);
    for (const span of spans(one.start_m, one.end_m)) {
      const wide = Math.max(SMALLEST, span.w);
      const place = { id: one.id, x: span.x, y: span.y + Math.min(top, HEIGHT - tall), w: wide, h: tall };
      this.marks.push(place);
      pen.globalAlpha = verdict === "rejected" ? 0.3 : 1;
      pen.fillStyle = edge;
      pen.fillRect(place.x, place.y, place.w, place.h);
      pen.fillStyle = one.colour;
      pen.fillRect(place.x + 1, place.y + 1, place.w - 2, place.h - 2);
      pen.globalAlpha = 1;
    }
  }
}
