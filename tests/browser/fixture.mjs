// A development fixture, no part of the product: it speaks the contract's HTTP and WebSocket with seeded, synthetic data,
// so that pages can be worked on and measured without a broker. `run.mjs` itself is meant for the real binary.
//
//   node fixture.mjs [--port 8000] [--ws-port 8765] [--models 60] [--updates 0] [--auth TOKEN]
//
// --updates: forecast frames a second beside those of the simulated flights; --auth: everything asks for this token.

import { createServer } from "node:http";
import { readFile } from "node:fs/promises";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { WebSocketServer } from "ws";
import { desk } from "./fixture_desk.mjs";

const args = Object.fromEntries(
  process.argv.slice(2).flatMap((word, i, all) => (word.startsWith("--") ? [[word.slice(2), all[i + 1]]] : [])),
);
const PORT = Number(args.port ?? 8000);
const WS_PORT = Number(args["ws-port"] ?? 8765);
const MODELS = Number(args.models ?? 60);
const UPDATES = Number(args.updates ?? 0);
const TOKEN = args.auth ?? null;
const DIST = fileURLToPath(new URL("../../src/gateway/web/dist/", import.meta.url));
const HOUR = 3600;
const STEPS = 24;

// mulberry32: the same data at every start.
let seed = 20130208;
function random() {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
}
const gauss = () => Math.sqrt(-2 * Math.log(random() + 1e-12)) * Math.cos(2 * Math.PI * random());
const iso = (s) => new Date(s * 1000).toISOString().replace(".000Z", "Z");

// A winter storm of thirty hours, every nine days.
const STORM_S = 30 * HOUR;
const stormFirst = Date.UTC(2013, 1, 8, 14) / 1000;
const stormAt = (at) => {
  const into = (((at - stormFirst) % (9 * 86400)) + 9 * 86400) % (9 * 86400);
  return into < STORM_S && at >= stormFirst - 86400 ? Math.sin((into / STORM_S) * Math.PI) : 0;
};
let clock = Date.UTC(2013, 1, 8, 12) / 1000;

const sockets = new Set();
const models = [];
const history = new Map();
const alerts = [];
let forecasts = 0;

function expected(model, at) {
  const hour = (at / HOUR) % 24;
  const day = Math.floor(at / 86400 + 4) % 7;
  const busy = hour < 5 ? 0.05 : 0.55 + 0.45 * Math.sin(((hour - 8) / 16) * Math.PI);
  const week = day === 6 ? 0.72 : 1;
  if (model.kind === "departures") return model.scale * Math.max(0.03, busy) * week;
  return model.scale * (0.5 + Math.max(0, (hour - 6) / 18)) * 0.9;
}

function observe(model, at) {
  const storm = stormAt(at);
  const base = expected(model, at);
  if (model.kind === "departures") return Math.max(0, Math.round(base * (1 - 0.97 * storm) + gauss() * Math.sqrt(base + 0.3)));
  return base * (1 + 4.2 * storm * model.exposed) + gauss() * model.spread;
}

function window(model, at) {
  const mean = expected(model, at);
  const half = model.kind === "departures" ? 2.4 * Math.sqrt(mean + 1) : 2.3 * model.spread;
  const value = observe(model, at);
  const lower = model.kind === "departures" ? Math.max(0, mean - half) : mean - half;
  const upper = mean + half;
  const z = Math.abs(value - mean) / half;
  const score = z < 1 ? z * 0.6 : Math.min(0.999, 1 - 0.4 * Math.exp(-(z - 1) * 1.6));
  return { window_start: at, value, predicted: mean, lower, upper, anomaly_score: score };
}

function forecast(model) {
  const at = clock;
  const path = Array.from({ length: STEPS }, (_, i) => {
    const t = at + (i + 1) * HOUR;
    const w = expected(model, t);
    const half = (model.kind === "departures" ? 2.4 * Math.sqrt(w + 1) : 2.3 * model.spread) * Math.sqrt(1 + i * 0.05);
    return { timestamp: iso(t), mean: w, lower: model.kind === "departures" ? Math.max(0, w - half) : w - half, upper: w + half };
  });
  const end = path.at(-1);
  return {
    model_id: model.model_id,
    timestamp: iso(at + HOUR),
    predicted_value: end.mean,
    confidence_interval: [end.lower, end.upper],
    forecast_horizon: STEPS,
    model_type: model.model_type,
    metadata: { accuracy: model.accuracy, path },
  };
}

