import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { closeClass, waitBefore } from "../../src/index.ts";
import { forecast, heartbeat, rig, subscribed } from "./rig.ts";

/** What waits in the queue of promises has run. */
const promisesRun = () => new Promise<void>((resolve) => setImmediate(resolve));

test("a lost connection comes back by itself and subscribes again", () => {
  const { connection, sockets, states } = rig();
  connection.subscribe({ model_ids: ["a/b"], update_types: ["new_forecast"] });
  connection.open();
  sockets[0]!.open();
  assert.deepEqual(sockets[0]!.sent, [{ type: "subscribe", model_ids: ["a/b"], update_types: ["new_forecast"] }]);

  sockets[0]!.lose();
  assert.equal(states.at(-1)!.kind, "waiting");
  mock.timers.tick(374);
  assert.equal(sockets.length, 1, "not before the wait is over");
  mock.timers.tick(1);
  assert.equal(sockets.length, 2);
  sockets[1]!.open();
  assert.deepEqual(sockets[1]!.sent, sockets[0]!.sent);
  assert.equal(connection.state.kind, "open");
});

test("what is left out means every model and the first two types", () => {
  const { connection, last } = rig();
  connection.subscribe();
  connection.open();
  last().open();
  assert.deepEqual(last().sent, [{ type: "subscribe", model_ids: ["*"], update_types: ["new_forecast", "anomaly_detected"] }]);
});

test("waits grow as long as nothing is heard, and begin anew after that", () => {
  const { connection, sockets, states, comeBack } = rig();
  connection.open();
  sockets[0]!.open();
  const waits = () => states.flatMap((state) => (state.kind === "waiting" ? state.attempt : []));
  for (let i = 0; i < 3; i++) {
    sockets.at(-1)!.lose();
    comeBack();
  }
  assert.deepEqual(waits(), [1, 2, 3], "accepted and closed at once is no success");
  sockets.at(-1)!.hear(heartbeat);
  sockets.at(-1)!.lose();
  assert.equal(waits().at(-1), 1);
});

test("opened twice it connects once, and after a close it stays closed", () => {
  const { connection, sockets, states, last } = rig();
  connection.open();
  connection.open();
  last().open();
  connection.open();
  assert.equal(sockets.length, 1);
  connection.close();
  assert.equal(last().closedWith, 1000);
  last().lose(1000);
  mock.timers.tick(600_000);
  assert.equal(sockets.length, 1);
  assert.equal(states.at(-1)!.kind, "closed");
});

test("final codes are final until somebody asks again", () => {
  for (const code of [1002, 1007, 1009, 4403]) {
    const { connection, sockets, states, last } = rig();
    connection.open();
    last().open();
    last().lose(code, "no");
    mock.timers.tick(600_000);
    assert.equal(sockets.length, 1);
    assert.deepEqual(states.at(-1), { kind: "refused", code, reason: "no", class: "final" });
    connection.retryNow();
    assert.equal(sockets.length, 2);
  }
});

test("each class of codes has its way back", () => {
  assert.deepEqual([1012, 1006, 1001, 3999, 4401, 4429, 4403].map(closeClass), ["temporary", "reconnect", "reconnect", "reconnect", "credentials", "slower", "final"]);
  const { connection, states, last } = rig();
  connection.open();
  last().open();
  last().hear(heartbeat);
  const before = Date.now();
  last().lose(4429);
  const state = states.at(-1)!;
  assert.ok(state.kind === "waiting" && state.retry_at_ms - before === 11_250, "the longest wait, at once");
});

test("the token is the first message, and asked for anew at each attempt", () => {
  let token = "first";
  const { connection, sockets, last } = rig({ token: () => token });
  connection.subscribe({ model_ids: ["*"], update_types: ["alert"] });
  connection.open();
  last().open();
  assert.deepEqual(last().sent[0], { type: "auth", token: "first" });
  token = "second";
  last().lose(1012);
  mock.timers.tick(10_000);
  sockets[1]!.open();
  assert.deepEqual(last().sent[0], { type: "auth", token: "second" });
});

test("a token that was refused is not shown again, another is", () => {
  let token = "first";
  const { connection, sockets, states, last, comeBack } = rig({ token: () => token });
  connection.open();
  last().open();
  last().lose(4401, "expired");
  token = "second";
  comeBack();
  assert.deepEqual(last().sent, [{ type: "auth", token: "second" }]);
  last().hear(heartbeat);
  last().lose(4401, "expired");
  mock.timers.tick(600_000);
  assert.equal(sockets.length, 2);
  assert.deepEqual(states.at(-1), { kind: "refused", code: 4401, reason: "expired", class: "credentials" });
  connection.retryNow();
  assert.equal(sockets.length, 3, "somebody may know better");
});

test("a fresh token is shown on the open connection", async () => {
  let token = "first";
  const { connection, last } = rig({ token: () => token });
  connection.open();
  last().open();
  token = "second";
  await connection.authenticate();
  assert.deepEqual(last().sent, [{ type: "auth", token: "first" }, { type: "auth", token: "second" }]);
});

test("a ticket travels in the address, a new one each time; where none is given it is tried again", async () => {
  let given = 0;
  const ticket = async () => {
    given += 1;
    if (given === 2) throw new Error("the gateway is away");
    return `t/${given}`;
  };
  const { connection, sockets, states, last } = rig({ ticket });
  connection.open();
  await promisesRun();
  assert.equal(last().url, "ws://test/forecast-updates?ticket=t%2F1");
  last().open();
  assert.deepEqual(last().sent, []);
  last().lose(4401);
  mock.timers.tick(1_000);
  await promisesRun();
  assert.equal(sockets.length, 1);
  const state = states.at(-1)!;
  assert.equal(state.kind === "waiting" && state.reason, "the gateway is away");
  mock.timers.tick(1_000);
  await promisesRun();
  assert.equal(last().url, "ws://test/forecast-updates?ticket=t%2F3");
});

