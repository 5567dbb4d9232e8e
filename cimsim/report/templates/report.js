"use strict";
// Sorts and filters the tables of a report. Without it they read as they were written.

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

function equip(table) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sortTable(table, column));
    head.append(button);
  });
  const rows = [...table.tBodies].reduce((sum, body) => sum + body.rows.length, 0);
  if (rows < FILTERED_ROWS) return;
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "filter rows";
  input.setAttribute("aria-label", `filter rows of: ${table.caption.textContent}`);
  input.addEventListener("input", () => filterTable(table, input.value));
  table.parentElement.before(input);
}

document.querySelectorAll("table").forEach(equip);
