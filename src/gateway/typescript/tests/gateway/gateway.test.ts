// Against a real gateway, at TIDECAST_WEBSOCKET and TIDECAST_URL, which forecasts (`tidecast dev`).
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type TestContext, test } from "node:test";
import type { Update, UpdateType } from "../../src/index.ts";
import { Listener } from "./listener.ts";
import { Wire } from "./wire.ts";

const WEBSOCKET = process.env["TIDECAST_WEBSOCKET"]!;
const URL = process.env["TIDECAST_URL"]!;

async function setUp(t: TestContext, options: Partial<ConstructorParameters<typeof Listener>[0]> = {}) {
  const wire = await Wire.to(WEBSOCKET);
  const listener = new Listener({ url: wire.url, ...options });
  t.after(() => {
    listener.connection.close();
    wire.close();
  });
  return { wire, listener };
}

/** Forecasts of a model outside, one for each value. */
async function tell(model: string, ...values: number[]) {
  const messages = values.map((value) => ({
    model_id: model,
    timestamp: "2026-01-20T10:30:00Z",
    predicted_value: value,
    confidence_interval: [value, value],
    forecast_horizon: 1,
    model_type: "External",
    metadata: {},
  }));
  const response = await fetch(`${URL}/api/forecasts`, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(messages) });
  assert.equal(response.status, 201);
}

/** A model of the gateway's own that forecasts. It may not be there yet: it is asked for again. */
async function someModel(): Promise<string> {
  for (const deadline = Date.now() + 60_000; Date.now() < deadline; ) {
    const { items } = (await (await fetch(`${URL}/api/models?limit=1000`)).json()) as { items: { model_id: string; enabled: boolean; last_forecast_time: string | null }[] };
    const ready = items.find((model) => model.enabled && model.last_forecast_time !== null);
    if (ready) return ready.model_id;
  }
  throw new Error("no model has forecast within a minute");
}

const values = (listener: Listener) => listener.of("forecast_update").map((update) => update.data.predicted_value);

