/** What may stand at the caret of a condition. */
export interface Suggestion {
  /** What is written in place of what was begun. */
  text: string;
  /** A word on it. */
  note: string;
}

/** What is being written: where it begins, what it is a part of (`data.aggregates.`, or nothing), and how it begins. */
interface Begun {
  from: number;
  of: string[];
  start: string;
}

const SUGGESTED_MAX = 8;

/** What every condition may use, whatever it looks at. */
const NAMES: Suggestion[] = [
  { text: "data", note: "what happened" },
  { text: "model_id", note: "text" },
  { text: "priority", note: "EventPriority" },
  { text: "event_type", note: "text" },
  { text: "timestamp", note: "time" },
  { text: "metadata", note: "the model's" },
  { text: "has(", note: "whether a field is there" },
  { text: "size(", note: "length" },
  { text: "EventPriority", note: "CRITICAL, HIGH, MEDIUM, LOW" },
  { text: "true", note: "" },
  { text: "false", note: "" },
];
const PRIORITIES = ["CRITICAL", "HIGH", "MEDIUM", "LOW"];
const OF_TEXT = ["startsWith('", "endsWith('", "contains('", "matches('"];
const OF_TIME = ["getHours()", "getDayOfWeek()", "getMinutes()", "getDayOfMonth()", "getMonth()", "getFullYear()"];

/** What is being written before `caret`; null within a text in quotes, or after a number. */
function begun(text: string, caret: number): Begun | null {
  const before = text.slice(0, caret);
  let quote = "";
  for (let at = 0; at < before.length; at++) {
    const char = before[at]!;
    if (quote) {
      if (char === "\\") at += 1;
      else if (char === quote) quote = "";
    } else if (char === "'" || char === '"') quote = char;
  }
  if (quote) return null;
  const path = /[A-Za-z_][\w.]*$/.exec(before)?.[0];
  if (path === undefined) return null;
  const names = path.split(".");
  const start = names.pop()!;
  return { from: caret - start.length, of: names, start };
}

/** What may be written at the caret, of an event such as `sample`. */
export function suggest(text: string, caret: number, sample: Record<string, unknown>): { from: number; items: Suggestion[] } | null {
  const writing = begun(text, caret);
  if (!writing) return null;
  const { from, of, start } = writing;
  const items = (of.length ? within(of, sample) : NAMES).filter(
    (item) => item.text.toLowerCase().startsWith(start.toLowerCase()) && item.text !== start,
  );
  return items.length ? { from, items: items.slice(0, SUGGESTED_MAX) } : null;
}

function within(of: string[], sample: Record<string, unknown>): Suggestion[] {
  if (of[0] === "EventPriority") return of.length === 1 ? PRIORITIES.map((text) => ({ text, note: "priority" })) : [];
  let value: unknown = sample;
  for (const name of of) value = isObject(value) ? value[name] : undefined;
  if (isObject(value)) {
    const fields = Object.entries(value).map(([text, field]) => ({ text, note: kind(field) }));
    return [...fields, { text: "get('", note: "a field, or another value" }];
  }
  if (of.length === 1 && of[0] === "timestamp") return OF_TIME.map((text) => ({ text, note: "number" }));
  return typeof value === "string" ? OF_TEXT.map((text) => ({ text, note: "true or false" })) : [];
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function kind(value: unknown): string {
  if (Array.isArray(value)) return "list";
  if (typeof value === "string") return "text";
  return isObject(value) ? "fields" : typeof value;
}
