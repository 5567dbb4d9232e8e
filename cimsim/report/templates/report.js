"use strict";
// Sorts and filters the tables of a report, and picks its chips. Without it all is as written.

const SECONDS = { us: 1e-6, ms: 1e-3, s: 1, min: 60, h: 3600, days: 86400, years: 31557600 };
const FILTERED_ROWS = 8; // a shorter table is read at a glance

// What a cell is sorted by: the first number of a column of numbers, else its words; null is last.
function orderOf(cell) {
  const text = cell.textContent.trim();
  if (!cell.classList.contains("n")) return text.toLowerCase() || null;
  const found = /[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?/.exec(text);
  if (found === null) return null;
  const unit = text.slice(found.index + found[0].length).trim();
  return parseFloat(found[0].replaceAll(",", "")) * (SECONDS[unit] ?? 1);
}

function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" && typeof b === "number" ? a - b
    : String(a).localeCompare(String(b), "en", { numeric: true }));
}

// Sort the rows of every group by a column; groups keep their places.
function sortTable(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const sign = heads[column].ariaSort === "ascending" ? -1 : 1;
  heads.forEach((head, i) => {
    if (i === column) head.ariaSort = sign === 1 ? "ascending" : "descending";
    else head.removeAttribute("aria-sort");
  });
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
    const keys = new Map(rows.map((row) => [row, orderOf(row.cells[column])]));
    rows.sort((a, b) => compare(keys.get(a), keys.get(b), sign));
    body.append(...rows);
  }
}

// Show the rows that hold every word, and the headings of groups that keep a row.
function filterTable(table, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  for (const body of table.tBodies) {
    let shown = 0;
    for (const row of body.rows) {
      if (row.classList.contains("group")) continue;
      const text = row.textContent.toLowerCase();
      row.hidden = !wanted.every((word) => text.includes(word));
      shown += row.hidden ? 0 : 1;
    }
    body.hidden = shown === 0;
  }
}

// A table that is wider than the page becomes a list of "heading: cell" for every row.
function fit(table) {
  const box = table.parentElement;
  box.classList.remove("stacked");
  box.classList.toggle("stacked", box.scrollWidth > box.clientWidth + 1);
}

function label(table) {
  const heads = [...table.tHead.rows[0].cells].map((head) => head.textContent);
  for (const body of table.tBodies) {
    for (const row of body.rows) {
      if (row.classList.contains("group")) continue;
      [...row.cells].forEach((cell, i) => { cell.dataset.label = heads[i]; });
    }
  }
}

function equip(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortTable(table, column));
    head.append(button);
  });
  const rows = [...table.tBodies].reduce((sum, body) => sum + body.rows.length, 0);
  if (rows < FILTERED_ROWS || table.closest(".beside")) return;
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "filter rows";
  input.setAttribute("aria-label", `filter rows of: ${table.caption.textContent}`);
  input.addEventListener("input", () => filterTable(table, input.value));
  table.parentElement.before(input);
}

// Show the rows and sections of the chips that are picked, everywhere on the page.
function pick(picked) {
  document.querySelectorAll("table").forEach((table) => {
    const column = [...table.tHead.rows[0].cells].findIndex((h) => h.textContent === "chip");
    if (column < 0) return;
    for (const body of table.tBodies) {
      const rows = [...body.rows].filter((row) => !row.classList.contains("group"));
      rows.forEach((row) => { row.hidden = !picked.has(row.cells[column].textContent); });
      body.hidden = rows.every((row) => row.hidden);
    }
  });
  document.querySelectorAll("section.part > h3").forEach((head) => {
    head.parentElement.hidden = !picked.has(head.textContent.replace(/^\d+\. /, ""));
  });
}

function offerChips() {
  const names = [...document.querySelectorAll("section.part > h3")]
    .map((head) => head.textContent.replace(/^\d+\. /, ""));
  if (names.length < 2) return;
  const field = document.createElement("fieldset");
  const picker = document.createElement("details");
  const summary = document.createElement("summary");
  const said = (count) => { summary.textContent = `chips shown: ${count} of ${names.length}`; };
  picker.className = "picker";
  picker.append(summary, field);
  field.setAttribute("aria-label", "chips shown");
  said(names.length);
  const boxes = names.map((name) => {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.value = name;
    label.append(box, ` ${name}`);
    field.append(label);
    return box;
  });
  field.addEventListener("change", () => {
    document.querySelectorAll('input[type="search"]').forEach((input) => { input.value = ""; });
    const picked = boxes.filter((box) => box.checked).map((box) => box.value);
    said(picked.length);
    pick(new Set(picked));
  });
  document.querySelector("nav").after(picker);
}

const TABLES = [...document.querySelectorAll("table")];
TABLES.forEach((table) => { label(table); equip(table); });
TABLES.forEach(fit);
window.addEventListener("resize", () => TABLES.forEach(fit));
offerChips();
