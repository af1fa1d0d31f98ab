// Words for the numbers of a camera, the same on its page and on the page before; and the bar of the width.

export const plural = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

// The grade of the roll so far: a word, and what it stands on.
export function gradeWords(grade, isEnded) {
  const points = plural(grade.points, "point");
  if (grade.inspected_m2 === null) return { main: "–", more: `${points}; the inspected area is not known` };
  const area = `${points} on ${grade.inspected_m2.toFixed(1)} m²`;
  if (grade.points_per_100_m2 === null || (grade.is_early && !isEnded)) {
    return { main: "too early", more: `${area}; means something from ${grade.means_m2.toFixed(0)} m² on` };
  }
  return { main: grade.grade ?? "no limits", more: `${grade.points_per_100_m2.toFixed(1)} points per 100 m² · ${area}` };
}

// Which strips of the cloth a camera sees, in millimetres from the left selvedge where that is known.
export function seesWords({ part_mm, seen_mm, is_placed }) {
  if (!seen_mm.length) return "";
  const sum = seen_mm.reduce((all, [left, right]) => all + right - left, 0);
  const strips = seen_mm.map(([left, right]) => `${left.toFixed(0)} to ${right.toFixed(0)} mm`).join(", ");
  const of = part_mm ? ` of ${(part_mm[1] - part_mm[0]).toFixed(0)} mm` : "";
  return is_placed ? `Sees ${strips} from the left selvedge.` : `Sees ${sum.toFixed(0)}${of ? "" : " mm"}${of} of the width.`;
}

// The width that bars are drawn for: up to where any camera sees or is there for.
export function widthOf(all) {
  return Math.max(1, ...all.flatMap(({ part_mm, seen_mm }) => [part_mm ? part_mm[1] : 0, ...seen_mm.map(([, right]) => right)]));
}

// Draws what a camera sees into a bar; false where there is nothing to draw.
export function showStrips(track, { part_mm, seen_mm, is_placed }, width) {
  if (!seen_mm.length || !(is_placed || part_mm)) return false;
  const mark = JSON.stringify([seen_mm, width]);
  if (track.dataset.mark === mark) return true;
  track.dataset.mark = mark;
  track.replaceChildren(...seen_mm.map(([left, right]) => {
    const strip = document.createElement("i");
    strip.style.left = `${(100 * left) / width}%`;
    strip.style.width = `${(100 * (right - left)) / width}%`;
    return strip;
  }));
  return true;
}
