// Dead letters: the events that were set aside, by source, view and kind, each with its payload and the reason.

import { get, query } from "./api.js";
import { copied, failure, h } from "./dom.js";
import { count, shell } from "./format.js";
import { look } from "./live.js";
import { sourcePath, viewPath } from "./overview.js";
import { payload } from "./payload.js";

const LIMIT = 20;

export function title() {
  return "Dead letters";
}

export async function show(main, _, page) {
  const wanted = new URLSearchParams(location.search);
  const list = h("div", { id: "letters", "aria-live": "polite" });
  main.append(h("h1", {}, "Dead letters"));
  const counts = await query('SELECT source, "view", kind, count(*) AS letters FROM alluvium.dead_letters GROUP BY source, "view", kind', { signal: page.signal, limit: 10000 });
  page.answers();
  if (counts.rows.length === 0) {
    main.append(h("p", {}, "No event was set aside."));
    return;
  }
  const all = (of) => [...new Set(counts.rows.flatMap(of))].filter(Boolean).toSorted();
  const choices = { source: all((row) => row.source), view: all((row) => row.view?.split(", ") ?? []), kind: all((row) => row.kind) };
  const fields = Object.entries(choices).map(([name, values]) => h("label", {}, `${name} `, h("select", { id: `letters-${name}`, name },
    h("option", { value: "" }, "all"),
    [...new Set([...values, ...(wanted.get(name) ? [wanted.get(name)] : [])])].map((value) => h("option", { value, selected: wanted.get(name) === value }, value)))));
  const form = h("form", { class: "bar", "aria-label": "Filter", onchange: () => load(), onsubmit: (event) => event.preventDefault() }, fields,
    h("button", { type: "button", onclick: () => load() }, "Look again"));
  main.append(form, list);

  let last = new AbortController();

  async function load() {
    last.abort();
    last = new AbortController();
    try {
      await filled(AbortSignal.any([page.signal, last.signal]));
      page.answers();
    } catch (error) {
      if (error.name === "AbortError") return;
      list.replaceChildren(failure(error));
    }
  }

  async function filled(signal) {
    const chosen = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    history.replaceState(null, "", `/console/dead-letters${chosen.size ? `?${chosen}` : ""}`);
    document.getElementById("twin").href = `/dead-letters${chosen.size ? `?${chosen}` : ""}`;
    const letters = await get(`/dead-letters?${new URLSearchParams([...chosen, ["limit", LIMIT]])}`, signal);
    const flags = [...chosen].map(([name, value]) => ` --${name} ${shell(value)}`).join("");
    list.replaceChildren(
      h("p", { class: "summary" }, letters.length === LIMIT ? `The newest ${LIMIT}.` : `${count(letters.length)} dead letters.`),
      ...letters.map(letter),
      h("h2", {}, "Retry or drop them"),
      copied("Retry, after what kept them out is mended", `${program} dead-letters retry${flags}`),
      flags ? copied("Drop", `${program} dead-letters drop${flags}`) : h("p", { class: "quiet" }, "Choose which to drop."));
  }

  const { folder } = await look(page.signal);
  const program = `alluvium -C ${shell(folder)}`;
  await load();
}

function letter(of) {
  const views = of.view?.split(", ") ?? [];
  const name = `${of.source} #${of.sequence}`;
  return h("article", { class: "letter", "aria-label": `Event ${of.sequence} of ${of.source}` },
    h("p", {}, h("strong", {}, h("a", { href: sourcePath(of.source) }, of.source), ` #${of.sequence}`), " ", h("span", { class: "badge watch" }, of.kind),
      h("span", { class: "quiet" }, ` ${of.subject}${of.timestamp ? `, ${String(of.timestamp).slice(0, 23).replace("T", " ")}` : ""}`)),
    h("p", {}, of.error),
    payload(of.payload, of.error, `Payload of ${name}`),
    of.headers && h("details", {}, h("summary", {}, "Headers"), h("pre", { tabindex: 0, "aria-label": `Headers of ${name}` }, of.headers)),
    h("p", { class: "quiet" }, views.length ? ["not in ", views.map((view, index) => [index > 0 && ", ", h("a", { href: viewPath(view) }, view)])] : "not in any view of the source"));
}
