/**
 * The messages of `/forecast-updates` and `/ws/ingest`, as they travel (`/asyncapi.json` on the gateway has the same as
 * schemas). Times are RFC 3339 UTC unless a comment says otherwise.
 */

/** One step of a forecast's path. */
export interface PathStep {
  timestamp: string;
  mean: number;
  lower: number;
  upper: number;
}

export interface Forecast {
  model_id: string;
  timestamp: string;
  /** The value at the last step of the horizon; the whole way there is `metadata.path`. */
  predicted_value: number;
  /** Lower and upper bound. */
  confidence_interval: [number, number];
  /** Steps ahead. */
  forecast_horizon: number;
  model_type: string;
  metadata: { path?: PathStep[]; accuracy?: number } & Record<string, unknown>;
}

export type Severity = "LOW" | "MEDIUM" | "HIGH" | "CRITICAL";

export interface Anomaly {
  model_id: string;
  timestamp: string;
  /** 0 to 1; at or above the model's threshold it is an anomaly. */
  anomaly_score: number;
  /** Null where there was none, or none that JSON can write. */
  observed_value: number | null;
  predicted_value: number | null;
  expected_range: [number | null, number | null];
  severity: Severity;
  message: string;
  recommended_actions: string[];
}

export interface FieldStatistics {
  count: number;
  sum: number;
  avg: number;
  min: number;
  max: number;
  std: number;
  p50?: number;
  p95?: number;
  p99?: number;
}

export interface Aggregate {
  series: string;
  key: string;
  event_type: string | null;
  /** Epoch seconds, aligned to the epoch. */
  window_start: number;
  window_end: number;
  event_count: number;
  /** By the name of the field. */
  aggregates: Record<string, FieldStatistics>;
  /** 0 when the window closed, and one more each time late data corrects it. */
  revision: number;
  late_count: number;
}

export type UpdateType = "new_forecast" | "anomaly_detected" | "aggregation" | "alert" | "metrics";

export interface Subscription {
  /** Model ids, series as `<family>:<key>`, or either with a `*` at its end. `["*"]` is every model that one may read. */
  model_ids: string[];
  update_types: UpdateType[];
}

/** Codes of `error`. A code that is newer than this client is a text like any other. */
export type ErrorCode =
  | "invalid_message"
  | "unknown_type"
  | "invalid_update_type"
  | "invalid_data_format"
  | "unknown_model"
  | "rate_limited"
  | "resume_unavailable"
  | (string & {});

/** Where the client stands once it has this: opaque. The newest values that follow `subscribed` have none. */
interface Placed {
  position?: string;
}

export interface ForecastUpdate extends Placed {
  type: "forecast_update";
  model_id: string;
  data: Forecast;
}

export interface AnomalyAlert extends Placed {
  type: "anomaly_alert";
  model_id: string;
  /** Names it for an acknowledgement. */
  id: string;
  data: Anomaly;
}

export interface AggregationUpdate extends Placed {
  type: "aggregation_update";
  data: Aggregate;
}

/** A rule fired, or something of the service failed. */
export interface RuleAlert extends Placed {
  type: "rule_alert";
  id: string;
  /** Where it is about one. */
  model_id?: string;
  data: Record<string, unknown>;
}

export interface MetricsUpdate extends Placed {
  type: "metrics_update";
  data: Record<string, unknown>;
}

/** What one subscribes for. */
export type Update = ForecastUpdate | AnomalyAlert | AggregationUpdate | RuleAlert | MetricsUpdate;

export interface Subscribed {
  type: "subscribed";
  position: string;
  /** Where `resume` was given: whether what was missed follows. */
  resumed?: boolean;
  data: Subscription;
}

export interface Unsubscribed {
  type: "unsubscribed";
  data: Subscription;
}

export interface Heartbeat {
  type: "heartbeat";
  data: { server_time: string };
}

/** Updates were skipped, for they were not taken in time; the newest of each model follows. */
export interface SkippedUpdates {
  type: "gap";
  data: { skipped: number; model_ids: string[] };
}

/** A message was not done; the connection stays. */
export interface ErrorMessage {
  type: "error";
  data: { code: ErrorCode; message: string };
}

/** What the gateway says on `/forecast-updates`. */
export type ServerMessage = Update | Subscribed | Unsubscribed | Heartbeat | SkippedUpdates | ErrorMessage;

/** What a client says there. Names that are left out mean every model, types the first two (to `unsubscribe`: all). */
export type ClientMessage =
  | ({ type: "subscribe"; data_format?: "json" | "msgpack"; resume?: string } & Partial<Subscription>)
  | ({ type: "unsubscribe" } & Partial<Subscription>)
  | { type: "auth"; token: string }
  | { type: "ping" };

/** An event, one a frame on `/ws/ingest`. */
export interface Event {
  /** Sent again with the same `source`, it is not stored again. */
  id?: string;
  source: string;
  type: string;
  /** RFC 3339, or epoch seconds or milliseconds. */
  timestamp?: string | number;
  data: Record<string, unknown>;
  metadata?: Record<string, unknown>;
}

export interface Credit {
  /** What may still be on the way before the connection is read from no further. */
  bytes: number;
  events_per_second: number;
}

/** What the gateway says on `/ws/ingest`. */
export type IngestAnswer =
  | { type: "ack"; data: { accepted: number }; credit?: Credit }
  | { type: "credit"; data: Credit }
  | { type: "error"; data: { code: string; message: string; index?: number } };
