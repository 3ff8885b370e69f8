/** The shapes of the REST answers that the pages read. */

export interface Stats {
  processor: {
    events_per_second: number;
    total_events: number;
    processing_time_ms: number;
    p99_latency_ms: number;
    errors: number;
    /** Records between what is read and what Kafka holds. */
    lag?: number | null;
    /** The same in seconds of event time, of the partition that is furthest behind. */
    lag_seconds?: number | null;
    /** Until the lag is gone, if it goes on shrinking as it does; null where it does not. */
    seconds_to_clear?: number | null;
    /** The stage that holds the others up, or `source`; null where nothing does. */
    bottleneck?: string | null;
    stages?: Stage[];
    ledger?: Ledger;
    /** The ledger of each partition, where the server tells it. */
    ledgers?: PartitionLedger[];
    /** Partitions that run here. */
    partitions?: number;
  };
  buffer: { utilization: number; drop_rate: number; size: number; capacity: number };
  service: {
    uptime_seconds: number;
    registered_models: number;
    forecast_count: number;
    error_count: number;
    error_rate: number;
    last_forecast_time: string | null;
  };
  websocket: { active_connections: number; queued_messages: number };
  kafka: { is_connected: boolean; topic: string; messages_sent: number; errors: number };
  distribution: Record<string, number>;
  top_sources: { source: string; count: number }[];
}

/** One mailbox on the way of an event. */
export interface Stage {
  name: string;
  depth: number;
  capacity: number;
  /** Time that senders have waited for room, since the start. */
  wait_seconds: number;
  /** Sent since the start. */
  messages?: number;
}

/** What became of the records that were read: `in` is the sum of the others. */
export interface Ledger {
  in: number;
  windowed: number;
  late: number;
  dead_lettered: number;
  filtered: number;
}

export interface PartitionLedger extends Ledger {
  topic: string;
  partition: number;
  lag?: number | null;
  lag_seconds?: number | null;
}

export interface ModelRow {
  model_id: string;
  model_type: string;
  series: string;
  field: string;
  state: string;
  observations: number;
  /** Still wanted before the first forecast. */
  needed: number;
  accuracy: number | null;
  last_forecast_time: string | null;
  anomalies: number;
  enabled: boolean;
  /** Made by this template. */
  template?: string | null;
  /** Grows with every change. */
  version?: number;
}

/** A window as it came, and what was forecast for it before it came. */
export interface HistoryItem {
  /** Epoch seconds. */
  window_start: number;
  value: number | null;
  predicted: number | null;
  lower: number | null;
  upper: number | null;
  anomaly_score: number | null;
}

export interface AlertItem {
  /** Names it, whichever way it came. */
  id?: string;
  timestamp: string;
  kind: "anomaly" | "rule" | "system";
  severity: string;
  model_id: string | null;
  rule: string | null;
  message: string;
  data: Record<string, unknown>;
  /** Somebody sees to it. Not known of one that came live, until it is listed. */
  acknowledged?: Acknowledgement | null;
  /** A silence covers it now. */
  silenced?: boolean;
}

export interface Acknowledgement {
  /** Null without authentication. */
  by: string | null;
  at: string;
  note: string | null;
}

/** Alerts that notify nobody for a while. */
export interface Silence {
  name: string;
  /** Null covers every one; `*` at the end matches any rest. */
  model_id: string | null;
  rule: string | null;
  until: string;
  until_ms: number;
  reason: string | null;
  by: string | null;
}

export interface Rule {
  name: string;
  event_type: string;
  condition: string;
  action: unknown;
  priority_filter: string | null;
  enabled: boolean;
  /** Of the four that come with the program. */
  built_in?: boolean;
  /** Times it fired, and evaluations that failed. */
  fired?: number;
  errors?: number;
  last_fired?: string | null;
  /** Grows with every change. */
  version?: number;
}

export interface DeadLetter {
  /** Names it for a replay. */
  id: string;
  reason: string;
  detail: string;
  topic: string;
  partition: number;
  offset: number;
  timestamp: string;
  key: string | null;
  /** Its bytes, where they are UTF-8. */
  payload: string | null;
  /** Its bytes, where they are not. */
  payload_base64: string | null;
  truncated: boolean;
}
