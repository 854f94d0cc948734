// A source: its connection, offset and end, rates, gaps and schema, and how far each view is in it.

import { get, query } from "./api.js";
import { copied, h, said, slowly, update } from "./dom.js";
import { count, literal, rate, seconds, share, shell, time } from "./format.js";
import { spark } from "./chart.js";
import { TICK_MS, every, look, rateNow, rates } from "./live.js";
import { badge, viewPath } from "./overview.js";
import { sql } from "./sql.js";
import { cards, dataTable, figures } from "./table.js";

export function title(name) {
  return name;
}

export async function show(main, name, page) {
  const live = h("div", { id: "live" });
  main.append(h("h1", {}, name), live);
  const overview = await look(page.signal);
  const known = overview.sources.some((source) => source.source === name);
  // The engine says that no view reads such a source, with the name that may be meant.
  if (!known) await get(`/sources/${encodeURIComponent(name)}`, page.signal);
  main.append(
    h("h2", {}, "Schema"), slowly(async () => schemaOf(await get(`/sources/${encodeURIComponent(name)}`, page.signal)), page.signal),
    h("h2", {}, "SQL"), slowly(async () => {
      const kept = await query(`SELECT sql FROM alluvium.sources WHERE source = ${literal(name)} AND sql IS NOT NULL LIMIT 1`, { signal: page.signal });
      return kept.rows.length ? sql(kept.rows[0].sql, "SQL of the source") : h("p", {}, "It is known with the first commit of a view that reads it.");
    }, page.signal),
    h("h2", {}, "Its events"),
    copied("The last events, decoded", `alluvium -C ${shell(overview.folder)} sample ${shell(name)} --last 5`),
    h("p", {}, h("a", { href: `/console/dead-letters?source=${encodeURIComponent(name)}` }, "Its dead letters")));
  await every(TICK_MS, page.signal, async () => {
    try {
      const overview = await look(page.signal);
      const source = overview.sources.find((one) => one.source === name);
      if (source) update(live, liveOf(source, overview.views.filter((view) => name in view.sources)));
      page.version(overview.version);
      page.answers();
    } catch (error) {
      page.answers(error);
    }
  });
}

function schemaOf({ declared }) {
  if (!declared) return h("p", {}, "No SQL file declares it.");
  const columns = declared.columns.map((column) => ({ column: column.name, type: column.type, "may be NULL": column.nullable ? "yes" : "no" }));
  return [
    h("p", {}, `Stored as ${declared.stored_as}.`),
    dataTable("Columns", ["column", "type", "may be NULL"], columns),
    declared.notes.length > 0 && h("ul", {}, declared.notes.map((note) => h("li", {}, note))),
  ];
}

function liveOf(source, views) {
  const key = `source ${source.source}`;
  const rows = views.map((view) => {
    const place = view.sources[source.source];
    return { key: view.view, cells: [
      h("a", { href: viewPath(view.view) }, view.view),
      view.reads.includes(source.source) ? "directly" : "through another view",
      count(place.offset),
      source.away ? "unknown" : count(Math.max(0, place.end - place.offset)),
      count(place.events),
      share(place.set_aside, place.events),
      count(place.missing),
    ] };
  });
  const gaps = views.flatMap((view) => (view.gaps?.[source.source] ?? []).map((gap) => `${view.view}: sequences ${gap.first} to ${gap.last} are missing since ${time(gap.found_ms)}: ${gap.reason}`));
  return [
    h("p", {}, badge(source.away ? "disconnected" : source.connected ? "connected" : "not asked yet", source.away ? "wrong" : source.connected ? "fine" : "watch"), " ", said(source.says.replace(/^(dis)?connected,? ?/, ""))),
    source.remarks.length > 0 && h("ul", { class: "notice wrong" }, source.remarks.map((remark) => h("li", {}, said(remark)))),
    figures([
      ["Events", [h("span", { class: "steady" }, rate(rateNow(key))), spark(rates(key), "events a second")]],
      ["End", count(source.end)],
      ["Last contact", source.last_contact_seconds === null ? "never" : `${seconds(source.last_contact_seconds)} ago`],
      source.audited_events !== null && ["Audited", `${count(source.audited_events)} events, ${count(source.skipped_events)} not delivered`],
    ]),
    h("h2", {}, "Views that read it"),
    cards("Views that read it", ["View", "Reads it", "Offset", "Lag", "Events", "Set aside", "Missing"], rows),
    h("h2", {}, "Gaps"),
    gaps.length ? h("ul", {}, gaps.map((gap) => h("li", {}, gap))) : h("p", {}, "None: the source held every event when a view was to read it."),
  ];
}
