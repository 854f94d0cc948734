// Tables: of rows of data, and of what there is to say.

import { Exact } from "./api.js";
import { h } from "./dom.js";

/** Whether a value of an answer is a number. */
export function isNumber(value) {
  return typeof value === "number" || value instanceof Exact;
}

function cell(value) {
  if (value === null || value === undefined) return h("td", { class: "null" }, "NULL");
  if (isNumber(value)) return h("td", { class: "number" }, String(value));
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return h("td", { class: text.length > 60 ? "long" : null }, text);
}

const of = (row, name, index) => (Array.isArray(row) ? row[index] : row[name]);

/** A table of rows that a query gave, as objects or as lists. With `sort`, each header is a button that sorts by its column. */
export function dataTable(label, columns, rows, { sorted, sort } = {}) {
  const heads = columns.map((name, index) => {
    const order = sorted?.column === name ? (sorted.descending ? "descending" : "ascending") : undefined;
    const arrow = order === "descending" ? " ↓" : order ? " ↑" : "";
    const number = rows.some((row) => isNumber(of(row, name, index)));
    return h("th", { scope: "col", class: number ? "number" : null, "aria-sort": order }, sort ? h("button", { type: "button", onclick: () => sort(name) }, name, arrow) : name);
  });
  return scrolling(label, h("table", { class: "data" },
    h("thead", {}, h("tr", {}, heads)),
    h("tbody", {}, rows.map((row) => h("tr", {}, columns.map((name, index) => cell(of(row, name, index))))))));
}

/** Lets what is wide scroll by itself, by keyboard as well. */
export function scrolling(label, child) {
  return h("div", { class: "scrolling", tabindex: 0, role: "region", "aria-label": label }, child);
}

/** A table whose rows become cards on a narrow screen. `rows` hold cells: text, nodes, or lists of them. */
export function cards(label, heads, rows) {
  return h("table", { class: "cards", "aria-label": label },
    h("thead", {}, h("tr", {}, heads.map((head) => h("th", { scope: "col" }, head)))),
    h("tbody", {}, rows.map(({ key, tone, cells }) => h("tr", { "data-key": key, class: tone }, cells.map((child, index) =>
      index === 0 ? h("th", { scope: "row" }, child) : h("td", { "data-label": heads[index] }, h("div", {}, child)))))));
}

/** Pairs of a term and what it is. */
export function figures(pairs) {
  return h("dl", { class: "figures" }, pairs.filter(Boolean).map(([term, value]) => h("div", {}, h("dt", {}, term), h("dd", {}, value))));
}