const AIRPORTS = ["JFK", "EWR", "LGA"];
const CARRIERS = ["B6", "DL", "UA", "AA", "EV", "MQ", "US", "9E", "WN", "VX"];
const TYPES = ["ETS", "SeasonalNaive", "SARIMA", "Theta"];
for (const airport of AIRPORTS) {
  add(`departures/${airport}`, `departures_by_airport:${airport}`, "event_count", "departures", 44 - 6 * AIRPORTS.indexOf(airport), 0);
  add(`delays/${airport}`, `delays_by_airport:${airport}`, "dep_delay.avg", "delays", 17 + 3 * AIRPORTS.indexOf(airport), 1);
  for (const carrier of CARRIERS) {
    if (models.length >= MODELS) break;
    add(`carrier/${airport}/${carrier}`, `departures:${airport}/${carrier}`, "event_count", "departures", 4 + 12 * random(), 1 + CARRIERS.indexOf(carrier));
  }
}
for (let i = models.length; i < MODELS; i++) {
  add(`sensor/${String(i).padStart(5, "0")}`, `by_source:sensor_${String(i).padStart(5, "0")}`, "value.avg", "delays", 20 + 60 * random(), i);
}

function add(model_id, series, field, kind, scale, n) {
  const model = {
    model_id,
    model_type: TYPES[n % TYPES.length],
    series,
    field,
    state: "live",
    observations: 900,
    needed: 0,
    template: null,
    error: null,
    version: 1,
    accuracy: 0.82 + 0.16 * random(),
    last_forecast_time: null,
    anomalies: 0,
    enabled: true,
    kind,
    scale,
    exposed: kind === "delays" ? 0.55 + 0.45 * random() : 1,
    spread: kind === "delays" ? scale * 0.28 : 1,
  };
  if (n === 9) Object.assign(model, { state: "warming_up", observations: 20, needed: 28, accuracy: null });
  models.push(model);
  return model;
}

const SETTINGS = { horizon: STEPS, level: 0.95, anomaly_threshold: 0.8, metadata: {} };

const described = (model) => {
  const { kind, scale, exposed, spread, ...shown } = model;
  return { ...SETTINGS, ...shown, last_forecast_time: model.needed ? null : iso(clock) };
};
const simulated = models.filter((m) => !m.model_id.startsWith("sensor/"));
for (const model of simulated) {
  const items = [];
  for (let at = clock - 40 * 24 * HOUR; at <= clock; at += HOUR) items.push(window(model, at));
  history.set(model.model_id, items);
}
function historyOf(model) {
  let items = history.get(model.model_id);
  if (!items) {
    items = [];
    for (let at = clock - 400 * HOUR; at <= clock; at += HOUR) items.push(window(model, at));
    history.set(model.model_id, items);
  }
  return items;
}

function anomaly(model, w) {
  const severity = w.anomaly_score > 0.985 ? "CRITICAL" : w.anomaly_score > 0.94 ? "HIGH" : w.anomaly_score > 0.88 ? "MEDIUM" : "LOW";
  return {
    model_id: model.model_id,
    timestamp: iso(w.window_start + HOUR),
    anomaly_score: w.anomaly_score,
    observed_value: w.value,
    predicted_value: w.predicted,
    expected_range: [w.lower, w.upper],
    severity,
    message: `${model.field} of ${model.series} was ${w.value.toFixed(1)}, ${w.value > w.upper ? "above" : "below"} the expected ${w.lower.toFixed(1)} to ${w.upper.toFixed(1)}`,
    recommended_actions: ["Compare with the neighbouring series", "Look for late or missing events of this source"],
  };
}

