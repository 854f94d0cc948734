// Shows SQL with its words, texts and comments told apart.

import { h } from "./dom.js";

export const WORDS = ("ALL AND ANY AS ASC BETWEEN BY CASE CAST CREATE CROSS DESC DISTINCT ELSE END EXCEPT EXISTS EXTERNAL FALSE FILTER FROM FULL GROUP "
  + "HAVING IN INNER INTERSECT INTERVAL IS JOIN LATERAL LEFT LIKE LIMIT LOCATION MATERIALIZED NOT NULL OFFSET ON OPTIONS OR ORDER OUTER OVER "
  + "PARTITION RIGHT SELECT STORED TABLE THEN TRUE UNION USING VALUES VIEW WHEN WHERE WITH").split(" ");
const KNOWN = new Set(WORDS);
const TOKENS = /(--[^\n]*|\/\*[^]*?\*\/)|('(?:[^']|'')*')|("(?:[^"]|"")*")|([A-Za-z_][\w$]*)|(\d[\w.]*)/g;

/** A block of SQL. */
export function sql(text, label) {
  const code = h("code", {});
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    const [token, comment, string, , word, number] = match;
    const kind = comment ? "comment" : string ? "string" : number ? "digit" : word && KNOWN.has(word.toUpperCase()) ? "word" : null;
    if (!kind) continue;
    code.append(text.slice(at, match.index), h("span", { class: `sql-${kind}` }, token));
    at = match.index + token.length;
  }
  code.append(text.slice(at));
  return h("pre", { class: "sql", tabindex: 0, "aria-label": label }, code);
}
