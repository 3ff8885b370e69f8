import { signal } from "@preact/signals";
import { type Aggregate, EventStreamParser, waitBefore, defaultBackOff } from "tidecast-client";
import { loginWanted, token } from "../session.ts";
import { Ring } from "./ring.ts";

/** One event type's newest windows. */
export interface TypeHistory {
  key: string;
  windows: Ring<Aggregate>;
}

const WINDOWS_MAX = 90;
/** Types are few; a stream with a type per event must not fill the page's memory. */
const TYPES_MAX = 200;

export type StreamState = "connecting" | "open" | "waiting" | "refused";
export const streamState = signal<StreamState>("connecting");
/** Windows by event type; a new map object with each batch, so that readers see it change. */
export const byType = signal<ReadonlyMap<string, TypeHistory>>(new Map());

let started = false;

/** Reads `GET /stream/metrics` for as long as the page lives. */
export function startByType(): void {
  if (started) return;
  started = true;
  void read(0);
}

async function read(attempt: number): Promise<void> {
  let next = attempt;
  try {
    if (loginWanted.value !== null) throw new Error("no token yet");
    const headers: Record<string, string> = { accept: "text/event-stream" };
    if (token.value) headers["authorization"] = `Bearer ${token.value}`;
    const response = await fetch("/stream/metrics", { headers, cache: "no-store" });
    if (response.status === 401) loginWanted.value ??= "";
    if (response.status === 403 || response.status === 404) {
      // That stays so until there is another token, and then the page begins anew, or until the service has such a series.
      streamState.value = "refused";
      const asked = token.value;
      const stop = token.subscribe((given) => {
        if (given === asked) return;
        queueMicrotask(() => stop());
        void read(0);
      });
      return;
    }
    if (!response.ok || !response.body) throw new Error(`status ${response.status}`);
    streamState.value = "open";
    next = 0;
    const parser = new EventStreamParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      const batch: Aggregate[] = [];
      for (const event of parser.push(value)) {
        try {
          batch.push(JSON.parse(event.data) as Aggregate);
        } catch {
          continue;
        }
      }
      if (batch.length) take(batch);
    }
  } catch {
    // Lost or refused: the state says so, and the next attempt follows.
  }
  streamState.value = "waiting";
  setTimeout(() => void read(next + 1), waitBefore(next, defaultBackOff, Math.random()));
}

/** Adds windows; a correction (a higher revision of a window already here) replaces it. */
export function take(batch: Aggregate[]): void {
  const next = new Map(byType.value);
  for (const aggregate of batch) {
    let history = next.get(aggregate.key);
    if (!history) {
      if (next.size >= TYPES_MAX) continue;
      history = { key: aggregate.key, windows: new Ring(WINDOWS_MAX) };
      next.set(aggregate.key, history);
    }
    const items = history.windows.items;
    const same = items.findLastIndex((window) => window.window_start === aggregate.window_start);
    if (same >= 0) {
      if (aggregate.revision >= items[same]!.revision) items[same] = aggregate;
    } else if (!history.windows.last || aggregate.window_start > history.windows.last.window_start) {
      history.windows.push(aggregate);
    }
  }
  byType.value = next;
}
