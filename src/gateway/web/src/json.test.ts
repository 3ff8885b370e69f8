import assert from "node:assert/strict";
import { test } from "node:test";
import { pretty, readJson } from "./json.ts";

test("JSON is laid out and stays what it was, to the last digit", () => {
  const text = '{"a":[1,{"b":"x, \\"{y}\\""}],"id":9007199254740993123,"e":{},"l":[ ],"n":null}';
  const laid = pretty(text)!;
  assert.deepEqual(JSON.parse(laid), JSON.parse(text));
  assert.ok(laid.includes("9007199254740993123"));
  assert.equal(pretty('{"a":[1,2],"e":{}}'), JSON.stringify({ a: [1, 2], e: {} }, null, 2).replace('"e": {}', '"e": {}'));
  assert.equal(pretty('"text"'), '"text"');
});

test("what is no JSON is said to be none", () => {
  assert.equal(pretty('{"a":'), null);
  assert.match(readJson("{").fault!, /^Not JSON: /);
  assert.equal(readJson("1").fault, undefined);
});
