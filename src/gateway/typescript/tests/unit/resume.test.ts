import assert from "node:assert/strict";
import { test } from "node:test";
import { forecast, heartbeat, rig, subscribed } from "./rig.ts";

const FORECASTS = { model_ids: ["a"], update_types: ["new_forecast" as const] };
const ALERTS = { model_ids: ["*"], update_types: ["alert" as const] };

/** Two subscriptions that cannot be one message, at position p2. */
function two() {
  const rigged = rig();
  rigged.connection.subscribe(FORECASTS);
  const releaseAlerts = rigged.connection.subscribe(ALERTS);
  rigged.connection.open();
  rigged.last().open();
  rigged.last().hear(subscribed("p1"));
  rigged.last().hear(subscribed("p9"));
  rigged.last().hear(forecast("a", 0, "p2"));
  rigged.last().lose();
  rigged.messages.length = 0;
  return { ...rigged, releaseAlerts };
}

const values = (messages: unknown[]) => messages.flatMap((message: any) => message.data.predicted_value ?? []);

test("names of which the same is wanted go in one message, also those of several holders", () => {
  const { connection, last, comeBack } = rig();
  connection.subscribe({ model_ids: ["a"], update_types: ["alert"] });
  connection.subscribe({ model_ids: ["a", "b"], update_types: ["new_forecast", "alert"] });
  connection.open();
  last().open();
  last().hear(subscribed("p1"));
  last().lose();
  const { sent } = comeBack();
  assert.deepEqual(sent, [{ type: "subscribe", model_ids: ["a", "b"], update_types: ["alert", "new_forecast"], resume: "p1" }]);
});

test("names that are too many for one message go in several", () => {
  const { connection, last } = rig();
  const model_ids = Array.from({ length: 500 }, (_, i) => `${i}`.padStart(100, "m"));
  connection.subscribe({ model_ids, update_types: ["new_forecast"] });
  connection.open();
  last().open();
  assert.ok(last().sent.length > 1 && last().sent.every((message) => JSON.stringify(message).length < 65_536));
  assert.deepEqual(last().sent.flatMap((message) => message.model_ids), model_ids);
});

test("the answer to a later subscription does not move a client past what still waits for it", () => {
  const { connection, last } = rig();
  connection.subscribe(FORECASTS);
  connection.open();
  last().open();
  last().hear(subscribed("p1"));
  connection.subscribe(ALERTS);
  last().hear(subscribed("p9"));
  assert.equal(connection.position, "p1");
});

test("several subscriptions are through with the heartbeat after all their answers", () => {
  const { connection, last, comeBack } = two();
  const { sent } = comeBack();
  assert.deepEqual(sent.map((message) => [message.type, message.resume]), [["subscribe", "p2"], ["subscribe", "p2"], ["ping", undefined]]);
  last().hear(heartbeat);
  last().hear(subscribed("p2", true));
  last().hear(subscribed("p2", true));
  last().hear(forecast("a", 1, "p3"));
  last().hear({ type: "rule_alert", id: "r1", data: {} });
  assert.equal(connection.position, "p2", "what the second missed may still be on its way");
  last().hear(heartbeat);
  assert.equal(connection.position, "p3");
});

test("cut short again, it goes back to where it stood and passes over what it has", () => {
  const { connection, last, comeBack, messages } = two();
  comeBack();
  for (const message of [subscribed("p2", true), forecast("a", 1, "p3"), forecast("a", 1, "p4")]) last().hear(message);
  last().lose();
  assert.equal(comeBack().sent[0].resume, "p2");
  const again = [forecast("a", 1, "q3"), forecast("a", 1, "q4"), forecast("a", 1, "q5"), forecast("a", 2, "q6")];
  for (const message of [subscribed("p2", true), subscribed("p2", true), ...again, heartbeat]) last().hear(message);
  assert.deepEqual(values(messages), [1, 1, 1, 2], "each as often as there was one");
  assert.equal(connection.position, "q6");
  last().hear(forecast("a", 2, "q7"));
  assert.deepEqual(values(messages), [1, 1, 1, 2, 2]);
});

test("what came without a position may be ahead of the place: it is passed over until a position has passed it", () => {
  const { last, comeBack, messages } = two();
  const alert = (id: string, position?: string) => ({ type: "rule_alert", id, data: { predicted_value: id }, ...(position && { position }) });
  const back = (...updates: unknown[]) => {
    comeBack();
    for (const message of [subscribed("p2", true), subscribed("p2", true), ...updates, heartbeat]) last().hear(message);
  };
  back(alert("r1"));
  last().lose();
  back(alert("r1"), alert("r2"));
  last().lose();
  back(alert("r1"), alert("r2"));
  last().hear(alert("r3", "p8"));
  last().lose();
  // A gateway would not send it again from there; were it another of the same content, it must come.
  back(alert("r1"));
  assert.deepEqual(values(messages), ["r1", "r2", "r3", "r1"]);
});

test("with one subscription left it still passes over what it has", () => {
  const { last, comeBack, messages, releaseAlerts } = two();
  comeBack();
  last().hear(subscribed("p2", true));
  last().hear(forecast("a", 1, "p3"));
  last().lose();
  releaseAlerts();
  const { sent } = comeBack();
  assert.deepEqual(sent.map((message) => message.type), ["subscribe", "ping"]);
  for (const message of [subscribed("p2", true), forecast("a", 1, "p3"), heartbeat, forecast("a", 1, "p4")]) last().hear(message);
  assert.deepEqual(values(messages), [1, 1]);
});

test("where nothing can be replayed it stands where the first answer says", () => {
  const { connection, gaps, last, comeBack } = two();
  comeBack();
  const unavailable = { type: "error", data: { code: "resume_unavailable", message: "too much" } };
  for (const message of [unavailable, subscribed("p7", false), unavailable, subscribed("p8", false), forecast("a", 5), heartbeat]) {
    last().hear(message);
  }
  assert.equal(connection.position, "p7");
  assert.equal(gaps.length, 2);
});

test("a subscription that is refused does not keep the others from being through", () => {
  const { connection, last, comeBack } = two();
  comeBack();
  const refused = { type: "error", data: { code: "unknown_model", message: "there is no model" } };
  for (const message of [refused, subscribed("p2", true), forecast("a", 1, "p3"), heartbeat]) last().hear(message);
  assert.equal(connection.position, "p3");
});

test("when nothing is wanted any more there is nothing to go on from", () => {
  const { connection, last } = rig();
  const release = connection.subscribe(FORECASTS);
  connection.open();
  last().open();
  last().hear(subscribed("p1"));
  release();
  assert.equal(connection.position, undefined);
  connection.subscribe(ALERTS);
  last().hear(subscribed("p5"));
  assert.equal(connection.position, "p5");
});
