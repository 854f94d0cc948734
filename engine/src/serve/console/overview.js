// The overview: what is wrong first, what reads what, and how fast, how late and how large each source and view is.

import { h, said, update } from "./dom.js";
import { ago, bytes, count, rate, seconds, share } from "./format.js";
import { graph } from "./graph.js";
import { TICK_MS, badness, every, look, phaseTone, rateNow, rates, tone, values } from "./live.js";
import { spark } from "./chart.js";
import { cards, scrolling } from "./table.js";

/** How many views and sources are shown: a page with more is slow to draw again and again. */
const MOST = 200;

export function title() {
  return "Overview";
}

export function viewPath(name) {
  return `/console/views/${encodeURIComponent(name)}`;
}

export function sourcePath(name) {
  return `/console/sources/${encodeURIComponent(name)}`;
}

export function badge(words, of) {
  return h("span", { class: `badge ${of}` }, words);
}

export async function show(main, _, page) {
  const [wrong, drawn, sources, views] = ["wrong-first", "drawn", "sources", "views"].map((id) => h("div", { id }));
  main.append(
    h("h1", {}, "Overview"), wrong,
    h("section", { "aria-labelledby": "h-graph" }, h("h2", { id: "h-graph" }, "What reads what"), scrolling("Graph", drawn)),
    h("section", { "aria-labelledby": "h-views" }, h("h2", { id: "h-views" }, "Views"), views),
    h("section", { "aria-labelledby": "h-sources" }, h("h2", { id: "h-sources" }, "Sources"), sources));
  await every(TICK_MS, page.signal, async () => {
    try {
      const overview = await look(page.signal);
      page.answers();
      page.version(overview.version);
      update(wrong, troubles(overview));
      const nodes = nodesOf(overview);
      update(drawn, nodes.length <= MOST ? graph(nodes) : h("p", {}, `${count(nodes.length)} are too many to draw. `, h("code", {}, "SELECT * FROM alluvium.lineage"), " lists what reads what."));
      update(sources, sourceTable(overview), more(overview.sources));
      update(views, viewTable(overview), more(overview.views));
    } catch (error) {
      page.answers(error);
    }
  });
}

/** What there is to mend or to know, the worst first. */
function troubles({ sources, views }) {
  const found = [
    ...sources.filter((source) => source.away).map((source) => ({ bad: 3, link: sourcePath(source.source), name: `source ${source.source}`, says: source.says, remarks: source.remarks })),
    ...views.map((view) => ({ bad: badness(view), link: viewPath(view.view), name: view.view, says: view.says, remarks: view.remarks })).filter((view) => view.bad > 0),
    ...sources.filter((source) => !source.away && source.remarks.length).map((source) => ({ bad: 2, link: sourcePath(source.source), name: `source ${source.source}`, says: source.says, remarks: source.remarks })),
  ].toSorted((one, other) => other.bad - one.bad);
  const lesser = found.filter((one) => one.bad < 2);
  const parts = [`${count(views.length)} views of ${count(sources.length)} sources`];
  const stopped = found.filter((one) => one.bad >= 2).length;
  parts.push(stopped ? `${count(stopped)} with something wrong` : views.every((view) => view.phase === "live") ? "all live" : "none with an error");
  return [
    h("p", { class: "summary" }, parts.join("; ")),
    h("ul", { class: "troubles" }, found.filter((one) => one.bad >= 2).slice(0, MOST).map((one) => h("li", { "data-key": one.name, class: "wrong" },
      h("p", {}, h("a", { href: one.link }, one.name), ": ", said(one.says)),
      one.remarks.length > 0 && h("ul", {}, one.remarks.map((remark) => h("li", {}, said(remark))))))),
    lesser.length > 0 && h("ul", { class: "notice watch" }, lesser.slice(0, MOST).map((one) => h("li", { "data-key": one.name },
      h("a", { href: one.link }, one.name), ": ", said([one.says, ...one.remarks].join("; "))))),
  ];
}

function nodesOf({ sources, views }) {
  const known = new Set(views.map((view) => view.view));
  return [
    ...sources.map((source) => ({
      id: `s ${source.source}`, name: source.source, kind: "source", reads: [], href: sourcePath(source.source),
      line: source.away ? "disconnected" : rate(rateNow(`source ${source.source}`)) || `${count(Math.max(source.end - 1, 0))} events`,
      tone: source.away ? "wrong" : source.remarks.length ? "watch" : "fine",
    })),
    ...views.map((view) => ({
      id: `v ${view.view}`, name: view.view, kind: "view", href: viewPath(view.view),
      reads: (view.reads.length ? view.reads : Object.keys(view.sources)).map((name) => (known.has(name) ? `v ${name}` : `s ${name}`)),
      line: `${view.says} · ${count(view.rows)} rows`,
      tone: tone(view.phase === "live" && badness(view) < 2 ? 0 : badness(view)),
    })),
  ];
}

function more(all) {
  return all.length > MOST && h("p", { class: "quiet" }, `${count(all.length - MOST)} more are not shown; those with something wrong come first. `, h("code", {}, "alluvium status"), " shows all.");
}

function lagOf(view) {
  return view.away ? "unknown" : count(view.lag);
}

function viewTable({ views }) {
  const rows = views.toSorted((one, other) => badness(other) - badness(one)).slice(0, MOST).map((view) => {
    const key = `view ${view.view}`;
    return { key: view.view, cells: [
      h("a", { href: viewPath(view.view) }, view.view),
      badge(view.says, phaseTone(view.phase)),
      [h("span", { class: "steady" }, rate(rateNow(key))), spark(rates(key), `events a second of ${view.view}`)],
      [h("span", { class: "steady" }, lagOf(view)), spark(values(`lag ${view.view}`), `lag of ${view.view}`)],
      seconds(view.staleness_seconds),
      count(view.rows),
      share(view.set_aside, view.events),
      `${bytes(view.bytes)} + ${bytes(view.state_bytes)} state`,
      ago(view.committed_ms),
    ] };
  });
  return cards("Views", ["View", "Phase", "Events", "Lag", "Staleness", "Rows", "Set aside", "Size", "Committed"], rows);
}

function sourceTable({ sources, views }) {
  const rows = sources.toSorted((one, other) => Number(other.away) - Number(one.away)).slice(0, MOST).map((source) => {
    const key = `source ${source.source}`;
    const readers = views.filter((view) => view.reads.includes(source.source)).map((view) => view.view);
    return { key: source.source, cells: [
      h("a", { href: sourcePath(source.source) }, source.source),
      badge(source.away ? "disconnected" : source.connected ? "connected" : "not asked yet", source.away ? "wrong" : source.connected ? "fine" : "watch"),
      [h("span", { class: "steady" }, rate(rateNow(key))), spark(rates(key), `events a second of ${source.source}`)],
      count(source.end),
      source.last_contact_seconds === null ? "never" : `${seconds(source.last_contact_seconds)} ago`,
      readers.map((name, index) => [index > 0 && ", ", h("a", { href: viewPath(name) }, name)]),
    ] };
  });
  return cards("Sources", ["Source", "State", "Events", "End", "Last contact", "Read by"], rows);
}
