/** Numbers as an operator reads them. Every function answers an en dash for what is not there. */

const NONE = "–";
const grouped = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });

/** A count: grouped below a hundred thousand, shortened above. */
export function count(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  const size = Math.abs(x);
  if (size < 100_000) return grouped.format(x);
  if (size < 1e6) return `${(x / 1e3).toFixed(0)} k`;
  if (size < 1e9) return `${(x / 1e6).toFixed(size < 1e7 ? 2 : 1)} M`;
  return `${(x / 1e9).toFixed(2)} G`;
}

/** How much there is room for, where it stands beside the count of what is there: shortened from ten thousand. */
export function room(x: number | null | undefined): string {
  return x != null && x >= 10_000 && x < 100_000 ? `${Math.floor(x / 1e3)} k` : count(x);
}

/** A measured value with about four significant digits. */
export function value(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  const size = Math.abs(x);
  if (size >= 100_000) return count(x);
  if (size >= 1000 || Number.isInteger(x)) return grouped.format(x);
  if (size >= 100) return x.toFixed(1);
  if (size >= 1) return x.toFixed(2);
  if (size >= 0.001 || size === 0) return x.toFixed(3);
  return x.toExponential(1);
}

/** A measured value for a sentence: three significant digits. */
export function brief(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  const size = Math.abs(x);
  if (size >= 1000 || Number.isInteger(x)) return value(x);
  if (size >= 100) return x.toFixed(0);
  if (size >= 10) return x.toFixed(1);
  return size >= 0.01 || x === 0 ? x.toFixed(2) : x.toExponential(1);
}

/** A whole number that must be exact: an offset. */
export function exact(x: number | null | undefined): string {
  return x == null || !Number.isFinite(x) ? NONE : grouped.format(x);
}

/** A rate per second. */
export function rate(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  return Math.abs(x) < 10 && x !== 0 ? x.toFixed(1) : count(x);
}

/** A share of one, in per cent. */
export function percent(x: number | null | undefined, digits = 1): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  const hundred = x * 100;
  if (hundred !== 0 && Math.abs(hundred) < 0.1 && digits <= 1) return "< 0.1 %";
  return `${hundred.toFixed(digits)} %`;
}

/** Milliseconds, in the unit that reads best. */
export function millis(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  if (x < 1 && x > 0) return `${(x * 1000).toFixed(0)} µs`;
  if (x < 10) return `${x.toFixed(1)} ms`;
  if (x < 1000) return `${x.toFixed(0)} ms`;
  return seconds(x / 1000);
}

/** A span of seconds: `0.4 s`, `12 s`, `4 min 10 s`, `3 h 2 min`, `2 d 4 h`. */
export function seconds(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  if (x < 10) return `${x.toFixed(1)} s`;
  const s = Math.round(x);
  if (s < 60) return `${s} s`;
  if (s < 3600) return s % 60 ? `${Math.floor(s / 60)} min ${s % 60} s` : `${s / 60} min`;
  const minutes = Math.floor(s / 60);
  if (s < 86_400) return minutes % 60 ? `${Math.floor(minutes / 60)} h ${minutes % 60} min` : `${minutes / 60} h`;
  const hours = Math.floor(s / 3600);
  return hours % 24 ? `${Math.floor(hours / 24)} d ${hours % 24} h` : `${hours / 24} d`;
}

/** `1 model`, `2 models`. */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${count(n)} ${n === 1 ? one : many}`;
}

/** Bytes in binary units. */
export function bytes(x: number | null | undefined): string {
  if (x == null || !Number.isFinite(x)) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let size = x;
  let unit = 0;
  while (size >= 1024 && unit < units.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit && size < 10 ? size.toFixed(1) : size.toFixed(0)} ${units[unit]}`;
}
