import assert from "node:assert/strict";
import { test } from "node:test";
import type { Aggregate, Forecast, ServerMessage } from "tidecast-client";
import type { HistoryItem } from "../model.ts";
import { type Timeline, advance, ahead, fieldOf, reconcile, windowSize } from "./timeline.ts";

const feed = { model_id: "departures/JFK", series: "departures:JFK", field: "event_count" };
const at = (hour: number) => hour * 3600;
const iso = (hour: number) => new Date(at(hour) * 1000).toISOString();

function item(hour: number, value: number | null, more: Partial<HistoryItem> = {}): HistoryItem {
  return { window_start: at(hour), value, predicted: null, lower: null, upper: null, anomaly_score: null, ...more };
}

function closed(hour: number, count: number, more: Partial<Aggregate> = {}): ServerMessage {
  const data: Aggregate = {
    series: "departures",
    key: "JFK",
    event_type: null,
    window_start: at(hour),
    window_end: at(hour + 1),
    event_count: count,
    aggregates: {},
    revision: 0,
    late_count: 0,
    ...more,
  };
  return { type: "aggregation_update", data };
}

function forecast(fromHour: number, means: number[]): ServerMessage {
  const path = means.map((mean, i) => ({ timestamp: iso(fromHour + i), mean, lower: mean - 1, upper: mean + 1 }));
  const data = { model_id: feed.model_id, metadata: { path } } as unknown as Forecast;
  return { type: "forecast_update", model_id: feed.model_id, data };
}

const start: Timeline = { items: [item(1, 10), item(2, 11), item(3, 12)], path: [] };

test("a window that comes meets the forecast that was made for it", () => {
  const after = advance(start, [forecast(4, [13, 14]), closed(4, 20), forecast(5, [15, 16])], feed, 100);
  assert.deepEqual(after.items.at(-1), item(4, 20, { predicted: 13, lower: 12, upper: 14 }));
  assert.deepEqual(ahead(after).map((step) => step.mean), [15, 16]);
  assert.equal(start.items.length, 3, "what was there is not changed in place");
});

test("a window that comes after the forecast made with it meets the one before", () => {
  const after = advance(start, [forecast(4, [13, 14]), forecast(5, [15, 16]), closed(4, 20)], feed, 100);
  assert.deepEqual(after.items.at(-1), item(4, 20, { predicted: 13, lower: 12, upper: 14 }));
  const apart = advance(advance(start, [forecast(4, [13, 14]), forecast(5, [15, 16])], feed, 100), [closed(4, 20)], feed, 100);
  assert.deepEqual(apart.items.at(-1), item(4, 20, { predicted: 13, lower: 12, upper: 14 }));
});

test("frames of others change nothing", () => {
  const others = [closed(4, 20, { key: "LGA" }), { ...forecast(4, [1]), model_id: "other" } as ServerMessage];
  assert.equal(advance(start, others, feed, 100), start);
});

test("a correction amends its window and keeps its forecast", () => {
  const first = advance(start, [forecast(4, [13]), closed(4, 20)], feed, 100);
  const corrected = advance(first, [closed(4, 21, { revision: 1 })], feed, 100);
  assert.deepEqual(corrected.items.at(-1), item(4, 21, { predicted: 13, lower: 12, upper: 14 }));
  assert.equal(corrected.items.length, 4);
});

test("an anomaly marks the window that ends at its time", () => {
  const marks = (hour: number) => {
    const anomaly = { timestamp: iso(hour), anomaly_score: 0.9 };
    const frame = { type: "anomaly_alert", model_id: feed.model_id, data: anomaly } as ServerMessage;
    return advance(start, [frame], feed, 100).items.map((i) => i.anomaly_score);
  };
  assert.deepEqual(marks(4), [null, null, 0.9]);
  assert.deepEqual(marks(3), [null, 0.9, null]);
  assert.deepEqual(marks(1), [0.9, null, null], "no window ends there: it is dated by its start");
});

test("no more windows are kept than asked for", () => {
  const batch = Array.from({ length: 50 }, (_, i) => closed(4 + i, i));
  assert.equal(advance(start, batch, feed, 10).items.length, 10);
});

test("the server's history wins where it speaks, and what came meanwhile stays", () => {
  const loaded = [item(2, 11, { predicted: 10.5 }), item(3, 12.5)];
  const live = [item(1, 10), item(3, 12, { anomaly_score: 0.4 }), item(4, 13)];
  assert.deepEqual(reconcile(loaded, live, 100), [
    item(2, 11, { predicted: 10.5 }),
    item(3, 12.5, { anomaly_score: 0.4 }),
    item(4, 13),
  ]);
});

test("a field may hold dots", () => {
  const { data } = closed(1, 3, { aggregates: { "a.b": { avg: 7 } as never } }) as { data: Aggregate };
  assert.equal(fieldOf(data, "a.b.avg"), 7);
  assert.equal(fieldOf(data, "event_count"), 3);
  assert.equal(fieldOf(data, "gone.avg"), null);
});

test("the size of a window is the usual distance, whatever is missing", () => {
  assert.equal(windowSize([1, 2, 3, 9, 10, 11].map((hour) => item(hour, 0))), 3600);
  assert.equal(windowSize([item(1, 0)]), null);
});
