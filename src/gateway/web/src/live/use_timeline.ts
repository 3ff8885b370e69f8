import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Forecast } from "../../client/index.ts";
import { type Page, Problem, get } from "../api.ts";
import type { HistoryItem } from "../model.ts";
import { type Resource, useResource } from "../resource.ts";
import { toMs } from "../time.ts";
import { listen } from "./hub.ts";
import { type Feed, type Timeline, advance, reconcile } from "./timeline.ts";

const EMPTY: Timeline = { items: [], path: [] };

export interface LiveTimeline {
  /** For its states: loading and failed. */
  loaded: Resource<true>;
  timeline: ReadonlySignal<Timeline>;
}

/**
 * A model's timeline: loaded, kept up by live frames, and asked for again now and then, for a frame may have been
 * skipped and a late event may have corrected a window.
 *
 * @param windows how many windows are held and shown
 */
export function useTimeline(id: string, feed: Feed | null, windows: number, every_ms = 20_000): LiveTimeline {
  const timeline = useMemo(() => signal<Timeline>(EMPTY), [id, windows]);
  const api = `/api/models/${encodeURIComponent(id)}`;
  const loaded = useResource<true>(
    async (abort) => {
      const [history, forecast] = await Promise.all([
        get<Page<HistoryItem>>(`${api}/history?limit=${windows}`, abort),
        get<Forecast>(`${api}/forecast`, abort).catch(stillWarming),
      ]);
      const items = history.items.map(normal).sort((a, b) => a.window_start - b.window_start);
      const held = timeline.peek();
      timeline.value = {
        items: reconcile(items, held.items, windows),
        path: forecast?.metadata.path ?? held.path,
      };
      return true;
    },
    ["timeline", id, windows],
    every_ms,
  );
  const key = feed && `${feed.series}|${feed.field}`;
  useEffect(() => {
    if (!feed) return;
    const wanted = { model_ids: [id], update_types: ["new_forecast", "anomaly_detected", "aggregation"] as const };
    return listen({ model_ids: wanted.model_ids, update_types: [...wanted.update_types] }, (batch) => {
      timeline.value = advance(timeline.peek(), batch, feed, windows);
    });
  }, [id, key, timeline]);
  return { loaded, timeline };
}

/** A model that has not seen enough has no forecast yet; that is no failure of the page. */
function stillWarming(error: unknown): null {
  if (error instanceof Problem && (error.status === 404 || error.status === 409 || error.status === 422)) return null;
  throw error;
}

function normal(item: HistoryItem): HistoryItem {
  const start = item.window_start as unknown as number | string;
  return typeof start === "string" ? { ...item, window_start: toMs(start) / 1000 } : item;
}