const rules = [
  { name: "alert_critical_anomalies", event_type: "ANOMALY_DETECTED", condition: "priority == EventPriority.CRITICAL", action: "send_alert", priority_filter: "CRITICAL", enabled: true },
  { name: "save_anomalies", event_type: "ANOMALY_DETECTED", condition: "true", action: "save_to_file", priority_filter: null, enabled: true },
  { name: "log_all_events", event_type: "FORECAST_GENERATED", condition: "true", action: "log", priority_filter: null, enabled: false },
  { name: "update_performance_metrics", event_type: "FORECAST_GENERATED", condition: "data.get('model_accuracy', 1) < 0.7", action: "update_metrics", priority_filter: null, enabled: true },
  { name: "airport_stands_still", event_type: "WINDOW_CLOSED", condition: "data.series == 'departures_by_airport' && data.event_count < 3 && int(data.window_start) % 86400 > 36000", action: [{ type: "publish", topic: "ops" }, "log"], priority_filter: null, enabled: true },
].map((rule, i) => ({ ...rule, built_in: i < 4, fired: [29, 214, 0, 3, 11][i], errors: 0, last_fired: null, version: 1 }));

let positions = 0;
function raise(item) {
  item.position = `a0-${positions++}`;
  item.id = `streaming-alerts-0-${positions}`;
  item.acknowledged = null;
  item.silenced = false;
  alerts.unshift(item);
  if (alerts.length > 1000) alerts.length = 1000;
}

function step() {
  clock += HOUR;
  for (const model of simulated) {
    if (model.needed) continue;
    const w = window(model, clock);
    const items = history.get(model.model_id);
    items.push(w);
    if (items.length > 3000) items.shift();
    model.observations += 1;
    forecasts += 1;
    const [series, key] = model.series.split(/:(.*)/);
    const name = model.field.split(".")[0];
    send("aggregation", model.model_id, {
      type: "aggregation_update",
      data: aggregate(series, key, "departure", clock, HOUR, model.field === "event_count" ? w.value : 30, name === "event_count" ? "dep_delay" : name, w.value),
    });
    send("new_forecast", model.model_id, { type: "forecast_update", model_id: model.model_id, data: forecast(model) });
    if (w.anomaly_score < 0.8) continue;
    model.anomalies += 1;
    const a = anomaly(model, w);
    raise({ timestamp: a.timestamp, kind: "anomaly", severity: a.severity, model_id: model.model_id, rule: null, message: a.message, data: a });
    send("anomaly_detected", model.model_id, { type: "anomaly_alert", model_id: model.model_id, id: alerts[0].id, position: alerts[0].position, data: a });
    if (a.severity === "CRITICAL" && model.model_id.startsWith("departures/")) {
      const fired = { rule: "airport_stands_still", event_type: "WINDOW_CLOSED", priority: "HIGH", timestamp: a.timestamp, message: `Fewer than 3 departures an hour at ${model.model_id.split("/")[1]}`, data: { event_count: w.value, window_start: clock } };
      raise({ timestamp: a.timestamp, kind: "rule", severity: "HIGH", model_id: null, rule: fired.rule, message: fired.message, data: fired.data });
      send("alert", null, { type: "rule_alert", id: alerts[0].id, position: alerts[0].position, data: fired });
    }
  }
}

function aggregate(series, key, type, start, size, n, field, avg) {
  return {
    series, key, event_type: type, window_start: start, window_end: start + size, event_count: n,
    aggregates: { [field]: { count: n, sum: avg * n, avg, min: avg * 0.4, max: avg * 2.2, std: Math.abs(avg) * 0.3, p50: avg * 0.97, p95: avg * 1.6, p99: avg * 2 } },
    revision: 0, late_count: random() < 0.05 ? 1 : 0,
  };
}