test("closed while it waits for a token, it does not connect", async () => {
  const { connection, sockets } = rig({ token: async () => "late" });
  connection.open();
  connection.close();
  await promisesRun();
  assert.equal(sockets.length, 0);
});

test("a peer that says nothing is pinged, then given up", () => {
  const { connection, sockets } = rig({ silence_ms: 10_000 });
  connection.open();
  sockets[0]!.open();
  mock.timers.tick(8_000);
  assert.ok(sockets[0]!.sent.some((message) => message.type === "ping"));
  mock.timers.tick(4_000);
  assert.equal(sockets[0]!.closedWith, 4000);
  assert.equal(connection.state.kind, "waiting");
});

test("a handshake that is not answered is given up", () => {
  const { connection, sockets } = rig({ handshake_ms: 3_000 });
  connection.open();
  mock.timers.tick(3_000);
  assert.equal(sockets[0]!.closedWith, 4000);
  assert.equal(connection.state.kind, "waiting");
  sockets[0]!.open();
  assert.equal(connection.state.kind, "waiting", "too late");
});

test("a handshake that fails is a lost connection, with `close` or without", () => {
  const { connection, sockets, states, comeBack } = rig();
  connection.open();
  sockets[0]!.onerror!({});
  sockets[0]!.lose();
  assert.equal(states.filter((state) => state.kind === "waiting").length, 1);
  comeBack();
  assert.equal(sockets.length, 2);
  sockets[1]!.onerror!({});
  assert.equal(connection.state.kind, "open", "the close that follows has the code");
});

test("a frame that is no message is passed over", () => {
  const { connection, messages, last } = rig();
  connection.open();
  last().open();
  for (const data of ["{", "null", "[]", "{}", '{"type":1}', new ArrayBuffer(2)]) last().onmessage!({ data });
  last().hear(heartbeat);
  assert.deepEqual(messages.map((message) => message.type), ["heartbeat"]);
});

test("with a decoder MessagePack is asked for, and read", () => {
  const { connection, messages, last } = rig({ decode: (bytes) => JSON.parse(new TextDecoder().decode(bytes)) });
  connection.subscribe({ model_ids: ["a"], update_types: ["alert"] });
  connection.open();
  last().open();
  assert.deepEqual(last().sent, [{ type: "subscribe", model_ids: ["a"], update_types: ["alert"], data_format: "msgpack" }]);
  last().onmessage!({ data: new TextEncoder().encode(JSON.stringify(heartbeat)).buffer });
  assert.deepEqual(messages, [heartbeat]);
});

test("gaps are told, with their reason", () => {
  const { connection, gaps, messages, last } = rig();
  connection.subscribe();
  connection.open();
  last().open();
  last().hear({ type: "gap", data: { skipped: 3, model_ids: ["a"] } });
  last().hear({ type: "error", data: { code: "resume_unavailable", message: "retention took it" } });
  last().hear({ type: "error", data: { code: "unknown_model", message: "there is no model" } });
  assert.deepEqual(gaps, [
    { reason: "too_slow", skipped: 3, model_ids: ["a"] },
    { reason: "not_replayed", message: "retention took it" },
  ]);
  assert.equal(messages.length, 3);
});

test("a released subscription that another still holds stays", () => {
  const { connection, last } = rig();
  connection.open();
  last().open();
  connection.subscribe({ model_ids: ["a"], update_types: ["alert"] });
  const release = connection.subscribe({ model_ids: ["a", "b"], update_types: ["new_forecast", "alert"] });
  release();
  release();
  assert.deepEqual(last().sent.slice(2), [
    { type: "unsubscribe", model_ids: ["a"], update_types: ["new_forecast"] },
    { type: "unsubscribe", model_ids: ["b"], update_types: ["new_forecast", "alert"] },
  ]);
});

test("after a reconnection it goes on from the last position, and from none after a close", () => {
  const { connection, last, comeBack } = rig();
  const wanted = { model_ids: ["a"], update_types: ["new_forecast" as const] };
  connection.subscribe(wanted);
  connection.open();
  last().open();
  last().hear(subscribed("p1"));
  last().hear(forecast("a", 1, "p2"));
  last().hear(forecast("a", 1));
  assert.equal(connection.position, "p2");
  last().lose();
  comeBack();
  assert.deepEqual(last().sent, [{ type: "subscribe", ...wanted, resume: "p2" }]);
  connection.close();
  connection.open();
  last().open();
  assert.deepEqual(last().sent, [{ type: "subscribe", ...wanted }]);
});

test("a position of an earlier run is gone on from", () => {
  const { connection, last } = rig({ position: "kept" });
  connection.subscribe({ model_ids: ["a"], update_types: ["alert"] });
  connection.open();
  last().open();
  assert.equal(last().sent[0].resume, "kept");
});

test("waits double up to their ceiling and are never nothing", () => {
  const backOff = { first_ms: 500, max_ms: 15_000 };
  assert.equal(waitBefore(0, backOff, 0), 250);
  assert.equal(waitBefore(1, backOff, 0.999999), 1000);
  assert.equal(waitBefore(40, backOff, 0), 7_500);
});
