// A view: what it is doing, its rows, SQL, plan, columns, commits, dead letters and verification, and how to read it elsewhere.

import { command, get, query } from "./api.js";
import { ask, copied, folded, h, said, slowly, update } from "./dom.js";
import { ago, bytes, count, literal, quoted, rate, seconds, share, shell } from "./format.js";
import { spark } from "./chart.js";
import { TICK_MS, badness, every, look, phaseTone, rateNow, rates, tone, values } from "./live.js";
import { badge, sourcePath, viewPath } from "./overview.js";
import { plan } from "./plan.js";
import { rowsOf } from "./rows.js";
import { sql } from "./sql.js";
import { dataTable, figures } from "./table.js";

export function title(name) {
  return name;
}

function section(id, heading, ...children) {
  return h("section", { "aria-labelledby": `h-${id}` }, h("h2", { id: `h-${id}` }, heading), children);
}

export async function show(main, name, page) {
  const live = h("div", { id: "live" });
  const commands = h("div", { class: "bar", id: "commands" });
  main.append(h("h1", {}, name), live, commands);
  let phase = null;
  const offer = (view) => {
    const heard = commands.querySelector("#said")?.textContent ?? "";
    commands.replaceChildren(...(view ? buttons(view) : []));
    if (heard && view) commands.querySelector("#said").textContent = heard;
  };
  const tick = (overview) => {
    const view = overview.views.find((one) => one.view === name);
    update(live, view ? liveOf(view) : h("p", { class: "notice watch" }, "The engine has no such view any more."));
    const now = view ? view.phase : "gone";
    if (now !== phase) offer(view);
    phase = now;
    page.version(overview.version);
    page.answers();
  };
  const overview = await look(page.signal);
  const path = `/views/${encodeURIComponent(name)}`;
  const known = overview.views.find((view) => view.view === name);
  // The engine says that there is no such view, with the name that may be meant.
  if (!known) await get(path, page.signal);
  else tick(overview);
  const description = () => (known?.epoch === null ? Promise.resolve(null) : get(path, page.signal));
  const planned = () => (known?.phase === "orphaned" ? Promise.resolve(null) : get(`${path}/plan`, page.signal));
  const part = (make) => slowly(make, page.signal);
  main.append(
    section("rows", "Rows", part(async () => {
      const described = await description();
      return described ? rowsOf(name, described.columns, described.key, page) : h("p", {}, "It has no commit yet, and so no rows.");
    })),
    section("sql", "SQL", part(async () => {
      const plan = await planned();
      return plan ? sql(plan.sql, "SQL of the view") : h("p", {}, "No SQL file declares it.");
    })),
    section("plan", "Incremental plan", part(async () => {
      const [described, told] = await Promise.all([description(), planned()]);
      return told ? [stale(described, told), plan(told.plan)] : h("p", {}, "There is none.");
    })),
    section("columns", "Columns and key", part(async () => {
      const described = await description();
      return described ? columnsOf(described) : h("p", {}, "They are known with the first commit.");
    })),
    section("read", "Read it elsewhere", readers(name, overview)),
    section("commits", "Commits", folded("The last commits that are kept", () => commitsOf(name, page), page.signal)),
    section("letters", "Dead letters", folded("Those that name this view, by kind", () => lettersOf(name, page), page.signal)));
  await every(TICK_MS, page.signal, async () => {
    try {
      tick(await look(page.signal));
    } catch (error) {
      page.answers(error);
    }
  });
}

function liveOf(view) {
  const key = `view ${view.view}`;
  const places = Object.values(view.rebuild);
  const [done, all] = [places.reduce((sum, place) => sum + place.offset, 0), places.reduce((sum, place) => sum + place.end, 0)];
  const found = view.verification;
  const through = Object.keys(view.sources).filter((source) => !view.reads.includes(source));
  return [
    h("p", {}, badge(view.says, phaseTone(view.phase)), " reads ",
      view.reads.map((read, index) => [index > 0 && ", ", h("a", { href: read in view.sources ? sourcePath(read) : viewPath(read) }, read)]),
      through.length > 0 && `, and through them ${through.join(", ")}`),
    view.phase === "rebuilding" && h("p", {}, h("progress", { max: Math.max(all, 1), value: done, "aria-label": "Progress of the rebuild" }), ` ${count(done)} of ${count(all)} events`),
    view.remarks.length > 0 && h("ul", { class: `notice ${tone(badness(view))}` }, view.remarks.map((remark) => h("li", {}, said(remark)))),
    figures([
      ["Rows", count(view.rows)],
      ["Events", [h("span", { class: "steady" }, rate(rateNow(key))), spark(rates(key), "events a second")]],
      ["Lag", [h("span", { class: "steady" }, view.away ? "unknown" : count(view.lag)), spark(values(`lag ${view.view}`), "lag")]],
      ["Staleness", seconds(view.staleness_seconds)],
      ["Committed", ago(view.committed_ms)],
      ["Epoch", view.epoch === null ? "none" : count(view.epoch)],
      ["Set aside", share(view.set_aside, view.events)],
      ["Size", `${bytes(view.bytes)} in ${count(view.parts)} parts`],
      ["State", `${count(view.state_rows)} rows, ${bytes(view.state_bytes)}`],
      ["Verified", found ? [badge(found.verdict, found.differs ? "wrong" : found.known ? "fine" : "watch"), ` ${ago(found.at_ms)}`] : "not yet"],
    ]),
  ];
}

