// Shows the payload of an event that was set aside, with the member marked that kept it out, where the reason says which.

import { h } from "./dom.js";
import { count } from "./format.js";

/** How many bytes are shown before and after the failing member. */
const AROUND = 2048;

export function bytesOf(hex) {
  return Uint8Array.from({ length: hex.length / 2 }, (_, index) => parseInt(hex.slice(2 * index, 2 * index + 2), 16));
}

/** The end of the JSON value that begins at `start`, as an index into the bytes. */
function endOf(bytes, start) {
  const at = (index) => String.fromCharCode(bytes[index]);
  let depth = 0;
  let text = false;
  for (let index = start; index < bytes.length; index += 1) {
    const one = at(index);
    if (text) {
      if (one === "\\") index += 1;
      else if (one === '"') {
        text = false;
        if (depth === 0) return index + 1;
      }
    } else if (one === '"') text = true;
    else if ("{[".includes(one)) depth += 1;
    else if ("}]".includes(one)) {
      if (depth === 0) return index;
      depth -= 1;
      if (depth === 0) return index + 1;
    } else if (depth === 0 && ", \t\r\n".includes(one)) return index;
  }
  return bytes.length;
}

/** The part of a payload that a reason names: `[start, end]` in bytes, or null. */
export function failing(bytes, reason) {
  const found = reason.match(/at byte (\d+)/);
  if (found) {
    const start = Math.min(Number(found[1]), bytes.length);
    return [start, Math.max(endOf(bytes, start), start)];
  }
  const column = reason.match(/column ([^\s:]+)/)?.[1];
  if (!column) return null;
  const text = new TextDecoder("latin1").decode(bytes);
  const member = new RegExp(`"${column.replace(/[^\w]/g, "\\$&")}"\\s*:\\s*`).exec(text);
  return member ? [member.index, endOf(bytes, member.index + member[0].length)] : null;
}

/** The payload as text, or in hexadecimal digits where it is no text. */
export function payload(hex, reason, label) {
  const bytes = bytesOf(hex);
  // What is cut may be cut within a letter.
  const whole = bytes.length <= AROUND;
  const text = (from, to) => new TextDecoder("utf-8", { fatal: whole, ignoreBOM: true }).decode(bytes.subarray(from, to));
  try {
    const part = failing(bytes, reason);
    const from = Math.max(0, (part?.[0] ?? 0) - AROUND);
    const to = Math.min(bytes.length, (part?.[0] ?? 0) + AROUND);
    const end = Math.min(part?.[1] ?? 0, to);
    const shown = [
      from > 0 && `(${count(from)} bytes before) … `,
      part ? [text(from, part[0]), h("mark", {}, part[0] === part[1] ? "⟨ends here⟩" : text(part[0], end)), text(end, to)] : text(from, to),
      to < bytes.length && ` … (${count(bytes.length - to)} bytes after)`,
    ];
    return h("pre", { class: "payload", tabindex: 0, "aria-label": label }, shown);
  } catch {
    return h("pre", { class: "payload", tabindex: 0, "aria-label": `${label}, in hexadecimal digits` }, hex.slice(0, 2 * AROUND).replace(/(..)/g, "$1 "));
  }
}
