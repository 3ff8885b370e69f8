import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { EventStreamParser, waitBefore } from "./index.ts";
import { Connection, type ConnectionState, type Socket } from "./connection.ts";
import type { ServerMessage } from "./messages.ts";

class HandSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  sent: any[] = [];
  closedWith: number | undefined;
  send(text: string) {
    this.sent.push(JSON.parse(text));
  }
  close(code?: number) {
    this.closedWith = code;
  }
}

function rig(extra: Partial<ConstructorParameters<typeof Connection>[0]> = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const sockets: HandSocket[] = [];
  const states: ConnectionState[] = [];
  const messages: ServerMessage[] = [];
  const connection = new Connection({
    url: "ws://test/forecast-updates",
    onMessage: (message) => messages.push(message),
    onState: (state) => states.push(state),
    random: () => 0.5,
    makeSocket: () => {
      const socket = new HandSocket();
      sockets.push(socket);
      return socket;
    },
    ...extra,
  });
  return { connection, sockets, states, messages };
}

test("a lost connection comes back by itself and subscribes again", () => {
  const { connection, sockets, states } = rig();
  connection.subscribe({ model_ids: ["a/b"], update_types: ["new_forecast"] });
  connection.open();
  sockets[0]!.onopen!({});
  assert.deepEqual(sockets[0]!.sent, [{ type: "subscribe", model_ids: ["a/b"], update_types: ["new_forecast"] }]);

  sockets[0]!.onclose!({ code: 1006, reason: "" });
  assert.equal(states.at(-1)!.kind, "waiting");
  mock.timers.tick(374);
  assert.equal(sockets.length, 1, "not before the wait is over");
  mock.timers.tick(1);
  assert.equal(sockets.length, 2);
  sockets[1]!.onopen!({});
  assert.deepEqual(sockets[1]!.sent, sockets[0]!.sent);
  assert.equal(connection.state.kind, "open");
});

test("after a reconnection it goes on from the last position, and from none after a close", () => {
  const { connection, sockets } = rig();
  const wanted = { model_ids: ["a"], update_types: ["new_forecast" as const] };
  connection.subscribe(wanted);
  connection.open();
  sockets[0]!.onopen!({});
  const hear = (message: unknown) => sockets.at(-1)!.onmessage!({ data: JSON.stringify(message) });
  hear({ type: "subscribed", data: wanted, position: "p1" });
  hear({ type: "forecast_update", model_id: "a", data: {}, position: "p2" });
  hear({ type: "forecast_update", model_id: "a", data: {} });
  sockets[0]!.onclose!({ code: 1006, reason: "" });
  mock.timers.tick(10_000);
  sockets[1]!.onopen!({});
  assert.deepEqual(sockets[1]!.sent, [{ type: "subscribe", ...wanted, resume: "p2" }]);
  connection.close();
  connection.open();
  sockets[2]!.onopen!({});
  assert.deepEqual(sockets[2]!.sent, [{ type: "subscribe", ...wanted }]);
});

test("a refusal is final until somebody asks again", () => {
  const { connection, sockets } = rig();
  connection.open();
  sockets[0]!.onopen!({});
  sockets[0]!.onclose!({ code: 4401, reason: "token expired" });
  mock.timers.tick(600_000);
  assert.equal(sockets.length, 1);
  connection.retryNow();
  assert.equal(sockets.length, 2);
});

test("the token is the first message, and asked for anew at each attempt", () => {
  let token = "first";
  const { connection, sockets } = rig({ token: () => token });
  connection.subscribe({ model_ids: ["*"], update_types: ["alert"] });
  connection.open();
  sockets[0]!.onopen!({});
  assert.deepEqual(sockets[0]!.sent[0], { type: "auth", token: "first" });
  token = "second";
  sockets[0]!.onclose!({ code: 1012, reason: "" });
  mock.timers.tick(10_000);
  sockets[1]!.onopen!({});
  assert.deepEqual(sockets[1]!.sent[0], { type: "auth", token: "second" });
});

test("what another still holds stays subscribed", () => {
  const { connection, sockets } = rig();
  connection.open();
  sockets[0]!.onopen!({});
  connection.subscribe({ model_ids: ["a"], update_types: ["alert"] });
  const release = connection.subscribe({ model_ids: ["a", "b"], update_types: ["new_forecast", "alert"] });
  release();
  release();
  assert.deepEqual(sockets[0]!.sent.slice(2), [
    { type: "unsubscribe", model_ids: ["a"], update_types: ["new_forecast"] },
    { type: "unsubscribe", model_ids: ["b"], update_types: ["new_forecast", "alert"] },
  ]);
});

test("a peer that says nothing is pinged, then given up", () => {
  const { connection, sockets } = rig({ silence_ms: 10_000 });
  connection.open();
  sockets[0]!.onopen!({});
  mock.timers.tick(8_000);
  assert.ok(sockets[0]!.sent.some((message) => message.type === "ping"));
  mock.timers.tick(4_000);
  assert.equal(sockets[0]!.closedWith, 4000);
  assert.equal(connection.state.kind, "waiting");
});

test("a frame that is not JSON is passed over", () => {
  const { connection, sockets, messages } = rig();
  connection.open();
  sockets[0]!.onopen!({});
  sockets[0]!.onmessage!({ data: "{" });
  sockets[0]!.onmessage!({ data: '{"type":"heartbeat","data":{"server_time":"2026-01-01T00:00:00Z"}}' });
  assert.deepEqual(messages.map((message) => message.type), ["heartbeat"]);
});

test("waits double up to their ceiling and are never nothing", () => {
  const backOff = { first_ms: 500, max_ms: 15_000 };
  assert.equal(waitBefore(0, backOff, 0), 250);
  assert.equal(waitBefore(1, backOff, 0.999999), 1000);
  assert.equal(waitBefore(40, backOff, 0), 7_500);
});

test("an event stream is read wherever it was cut", () => {
  const text = ": warm\r\n\r\nid: 7\ndata: {\"a\":\ndata: 1}\n\nevent: gap\ndata:x\n\nevent: nothing\n\n";
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventStreamParser();
    const events = [...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))];
    assert.deepEqual(events, [
      { type: "message", data: '{"a":\n1}', id: "7" },
      { type: "gap", data: "x", id: "7" },
    ]);
  }
});
