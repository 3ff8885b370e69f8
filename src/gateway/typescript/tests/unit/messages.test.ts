// The types say what the gateway's own description says: each message of `asyncapi.json` has samples here that the
// compiler checks against the types, and that are checked against its schemas.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import type { ClientMessage, Event, ForecastUpdate, IngestAnswer, ServerMessage } from "../../src/index.ts";

const document = JSON.parse(readFileSync("../asyncapi.json", "utf8"));

const forecast: ForecastUpdate["data"] = {
  model_id: "sales/north",
  timestamp: "2026-01-20T10:30:00Z",
  predicted_value: 12.5,
  confidence_interval: [10, 15],
  forecast_horizon: 24,
  model_type: "ETS",
  metadata: { path: [{ timestamp: "2026-01-20T10:30:00Z", mean: 12.5, lower: 10, upper: 15 }], accuracy: 0.9, unit: "pieces" },
};
const wanted = { model_ids: ["sales/*"], update_types: ["new_forecast", "anomaly_detected", "aggregation", "alert", "metrics"] } as const;
const mutable = { model_ids: [...wanted.model_ids], update_types: [...wanted.update_types] };

const clients: Record<string, ClientMessage[]> = {
  subscribe: [{ type: "subscribe" }, { type: "subscribe", ...mutable, data_format: "msgpack", resume: "AQ" }],
  unsubscribe: [{ type: "unsubscribe" }, { type: "unsubscribe", ...mutable }],
  ping: [{ type: "ping" }],
  auth: [{ type: "auth", token: "a.b.c" }],
};
const servers: { [Type in ServerMessage["type"]]: Extract<ServerMessage, { type: Type }>[] } = {
  subscribed: [{ type: "subscribed", position: "AQ", data: mutable }, { type: "subscribed", position: "AQ", resumed: true, data: mutable }],
  unsubscribed: [{ type: "unsubscribed", data: mutable }],
  forecast_update: [{ type: "forecast_update", model_id: "sales/north", data: forecast }, { type: "forecast_update", model_id: "sales/north", position: "AQ", data: forecast }],
  anomaly_alert: [
    {
      type: "anomaly_alert",
      model_id: "sales/north",
      id: "anomalies-0-7",
      position: "AQ",
      data: {
        model_id: "sales/north",
        timestamp: "2026-01-20T10:30:00Z",
        anomaly_score: 0.97,
        observed_value: null,
        predicted_value: 12.5,
        expected_range: [10, null],
        severity: "HIGH",
        message: "below the expected",
        recommended_actions: ["look"],
      },
    },
  ],
  aggregation_update: [
    {
      type: "aggregation_update",
      position: "AQ",
      data: {
        series: "by_source",
        key: "north",
        event_type: null,
        window_start: 0,
        window_end: 60,
        event_count: 1,
        aggregates: { value: { count: 1, sum: 2, avg: 2, min: 2, max: 2, std: 0, p50: 2 } },
        revision: 0,
        late_count: 0,
      },
    },
  ],
  rule_alert: [{ type: "rule_alert", id: "rules-0-1", data: {} }, { type: "rule_alert", id: "rules-0-1", model_id: "sales/north", position: "AQ", data: { rule: "big" } }],
  metrics_update: [{ type: "metrics_update", position: "AQ", data: {} }],
  heartbeat: [{ type: "heartbeat", data: { server_time: "2026-01-20T10:30:00Z" } }],
  gap: [{ type: "gap", data: { skipped: 3, model_ids: ["sales/north"] } }],
  error: (["invalid_message", "unknown_type", "invalid_update_type", "invalid_data_format", "unknown_model", "rate_limited", "resume_unavailable"] as const).map(
    (code) => ({ type: "error", data: { code, message: "why" } }),
  ),
};
const ingest: { [Type in IngestAnswer["type"]]: Extract<IngestAnswer, { type: Type }>[] } = {
  ack: [{ type: "ack", data: { accepted: 3 } }, { type: "ack", data: { accepted: 3 }, credit: { bytes: 1024, events_per_second: 100 } }],
  credit: [{ type: "credit", data: { bytes: 1024, events_per_second: 100 } }],
  error: [{ type: "error", data: { code: "invalid_json", message: "why", index: 0 } }],
};
const events: Event[] = [
  { source: "north", type: "sale", data: { value: 1 } },
  { id: "1", source: "north", type: "sale", timestamp: 1_700_000_000, data: {}, metadata: {} },
];

const samples: Record<string, unknown[]> = { ...clients, ...servers, ack: ingest.ack, credit: ingest.credit, refusal: ingest.error, event: events };

/** What of a value is not as the schema says, for the words that the document uses. */
function faults(schema: any, value: any, at: string): string[] {
  if (schema.$ref) return faults(document.components.schemas[schema.$ref.split("/").at(-1)], value, at);
  const known = ["type", "const", "enum", "items", "properties", "required", "additionalProperties", "description"];
  const found = Object.keys(schema).filter((word) => !known.includes(word)).map((word) => `${at}: this test does not know "${word}"`);
  const kinds: string[] = [schema.type ?? []].flat();
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  if (kinds.length && !kinds.some((name) => name === kind || (name === "integer" && Number.isInteger(value)))) found.push(`${at}: a ${kind}`);
  if ("const" in schema && value !== schema.const) found.push(`${at}: ${value}`);
  if (schema.enum && !schema.enum.includes(value)) found.push(`${at}: ${value}`);
  if (kind === "array" && schema.items) value.forEach((item: unknown, i: number) => found.push(...faults(schema.items, item, `${at}[${i}]`)));
  if (kind === "object") {
    for (const name of schema.required ?? []) if (!(name in value)) found.push(`${at}.${name}: missing`);
    for (const [name, inner] of Object.entries(value)) {
      const property = schema.properties?.[name];
      if (property) found.push(...faults(property, inner, `${at}.${name}`));
      else if (schema.additionalProperties === false) found.push(`${at}.${name}: unknown`);
    }
  }
  return found;
}

/** Every property of the schema, also those that may be left out. */
function properties(schema: any): string[] {
  if (schema.$ref) return properties(document.components.schemas[schema.$ref.split("/").at(-1)]);
  return Object.entries(schema.properties ?? {}).flatMap(([name, inner]) => [name, ...properties(inner).map((deeper) => `${name}.${deeper}`)]);
}

const has = (value: any, path: string) => path.split(".").every((name) => (value = value?.[name]) !== undefined);

test("every message of the description is typed as it is described", () => {
  assert.deepEqual(Object.keys(samples).sort(), Object.keys(document.components.messages).sort());
  for (const [name, message] of Object.entries<any>(document.components.messages)) {
    for (const sample of samples[name]!) assert.deepEqual(faults(message.payload, sample, name), []);
    for (const path of properties(message.payload)) {
      assert.ok(samples[name]!.some((sample) => has(sample, path)), `${name}: ${path} is not in the types, or in no sample`);
    }
  }
});

test("no code of an error is left out", () => {
  const codes = document.components.messages.error.payload.properties.data.properties.code.enum;
  assert.deepEqual(servers.error.map((error) => error.data.code), codes);
});