const TYPE_RATES = { sensor_data: [1610, "value", 51], user_action: [420, "duration_ms", 184], system_metric: [205, "cpu", 0.37], departure: [38, "dep_delay", 12.6] };
const byTypePast = [];
function closeTypes(end) {
  const batch = Object.entries(TYPE_RATES).map(([key, [perWindow, field, avg]]) =>
    aggregate("by_type", key, key, end - 10, 10, Math.round(perWindow * (1 + 0.25 * Math.sin(end / 90) + 0.06 * gauss())), field, avg * (1 + 0.05 * gauss())));
  byTypePast.push(batch);
  if (byTypePast.length > 60) byTypePast.shift();
  return batch;
}
const now0 = Math.floor(Date.now() / 10_000) * 10;
for (let end = now0 - 600; end <= now0; end += 10) closeTypes(end);

const streams = new Set();
setInterval(() => {
  for (const data of closeTypes(Math.floor(Date.now() / 10_000) * 10)) {
    for (const response of streams) response.write(`data: ${JSON.stringify(data)}\n\n`);
  }
}, 10_000);

// The storm's first hours are already alerts when the page opens.
for (let i = 0; i < 30; i++) step();
setInterval(step, 1000);

const started = Date.now();
let events = 8_214_332;
// As they come from the gateway: in no order that a reader would choose.
const STAGES = [["publisher", 512, 0.04], ["rules", 128, 0.02], ["forecasting", 256, 0.19], ["forecaster", 64, 0.93], ["aggregator", 64, 0.08], ["submissions", 256, 0.0]];
function stages() {
  const up = (Date.now() - started) / 1000;
  return STAGES.map(([name, capacity, share], i) => ({
    name,
    depth: Math.min(capacity, Math.max(0, Math.round(capacity * (share + 0.015 * gauss())))),
    capacity,
    messages: Math.round(up * (40 + 31 * i)),
    wait_seconds: up * share * 0.09,
  }));
}

function flow() {
  const lag = Math.max(1, Math.round(18 + 14 * gauss()));
  const ledgers = [0, 1, 2, 3].map((partition) => {
    const read = Math.round(events / 4) + partition * 1_117;
    const late = Math.round(read * 0.0007);
    const filtered = partition ? Math.round(read * 0.02) : 0;
    return { topic: "analytics-events", partition, in: read, windowed: read - late - filtered - 3 - (partition === 2 ? 41 : 0), late, dead_lettered: 3, filtered, lag: Math.round(lag / 4), lag_seconds: partition === 1 ? 2.4 : 0.3 };
  });
  const ledger = Object.fromEntries(["in", "windowed", "late", "dead_lettered", "filtered"].map((name) => [name, ledgers.reduce((sum, row) => sum + row[name], 0)]));
  return { lag, lag_seconds: 2.4, seconds_to_clear: lag > 30 ? null : lag / 9, bottleneck: "forecaster", ledger, ledgers, partitions: 4 };
}

function stats() {
  const rate = 227 + 30 * Math.sin(Date.now() / 40_000) + 9 * gauss();
  events += Math.round(rate * 2);
  return {
    processor: { events_per_second: rate, total_events: events, processing_time_ms: 0.9, p99_latency_ms: 7.6 + gauss() * 0.8, errors: 12, ...flow(), stages: stages() },
    buffer: { utilization: 0.06, drop_rate: 0, size: 61, capacity: 1024 },
    service: { uptime_seconds: 86_400 * 3 + (Date.now() - started) / 1000, registered_models: models.length, forecast_count: 1_204_118 + forecasts, error_count: 12, error_rate: 12 / events, last_forecast_time: iso(clock) },
    websocket: { active_connections: sockets.size, queued_messages: 0 },
    kafka: { is_connected: true, topic: "analytics-events", messages_sent: 3_118_042, errors: 0 },
    distribution: { sensor_data: 5_830_211, user_action: 1_511_804, system_metric: 742_317, departure: 130_000 },
    top_sources: Array.from({ length: 8 }, (_, i) => ({ source: `sensor_${String(i * 7 + 1).padStart(4, "0")}`, count: Math.round(91_000 / (i + 1.6)) })),
  };
}

