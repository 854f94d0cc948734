// Shows how a view is kept up to date: its operators, each above those that it reads, with class, cost, key and state.

import { h } from "./dom.js";

/** The cheapest class is green, one that grows with the rows that are touched yellow, and one that computes everything again red. */
function toneOf(node) {
  if (/recompute/.test(node.class) && !/keyed|touched/.test(node.class)) return "wrong";
  return /recompute/.test(node.class) ? "watch" : "fine";
}

function item(node) {
  return h("li", {},
    h("div", { class: "operator" },
      h("p", {}, h("span", { class: `badge ${toneOf(node)}` }, node.class), " ", node.does),
      node.reason && h("p", { class: "quiet" }, `because of ${node.reason}`),
      h("p", { class: "quiet" }, [
        node.cost, node.key ? `key ${node.key.join(", ")}` : "no key", node.state ? `keeps ${node.state}` : "keeps nothing",
        node.retracts ? "rows can be taken back" : "rows only arrive",
      ].join(" · ")),
      node.logical_plan && h("details", {}, h("summary", {}, "Logical plan"), h("pre", { tabindex: 0, "aria-label": "Logical plan" }, node.logical_plan))),
    node.inputs.length > 0 && h("ul", {}, node.inputs.map(item)));
}

export function plan(root) {
  return h("ul", { class: "plan" }, item(root));
}
