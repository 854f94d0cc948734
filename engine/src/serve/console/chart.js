// Draws numbers: small lines beside figures, and a chart of two columns.

import { s } from "./dom.js";

/** A line of the last values, for beside a figure. */
export function spark(values, label) {
  const [width, height] = [96, 22];
  const most = Math.max(...values, 1e-9);
  const step = width / Math.max(values.length - 1, 1);
  const points = values.map((value, index) => `${(index * step).toFixed(1)},${(height - 2 - (value / most) * (height - 4)).toFixed(1)}`);
  return s("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label },
    values.length > 1 && s("polyline", { points: points.join(" ") }));
}

const [WIDTH, HEIGHT, LEFT, BOTTOM] = [720, 260, 64, 26];

function short(number) {
  return new Intl.NumberFormat("en-US", { notation: "compact", maximumFractionDigits: 2 }).format(number);
}

function along(value) {
  if (value === null || typeof value === "boolean") return null;
  if (typeof value === "object") return Number(value);
  if (typeof value === "number") return value;
  return /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d|$)/.test(value) ? Date.parse(value.includes("T") ? `${value.slice(0, 23)}Z` : value) : null;
}

/** A chart of points `{ x, y }`: a line where `x` is a number or a time, and else bars. The names are those of the columns. */
export function chart(points, x, y) {
  const all = points.map((point) => ({ label: String(point.x), at: along(point.x), value: Number(point.y ?? NaN) })).filter((one) => Number.isFinite(one.value));
  if (all.length === 0) return null;
  const line = all.every((one) => Number.isFinite(one.at) && one.at !== null);
  const shown = line ? all.toSorted((one, other) => one.at - other.at) : all.slice(0, 40);
  const most = Math.max(0, ...shown.map((one) => one.value));
  const least = Math.min(0, ...shown.map((one) => one.value));
  const spread = most - least || 1;
  const up = (value) => 8 + (1 - (value - least) / spread) * (HEIGHT - BOTTOM - 8);
  const [first, last] = [shown[0], shown.at(-1)];
  const name = `${y} by ${x}, ${shown.length} ${line ? "points" : "bars"}, from ${short(Math.min(...shown.map((one) => one.value)))} to ${short(most)}`;
  const marks = [least, least + spread / 2, most].map((value) => [
    s("line", { class: "rule", x1: LEFT, x2: WIDTH, y1: up(value), y2: up(value) }),
    s("text", { x: LEFT - 6, y: up(value) + 4, "text-anchor": "end" }, short(value)),
  ]);
  const svg = s("svg", { class: "chart", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": name }, marks);
  if (line) {
    const width = last.at - first.at || 1;
    const path = shown.map((one) => `${(LEFT + ((one.at - first.at) / width) * (WIDTH - LEFT - 4)).toFixed(1)},${up(one.value).toFixed(1)}`);
    svg.append(s("polyline", { points: path.join(" ") }),
      s("text", { x: LEFT, y: HEIGHT - 6 }, first.label), s("text", { x: WIDTH - 4, y: HEIGHT - 6, "text-anchor": "end" }, last.label));
  } else {
    const step = (WIDTH - LEFT) / shown.length;
    const letters = Math.max(3, Math.floor(step / 7));
    shown.forEach((one, index) => {
      const [top, bottom] = [up(Math.max(one.value, 0)), up(Math.min(one.value, 0))];
      const label = one.label.length > letters ? `${one.label.slice(0, letters - 1)}…` : one.label;
      svg.append(s("rect", { x: LEFT + index * step + step * 0.1, y: top, width: step * 0.8, height: Math.max(bottom - top, 1) },
        s("title", {}, `${one.label}: ${one.value}`)));
      if (step > 20) svg.append(s("text", { x: LEFT + (index + 0.5) * step, y: HEIGHT - 6, "text-anchor": "middle" }, label));
    });
  }
  return svg;
}
