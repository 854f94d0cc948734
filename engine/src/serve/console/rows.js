// The first rows of a view, with filter and sort. Names and values are quoted, and a value is cast to the type of its column.

import { query } from "./api.js";
import { failure, h } from "./dom.js";
import { count, literal, quoted } from "./format.js";
import { dataTable } from "./table.js";

const LIMIT = 50;
const OPERATORS = [["contains", "contains"], ["=", "="], ["<>", "≠"], ["<", "<"], ["<=", "≤"], [">", ">"], [">=", "≥"], ["null", "is NULL"], ["not null", "is not NULL"]];

/** The condition of a filter in SQL. */
export function condition({ column, operator, value }, type) {
  const name = quoted(column);
  if (operator === "null") return `${name} IS NULL`;
  if (operator === "not null") return `${name} IS NOT NULL`;
  if (operator === "contains") return `strpos(lower(CAST(${name} AS VARCHAR)), lower(${literal(value)})) > 0`;
  const text = /^(VARCHAR|TEXT|CHAR)/.test(type);
  return `${name} ${operator} ${text ? literal(value) : `CAST(${literal(value)} AS ${type.replace(/^TIMESTAMP\(\d\)$/, "TIMESTAMP")})`}`;
}

/** A filter, and the rows below it. */
export function rowsOf(view, columns, key, page) {
  const select = (id, label, options) => h("select", { id, "aria-label": label }, options.map(([value, text]) => h("option", { value }, text)));
  const column = select("filter-column", "Column", columns.map(({ name }) => [name, name]));
  const operator = select("filter-operator", "Comparison", OPERATORS);
  const value = h("input", { id: "filter-value", "aria-label": "Value", placeholder: "value", autocomplete: "off" });
  const shown = h("div", { "aria-live": "polite" });
  let sorted = null;
  let filtered = null;
  let last = new AbortController();

  async function load() {
    last.abort();
    last = new AbortController();
    const where = filtered ? ` WHERE ${condition(filtered, columns.find(({ name }) => name === filtered.column).type)}` : "";
    const by = sorted ? [quoted(sorted.column) + (sorted.descending ? " DESC" : "")] : (key ?? []).map(quoted);
    const order = by.length ? ` ORDER BY ${by.join(", ")}` : "";
    const sql = `SELECT * FROM ${quoted(view)}${where}${order} LIMIT ${LIMIT}`;
    try {
      const { rows } = await query(sql, { signal: AbortSignal.any([page.signal, last.signal]) });
      const names = columns.map(({ name }) => name);
      const said = rows.length === 0 ? "No rows." : rows.length < LIMIT ? `${count(rows.length)} rows.` : `The first ${LIMIT} rows.`;
      const edit = h("a", { href: `/console/query?sql=${encodeURIComponent(sql)}` }, "Open as a query");
      shown.replaceChildren(dataTable(`Rows of ${view}`, names, rows, { sorted, sort }), h("p", { class: "quiet" }, said, " ", edit));
    } catch (error) {
      if (error.name === "AbortError") return;
      shown.replaceChildren(failure(error, load));
    }
  }

  function sort(name) {
    sorted = sorted?.column === name ? (sorted.descending ? null : { column: name, descending: true }) : { column: name, descending: false };
    load().then(() => [...shown.querySelectorAll("th button")].find((button) => button.textContent.replace(/ [↓↑]$/, "") === name)?.focus());
  }

  const form = h("form", { class: "bar", "aria-label": "Filter", onsubmit: (event) => {
    event.preventDefault();
    const unary = operator.value.endsWith("null");
    filtered = unary || value.value !== "" ? { column: column.value, operator: operator.value, value: value.value } : null;
    load();
  } }, column, operator, value, h("button", { class: "primary" }, "Show"), h("button", { type: "button", onclick: () => {
    value.value = "";
    operator.value = "contains";
    filtered = null;
    load();
  } }, "Clear"));
  load();
  return [form, shown];
}