const letters = [
  ["invalid_json", "expected a value at byte 41", '{"source":"sensor_0012","type":"sensor_data","data":'],
  ["missing_field", "source", '{"type":"user_action","data":{"clicks":3}}'],
  ["invalid_timestamp", '"yesterday"', '{"source":"a","type":"b","timestamp":"yesterday","data":{"x":1}}'],
  ["not_finite", "data.value", '{"source":"sensor_0007","type":"sensor_data","data":{"value":1e999}}'],
  ["empty", "", ""],
  ["late", "closed 00:04:10 before", '{"source":"JFK/B6","type":"departure","timestamp":"2013-02-08T13:02:00Z","data":{"dep_delay":4}}'],
];
const dlq = Array.from({ length: 64 }, (_, i) => {
  const [reason, detail, value] = letters[[0, 0, 1, 3, 5, 5, 5, 2, 4, 1, 5][i % 11]];
  return { id: `0-${i}`, topic: "analytics-events", partition: i % 4, offset: 918_230 - i * 37, reason, detail, key: value.match(/"source":"([^"]+)/)?.[1] ?? null, payload: value, payload_base64: null, truncated: false, timestamp: new Date(Date.now() - i * 61_000).toISOString() };
});

// A model made by hand learns from nothing: it is there, and warms up.
const answerDesk = desk({
  random, alerts, models, dlq, sockets, described,
  add: (spec) => Object.assign(add(spec.model_id, spec.series ?? "", spec.field ?? "event_count", "delays", 20, 9), spec),
});

const HEADERS = (host) => ({
  "content-security-policy": `default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self' ws://${host}:${WS_PORT}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
});

const MIME = { ".html": "text/html; charset=utf-8", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml" };

createServer(async (request, response) => {
  const url = new URL(request.url, "http://fixture");
  const headers = HEADERS((request.headers.host ?? "localhost").replace(/:\d+$/, ""));
  const json = (status, body) => {
    response.writeHead(status, { ...headers, "content-type": status < 400 ? "application/json" : "application/problem+json" });
    response.end(body === undefined ? undefined : JSON.stringify(body));
  };
  const problem = (status, title, detail, field) => json(status, { type: "about:blank", title, status, detail, field });
  const list = (items) => {
    const limit = Number(url.searchParams.get("limit") ?? 100);
    const from = Number(url.searchParams.get("cursor") ?? 0);
    json(200, { items: items.slice(from, from + limit), next: from + limit < items.length ? String(from + limit) : null });
  };
  let text = "";
  for await (const chunk of request) text += chunk;
  let body;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    return problem(400, "Not JSON", "The body is not JSON.");
  }
  const path = url.pathname;
  const isData = path.startsWith("/api/") || path.startsWith("/stream/");
  if (path === "/api/client-config") {
    return json(200, { websocket_url: `ws://:${WS_PORT}/forecast-updates`, auth_required: TOKEN !== null, version: "0.1.0" });
  }
  if (isData && TOKEN && request.headers.authorization !== `Bearer ${TOKEN}`) return problem(401, "Not logged in", "A usable token is needed.");
  if (path === "/health/ready") return json(200, { status: "ready" });
  if (path === "/api/stats") return json(200, stats());
  if (path === "/api/alerts") return list(alerts.filter((a) => !url.searchParams.has("model_id") || a.model_id === url.searchParams.get("model_id")));
  if (answerDesk({ path, method: request.method, url, headers: request.headers, body, json, problem, list })) return;
  if (path === "/api/models") return list(models.map(described));
  const ofModel = /^\/api\/models\/([^/]+)(\/history|\/forecast)?$/.exec(path);
  if (ofModel) {
    const model = models.find((m) => m.model_id === decodeURIComponent(ofModel[1]));
    if (!model) return problem(404, "No such model", `There is no model ${decodeURIComponent(ofModel[1])}.`);
    if (ofModel[2] === "/history") return json(200, { items: historyOf(model).slice(-Number(url.searchParams.get("limit") ?? 100)), next: null });
    if (ofModel[2] === "/forecast") return model.needed ? problem(503, "Warming up", "Not enough windows yet.") : json(200, forecast(model));
    return json(200, { ...described(model), summary: { alpha: 0.31, gamma: 0.08, sigma2: 4.2 } });
  }
  if (path === "/api/rules" && request.method === "GET") return list(rules);
  if (path === "/api/rules" && request.method === "POST") return rules.push({ ...body, version: 1 }), json(201, body);
  if (path === "/api/rules/test") {
    if (body.rule.condition.includes("!!")) return problem(422, "Not a condition", "Syntax error at column 1: unexpected '!'.", "rule.condition");
    return json(200, { matched: true, condition: true, error: null, actions: [].concat(body.rule.action) });
  }
  const ofRule = /^\/api\/rules\/([^/]+)$/.exec(path);
  if (ofRule) {
    const index = rules.findIndex((r) => r.name === decodeURIComponent(ofRule[1]));
    if (index < 0) return problem(404, "No such rule", "There is no rule of this name.");
    if (request.method === "DELETE") return rules.splice(index, 1), json(204);
    if (request.method === "PUT") {
      const wanted = request.headers["if-match"];
      if (wanted && wanted !== `"${rules[index].version}"`) return problem(412, "Precondition Failed", "It has changed since.");
      rules[index] = { ...body, version: rules[index].version + 1 };
    }
    return json(200, rules[index]);
  }
  if (path === "/stream/metrics") {
    response.writeHead(200, { ...headers, "content-type": "text/event-stream" });
    for (const batch of byTypePast) for (const data of batch) response.write(`data: ${JSON.stringify(data)}\n\n`);
    streams.add(response);
    return void request.on("close", () => streams.delete(response));
  }
  if (isData) return problem(404, "Not found", path);
  // The pages' own files; every other path is the single page.
  const file = path.startsWith("/assets/") ? join(DIST, normalize(path)) : join(DIST, "index.html");
  try {
    const content = await readFile(file);
    response.writeHead(200, { ...headers, "content-type": MIME[extname(file)] ?? "application/octet-stream" });
    response.end(content);
  } catch {
    problem(404, "Not found", path);
  }
}).listen(PORT, "127.0.0.1", () => console.log(`fixture on http://127.0.0.1:${PORT}`));

