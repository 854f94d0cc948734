// Shows the page that the path names, and moves between pages without loading the document again.

import { failure } from "./dom.js";
import * as letters from "./letters.js";
import * as overview from "./overview.js";
import * as query from "./query.js";
import * as source from "./source.js";
import * as view from "./view.js";

const PAGES = [
  [/^\/console\/?$/, overview, () => "/overview"],
  [/^\/console\/query$/, query, () => null],
  [/^\/console\/dead-letters$/, letters, () => `/dead-letters${location.search}`],
  [/^\/console\/views\/([^/]+)$/, view, (name) => `/views/${name}`],
  [/^\/console\/sources\/([^/]+)$/, source, (name) => `/sources/${name}`],
];

const main = document.getElementById("main");
const answering = document.getElementById("answering");
let leaving = new AbortController();

/** What a page may use: its end, and how to say whether the engine answers. */
function pageOf(signal) {
  return {
    signal,
    answers(error) {
      if (signal.aborted) return;
      const text = error ? error.message : "live";
      if (answering.textContent !== text) answering.textContent = text;
      answering.className = `answering ${error ? "wrong" : "fine"}`;
    },
    version(version) {
      document.getElementById("version").textContent = `Alluvium ${version}.`;
    },
  };
}

async function show(focus) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const found = PAGES.map(([path, page, twin]) => [location.pathname.match(path), page, twin]).find(([match]) => match);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.pathname === location.pathname) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const [match, page, twin] = found ?? [[], overview, () => "/overview"];
  const json = document.getElementById("twin");
  json.hidden = twin(match[1]) === null;
  json.href = twin(match[1]) ?? "";
  main.replaceChildren();
  answering.textContent = "";
  answering.className = "answering";
  if (focus) main.focus();
  window.scrollTo(0, 0);
  try {
    const name = match[1] === undefined ? null : decodeURIComponent(match[1]);
    document.title = `${page.title(name)} · Alluvium`;
    await page.show(main, name, pageOf(signal));
  } catch (error) {
    if (signal.aborted || error.name === "AbortError") return;
    main.append(failure(error, () => show(false)));
  }
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a");
  const href = link?.getAttribute("href");
  if (href === "#main") {
    // A jump within the page must not draw it anew.
    event.preventDefault();
    main.focus();
  }
  if (!href?.startsWith("/console") || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  if (href !== location.pathname + location.search) history.pushState(null, "", href);
  show(true);
});
window.addEventListener("popstate", () => show(true));
show(false);
