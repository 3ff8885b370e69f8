import * as format from "./format.ts";
import type { AlertItem, Stage, Stats } from "./model.ts";

export type Level = "unknown" | "good" | "watch" | "bad";

/** One of the three questions that the overview answers in a look. */
export interface Answer {
  level: Level;
  headline: string;
  details: string[];
}

export interface Findings {
  stats: Stats | undefined;
  /** Set while the server does not answer. */
  unreachable: string | null;
  /** `/health/ready`: null while unknown. */
  ready: { ok: boolean; detail: string } | null;
  alerts: AlertItem[] | undefined;
}

/** Limits of the contract's alerts, and softer ones of ours before them. */
const LIMIT = {
  lag: 10_000,
  lagWatch_s: 5,
  errorRate: 0.05,
  errorRateWatch: 0.001,
  p99_ms: 1000,
  p99Watch_ms: 100,
  fill: 0.8,
};

interface Finding {
  level: "watch" | "bad";
  text: string;
}

/** Is it well? */
export function isItWell({ stats, unreachable, ready }: Findings): Answer {
  if (unreachable) return { level: "bad", headline: "No answer", details: [unreachable] };
  if (!stats) return { level: "unknown", headline: "Asking…", details: [] };
  const found: Finding[] = [];
  const add = (level: Finding["level"], text: string) => found.push({ level, text });
  if (!stats.kafka.is_connected) add("bad", "Kafka is not connected");
  if (ready && !ready.ok) add("bad", `Not ready${ready.detail ? `: ${ready.detail}` : ""}`);
  const errors = stats.service.error_rate;
  if (errors > LIMIT.errorRate) add("bad", `${format.percent(errors)} of events fail`);
  else if (errors > LIMIT.errorRateWatch) add("watch", `${format.percent(errors)} of events fail`);
  const p99 = stats.processor.p99_latency_ms;
  if (p99 > LIMIT.p99_ms) add("bad", `Slow: p99 ${format.millis(p99)}`);
  else if (p99 > LIMIT.p99Watch_ms) add("watch", `Latency p99 ${format.millis(p99)}`);
  if (stats.buffer.drop_rate > 0) add("bad", `${format.percent(stats.buffer.drop_rate)} of updates dropped`);
  const full = culprit(stats.processor.stages ?? []);
  if (full && fill(full) >= LIMIT.fill) add("watch", `${full.name} is ${format.percent(fill(full), 0)} full`);
  else if (stats.buffer.utilization >= LIMIT.fill) {
    add("watch", `Buffers are ${format.percent(stats.buffer.utilization, 0)} full`);
  }
  const details = found.map((finding) => finding.text);
  if (found.some((finding) => finding.level === "bad")) return { level: "bad", headline: "Not well", details };
  if (found.length) return { level: "watch", headline: "Worth a look", details };
  return {
    level: "good",
    headline: "All is well",
    details: [
      `${format.plural(stats.service.registered_models, "model")}, no fault in sight`,
      `Up ${format.seconds(stats.service.uptime_seconds)}`,
    ],
  };
}

/** What is odd? Judged over the newest alerts, for replayed events carry times far from the clock. */
export function whatIsOdd(alerts: AlertItem[] | undefined): Answer {
  if (!alerts) return { level: "unknown", headline: "Asking…", details: [] };
  if (!alerts.length) return { level: "good", headline: "Nothing odd", details: ["No alert has been raised"] };
  const anomalies = alerts.filter((alert) => alert.kind === "anomaly");
  const rules = alerts.filter((alert) => alert.kind === "rule").length;
  const system = alerts.filter((alert) => alert.kind === "system").length;
  const critical = alerts.filter((alert) => alert.severity === "CRITICAL").length;
  const high = alerts.filter((alert) => alert.severity === "HIGH").length;
  const models = new Set(anomalies.map((alert) => alert.model_id)).size;
  const details = [
    [
      critical ? `${critical} critical` : "",
      high ? `${high} high` : "",
      rules ? format.plural(rules, "fired rule") : "",
      system ? format.plural(system, "system error") : "",
    ]
      .filter(Boolean)
      .join(", "),
    `Of the newest ${format.plural(alerts.length, "alert")}`,
  ].filter(Boolean);
  const headline = anomalies.length
    ? `${format.plural(anomalies.length, "anomaly", "anomalies")} in ${format.plural(models, "model")}`
    : format.plural(alerts.length, "alert");
  return { level: system ? "bad" : critical || high ? "watch" : "good", headline, details };
}

/** How far behind? */
export function howFarBehind(stats: Stats | undefined, unreachable: string | null): Answer {
  // What was known before says nothing of now.
  if (unreachable) return { level: "unknown", headline: "Unknown", details: [] };
  if (!stats) return { level: "unknown", headline: "Asking…", details: [] };
  const { lag, events_per_second } = stats.processor;
  // Where the server does not say how long, the present rate does.
  const lag_seconds =
    stats.processor.lag_seconds ?? (lag != null && events_per_second > 0 ? lag / events_per_second : null);
  const latency = `Processing p99 ${format.millis(stats.processor.p99_latency_ms)}`;
  if (lag == null) return { level: "unknown", headline: "Lag not reported", details: [latency] };
  const behind = lag_seconds == null ? format.plural(lag, "record") : format.seconds(lag_seconds);
  const level = lag > LIMIT.lag ? "bad" : (lag_seconds ?? 0) > LIMIT.lagWatch_s ? "watch" : "good";
  const upToDate = level === "good" && (lag_seconds == null ? lag === 0 : lag_seconds < 1);
  return {
    level,
    headline: upToDate ? "Up to date" : `${behind} behind`,
    details: [`${format.plural(lag, "record")} waiting in Kafka`, latency],
  };
}

/** Share of a mailbox that is taken, 0 to 1. */
export function fill(stage: Stage): number {
  return stage.capacity > 0 ? Math.min(1, stage.depth / stage.capacity) : 0;
}

/** The stage that holds the others up: the fullest, and of equals the one that waited longest. */
export function culprit(stages: Stage[]): Stage | undefined {
  return stages.reduce<Stage | undefined>((worst, stage) => {
    if (!worst) return stage;
    const more = fill(stage) - fill(worst);
    return more > 0 || (more === 0 && stage.wait_seconds > worst.wait_seconds) ? stage : worst;
  }, undefined);
}

/** As an event meets them. What a server has besides comes last. */
const ORDER = ["aggregator", "forecasting", "forecaster", "submissions", "rules", "publisher"];

export function inOrder(stages: Stage[]): Stage[] {
  const place = (stage: Stage) => {
    const at = ORDER.indexOf(stage.name);
    return at < 0 ? ORDER.length : at;
  };
  return [...stages].sort((a, b) => place(a) - place(b));
}

/** What holds the others up: as the server found it, or else a stage that is well filled. `source` is Kafka itself. */
export function bottleneck(stats: Stats): string | null {
  if (stats.processor.bottleneck !== undefined) return stats.processor.bottleneck;
  const slow = culprit(stats.processor.stages ?? []);
  return slow && fill(slow) >= 0.5 ? slow.name : null;
}
