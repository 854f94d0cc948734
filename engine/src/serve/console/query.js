// Runs SQL over the committed views, and shows the rows as a table and as a chart.

import { table } from "./api.js";
import { h } from "./dom.js";
import { chart } from "./chart.js";
import { completion } from "./completion.js";
import { count, seconds } from "./format.js";
import { dataTable, isNumber } from "./table.js";

const LIMIT = 1000;
const FIRST = "SELECT * FROM alluvium.views";

export function title() {
  return "Query";
}

export async function show(main, _, page) {
  const given = new URLSearchParams(location.search).get("sql");
  const area = h("textarea", { id: "sql", rows: 6, spellcheck: "false", autocapitalize: "off", autocomplete: "off", "aria-describedby": "keys query-error" });
  area.value = given ?? sessionStorage.getItem("alluvium-sql") ?? FIRST;
  const run = h("button", { class: "primary", id: "run" }, "Run");
  const cancel = h("button", { type: "button", id: "cancel", disabled: true, onclick: () => running?.abort() }, "Cancel");
  const said = h("span", { role: "status", id: "said" });
  const wrong = h("div", { id: "query-error" });
  const result = h("div", { id: "result" });
  let running = null;

  async function go() {
    running?.abort();
    const mine = new AbortController();
    running = mine;
    const sql = area.value.trim().replace(/;$/, "");
    sessionStorage.setItem("alluvium-sql", area.value);
    history.replaceState(null, "", `/console/query?sql=${encodeURIComponent(sql)}`);
    wrong.replaceChildren();
    said.textContent = "running";
    cancel.disabled = false;
    const began = performance.now();
    try {
      const answer = await table(sql, { signal: AbortSignal.any([mine.signal, page.signal]), limit: LIMIT });
      const took = seconds((performance.now() - began) / 1000);
      said.textContent = answer.more ? `The first ${count(LIMIT)} rows, ${took}` : `${count(answer.rows.length)} rows, ${took}`;
      result.replaceChildren(...shown(answer));
      page.answers();
    } catch (error) {
      if (running !== mine) return;
      result.replaceChildren();
      said.textContent = error.name === "AbortError" ? "cancelled" : "";
      if (error.name !== "AbortError") wrong.replaceChildren(place(area, error));
    } finally {
      if (running === mine) cancel.disabled = true;
    }
  }

  area.addEventListener("input", () => sessionStorage.setItem("alluvium-sql", area.value));
  area.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      go();
    }
  });
  const form = h("form", { "aria-label": "Query", onsubmit: (event) => {
    event.preventDefault();
    go();
  } }, h("label", { for: "sql" }, "SQL over views and system tables"), h("div", { class: "editor" }, area, completion(area, page)), wrong,
  h("p", { class: "bar" }, run, cancel, said),
  h("p", { class: "quiet", id: "keys" }, "Ctrl+Enter runs. Tab takes the name that is offered; the arrows choose another, Escape hides them."));
  main.append(h("h1", {}, "Query"), form, result);
}

/** Says what is wrong with the line that it is in, and selects the place. */
function place(area, error) {
  const lines = area.value.split("\n");
  const line = lines[error.line - 1];
  const there = error.line && error.column && line !== undefined;
  if (there) {
    // The engine has read the text without the white space around it.
    const lead = error.line === 1 ? area.value.length - area.value.trimStart().length : 0;
    const start = lines.slice(0, error.line - 1).reduce((sum, one) => sum + one.length + 1, 0) + Math.min(error.column - 1 + lead, line.length);
    const end = start + (area.value.slice(start).match(/^("[^"]*"|[\w.]+|.)/)?.[0].length ?? 0);
    area.focus();
    area.setSelectionRange(start, end);
  }
  return h("div", { class: "notice wrong", role: "alert" },
    h("p", {}, there && h("strong", {}, `Line ${error.line}, column ${error.column}: `), error.message),
    there && h("pre", { tabindex: 0, "aria-label": "The line" }, `${line}\n${" ".repeat(Math.max(error.column - 1, 0))}^`),
    error.help && h("p", {}, error.help));
}

function shown({ columns, rows }) {
  if (rows.length === 0) return [h("p", {}, "No rows.")];
  const numeric = columns.map((_, index) => index).filter((index) => rows.some((row) => isNumber(row[index])) && rows.every((row) => row[index] === null || isNumber(row[index])));
  const parts = [dataTable("Result", columns, rows)];
  if (rows.length > 1 && numeric.length > 0 && columns.length > 1) parts.push(charted(columns, numeric, rows));
  return parts;
}

function charted(columns, numeric, rows) {
  const drawn = h("div", {});
  const select = (id, indexes, first) => h("select", { id, onchange: draw }, indexes.map((index) => h("option", { value: index, selected: index === first }, columns[index])));
  const y = numeric.find((index) => index !== 0) ?? numeric[0];
  const over = select("chart-x", columns.map((_, index) => index), y === 0 ? 1 : 0);
  const of = select("chart-y", numeric, y);
  function draw() {
    const points = rows.map((row) => ({ x: row[over.value], y: row[of.value] }));
    drawn.replaceChildren(chart(points, columns[over.value], columns[of.value]) ?? h("p", {}, "There is nothing to draw."));
  }
  draw();
  return h("section", { "aria-labelledby": "h-chart" }, h("h2", { id: "h-chart" }, "Chart"),
    h("p", { class: "bar" }, h("label", {}, "Of ", of), h("label", {}, "over ", over)), drawn);
}
