/** The frames of `/forecast-updates`, as they travel. Times are RFC 3339 UTC unless a name ends in `_ms`. */

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
  confidence_interval: [number, number];
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
  observed_value: number;
  predicted_value: number;
  expected_range: [number, number];
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
  aggregates: Record<string, FieldStatistics>;
  /** 0 when the window closed, and one more each time late data corrects it. */
  revision: number;
  late_count: number;
}

export type UpdateType = "new_forecast" | "anomaly_detected" | "aggregation" | "alert" | "metrics";

export interface Subscription {
  /** `["*"]` is every model that this client may read. */
  model_ids: string[];
  update_types: UpdateType[];
}

/** Where the client stands once it has this: opaque. The newest values that follow `subscribed` have none. */
interface Placed {
  position?: string;
}

export type ServerMessage =
  | ({ type: "forecast_update"; model_id: string; data: Forecast } & Placed)
  | ({ type: "anomaly_alert"; model_id: string; id?: string; data: Anomaly } & Placed)
  | ({ type: "aggregation_update"; data: Aggregate } & Placed)
  | ({ type: "rule_alert"; model_id?: string; id?: string; data: Record<string, unknown> } & Placed)
  | ({ type: "metrics_update"; data: Record<string, unknown> } & Placed)
  | { type: "heartbeat"; data: { server_time: string } }
  | ({ type: "subscribed"; resumed?: boolean; data: Subscription } & Placed)
  | { type: "unsubscribed"; data: Subscription }
  | { type: "gap"; data: { skipped: number; model_ids: string[] } }
  | { type: "error"; data: { code: string; message: string } };

export type ClientMessage =
  | ({ type: "subscribe"; data_format?: "json"; resume?: string } & Subscription)
  | ({ type: "unsubscribe" } & Subscription)
  | { type: "auth"; token: string }
  | { type: "ping" };
