// The fixture's answers to those who run it: who has seen to an alert, silences, models that are made and changed, dead
// letters, Kafka, sessions, the audit. Kept in memory, written down in the audit as the gateway does.

const HOUR_MS = 3_600_000;
const iso = (ms) => new Date(ms).toISOString();
const USERS = ["ann", "bo", null];

const FAMILIES = ["ARIMA", "SARIMA", "SARIMAX", "AutoARIMA", "ETS", "AutoETS", "Theta", "DynamicOptimizedTheta", "GARCH", "SeasonalNaive", "Ensemble", "External"];
const TOPICS = ["analytics-events", "flights", "ml-predictions", "streaming-aggregates", "streaming-alerts", "streaming-events-dlq", "streaming-metrics", "a-topic-with-a-very-long-name.of-some-team.and-of-one-of-its-systems.v2"];

export function desk({ random, alerts, models, dlq, add, sockets, described }) {
  const silences = [];
  const audit = [];
  const records = new Map();
  let changes = 0;

  function write(action, path, before, after, at_ms = Date.now(), subject = "ann") {
    const id = String(at_ms * 1000 + changes++).padStart(16, "0") + "-00c0ffee";
    audit.unshift({ id, timestamp: iso(at_ms), subject, address: "127.0.0.1:52114", action, path, request: null, before, after });
  }

  // What was changed in the days before, so that there is something to page through.
  for (let i = 0; i < 130; i++) {
    const at_ms = Date.now() - (131 - i) * 0.7 * HOUR_MS;
    const who = USERS[i % 3];
    const rule = { name: `rule_${i % 9}`, event_type: "ANOMALY_DETECTED", condition: "data.anomaly_score >= 0.9", action: "log", enabled: true };
    if (i % 5 === 0) write("rule.replace", `/api/rules/rule_${i % 9}`, rule, { ...rule, condition: "data.anomaly_score >= 0.95 && model_id.startsWith('departures/')", enabled: i % 2 === 0, fired: 3, version: i }, at_ms, who);
    else if (i % 5 === 1) write("alert.acknowledge", `/api/alerts/anomalies-0-${i}/acknowledge`, null, { by: who, at: iso(at_ms), note: null }, at_ms, who);
    else if (i % 5 === 2) write("model.create", "/api/models", null, { model_id: `sales/${i}`, model_type: "ETS", series: "by_source:a", field: "value.avg", horizon: 12, level: 0.95, metadata: { region: "Nord" }, state: "warming_up", version: 1 }, at_ms, who);
    else if (i % 5 === 3) write("silence.delete", `/api/silences/night%20${i}`, { name: `night ${i}`, model_id: "delays/*", rule: null, until: iso(at_ms), reason: "planned work on the feed of delays, which sends nothing from ten in the evening", by: who }, null, at_ms, who);
    else write("dlq.replay", "/api/dlq/replay", null, { replayed: i, skipped: 0 }, at_ms, who);
  }

  function recordsOf(topic) {
    if (!records.has(topic)) {
      records.set(topic, Array.from({ length: 120 }, (_, i) => ({
        partition: i % 4,
        offset: 918_230 - Math.floor(i / 4),
        timestamp: iso(Date.now() - i * 1_700),
        key: i % 7 === 3 ? null : `sensor_${String(i % 40).padStart(4, "0")}`,
        value: i % 11 === 5 ? null : JSON.stringify({ id: 9007199254740993n.toString(), source: `sensor_${i % 40}`, type: "sensor_data", data: { value: Math.round(random() * 1e4) / 100, list: [1, 2, 3], note: i % 9 === 0 ? "a longer remark that does not fit on one line of a narrow screen" : "" } }).replace('"9007199254740993"', "9007199254740993"),
        value_base64: i % 11 === 5 ? "gqZzb3VyY2WkSkZLL6R0eXBlqWRlcGFydHVyZQ==" : null,
        headers: i % 3 ? {} : { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "tidecast-origin": "replay" },
        truncated: i % 29 === 28,
      })));
    }
    return records.get(topic);
  }
  function arrive(topic, key, value) {
    const known = recordsOf(topic);
    const record = { partition: 1, offset: Math.max(...known.map((r) => r.offset)) + 1, timestamp: iso(Date.now()), key, value, value_base64: null, headers: {}, truncated: false };
    known.unshift(record);
    return record;
  }
  setInterval(() => {
    arrive("analytics-events", "sensor_0001", JSON.stringify({ source: "sensor_0001", type: "sensor_data", data: { value: Math.round(random() * 100) } }));
    const known = recordsOf("analytics-events");
    if (known.length > 400) known.length = 400;
  }, 1_500).unref();

  const figures = (n) => ({ total_messages: n, messages_sent: n - (n % 7 === 3 ? 4 : 0), messages_failed: n % 7 === 3 ? 4 : 0, success_rate: n % 7 === 3 && n ? (n - 4) / n : 1, total_bytes: n * 260, avg_latency_ms: 3.1, p90_latency_ms: 5.2, p99_latency_ms: 11.4 });
  const hourly = (hours, topic) => Array.from({ length: hours }, (_, i) => {
    const at = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - (hours - 1 - i) * HOUR_MS;
    const n = Math.round((topic ? 9_000 : 31_000) * (1.2 + Math.sin(at / HOUR_MS / 3.8)) * (0.9 + 0.2 * Math.abs(Math.sin(at))));
    return { hour: iso(at).replace(".000Z", "Z"), ...(topic ? { topic } : {}), ...figures(n) };
  });

  // As the gateway tells it: whether a silence covers an alert now.
  const fits = (pattern, text) => pattern === null || (text !== null && (pattern.endsWith("*") ? text.startsWith(pattern.slice(0, -1)) : text === pattern));
  const cover = () => {
    for (const alert of alerts) alert.silenced = silences.some((s) => fits(s.model_id, alert.model_id) && fits(s.rule, alert.rule));
  };

  const checkModel = (body, problem) => {
    const wrong = (field, detail) => problem(422, "Unprocessable Entity", detail, field);
    if (!FAMILIES.includes(body.model_type)) return wrong("model_type", `found "${body.model_type}"; allowed: ${FAMILIES.join(", ")}`), false;
    if (!body.series && body.model_type !== "External") return wrong("series", "found nothing; allowed: family:key, or family:* for one model per key"), false;
    if (body.series && !/^\w+:./.test(body.series)) return wrong("series", `found "${body.series}"; allowed: family:key, or family:* for one model per key`), false;
    if (body.horizon < 1 || body.horizon > 1000) return wrong("horizon", `found ${body.horizon}; allowed: 1 to 1000`), false;
    return true;
  };
  const spec = (body) => ({ ...body, model_id: body.model_id });

  const started = Date.now();
  function sessions() {
    const fixed = [
      { kind: "ingest", address: "10.0.4.17:50112", user: "loader", format: "msgpack", subscriptions: 0, queued: 0, queued_bytes: 0, skipped: 0 },
      { kind: "ingest", address: "10.0.4.18:50113", user: "loader", format: "json", subscriptions: 0, queued: 12, queued_bytes: 40_211, skipped: 0 },
      { kind: "sse", address: "[2001:db8:85a3:8d3:1319:8a2e:370:7348]:41872", user: "a.user.with.a.rather.long.name@some.organisation.example", format: "json", subscriptions: 1, queued: 0, queued_bytes: 0, skipped: 0 },
      { kind: "websocket", address: "10.0.7.3:61001", user: "wall", format: "msgpack", subscriptions: 214, queued: 1_902, queued_bytes: 1_311_870, skipped: 40_118 },
    ].map((session, i) => ({ id: i + 1, connected_at: iso(started - (i * 7 + 3) * 613_000), ...session }));
    const live = [...sockets].map((session, i) => ({ id: 100 + i, kind: "websocket", address: `127.0.0.1:${4711 + i}`, user: null, connected_at: iso(started), format: "json", subscriptions: session.wants.size, queued: 0, queued_bytes: 0, skipped: 0 }));
    return [...fixed, ...live];
  }

  /** Answers what is its own to answer; false for all else. */
  return function answer({ path, method, url, headers, body, json, problem, list }) {
    const ofAlert = /^\/api\/alerts\/([^/]+)\/acknowledge$/.exec(path);
    if (ofAlert) {
      const alert = alerts.find((a) => a.id === decodeURIComponent(ofAlert[1]));
      if (!alert) return problem(404, "Not Found", "there is no such alert among the newest"), true;
      const before = alert.acknowledged;
      if (method === "DELETE") {
        if (!before) return problem(404, "Not Found", "nobody has acknowledged the alert"), true;
        alert.acknowledged = null;
        write("alert.unacknowledge", path, before, null);
        return json(204), true;
      }
      alert.acknowledged = { by: "ann", at: iso(Date.now()), note: body?.note ?? null };
      write("alert.acknowledge", path, before, alert.acknowledged);
      return json(201, alert.acknowledged), true;
    }
    if (path === "/api/silences" && method === "GET") return list(silences), true;
    if (path === "/api/silences" && method === "POST") {
      const until_ms = Date.parse(body.until);
      if (!(until_ms > Date.now())) return problem(422, "Unprocessable Entity", `found ${body.until}, which is over; allowed: a time to come`, "until"), true;
      if (silences.some((s) => s.name === body.name)) return problem(409, "Conflict", `there is a silence "${body.name}"; remove it first`), true;
      if (!/^[A-Za-z0-9 ._/-]{1,200}$/.test(body.name)) return problem(422, "Unprocessable Entity", "1 to 200 characters", "name"), true;
      const silence = { name: body.name, model_id: body.model_id, rule: body.rule, until: iso(until_ms), until_ms, reason: body.reason, by: "ann" };
      silences.push(silence);
      cover();
      write("silence.create", path, null, silence);
      return json(201, silence), true;
    }
    const ofSilence = /^\/api\/silences\/([^/]+)$/.exec(path);
    if (ofSilence && method === "DELETE") {
      const index = silences.findIndex((s) => s.name === decodeURIComponent(ofSilence[1]));
      if (index < 0) return problem(404, "Not Found", "there is no such silence"), true;
      const [gone] = silences.splice(index, 1);
      cover();
      write("silence.delete", path, gone, null);
      return json(204), true;
    }
    if (path === "/api/models" && method === "POST") {
      if (!checkModel(body, problem)) return true;
      if (models.some((m) => m.model_id === body.model_id)) return problem(409, "Conflict", `there is a model "${body.model_id}"`), true;
      const made = add(spec(body));
      write("model.create", path, null, described(made));
      return json(201, described(made)), true;
    }
    const ofModel = /^\/api\/models\/([^/]+)$/.exec(path);
    const model = ofModel && models.find((m) => m.model_id === decodeURIComponent(ofModel[1]));
    if (model && (method === "PUT" || method === "DELETE")) {
      const wanted = headers["if-match"];
      if (wanted && wanted !== `"${model.version}"`) return problem(412, "Precondition Failed", `it is at version ${model.version}`), true;
      const before = described(model);
      if (method === "DELETE") {
        models.splice(models.indexOf(model), 1);
        write("model.delete", path, before, null);
        return json(204), true;
      }
      if (!checkModel(body, problem)) return true;
      Object.assign(model, spec(body), { version: model.version + 1 });
      write("model.replace", path, before, described(model));
      return json(200, described(model)), true;
    }
    if (path === "/api/dlq") return list(dlq), true;
    if (path === "/api/dlq/replay") {
      if (body?.payload !== undefined && body.ids?.length !== 1) return problem(422, "Unprocessable Entity", "an edited payload is for a single id", "payload"), true;
      const replayed = body?.ids?.length ?? dlq.filter((d) => !body?.reason || d.reason === body.reason).length;
      write("dlq.replay", path, null, { replayed, skipped: 0 });
      return json(200, { replayed, skipped: 0 }), true;
    }
    if (path === "/api/sessions") return list(sessions()), true;
    if (path === "/api/audit") {
      const search = (url.searchParams.get("search") ?? "").toLowerCase();
      const action = url.searchParams.get("action");
      const cursor = url.searchParams.get("cursor");
      const limit = Number(url.searchParams.get("limit") ?? 100);
      const found = audit.filter((e) => (!cursor || e.id < cursor) && (!action || e.action === action) && [e.action, e.path, e.subject ?? ""].some((text) => text.toLowerCase().includes(search)));
      return json(200, { items: found.slice(0, limit), next: found.length > limit ? found[limit - 1].id : null }), true;
    }
    if (path === "/api/kafka/health") return json(200, { status: "healthy", connected: true, bootstrap_servers: ["127.0.0.1:9092"], brokers: [{ id: 1, address: "127.0.0.1:9092" }], topics: TOPICS.length, latency_ms: 4.21, check_timestamp: iso(Date.now()) }), true;
    if (path === "/api/kafka/topics") {
      return list(TOPICS.map((name) => ({
        name, partition_count: 4, messages: recordsOf(name).length * 1_713, error: null,
        partitions: [0, 1, 2, 3].map((partition) => ({ partition, leader: 1, replicas: [1], in_sync: [1], low: 0, high: 918_231 })),
      }))), true;
    }
    const ofTopic = /^\/api\/kafka\/topics\/([^/]+)\/records$/.exec(path);
    if (ofTopic) {
      const topic = decodeURIComponent(ofTopic[1]);
      if (!TOPICS.includes(topic)) return problem(404, "Not Found", `there is no topic "${topic}"`), true;
      const partition = url.searchParams.get("partition");
      const text = url.searchParams.get("contains") ?? "";
      const found = recordsOf(topic).filter((r) => (partition === null || r.partition === Number(partition)) && `${r.key ?? ""} ${r.value ?? ""} ${Object.entries(r.headers)}`.toLowerCase().includes(text.toLowerCase()));
      // The gateway's cursor names a place in each partition; here a count does.
      const from = Number((url.searchParams.get("cursor") ?? "0:0").split(":")[1]);
      const to = from + Number(url.searchParams.get("limit") ?? 50);
      return json(200, { items: found.slice(from, to), next: to < found.length ? `0:${to}` : null }), true;
    }
    if (path === "/api/kafka/metrics") return json(200, figures(3_118_042)), true;
    if (path === "/api/kafka/metrics/summary") {
      const period = url.searchParams.get("period") ?? "today";
      return json(200, { period, ...figures(period === "today" ? 412_119 : 3_118_042) }), true;
    }
    if (path === "/api/kafka/metrics/hourly") return json(200, { items: hourly(Number(url.searchParams.get("hours") ?? 24)), next: null }), true;
    const hoursOf = /^\/api\/kafka\/metrics\/topic\/([^/]+)$/.exec(path);
    if (hoursOf) {
      const rows = hourly(Number(url.searchParams.get("limit") ?? 100), decodeURIComponent(hoursOf[1])).reverse();
      return json(200, { items: rows.filter((_, i) => i % 9 !== 4), next: null }), true;
    }
    if (path === "/api/kafka/test") {
      const connected = /^127\.0\.0\.1:/.test(body.bootstrap_servers);
      return json(200, { status: connected ? "success" : "error", connected, bootstrap_servers: body.bootstrap_servers, ...(connected ? { brokers: 1 } : { error: "no broker answered within 5 s" }), test_timestamp: iso(Date.now()) }), true;
    }
    if (path === "/api/kafka/send") {
      if (!TOPICS.includes(body.topic)) return problem(404, "Not Found", `there is no topic "${body.topic}", or we may not see it`), true;
      const record = arrive(body.topic, body.key, typeof body.message === "string" ? body.message : JSON.stringify(body.message));
      const place = { topic: body.topic, partition: record.partition, offset: record.offset, timestamp: record.timestamp };
      write("kafka.send", path, null, place);
      return json(201, place), true;
    }
    return false;
  };
}
