// Names that complete what is being written: views, system tables, the columns of what the query names, and words of SQL.

import { get } from "./api.js";
import { h } from "./dom.js";
import { quoted } from "./format.js";
import { WORDS } from "./sql.js";

const SYSTEM = {
  "alluvium.views": ["view", "epoch", "committed", "rows", "parts", "bytes", "version", "incarnation", "committed_with", "sql"],
  "alluvium.sources": ["source", "view", "offset", "events", "set_aside", "sql"],
  "alluvium.commits": ["view", "epoch", "committed", "source", "offset", "rows", "parts", "bytes", "version"],
  "alluvium.versions": ["view", "version", "serves", "first_kept_epoch", "last_epoch", "last_committed", "sql"],
  "alluvium.lineage": ["view", "reads", "kind"],
  "alluvium.dead_letters": ["source", "sequence", "view", "subject", "timestamp", "headers", "payload", "kind", "error"],
};
const MOST = 8;

function written(name) {
  return /^[a-z_][a-z0-9_]*$/.test(name) && !WORDS.includes(name.toUpperCase()) ? name : quoted(name);
}

/** Completes what is written in `area`. Returns the element with the names, to be put below it. */
export function completion(area, page) {
  const columns = new Map(Object.entries(SYSTEM));
  let relations = Object.keys(SYSTEM);
  get("/views", page.signal).then(({ views }) => (relations = [...views, ...relations])).catch(() => {});
  const list = h("ul", { class: "completion", id: "completion", role: "listbox", "aria-label": "Names that fit", hidden: true });
  let names = [];
  let chosen = 0;
  area.setAttribute("aria-controls", "completion");

  function word() {
    return area.value.slice(0, area.selectionStart).match(/[\w.]+$/)?.[0] ?? "";
  }

  function named() {
    const text = area.value.toLowerCase();
    return relations.filter((name) => text.includes(name.toLowerCase()));
  }

  async function offer() {
    for (const name of named().filter((one) => !columns.has(one))) {
      columns.set(name, []);
      get(`/views/${encodeURIComponent(name)}`, page.signal).then((view) => columns.set(name, view.columns.map((column) => column.name))).catch(() => {});
    }
    const start = word().toLowerCase();
    const own = new Set(named().flatMap((name) => columns.get(name) ?? []));
    const fits = (name) => name.toLowerCase().startsWith(start) && name.toLowerCase() !== start;
    const found = start === "" ? [] : [...new Set([...[...own].filter(fits), ...relations.filter(fits), ...WORDS.filter(fits)])];
    names = found.slice(0, MOST);
    chosen = 0;
    draw();
  }

  function draw() {
    list.hidden = names.length === 0;
    list.replaceChildren(...names.map((name, index) => h("li", { role: "option", id: `completion-${index}`, "aria-selected": String(index === chosen),
      onmousedown: (event) => {
        event.preventDefault();
        take(name);
      } }, name)));
    if (names.length) area.setAttribute("aria-activedescendant", `completion-${chosen}`);
    else area.removeAttribute("aria-activedescendant");
  }

  function hide() {
    names = [];
    draw();
  }

  function take(name) {
    const end = area.selectionStart;
    const text = WORDS.includes(name) || relations.includes(name) && name.startsWith("alluvium.") ? name : written(name);
    area.setRangeText(text, end - word().length, end, "end");
    hide();
    area.focus();
  }

  area.addEventListener("input", offer);
  area.addEventListener("blur", hide);
  area.addEventListener("keydown", (event) => {
    if (event.key === " " && event.ctrlKey) {
      event.preventDefault();
      offer();
    } else if (names.length === 0 || event.ctrlKey || event.metaKey) {
      // Nothing is offered: every key is the editor's.
    } else if (event.key === "Tab" && !event.shiftKey) {
      event.preventDefault();
      take(names[chosen]);
    } else if (event.key === "Escape") {
      event.preventDefault();
      hide();
    } else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      chosen = (chosen + (event.key === "ArrowDown" ? 1 : names.length - 1)) % names.length;
      draw();
    }
  });
  return list;
}
