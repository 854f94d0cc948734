// Writes numbers, sizes and times for people.

const whole = new Intl.NumberFormat("en-US");

export function count(number) {
  return whole.format(number);
}

/** A number of events a second. */
export function rate(number) {
  if (number === null || number === undefined) return "";
  return `${number < 10 && number > 0 ? number.toFixed(1) : count(Math.round(number))}/s`;
}

export function bytes(number) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (number >= 1024 && unit < units.length - 1) {
    number /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? number : number.toFixed(number < 10 ? 2 : 1)} ${units[unit]}`;
}

export function seconds(length) {
  if (length === null || length === undefined) return "unknown";
  if (length < 1) return `${Math.round(length * 1000)} ms`;
  if (length < 60) return `${length.toFixed(1)} s`;
  if (length < 3600) return `${Math.floor(length / 60)} min ${Math.floor(length % 60)} s`;
  if (length < 86400) return `${Math.floor(length / 3600)} h ${Math.floor((length % 3600) / 60)} min`;
  return `${Math.floor(length / 86400)} d ${Math.floor((length % 86400) / 3600)} h`;
}

export function ago(milliseconds) {
  return milliseconds === null || milliseconds === undefined ? "never" : `${seconds(Math.max(0, Date.now() - milliseconds) / 1000)} ago`;
}

export function time(milliseconds) {
  return new Date(milliseconds).toISOString().replace("T", " ").replace("Z", "");
}

/** A share as `alluvium status` writes it: `3 (0.02%)`. */
export function share(part, all) {
  return part === 0 ? "0" : `${count(part)} (${((100 * part) / Math.max(all, 1)).toFixed(2)}%)`;
}

/** A name in SQL. */
export function quoted(name) {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A word in a shell. */
export function shell(text) {
  return /^[\w.,:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A text in SQL. */
export function literal(text) {
  return `'${text.replaceAll("'", "''")}'`;
}
