import type { Zone } from "./preferences.ts";

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The parts of a moment in a zone. */
export interface Parts {
  year: number;
  month: number;
  day: number;
  hour: number;
  minute: number;
  second: number;
}

/** Splits epoch milliseconds into what a clock on the wall of that zone shows. */
export function parts(at_ms: number, zone: Zone): Parts {
  const d = new Date(at_ms);
  return zone === "utc"
    ? {
        year: d.getUTCFullYear(),
        month: d.getUTCMonth() + 1,
        day: d.getUTCDate(),
        hour: d.getUTCHours(),
        minute: d.getUTCMinutes(),
        second: d.getUTCSeconds(),
      }
    : {
        year: d.getFullYear(),
        month: d.getMonth() + 1,
        day: d.getDate(),
        hour: d.getHours(),
        minute: d.getMinutes(),
        second: d.getSeconds(),
      };
}

const two = (n: number) => (n < 10 ? `0${n}` : `${n}`);

/** Epoch milliseconds of a time as the contract writes it: RFC 3339 text, or epoch seconds. NaN if neither. */
export function toMs(at: string | number | null | undefined): number {
  if (at == null) return NaN;
  return typeof at === "number" ? at * 1000 : Date.parse(at);
}

/** `17:00:05` when it is today, else `2013-02-08 17:00:05`: replayed years are far from the clock, and must look so. */
export function clock(at_ms: number, zone: Zone, now_ms: number, withSeconds = true): string {
  if (!Number.isFinite(at_ms)) return "–";
  const p = parts(at_ms, zone);
  const n = parts(now_ms, zone);
  const time = `${two(p.hour)}:${two(p.minute)}${withSeconds ? `:${two(p.second)}` : ""}`;
  if (p.year === n.year && p.month === n.month && p.day === n.day) return time;
  return `${p.year}-${two(p.month)}-${two(p.day)} ${time}`;
}

/** Always with its date. */
export function full(at_ms: number, zone: Zone): string {
  if (!Number.isFinite(at_ms)) return "–";
  const p = parts(at_ms, zone);
  return `${p.year}-${two(p.month)}-${two(p.day)} ${two(p.hour)}:${two(p.minute)}:${two(p.second)}`;
}

/** `UTC`, or the browser's own offset (`UTC+01:00`) at that moment. */
export function zoneName(zone: Zone, at_ms: number): string {
  if (zone === "utc") return "UTC";
  const minutes = -new Date(at_ms).getTimezoneOffset();
  const size = Math.abs(minutes);
  return `UTC${minutes < 0 ? "−" : "+"}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}

/**
 * Labels of a time axis: `splits_s` are the places in epoch seconds, `step_s` their distance.
 *
 * The first label, and each at which the day turns, carries the date in a second line; the year too, where it turns or
 * is not this one.
 */
export function axisLabels(splits_s: number[], step_s: number, zone: Zone): string[] {
  let before: Parts | null = null;
  return splits_s.map((at_s) => {
    const p = parts(at_s * 1000, zone);
    const newYear = !before || before.year !== p.year;
    const newDay = newYear || before!.month !== p.month || before!.day !== p.day;
    before = p;
    const date = `${p.day} ${MONTHS[p.month - 1]}`;
    const year = newYear ? ` ${p.year}` : "";
    if (step_s >= 86_400) return newYear ? `${date}\n${p.year}` : date;
    const time = step_s < 60 ? `${two(p.hour)}:${two(p.minute)}:${two(p.second)}` : `${two(p.hour)}:${two(p.minute)}`;
    return newDay ? `${time}\n${date}${year}` : time;
  });
}

/** Distances between marks of a time axis that a person would choose, in seconds. */
export const axisSteps_s = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 432_000,
  864_000, 2_592_000, 7_776_000, 31_536_000,
];

/** Places of the marks between two moments: whole steps of the wall clock of the zone, so that days begin at midnight. */
export function axisSplits(from_s: number, to_s: number, step_s: number, zone: Zone): number[] {
  const shift_s = zone === "utc" ? 0 : -new Date(from_s * 1000).getTimezoneOffset() * 60;
  const splits: number[] = [];
  let at_s = Math.ceil((from_s + shift_s) / step_s) * step_s - shift_s;
  for (; at_s <= to_s && splits.length < 200; at_s += step_s) splits.push(at_s);
  return splits;
}