const server = new WebSocketServer({ port: WS_PORT, host: "127.0.0.1" });
server.on("connection", (socket) => {
  const session = { socket, known: TOKEN === null, wants: new Map() };
  sockets.add(session);
  socket.on("close", () => sockets.delete(session));
  socket.on("message", (text) => {
    const message = JSON.parse(text);
    if (message.type === "auth") session.known = message.token === TOKEN;
    if (!session.known) return socket.close(4401, "a usable token is needed");
    const ids = message.model_ids?.length ? message.model_ids : ["*"];
    if (message.type === "subscribe") {
      const types = message.update_types ?? ["new_forecast", "anomaly_detected"];
      for (const id of ids) session.wants.set(id, new Set([...(session.wants.get(id) ?? []), ...types]));
      socket.send(JSON.stringify({ type: "subscribed", data: { model_ids: ids, update_types: types } }));
    }
    if (message.type === "unsubscribe") {
      for (const id of ids) for (const type of message.update_types ?? [...(session.wants.get(id) ?? [])]) session.wants.get(id)?.delete(type);
    }
    if (message.type === "ping") socket.send(JSON.stringify({ type: "heartbeat", data: { server_time: new Date().toISOString() } }));
  });
});

function send(type, id, message) {
  let text;
  for (const session of sockets) {
    if (session.wants.get("*")?.has(type) || (id && session.wants.get(id)?.has(type))) session.socket.send((text ??= JSON.stringify(message)));
  }
}

// Load: frames to whoever is connected, whatever they want, spread evenly over the second.
if (UPDATES) {
  let owed = 0;
  setInterval(() => {
    owed += UPDATES / 50;
    for (; owed >= 1; owed -= 1) {
      const model = models[Math.floor(random() * models.length)];
      const text = JSON.stringify({ type: "forecast_update", model_id: model.model_id, data: forecast(model) });
      for (const session of sockets) session.socket.send(text);
    }
  }, 20);
}