function buttons(view) {
  const heard = h("span", { role: "status", id: "said" });
  const name = view.view;
  const button = (verb, label, question, agree) => h("button", { type: "button", class: verb === "drop" ? "danger" : null, onclick: async () => {
    if (!(await ask(question[0], question[1], agree))) return;
    heard.textContent = "";
    try {
      await command(verb, name);
      heard.textContent = { rebuild: "The rebuild has begun.", restart: "It is restarted.", drop: "It is dropped." }[verb];
    } catch (error) {
      heard.textContent = [error.message, error.help].filter(Boolean).join(": ");
    }
  } }, label);
  if (view.phase === "orphaned") {
    return [button("drop", "Drop…", [`Drop ${name}?`, "No SQL file declares it. Its data is removed, and cannot be brought back."], "Drop"), heard];
  }
  const all = [button("rebuild", "Rebuild…", [`Rebuild ${name}?`, "It is built again from the first event. The version that serves goes on until the new one has caught up."], "Rebuild")];
  if (view.phase === "failed" || view.phase === "retrying") {
    all.push(button("restart", "Restart…", [`Restart ${name}?`, "It goes on from its last commit."], "Restart"));
  }
  return [...all, heard];
}

function stale(described, planned) {
  return described && described.fingerprint !== planned.fingerprint
    && h("p", { class: "notice watch" }, "The version that serves is another than that of this SQL and plan.");
}

function columnsOf({ columns, key }) {
  const rows = columns.map(({ name, type, nullable }) => ({ column: name, type, "may be NULL": nullable ? "yes" : "no", key: key?.includes(name) ? "key" : "" }));
  return [dataTable("Columns", ["column", "type", "may be NULL", "key"], rows),
    h("p", { class: "quiet" }, key === null ? "The key of the serving version is not known." : key.length ? `Each row has another ${key.join(", ")}.` : "No columns identify a row.")];
}

function readers(name, { data, postgres }) {
  const files = `${data}/views/${name}/current/*.parquet`;
  const from = `SELECT * FROM ${quoted(name)} LIMIT 10`;
  const at = postgres?.lastIndexOf(":");
  const token = sessionStorage.getItem("alluvium-token") ? ' -H "Authorization: Bearer $TOKEN"' : "";
  const host = at === undefined ? "" : postgres.slice(0, at).replace(/^\[|\]$/g, "");
  return [
    copied("DuckDB", `duckdb -c ${shell(`SELECT * FROM read_parquet(${literal(files)}) LIMIT 10`)}`),
    postgres ? copied("psql", `psql -h ${["0.0.0.0", "::"].includes(host) ? location.hostname : host} -p ${postgres.slice(at + 1)} -U alluvium -d views -c ${shell(from)}`)
      : h("p", { class: "quiet" }, "psql: set ", h("code", {}, "postgres"), " in [serve] of alluvium.toml."),
    copied("Python", `import duckdb; print(duckdb.sql(${JSON.stringify(`SELECT * FROM read_parquet(${literal(files)}) LIMIT 10`)}))`),
    copied("curl", `curl -s${token} ${shell(`${location.origin}/views/${encodeURIComponent(name)}/rows?limit=10`)}`),
  ];
}

async function commitsOf(name, page) {
  const text = `SELECT epoch, committed, source, "offset", rows, parts, bytes FROM alluvium.commits WHERE "view" = ${literal(name)} ORDER BY epoch DESC, source LIMIT 40`;
  const { columns, rows } = await query(text, { signal: page.signal });
  return rows.length ? dataTable("Kept commits", columns, rows) : h("p", {}, "None is kept.");
}

async function lettersOf(name, page) {
  const of = `strpos(concat(', ', "view", ', '), ${literal(`, ${name}, `)}) > 0`;
  const text = `SELECT source, kind, count(*) AS letters, max("timestamp") AS newest FROM alluvium.dead_letters WHERE ${of} GROUP BY source, kind ORDER BY source, kind`;
  const { columns, rows } = await query(text, { signal: page.signal });
  if (rows.length === 0) return h("p", {}, "None names this view.");
  return [dataTable("Dead letters by kind", columns, rows), h("p", {}, h("a", { href: `/console/dead-letters?view=${encodeURIComponent(name)}` }, "Show them"))];
}
