import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStreamParser } from "../../src/index.ts";

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
