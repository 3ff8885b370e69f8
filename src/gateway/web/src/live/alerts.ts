import { computed, signal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Anomaly, ServerMessage } from "tidecast-client";
import { type Page, get } from "../api.ts";
import type { AlertItem } from "../model.ts";
import { type Resource, useResource } from "../resource.ts";
import { toMs } from "../time.ts";
import { listen } from "./hub.ts";

/** Kept in memory; the server keeps more. */
export const ALERTS_MAX = 500;

/** What came live since the page was opened, newest first. */
const arrived = signal<AlertItem[]>([]);

let users = 0;
let stop = () => {};

/** The newest alerts, of one model if it is named: those the server remembers, and those since. Newest first. */
export function useAlerts(limit: number, model_id?: string): Resource<AlertItem[]> {
  useEffect(() => {
    users += 1;
    if (users === 1) {
      stop = listen({ model_ids: ["*"], update_types: ["anomaly_detected", "alert"] }, take);
    }
    return () => {
      users -= 1;
      if (users === 0) stop();
    };
  }, []);
  const narrowed = model_id === undefined ? "" : `&model_id=${encodeURIComponent(model_id)}`;
  const loaded = useResource<AlertItem[]>(
    async (signal) => (await get<Page<AlertItem>>(`/api/alerts?limit=${limit}${narrowed}`, signal)).items,
    ["alerts", limit, narrowed],
    30_000,
  );
  return {
    ...loaded,
    data: computed(() => {
      const mine = (alert: AlertItem) => model_id === undefined || alert.model_id === model_id;
      return loaded.data.value && merge(arrived.value.filter(mine), loaded.data.value.filter(mine), limit);
    }),
  };
}

function take(batch: ServerMessage[]): void {
  const fresh = batch.flatMap((message) => toAlert(message) ?? []);
  if (fresh.length) arrived.value = [...fresh.reverse(), ...arrived.value].slice(0, ALERTS_MAX);
}

/** A live frame as an item of `/api/alerts`; null when it is no alert. */
export function toAlert(message: ServerMessage): AlertItem | null {
  if (message.type !== "anomaly_alert" && message.type !== "rule_alert") return null;
  const place = message.id === undefined ? {} : { id: message.id };
  if (message.type === "anomaly_alert") return { ...place, ...fromAnomaly(message.data) };
  const data = message.data as {
    timestamp?: string;
    priority?: string;
    model_id?: string;
    rule?: string;
    message?: string;
    event_type?: string;
    data?: Record<string, unknown>;
  };
  return {
    ...place,
    timestamp: data.timestamp ?? "",
    kind: data.event_type === "SYSTEM_ERROR" ? "system" : "rule",
    severity: data.priority ?? "MEDIUM",
    model_id: data.model_id ?? null,
    rule: data.rule ?? null,
    message: data.message ?? "",
    data: data.data ?? {},
  };
}

function fromAnomaly(anomaly: Anomaly): AlertItem {
  return {
    timestamp: anomaly.timestamp,
    kind: "anomaly",
    severity: anomaly.severity,
    model_id: anomaly.model_id,
    rule: null,
    message: anomaly.message,
    data: anomaly as unknown as Record<string, unknown>,
  };
}

/** The same alert has one identity, whichever way it came. */
export function identity(alert: AlertItem): string {
  if (alert.id !== undefined) return alert.id;
  return `${alert.kind}|${alert.model_id ?? ""}|${alert.rule ?? ""}|${toMs(alert.timestamp)}`;
}

/** Both lists as one, each alert once, at most `limit`. As listed it says more: who has seen to it. */
export function merge(live: AlertItem[], known: AlertItem[], limit: number): AlertItem[] {
  const listed = new Map(known.map((alert) => [identity(alert), alert]));
  const seen = new Set<string>();
  const merged: AlertItem[] = [];
  for (const alert of [...live, ...known]) {
    const id = identity(alert);
    if (seen.has(id)) continue;
    seen.add(id);
    merged.push(listed.get(id) ?? alert);
    if (merged.length === limit) break;
  }
  return merged;
}

/** An anomaly that can be drawn: a value that JSON cannot write (NaN) comes as null. */
export interface WholeAnomaly extends Anomaly {
  observed_value: number;
  predicted_value: number;
  expected_range: [number, number];
}

/** The anomaly that an alert carries, if it is one and whole. */
export function anomalyOf(alert: AlertItem): WholeAnomaly | null {
  const data = alert.data as Partial<Anomaly>;
  const numbers = [data.observed_value, data.predicted_value, ...(data.expected_range ?? [null])];
  if (alert.kind !== "anomaly" || numbers.some((value) => typeof value !== "number")) return null;
  return { ...(data as WholeAnomaly), model_id: data.model_id ?? alert.model_id ?? "" };
}

const RANK: Record<string, number> = { CRITICAL: 3, HIGH: 2, MEDIUM: 1, LOW: 0 };

/** How far outside, in half widths of the expected range: 1 is its very edge. */
export function excess(anomaly: WholeAnomaly): number {
  const [low, high] = anomaly.expected_range;
  const half = (high - low) / 2;
  return half > 0 ? Math.abs(anomaly.observed_value - (high + low) / 2) / half : Infinity;
}

/** The worst anomaly of each model among these alerts, worst first. */
export function worst(alerts: AlertItem[], limit: number): WholeAnomaly[] {
  const byModel = new Map<string, WholeAnomaly>();
  const order = (a: WholeAnomaly, b: WholeAnomaly) =>
    (RANK[b.severity] ?? 0) - (RANK[a.severity] ?? 0) || b.anomaly_score - a.anomaly_score || excess(b) - excess(a);
  for (const alert of alerts) {
    const anomaly = anomalyOf(alert);
    if (!anomaly) continue;
    const before = byModel.get(anomaly.model_id);
    if (!before || order(anomaly, before) < 0) byModel.set(anomaly.model_id, anomaly);
  }
  return [...byModel.values()].sort(order).slice(0, limit);
}
