import type { Aggregate, PathStep, ServerMessage } from "tidecast-client";
import type { HistoryItem } from "../model.ts";
import { toMs } from "../time.ts";

/** A model's windows with the forecasts that were made for them, and the path ahead of the newest. */
export interface Timeline {
  /** Ascending by `window_start`, bounded. */
  items: HistoryItem[];
  /** The newest forecast's steps. */
  path: PathStep[];
  /** Those of the one before: a window may come after the forecast that was made with it. */
  earlier?: PathStep[];
}

/** Which windows feed a model. */
export interface Feed {
  model_id: string;
  /** `<series>:<key>` */
  series: string;
  field: string;
}

/** The value that `field` names (`event_count` or `<value>.<statistic>`; the value may hold dots) in a window. */
export function fieldOf(aggregate: Aggregate, field: string): number | null {
  if (field === "event_count") return aggregate.event_count;
  const dot = field.lastIndexOf(".");
  const statistics = aggregate.aggregates[field.slice(0, dot)] as Record<string, number> | undefined;
  return statistics?.[field.slice(dot + 1)] ?? null;
}

/** Length of a window in seconds, as the usual distance between two; null when there are not two. */
export function windowSize(items: HistoryItem[]): number | null {
  const distances: number[] = [];
  for (let i = Math.max(1, items.length - 50); i < items.length; i++) {
    distances.push(items[i]!.window_start - items[i - 1]!.window_start);
  }
  distances.sort((a, b) => a - b);
  return distances[distances.length >> 1] ?? null;
}

/** Puts live frames into a timeline; answers the same object when none of them concerned it. */
export function advance(timeline: Timeline, batch: ServerMessage[], feed: Feed, max: number): Timeline {
  let { items, path, earlier = [] } = timeline;
  const copy = () => (items === timeline.items ? (items = [...items]) : items);
  for (const message of batch) {
    if (message.type === "aggregation_update") {
      const aggregate = message.data;
      if (`${aggregate.series}:${aggregate.key}` !== feed.series) continue;
      put(copy(), aggregate.window_start, { value: fieldOf(aggregate, feed.field) }, [...path, ...earlier]);
    } else if (message.type === "forecast_update" && message.model_id === feed.model_id) {
      earlier = path;
      path = message.data.metadata.path ?? [];
    } else if (message.type === "anomaly_alert" && message.model_id === feed.model_id) {
      const at = startOf(toMs(message.data.timestamp) / 1000, items);
      const index = items.findLastIndex((item) => item.window_start === at);
      if (index >= 0) copy()[index] = { ...items[index]!, anomaly_score: message.data.anomaly_score };
    }
  }
  if (items === timeline.items && path === timeline.path) return timeline;
  return { items: items.length > max ? items.slice(-max) : items, path, earlier };
}

/** Adds or amends a window; what was forecast for a new one is the step of the path that lay there. */
function put(items: HistoryItem[], start: number, change: Partial<HistoryItem>, path: PathStep[]): void {
  let index = items.length;
  while (index > 0 && items[index - 1]!.window_start > start) index -= 1;
  const before = items[index - 1];
  if (before?.window_start === start) {
    items[index - 1] = { ...before, ...change };
    return;
  }
  const step = path.find((candidate) => toMs(candidate.timestamp) / 1000 === start);
  items.splice(index, 0, {
    window_start: start,
    value: null,
    predicted: step?.mean ?? null,
    lower: step?.lower ?? null,
    upper: step?.upper ?? null,
    anomaly_score: null,
    ...change,
  });
}

/** An anomaly is dated by the end of its window; one sent in from elsewhere perhaps by its start. */
function startOf(at_s: number, items: HistoryItem[]): number {
  const start = at_s - (windowSize(items) ?? 0);
  return items.some((item) => item.window_start === start) ? start : at_s;
}

/** Joins what the server remembers with what came live meanwhile: the server's word counts where both speak. */
export function reconcile(loaded: HistoryItem[], live: HistoryItem[], max: number): HistoryItem[] {
  const byStart = new Map<number, HistoryItem>();
  const oldest = loaded[0]?.window_start ?? -Infinity;
  for (const item of live) if (item.window_start >= oldest) byStart.set(item.window_start, item);
  for (const item of loaded) {
    const mine = byStart.get(item.window_start);
    byStart.set(item.window_start, mine ? { ...mine, ...present(item) } : item);
  }
  return [...byStart.values()].sort((a, b) => a.window_start - b.window_start).slice(-max);
}

function present(item: HistoryItem): Partial<HistoryItem> {
  return Object.fromEntries(Object.entries(item).filter(([, value]) => value != null));
}

/** The steps that lie beyond the newest window. */
export function ahead(timeline: Timeline): PathStep[] {
  const last = timeline.items.at(-1)?.window_start ?? -Infinity;
  return timeline.path.filter((step) => toMs(step.timestamp) / 1000 > last);
}
