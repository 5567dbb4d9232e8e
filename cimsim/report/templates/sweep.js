"use strict";
// Points of a sweep, the same in every chart and in the table: hover, click, drag along an axis.
// The data: {points: [{name, text}], charts: {id of a group of marks: [point of each mark]},
// axes: [height of every point, 0 to 1, or null]}. Without this script charts are pictures.

const DATA = JSON.parse(document.getElementById("chart-data").textContent);
const MARKS = DATA.points.map(() => []); // of every point, in all charts
const RANGES = new Map(); // axis -> [low, high]

function marksOf(group) {
  return [...group.children].filter((child) => child.tagName !== "defs");
}

const card = document.createElement("div");
card.className = "card";
card.hidden = true;
document.body.append(card);

function show(point, event) {
  MARKS[point].forEach((mark) => mark.classList.add("lit"));
  card.textContent = [DATA.points[point].name, ...DATA.points[point].text].join("\n");
  card.hidden = false;
  const width = card.offsetWidth, height = card.offsetHeight;
  const left = Math.min(event.clientX + 14, document.documentElement.clientWidth - width - 4);
  const above = event.clientY + 14 + height > window.innerHeight;
  card.style.left = `${Math.max(4, left) + window.scrollX}px`;
  card.style.top = `${(above ? event.clientY - height - 10 : event.clientY + 14) + window.scrollY}px`;
}

function hide(point) {
  MARKS[point].forEach((mark) => mark.classList.remove("lit"));
  card.hidden = true;
}

// Filter the table of all points, by its own field.
function find(words) {
  const input = document.querySelector("#points input[type='search']");
  if (input === null) return;
  input.value = words;
  input.dispatchEvent(new Event("input"));
}

function within(point) {
  return [...RANGES].every(([axis, [low, high]]) => {
    const at = DATA.axes[axis][point];
    return at !== null && at >= low && at <= high;
  });
}

// Fade the points that a range leaves out, and their rows.
function applyRanges() {
  const kept = DATA.points.map((_, point) => within(point));
  MARKS.forEach((marks, point) => marks.forEach((m) => m.classList.toggle("off", !kept[point])));
  const names = new Map(DATA.points.map((p, i) => [p.name, i]));
  document.querySelectorAll("#points tbody tr").forEach((row) => {
    const point = names.get(row.cells[0].textContent.trim());
    row.classList.toggle("off", point !== undefined && !kept[point]);
  });
}

function equipAxis(hit, axis) {
  let from = null;
  const band = hit.cloneNode(true);
  band.removeAttribute("id");
  band.setAttribute("class", "band");
  const shape = band.querySelector("path") ?? band;
  const height = (event) => {
    const box = hit.getBoundingClientRect();
    return Math.min(1, Math.max(0, (box.bottom - event.clientY) / box.height));
  };
  const draw = () => {
    const range = RANGES.get(axis);
    band.style.display = range === undefined ? "none" : "";
    if (range === undefined) return;
    const box = hit.getBBox();
    const [low, high] = range;
    const [x0, x1] = [box.x, box.x + box.width];
    const [y0, y1] = [box.y + box.height * (1 - high), box.y + box.height * (1 - low)];
    shape.setAttribute("d", `M ${x0} ${y0} L ${x1} ${y0} L ${x1} ${y1} L ${x0} ${y1} z`);
  };
  hit.after(band);
  draw();
  hit.addEventListener("pointerdown", (event) => {
    from = height(event);
    RANGES.delete(axis);
    hit.setPointerCapture?.(event.pointerId);
    event.preventDefault();
  });
  hit.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = height(event);
    if (Math.abs(to - from) < 0.01) return;
    RANGES.set(axis, [Math.min(from, to) - 1e-9, Math.max(from, to) + 1e-9]);
    draw();
    applyRanges();
  });
  hit.addEventListener("pointerup", () => {
    from = null;
    draw();
    applyRanges();
  });
}

for (const [id, points] of Object.entries(DATA.charts)) {
  marksOf(document.getElementById(id)).forEach((mark, i) => {
    const point = points[i];
    mark.classList.add("mark");
    MARKS[point].push(mark);
    mark.addEventListener("pointerenter", (event) => show(point, event));
    mark.addEventListener("pointerleave", () => hide(point));
    mark.addEventListener("click", () => find(DATA.points[point].name));
  });
}
DATA.axes.forEach((_, axis) => equipAxis(document.getElementById(`axis-${axis}`), axis));
