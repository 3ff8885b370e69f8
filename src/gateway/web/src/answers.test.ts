import assert from "node:assert/strict";
import { test } from "node:test";
import { bottleneck, culprit, howFarBehind, inOrder, isItWell, whatIsOdd } from "./answers.ts";
import type { AlertItem, Stats } from "./model.ts";

function stats(change: (s: Stats) => void = () => {}): Stats {
  const s: Stats = {
    processor: { events_per_second: 200, total_events: 1e6, processing_time_ms: 1, p99_latency_ms: 8, errors: 0, lag: 12, lag_seconds: 0.1 },
    buffer: { utilization: 0.1, drop_rate: 0, size: 1, capacity: 10 },
    service: { uptime_seconds: 60, registered_models: 3, forecast_count: 9, error_count: 0, error_rate: 0, last_forecast_time: null },
    websocket: { active_connections: 1, queued_messages: 0 },
    kafka: { is_connected: true, topic: "analytics-events", messages_sent: 1, errors: 0 },
    distribution: {},
    top_sources: [],
  };
  change(s);
  return s;
}

const well = (s: Stats | undefined, more = {}) =>
  isItWell({ stats: s, unreachable: null, ready: { ok: true, detail: "" }, alerts: [], ...more });

test("nothing found is well", () => assert.equal(well(stats()).level, "good"));

test("each trouble is named", () => {
  const cases: [(s: Stats) => void, string, RegExp][] = [
    [(s) => (s.kafka.is_connected = false), "bad", /Kafka/],
    [(s) => (s.service.error_rate = 0.06), "bad", /6.0 % of events fail/],
    [(s) => (s.service.error_rate = 0.002), "watch", /0.2 %/],
    [(s) => (s.processor.p99_latency_ms = 1500), "bad", /1.5 s/],
    [(s) => (s.processor.p99_latency_ms = 300), "watch", /300 ms/],
    [(s) => (s.buffer.drop_rate = 0.01), "bad", /dropped/],
    [(s) => (s.buffer.utilization = 0.9), "watch", /90 % full/],
    [(s) => (s.processor.stages = [{ name: "forecaster", depth: 9, capacity: 10, wait_seconds: 1 }]), "watch", /forecaster is 90 % full/],
  ];
  for (const [change, level, text] of cases) {
    const answer = well(stats(change));
    assert.equal(answer.level, level, String(text));
    assert.match(answer.details.join(), text);
  }
  assert.match(well(stats(), { ready: { ok: false, detail: "topics" } }).details.join(), /Not ready: topics/);
});

test("silence is never well", () => {
  assert.equal(well(undefined).level, "unknown");
  assert.equal(well(stats(), { unreachable: "no answer" }).level, "bad");
});

test("odd is judged by the worst, and counted by kind", () => {
  const alert = (kind: AlertItem["kind"], severity: string, model_id: string | null = null): AlertItem => ({
    timestamp: "2013-02-08T22:00:00Z", kind, severity, model_id, rule: null, message: "", data: {},
  });
  assert.equal(whatIsOdd(undefined).level, "unknown");
  assert.equal(whatIsOdd([]).level, "good");
  const answer = whatIsOdd([alert("anomaly", "CRITICAL", "a"), alert("anomaly", "LOW", "a"), alert("rule", "HIGH")]);
  assert.equal(answer.level, "watch");
  assert.equal(answer.headline, "2 anomalies in 1 model");
  assert.match(answer.details[0]!, /1 critical, 1 high, 1 fired rule/);
  assert.equal(whatIsOdd([alert("system", "LOW")]).level, "bad");
});

test("behind is told in seconds, else in records, else not at all", () => {
  assert.equal(howFarBehind(stats(), null).headline, "Up to date");
  assert.equal(howFarBehind(stats(), "no answer").level, "unknown");
  const late = howFarBehind(stats((s) => Object.assign(s.processor, { lag: 20_000, lag_seconds: 75 })), null);
  assert.deepEqual([late.level, late.headline], ["bad", "1 min 15 s behind"]);
  const counted = howFarBehind(stats((s) => Object.assign(s.processor, { lag: 11_000, lag_seconds: null, events_per_second: 0 })), null);
  assert.equal(counted.headline, "11,000 records behind");
  const guessed = howFarBehind(stats((s) => Object.assign(s.processor, { lag: 4_000, lag_seconds: null })), null);
  assert.equal(guessed.headline, "20 s behind", "4,000 records at 200 a second");
  assert.equal(howFarBehind(stats((s) => Object.assign(s.processor, { lag: null })), null).level, "unknown");
});

test("the culprit is the fullest, then the one that waited longest", () => {
  const stage = (name: string, depth: number, wait_seconds: number) => ({ name, depth, capacity: 10, wait_seconds });
  assert.equal(culprit([stage("a", 1, 9), stage("b", 5, 1), stage("c", 5, 2)])?.name, "c");
  assert.equal(culprit([]), undefined);
});

test("the stages stand in the order in which an event meets them, and the server names the slow one", () => {
  const stage = (name: string, depth: number) => ({ name, depth, capacity: 10, wait_seconds: 0 });
  const stages = [stage("publisher", 1), stage("rules", 9), stage("another", 0), stage("aggregator", 2)];
  assert.deepEqual(inOrder(stages).map(({ name }) => name), ["aggregator", "rules", "publisher", "another"]);
  const told = (more: object) => bottleneck({ processor: { stages, ...more } } as unknown as Stats);
  assert.equal(told({ bottleneck: "source" }), "source");
  assert.equal(told({ bottleneck: null }), null);
  assert.equal(told({}), "rules");
});
