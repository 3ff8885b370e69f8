import assert from "node:assert/strict";
import { test } from "node:test";
import { suggest } from "./completion.ts";

const sample = {
  event_type: "WINDOW_CLOSED",
  model_id: "m",
  timestamp: "2026-01-20T10:30:10Z",
  data: { series: "by_type", event_count: 412, aggregates: { value: { avg: 51.3, p95: 88.1 } } },
};
/** The caret stands at `|`. */
const at = (text: string) => suggest(text.replace("|", ""), text.indexOf("|"), sample);
const texts = (text: string) => at(text)?.items.map((item) => item.text) ?? null;

test("names, fields and calls are completed where they can stand", () => {
  assert.deepEqual(texts("da|"), ["data"]);
  assert.deepEqual(texts("data.|"), ["series", "event_count", "aggregates", "get('"]);
  assert.deepEqual(texts("data.event_count > 3 && data.aggregates.value.p|"), ["p95"]);
  assert.deepEqual(texts("priority == EventPriority.h|"), ["HIGH"]);
  assert.deepEqual(texts("model_id.st|"), ["startsWith('"]);
  assert.deepEqual(texts("timestamp.getH|"), ["getHours()"]);
  assert.equal(at("1 + data.ev|ent")!.from, 9);
});

test("nothing is suggested in a text, a number, or where all is written", () => {
  for (const text of ["model_id == 'da|", 'x == "it\\"s da|', "12|", "data.nothing.x|", "model_id|", "|", "EventPriority.LOW.x|"]) {
    assert.equal(texts(text), null, text);
  }
});
