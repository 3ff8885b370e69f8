import assert from "node:assert/strict";
import { test } from "node:test";
import { changes } from "./diff.ts";

test("only what changed is told, by its path", () => {
  const before = { model_id: "m", level: 0.95, metadata: { a: 1, b: 2 }, order: [1, 1, 1] };
  const after = { ...before, level: 0.9, metadata: { a: 1, b: 3 }, order: [1, 1, 2], state: "live", version: 7 };
  assert.deepEqual(changes("model.replace", before, after), [
    { field: "level", before: "0.95", after: "0.9" },
    { field: "metadata.b", before: "2", after: "3" },
    { field: "order", before: "[1,1,1]", after: "[1,1,2]" },
  ]);
});

test("what is new has no before, and what is gone no after", () => {
  assert.deepEqual(changes("silence.create", null, { name: "s", rule: null }), [
    { field: "name", before: undefined, after: "s" },
  ]);
  assert.deepEqual(changes("silence.delete", { name: "s" }, null), [{ field: "name", before: "s", after: undefined }]);
  assert.deepEqual(changes("alert.acknowledge", null, null), []);
  assert.deepEqual(changes("rule.replace", { priority_filter: "HIGH" }, { priority_filter: null }), [
    { field: "priority_filter", before: "HIGH", after: undefined },
  ]);
});
