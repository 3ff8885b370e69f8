import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import type { Forecast } from "tidecast-client";
import { type Page, Problem, get } from "../api.ts";
import type { HistoryItem, ModelRow } from "../model.ts";
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
 * @param model what is known of the model; nothing is asked for before
 * @param windows how many windows are held and shown
 */
export function useTimeline(id: string, model: ModelRow | undefined, windows: number, every_ms = 20_000): LiveTimeline {
  const feed: Feed | null = model ? { model_id: id, series: model.series, field: model.field } : null;
  const forecasts = model != null && model.last_forecast_time !== null;
  const timeline = useMemo(() => signal<Timeline>(EMPTY), [id, windows]);
  const api = `/api/models/${encodeURIComponent(id)}`;
  const loaded = useResource<true>(
    async (abort) => {
      if (!feed) return true;
      const [history, forecast] = await Promise.all([
        get<Page<HistoryItem>>(`${api}/history?limit=${windows}`, abort),
        forecasts ? get<Forecast>(`${api}/forecast`, abort).catch(notNow) : null,
      ]);
      const items = history.items.map(normal).sort((a, b) => a.window_start - b.window_start);
      const held = timeline.peek();
      const path = forecast?.metadata.path ?? held.path;
      const isNew = path[0]?.timestamp !== held.path[0]?.timestamp;
      timeline.value = {
        items: reconcile(items, held.items, windows),
        path,
        earlier: isNew ? held.path : (held.earlier ?? []),
      };
      return true;
    },
    ["timeline", id, windows, feed !== null, forecasts],
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

/** A model may be between two fits; what is known is shown all the same. */
function notNow(error: unknown): null {
  if (error instanceof Problem && [404, 409, 422, 503].includes(error.status)) return null;
  throw error;
}

function normal(item: HistoryItem): HistoryItem {
  const start = item.window_start as unknown as number | string;
  return typeof start === "string" ? { ...item, window_start: toMs(start) / 1000 } : item;
}
