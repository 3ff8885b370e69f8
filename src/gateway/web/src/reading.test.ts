import assert from "node:assert/strict";
import { test } from "node:test";
import { accuracy } from "./accuracy.ts";
import { toCsv } from "./csv.ts";
import * as format from "./format.ts";
import type { HistoryItem } from "./model.ts";
import { axisLabels, axisSplits, clock, toMs } from "./time.ts";

const H = 3600;
const feb8 = Date.UTC(2013, 1, 8) / 1000;

test("numbers are short and never false", () => {
  assert.equal(format.count(12_345), "12,345");
  assert.equal(format.count(8_214_332), "8.21 M");
  assert.equal(format.count(null), "–");
  assert.equal(format.value(0.0123), "0.012");
  assert.equal(format.value(1285.4), "1,285");
  assert.equal(format.percent(0.0004), "< 0.1 %");
  assert.equal(format.percent(0), "0.0 %");
  assert.equal(format.millis(0.0004 * 1000), "400 µs");
  assert.equal(format.seconds(3723), "1 h 2 min");
  assert.equal(format.seconds(59.7), "1 min");
  assert.equal(format.seconds(86_400 * 3), "3 d");
  assert.equal(format.bytes(812_004_112), "774 MiB");
});

test("a replayed year shows its date, today only its hour", () => {
  const now = Date.UTC(2026, 10, 21, 9);
  assert.equal(clock(feb8 * 1000, "utc", now), "2013-02-08 00:00:00");
  assert.equal(clock(now - 60_000, "utc", now), "08:59:00");
  assert.equal(clock(NaN, "utc", now), "–");
});

test("times come as text or as epoch seconds", () => {
  assert.equal(toMs("2013-02-08T00:00:00Z"), feb8 * 1000);
  assert.equal(toMs(feb8), feb8 * 1000);
  assert.ok(Number.isNaN(toMs("yesterday")));
});

test("an axis in UTC begins its days at midnight UTC and names each once", () => {
  const splits = axisSplits(feb8 - 5 * H, feb8 + 14 * H, 6 * H, "utc");
  assert.deepEqual(splits, [feb8, feb8 + 6 * H, feb8 + 12 * H]);
  assert.deepEqual(axisLabels(splits, 6 * H, "utc"), ["00:00\n8 Feb 2013", "06:00", "12:00"]);
  assert.deepEqual(axisLabels([feb8, feb8 + 86_400], 86_400, "utc"), ["8 Feb\n2013", "9 Feb"]);
});

test("past forecasts are judged over the windows that have both", () => {
  const item = (value: number | null, predicted: number | null): HistoryItem => ({
    window_start: 0, value, predicted, lower: predicted && predicted - 2, upper: predicted && predicted + 2, anomaly_score: null,
  });
  const a = accuracy([item(10, null), item(12, 11), item(9, 13), item(null, 10), item(10, 10)]);
  assert.equal(a.compared, 3);
  assert.equal(a.mae, (1 + 4 + 0) / 3);
  assert.equal(a.bias, (1 - 4 + 0) / 3);
  assert.equal(a.coverage, 2 / 3);
  assert.equal(a.mase, (1 + 4) / (2 + 3), "the last has no window before it");
  assert.equal(accuracy([]).mae, null);
});

test("a file of values is opened by any spreadsheet, and runs in none", () => {
  assert.equal(toCsv(["a", "b"], [["x,\"y\"", 1.5], ["=1+1", null]]), 'a,b\r\n"x,""y""",1.5\r\n\'=1+1,\r\n');
});