test("a lost connection costs nothing", async (t) => {
  const { wire, listener } = await setUp(t);
  const model = `typescript-${randomUUID()}`;
  listener.connection.subscribe({ model_ids: [model] });
  listener.connection.open();
  await listener.until("subscribed", () => listener.of("subscribed")[0]);
  await tell(model, 0, 1);
  await listener.until("two forecasts", () => values(listener).length === 2);
  for (const round of [1, 2, 3]) {
    wire.cut();
    await tell(model, 3 * round - 1, 3 * round, 3 * round + 1);
    await listener.until("what was missed", () => values(listener).length >= 3 * round + 2);
  }
  assert.deepEqual(values(listener), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  assert.deepEqual(listener.of("subscribed").map((answer) => answer.resumed), [undefined, true, true, true]);
  const positions = listener.updates().map((update) => update.position);
  assert.equal(new Set(positions).size, 11, "each has a position of its own");
  assert.equal(listener.connection.position, positions.at(-1));
  assert.deepEqual(listener.gaps, []);
});

/** What is about the same thing comes in the same order to everybody, live or replayed. */
function streamOf(update: Update): string {
  if (update.type === "aggregation_update") return `${update.type} ${update.data.series} ${update.data.key}`;
  return `${update.type} ${"model_id" in update ? update.model_id : ""}`;
}

/** What came between two markers, by stream, without the positions: they may differ while a client catches up. */
function between(listener: Listener, isMarker: (update: Update) => boolean): Record<string, string[]> {
  const updates = listener.updates();
  const [start, end] = [updates.findIndex(isMarker), updates.findLastIndex(isMarker)];
  assert.ok(start < end);
  const byStream: Record<string, string[]> = {};
  for (const { position: _, ...update } of updates.slice(start, end + 1)) {
    (byStream[streamOf(update as Update)] ??= []).push(JSON.stringify(update));
  }
  return byStream;
}

test("live updates of several subscriptions, cut again and again, are those that another client has", async (t) => {
  const [model, marker] = [await someModel(), `typescript-${randomUUID()}`];
  const isMarker = (update: Update) => update.type === "forecast_update" && update.model_id === marker;
  const markers = (listener: Listener) => listener.updates().filter(isMarker).length;
  const steady = (await setUp(t)).listener;
  const { wire, listener } = await setUp(t);
  const wanted: [string[], UpdateType[]][] = [[[model, marker], ["new_forecast"]], [["*"], ["aggregation", "anomaly_detected"]]];
  for (const one of [steady, listener]) {
    for (const [model_ids, update_types] of wanted) one.connection.subscribe({ model_ids, update_types });
    one.connection.open();
    await one.until("subscribed", () => one.of("subscribed").length === 2);
    const newest = await one.until("the newest forecast", () => one.of("forecast_update")[0]);
    assert.equal(newest.model_id, model);
    assert.equal(newest.data.metadata.path?.length, newest.data.forecast_horizon);
  }
  await tell(marker, 0);
  for (const one of [steady, listener]) await one.until("the first marker", () => markers(one) === 1);

  for (let round = 1; round <= 4; round++) {
    const before = steady.updates().length;
    await steady.until("live updates", () => steady.updates().length >= before + 25);
    const answers = listener.of("subscribed").length;
    wire.cut();
    // Every other time it is cut again as soon as it is back, while it catches up.
    await listener.until("it is back", () => listener.of("subscribed").length > answers);
    if (round % 2 === 0) wire.cut();
  }
  const beats = listener.of("heartbeat").length;
  await listener.until("it has caught up", () => listener.of("heartbeat").length > beats);
  await tell(marker, 1);
  for (const one of [steady, listener]) await one.until("the last marker", () => markers(one) === 2);

  const expected = between(steady, isMarker);
  assert.deepEqual(between(listener, isMarker), expected);
  assert.deepEqual([listener.gaps, steady.gaps], [[], []]);
  const compared = Object.values(expected).flat().length;
  assert.ok(compared > 80, `only ${compared} updates were compared`);
  t.diagnostic(`${compared} updates in ${Object.keys(expected).length} streams over ${wire.connections} connections`);
});

test("a connection that has gone dead is noticed, and resumed", async (t) => {
  const { wire, listener } = await setUp(t, { silence_ms: 1_000 });
  const model = `typescript-${randomUUID()}`;
  listener.connection.subscribe({ model_ids: [model] });
  listener.connection.open();
  await listener.until("subscribed", () => listener.of("subscribed")[0]);
  await tell(model, 0);
  await listener.until("a forecast", () => values(listener).length === 1);
  // Pings keep one alive that is only quiet.
  await listener.until("answers to pings", () => listener.of("heartbeat").length >= 3);
  assert.equal(wire.connections, 1);
  wire.goDead();
  await tell(model, 1);
  await listener.until("what was missed", () => values(listener).length === 2);
  assert.deepEqual(values(listener), [0, 1]);
  assert.ok(listener.states.some((state) => state.kind === "waiting" && state.reason === "nothing was heard"));
});

test("a later program goes on from the position of an earlier one", async (t) => {
  const model = `typescript-${randomUUID()}`;
  const earlier = (await setUp(t)).listener;
  earlier.connection.subscribe({ model_ids: [model] });
  earlier.connection.open();
  await earlier.until("subscribed", () => earlier.of("subscribed")[0]);
  await tell(model, 0);
  await earlier.until("a forecast", () => values(earlier).length === 1);
  const position = earlier.connection.position!;
  earlier.connection.close();
  await tell(model, 1, 2);
  const later = (await setUp(t, { position })).listener;
  later.connection.subscribe({ model_ids: [model] });
  later.connection.open();
  await later.until("the rest", () => values(later).length === 2);
  assert.deepEqual(values(later), [1, 2]);
});

test("a position that nobody knows is told as a gap, and the newest follows", async (t) => {
  const model = `typescript-${randomUUID()}`;
  await tell(model, 7);
  const { listener } = await setUp(t, { position: "no such position" });
  listener.connection.subscribe({ model_ids: [model] });
  listener.connection.open();
  const answer = await listener.until("an answer", () => listener.of("subscribed")[0]);
  assert.equal(answer.resumed, false);
  assert.deepEqual(listener.gaps.map((gap) => gap.reason), ["not_replayed"]);
  // It is on its way through Kafka: as the newest, or as an update.
  await listener.until("the newest", () => values(listener).length === 1);
  assert.deepEqual(values(listener), [7]);
});

test("a bad subscription is told, and the connection stays", async (t) => {
  const { wire, listener } = await setUp(t);
  listener.connection.open();
  await listener.until("open", () => listener.connection.state.kind === "open");
  listener.connection.subscribe({ model_ids: ["*"], update_types: ["everything" as UpdateType] });
  const error = await listener.until("an error", () => listener.of("error")[0]);
  assert.equal(error.data.code, "invalid_update_type");
  assert.match(error.data.message, /everything/);
  listener.connection.subscribe({ model_ids: ["*"], update_types: ["metrics"] });
  await listener.until("subscribed", () => listener.of("subscribed")[0]);
  assert.deepEqual([wire.connections, listener.connection.state.kind], [1, "open"]);
});

test("a released subscription is ended", async (t) => {
  const { listener } = await setUp(t);
  const model = `typescript-${randomUUID()}`;
  const release = listener.connection.subscribe({ model_ids: [model] });
  listener.connection.open();
  await listener.until("subscribed", () => listener.of("subscribed")[0]);
  release();
  const answer = await listener.until("unsubscribed", () => listener.of("unsubscribed")[0]);
  assert.deepEqual(answer.data.model_ids, [model]);
});

test("a ticket is as good as a token", async (t) => {
  const tickets: string[] = [];
  const ticket = async () => {
    const response = await fetch(`${URL}/api/ws-tickets`, { method: "POST" });
    assert.equal(response.status, 201);
    tickets.push(((await response.json()) as { ticket: string }).ticket);
    return tickets.at(-1)!;
  };
  const { wire, listener } = await setUp(t, { ticket });
  listener.connection.subscribe({ model_ids: ["*"], update_types: ["alert"] });
  listener.connection.open();
  await listener.until("subscribed", () => listener.of("subscribed")[0]);
  wire.cut();
  await listener.until("subscribed again", () => listener.of("subscribed")[1]);
  assert.equal(new Set(tickets).size, 2);
});

test("with a decoder the gateway speaks MessagePack", async (t) => {
  const frames: Uint8Array[] = [];
  const decode = (bytes: Uint8Array) => {
    frames.push(bytes);
    return { type: "heartbeat", data: { server_time: "" } };
  };
  const { listener } = await setUp(t, { decode });
  listener.connection.subscribe({ model_ids: ["*"], update_types: ["alert"] });
  listener.connection.open();
  const [first] = await listener.until("a frame", () => frames.length > 0 && frames);
  // A map of three, the first of its names `data` or `type`: what reads it is the caller's.
  assert.equal(first!.at(0)! & 0xf0, 0x80);
  assert.match(new TextDecoder("latin1").decode(first), /subscribed/);
});

test("a handshake that is refused is tried again, waiting longer each time", async (t) => {
  const { listener } = await setUp(t, { url: WEBSOCKET.replace("/forecast-updates", "/nowhere") });
  listener.connection.open();
  const state = await listener.until("a third attempt", () => listener.states.find((state) => state.kind === "waiting" && state.attempt === 3));
  assert.equal(state.kind === "waiting" && state.code, 1006);
});
