/** A model as a form holds it, every field a text, and back to what the server takes. */

export const FAMILIES = [
  "ARIMA",
  "SARIMA",
  "SARIMAX",
  "AutoARIMA",
  "ETS",
  "AutoETS",
  "Theta",
  "DynamicOptimizedTheta",
  "GARCH",
  "SeasonalNaive",
  "Ensemble",
  "External",
] as const;

export interface ModelDraft {
  model_id: string;
  model_type: string;
  series: string;
  field: string;
  season: string;
  order: string;
  seasonal_order: string;
  horizon: string;
  level: string;
  anomaly_threshold: string;
  update_frequency_seconds: string;
  exogenous: string;
  metadata: string;
  enabled: boolean;
}

export const DRAFT_FIELDS = [
  "model_id",
  "model_type",
  "series",
  "field",
  "season",
  "order",
  "seasonal_order",
  "horizon",
  "level",
  "anomaly_threshold",
  "update_frequency_seconds",
  "exogenous",
  "metadata",
] as const;

/** Which fields a family has: those of others are refused by the server, and not shown. */
export function takes(family: string, field: keyof ModelDraft): boolean {
  const arima = ["ARIMA", "SARIMA", "SARIMAX"].includes(family);
  switch (field) {
    case "order":
      return arima || family === "GARCH";
    case "seasonal_order":
      return family === "SARIMA" || family === "SARIMAX";
    case "season":
      return !arima && family !== "GARCH" && family !== "External";
    case "exogenous":
      return family === "SARIMAX";
    default:
      return true;
  }
}

/** An empty form. */
export const NEW_MODEL: ModelDraft = {
  model_id: "",
  model_type: "AutoETS",
  series: "",
  field: "event_count",
  season: "",
  order: "",
  seasonal_order: "",
  horizon: "12",
  level: "0.95",
  anomaly_threshold: "0.8",
  update_frequency_seconds: "",
  exogenous: "",
  metadata: "",
  enabled: true,
};

/** A model that was read, as a form shows it. */
export function draftOf(model: Record<string, unknown>): ModelDraft {
  const text = (name: string) => (model[name] == null ? "" : String(model[name]));
  const list = (name: string) => (Array.isArray(model[name]) ? model[name].join(", ") : "");
  const metadata = model["metadata"];
  const hasMetadata = typeof metadata === "object" && metadata !== null && Object.keys(metadata).length > 0;
  return {
    model_id: text("model_id"),
    model_type: text("model_type"),
    series: text("series"),
    field: text("field"),
    season: text("season"),
    order: list("order"),
    seasonal_order: list("seasonal_order"),
    horizon: text("horizon"),
    level: text("level"),
    anomaly_threshold: text("anomaly_threshold"),
    update_frequency_seconds: text("update_frequency_seconds"),
    exogenous: list("exogenous"),
    metadata: hasMetadata ? JSON.stringify(metadata, null, 2) : "",
    enabled: model["enabled"] !== false,
  };
}

/** What to send, and what cannot be: a number that is none, a text that is not JSON. The rest the server judges. */
export function specOf(draft: ModelDraft, base: Record<string, unknown> = {}): { spec: Record<string, unknown>; faults: Record<string, string> } {
  const faults: Record<string, string> = {};
  const spec: Record<string, unknown> = { model_id: draft.model_id.trim(), model_type: draft.model_type, enabled: draft.enabled };
  // Observations to begin with are no matter of the form, and stay.
  if (Array.isArray(base["history"])) spec["history"] = base["history"];
  const has = (name: keyof ModelDraft) => takes(draft.model_type, name) && String(draft[name]).trim() !== "";
  for (const name of ["series", "field"] as const) if (has(name)) spec[name] = draft[name].trim();
  for (const name of ["season", "horizon", "level", "anomaly_threshold", "update_frequency_seconds"] as const) {
    if (!has(name)) continue;
    const number = Number(draft[name]);
    if (Number.isFinite(number)) spec[name] = number;
    else faults[name] = `"${draft[name]}" is no number`;
  }
  for (const name of ["order", "seasonal_order"] as const) {
    if (!has(name)) continue;
    const numbers = draft[name].replace(/^\s*\[|\]\s*$/g, "").split(/[\s,]+/).filter(Boolean).map(Number);
    if (numbers.every(Number.isInteger)) spec[name] = numbers;
    else faults[name] = "whole numbers with commas between them";
  }
  if (has("exogenous")) spec["exogenous"] = draft.exogenous.split(/[\s,]+/).filter(Boolean);
  if (has("metadata")) {
    try {
      spec["metadata"] = JSON.parse(draft.metadata);
    } catch (error) {
      faults["metadata"] = `Not JSON: ${(error as Error).message}`;
    }
  }
  return { spec, faults };
}
