import assert from "node:assert/strict";
import { test } from "node:test";
import { NEW_MODEL, draftOf, specOf } from "./model_draft.ts";

test("a model that was read is sent back as it was, without what it tells of itself", () => {
  const read = {
    model_id: "sales/a",
    model_type: "SARIMA",
    order: [1, 1, 1],
    seasonal_order: [0, 1, 1, 7],
    series: "by_source:a",
    field: "value.avg",
    history: [1, null, 3],
    horizon: 12,
    level: 0.95,
    anomaly_threshold: 0.8,
    metadata: { region: "Nord" },
    enabled: true,
  };
  const { spec, faults } = specOf(draftOf({ ...read, state: "live", version: 4, observations: 9 }), read);
  assert.deepEqual(spec, read);
  assert.deepEqual(faults, {});
});

test("what a family does not have is not sent", () => {
  const draft = { ...NEW_MODEL, model_id: "m", series: "a:b", order: "1, 1, 1", season: "24", exogenous: "a:b/c" };
  assert.deepEqual(specOf({ ...draft, model_type: "ETS" }).spec["order"], undefined);
  assert.equal(specOf({ ...draft, model_type: "ETS" }).spec["season"], 24);
  assert.equal(specOf({ ...draft, model_type: "ARIMA" }).spec["season"], undefined);
  assert.deepEqual(specOf({ ...draft, model_type: "ARIMA" }).spec["order"], [1, 1, 1]);
  assert.deepEqual(specOf({ ...draft, model_type: "SARIMAX" }).spec["exogenous"], ["a:b/c"]);
});

test("what cannot be sent is said beside its field", () => {
  const { spec, faults } = specOf({ ...NEW_MODEL, model_id: "m", horizon: "many", metadata: "{", model_type: "GARCH", order: "1, x" });
  assert.deepEqual(Object.keys(faults).sort(), ["horizon", "metadata", "order"]);
  assert.equal("horizon" in spec || "order" in spec, false);
});
