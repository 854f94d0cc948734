// Draws what reads what: layers from left to right, each relation behind all that it reads.

import { s } from "./dom.js";

const [WIDTH, HEIGHT, GAP_X, GAP_Y] = [186, 50, 58, 16];

/** The layer of each node: 0 for what reads nothing, and else one more than the highest that it reads. */
function layersOf(nodes, reads) {
  const found = new Map();
  const of = (id, path) => {
    if (found.has(id)) return found.get(id);
    if (path.has(id)) return 0;
    const below = reads.get(id).map((read) => of(read, new Set([...path, id])));
    const layer = below.length ? Math.max(...below) + 1 : 0;
    found.set(id, layer);
    return layer;
  };
  nodes.forEach((node) => of(node.id, new Set()));
  return found;
}

/** Splits edges that cross several layers, so that each leads to the next layer, around the nodes between. */
function chains(nodes, reads, layers) {
  const rows = [];
  const place = (id, layer, thin) => (rows[layer] ??= []).push({ id, thin, from: [] });
  nodes.forEach((node) => place(node.id, layers.get(node.id), false));
  const edges = [];
  for (const node of nodes) {
    for (const read of reads.get(node.id)) {
      const path = [read];
      for (let layer = layers.get(read) + 1; layer < layers.get(node.id); layer += 1) {
        const id = `${read} ${node.id} ${layer}`;
        place(id, layer, true);
        path.push(id);
      }
      edges.push([...path, node.id]);
    }
  }
  return { rows, edges };
}

/** Orders each layer by the middle of its neighbours, forward and backward, so that few edges cross. */
function untangle(rows, edges) {
  const next = new Map();
  const link = (one, other) => next.set(one, [...(next.get(one) ?? []), other]);
  for (const edge of edges) {
    for (let index = 1; index < edge.length; index += 1) {
      link(edge[index], edge[index - 1]);
      link(edge[index - 1], edge[index]);
    }
  }
  for (let sweep = 0; sweep < 6; sweep += 1) {
    const order = sweep % 2 === 0 ? rows.map((_, index) => index).slice(1) : rows.map((_, index) => index).slice(0, -1).reverse();
    for (const layer of order) {
      const beside = rows[layer + (sweep % 2 === 0 ? -1 : 1)];
      const at = new Map(beside.map((cell, index) => [cell.id, index / Math.max(beside.length - 1, 1)]));
      const middle = new Map(rows[layer].map((cell, index) => {
        const known = (next.get(cell.id) ?? []).filter((id) => at.has(id)).map((id) => at.get(id));
        return [cell.id, known.length ? known.reduce((sum, one) => sum + one, 0) / known.length : index / rows[layer].length];
      }));
      rows[layer].sort((one, other) => middle.get(one.id) - middle.get(other.id));
    }
  }
}

function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** Draws nodes `{ id, name, kind, reads, href, line, tone }`. `reads` are ids. */
export function graph(nodes) {
  const known = new Set(nodes.map((node) => node.id));
  const reads = new Map(nodes.map((node) => [node.id, [...new Set(node.reads.filter((id) => known.has(id)))]]));
  const { rows, edges } = chains(nodes, reads, layersOf(nodes, reads));
  untangle(rows, edges);
  const places = new Map();
  const tall = (cell) => (cell.thin ? 14 : HEIGHT) + GAP_Y;
  const heights = rows.map((row) => row.reduce((sum, cell) => sum + tall(cell), 0));
  const height = Math.max(...heights, 0);
  rows.forEach((row, layer) => {
    let y = (height - heights[layer]) / 2;
    for (const cell of row) {
      places.set(cell.id, { x: layer * (WIDTH + GAP_X), y: y + (tall(cell) - GAP_Y) / 2 + GAP_Y / 2, thin: cell.thin });
      y += tall(cell);
    }
  });
  const width = rows.length * (WIDTH + GAP_X) - GAP_X;
  const drawn = s("svg", { class: "graph", viewBox: `-2 0 ${width + 4} ${height}`, width: width + 4, height, role: "group", "aria-label": "What reads what" });
  for (const edge of edges) drawn.append(s("path", { class: "edge", d: curve(edge.map((id) => places.get(id))) }));
  for (const node of nodes) {
    const { x, y } = places.get(node.id);
    drawn.append(s("a", { href: node.href, class: `node ${node.kind} ${node.tone}`, transform: `translate(${x} ${y - HEIGHT / 2})`, "aria-label": `${node.kind} ${node.name}: ${node.line}` },
      s("title", {}, `${node.name}: ${node.line}`),
      s("rect", { width: WIDTH, height: HEIGHT, rx: node.kind === "source" ? 25 : 6 }),
      s("circle", { cx: 17, cy: 18, r: 5 }),
      s("text", { class: "name", x: 29, y: 22 }, cut(node.name, 20)),
      s("text", { class: "line", x: 29, y: 39 }, cut(node.line, 25))));
  }
  return drawn;
}

function curve(points) {
  const [first, ...rest] = points;
  let path = `M${first.x + WIDTH} ${first.y}`;
  let x = first.x + WIDTH;
  let y = first.y;
  for (const point of rest) {
    const middle = (x + point.x) / 2;
    path += `C${middle} ${y} ${middle} ${point.y} ${point.x} ${point.y}`;
    [x, y] = [point.thin ? point.x + WIDTH : point.x, point.y];
    if (point.thin) path += `H${x}`;
  }
  return path;
}
