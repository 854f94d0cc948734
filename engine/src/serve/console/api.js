// Asks the engine. Errors are `Failure`s, with the place in the query and what to do, where the engine says so.

import { askSecret } from "./dom.js";

const TOKEN = "alluvium-token";

export class Failure extends Error {
  constructor(body, code) {
    super(body.message ?? body.error ?? `the engine answered ${code}`);
    Object.assign(this, { code, line: body.line, column: body.column, help: body.help });
  }
}

/** A number that JavaScript cannot hold, or would write otherwise: 9007199254740993, or 1.50. */
export class Exact {
  constructor(text) {
    this.text = text;
  }
  toString() {
    return this.text;
  }
  valueOf() {
    return Number(this.text);
  }
  toJSON() {
    return JSON.rawJSON ? JSON.rawJSON(this.text) : this.text;
  }
}

function parsed(text) {
  return JSON.parse(text, (_, value, context) => {
    const exact = typeof value === "number" && context?.source !== undefined && String(value) !== context.source;
    return exact ? new Exact(context.source) : value;
  });
}

/** The members of a JSON object in their order, with those that share a name. An object of JavaScript keeps neither. */
export function members(line) {
  const found = [];
  let [depth, text, start, name] = [0, false, 1, null];
  const take = (end) => {
    if (name !== null) found.push([name, parsed(line.slice(start, end))]);
    name = null;
  };
  for (let at = 0; at < line.length; at += 1) {
    const one = line[at];
    if (text) {
      if (one === "\\") at += 1;
      else if (one === '"') text = false;
    } else if (one === '"') text = true;
    else if (one === "{" || one === "[") depth += 1;
    else if (one === "}" || one === "]") {
      depth -= 1;
      if (depth === 0) take(at);
    } else if (depth === 1 && one === ":" && name === null) {
      name = JSON.parse(line.slice(start, at));
      start = at + 1;
    } else if (depth === 1 && one === ",") {
      take(at);
      start = at + 1;
    }
  }
  return found;
}

let asking = null;
// Who does not give a token is not asked again before the page is loaded anew.
let declined = false;

async function request(path, options = {}, given = null) {
  const headers = { ...options.headers };
  const token = given ?? sessionStorage.getItem(TOKEN);
  if (token) headers.authorization = `Bearer ${token}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError" || error.name === "TimeoutError") throw error;
    throw new Failure({ message: "the engine does not answer", help: "it has ended, or this computer cannot reach it" }, 0);
  }
  if (response.ok) {
    if (given) sessionStorage.setItem(TOKEN, given);
    return response;
  }
  const text = await response.text();
  let body = { message: text.trim() || undefined };
  try {
    body = JSON.parse(text);
  } catch {
    // It is no JSON, and the text is all there is to say.
  }
  if (given === null && !declined && response.status === 403 && body.message?.includes("carry the token")) {
    asking ??= askSecret("This engine asks for a token", "The setting http_token").finally(() => (asking = null));
    const answer = await asking;
    if (answer === null) declined = true;
    else if (/^[\x21-\x7e]+$/.test(answer)) return request(path, options, answer);
    else throw new Failure({ message: "this is no token: it is of ASCII letters, digits and signs" }, 403);
  }
  throw new Failure(body, response.status);
}

/** What a path answers, as JSON. */
export async function get(path, signal) {
  return parsed(await (await request(path, { signal })).text());
}

/** Runs SQL, and reads no more than `limit` rows, as objects. A query ends when its signal is aborted. */
export async function query(sql, options) {
  const { lines, more } = await linesOf(sql, options);
  const rows = lines.map(parsed);
  return { columns: Object.keys(rows[0] ?? {}), rows, more };
}

/** The same with rows as lists, for a query whose columns may share a name. */
export async function table(sql, options) {
  const { lines, more } = await linesOf(sql, options);
  const rows = lines.map(members);
  return { columns: rows[0]?.map(([name]) => name) ?? [], rows: rows.map((row) => row.map(([, value]) => value)), more };
}

async function linesOf(sql, { signal, limit = 1000 } = {}) {
  const stop = new AbortController();
  const both = signal ? AbortSignal.any([signal, stop.signal]) : stop.signal;
  const options = { method: "POST", body: JSON.stringify({ sql }), headers: { "content-type": "application/json" }, signal: both };
  const reader = (await request("/query", options)).body.pipeThrough(new TextDecoderStream()).getReader();
  const found = [];
  let rest = "";
  for (;;) {
    let read;
    try {
      read = await reader.read();
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Failure({ message: "the answer was cut short: the query failed after it had begun", help: "the log of the engine says why" }, 0);
    }
    if (read.done) break;
    const lines = (rest + read.value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (found.length <= limit) found.push(line);
    if (found.length > limit) {
      stop.abort();
      break;
    }
  }
  return { lines: found.slice(0, limit), more: found.length > limit };
}

/** Sends a command: `rebuild`, `restart` or `drop`. The header is what other origins cannot send. */
export async function command(verb, view) {
  await request(`/${verb}/${encodeURIComponent(view)}`, { method: "POST", headers: { "x-alluvium-command": "1" } });
}
