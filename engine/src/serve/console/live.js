// What the engine is doing now, and what it did in the last minutes, as long as this page is open.

import { Failure, get } from "./api.js";

/** How often a page that is seen looks at the engine. */
export const TICK_MS = 2000;
/** How long the engine may take to answer. */
const ANSWER_MS = 10000;
const KEPT = 90;
const series = new Map();

function note(key, time, value) {
  const samples = series.get(key) ?? [];
  samples.push({ time, value });
  if (samples.length > KEPT) samples.shift();
  series.set(key, samples);
}

/** Asks for the overview, and notes its figures. */
export async function look(signal) {
  let overview;
  try {
    overview = await get("/overview", AbortSignal.any([signal, AbortSignal.timeout(ANSWER_MS)]));
  } catch (error) {
    if (error.name !== "TimeoutError") throw error;
    throw new Failure({ message: `the engine has not answered for ${ANSWER_MS / 1000} seconds`, help: "the figures are older" }, 0);
  }
  const now = performance.now() / 1000;
  const ends = new Map();
  for (const view of overview.views) {
    const places = Object.entries(view.sources);
    view.lag = places.reduce((sum, [, place]) => sum + Math.max(0, place.end - place.offset), 0);
    view.applied = places.reduce((sum, [, place]) => sum + Math.max(place.applied, place.offset), 0);
    view.events = places.reduce((sum, [, place]) => sum + place.events, 0);
    view.set_aside = places.reduce((sum, [, place]) => sum + place.set_aside, 0);
    view.away = overview.sources.some((source) => source.away && (source.source in view.sources || view.reads.includes(source.source)));
    for (const [source, place] of places) ends.set(source, Math.max(place.end, ends.get(source) ?? 0));
    note(`view ${view.view}`, now, view.applied);
    note(`lag ${view.view}`, now, view.lag);
  }
  for (const source of overview.sources) {
    source.end = ends.get(source.source) ?? 0;
    note(`source ${source.source}`, now, source.end);
  }
  return overview;
}

/** How a number grew, a second, from one look to the next. */
export function rates(key) {
  const samples = series.get(key) ?? [];
  return samples.slice(1).map((sample, index) => {
    const before = samples[index];
    return Math.max(0, (sample.value - before.value) / Math.max(sample.time - before.time, 0.001));
  });
}

/** The rate over the last looks; null before there are two. */
export function rateNow(key) {
  const samples = (series.get(key) ?? []).slice(-6);
  if (samples.length < 2) return null;
  const [first, last] = [samples[0], samples.at(-1)];
  return Math.max(0, (last.value - first.value) / Math.max(last.time - first.time, 0.001));
}

export function values(key) {
  return (series.get(key) ?? []).map((sample) => sample.value);
}

const WORDS = ["fine", "watch", "wrong"];

/** How bad it is about a view: 0 is well, 1 wants a look, 2 is wrong. */
export function badness(view) {
  if (["failed", "retrying", "disconnected"].includes(view.phase) || view.verification?.differs) return 2;
  if (view.rebuild_error || view.held) return 2;
  return view.phase !== "live" || view.remarks.length ? 1 : 0;
}

/** The class of what is that bad. */
export function tone(bad) {
  return WORDS[bad];
}

/** The class of a phase. */
export function phaseTone(phase) {
  if (phase === "live") return "fine";
  return ["failed", "retrying", "disconnected"].includes(phase) ? "wrong" : "watch";
}

/** Runs `work` at once and then again and again while the page is visible, and not otherwise. */
export function every(milliseconds, signal, work) {
  let timer = null;
  let busy = false;
  const run = async () => {
    clearTimeout(timer);
    if (busy || signal.aborted || document.hidden) return;
    busy = true;
    try {
      await work();
    } finally {
      busy = false;
    }
    if (!signal.aborted && !document.hidden) timer = setTimeout(run, milliseconds);
  };
  document.addEventListener("visibilitychange", run, { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return run();
}
