import { useState } from "preact/hooks";
import { type Problem, call, get, problemOf } from "../api.ts";
import { DRAFT_FIELDS, FAMILIES, type ModelDraft, NEW_MODEL, draftOf, specOf, takes } from "../model_draft.ts";
import { Dialog, Field, described } from "../ui/form.tsx";

type Detail = Record<string, unknown> & { version?: number | undefined };

interface Props {
  /** The model to change; none: a new one. */
  model: Detail | null;
  onClose: () => void;
  onSaved: (id: string) => void;
}

/** What each field is for, where its name does not say it. */
const HELP: Partial<Record<keyof ModelDraft, string>> = {
  series: "family:key, or family:* for one model a key",
  field: "event_count, or a value and a statistic: value.avg",
  season: "windows in a season; empty: found out, or none",
  order: "p, d, q",
  seasonal_order: "P, D, Q, m",
  horizon: "windows ahead, 1 to 1,000",
  level: "of the band, such as 0.95",
  anomaly_threshold: "score from which on it is an anomaly, 0 to 1",
  update_frequency_seconds: "forecast again that often; empty: at each window",
  exogenous: "family:key/field each, with commas between",
  metadata: "a JSON object, carried along in every forecast",
};

const NAMES: Record<(typeof DRAFT_FIELDS)[number], string> = {
  model_id: "Name",
  model_type: "Family",
  series: "Series",
  field: "Field",
  season: "Season",
  order: "Order",
  seasonal_order: "Seasonal order",
  horizon: "Horizon",
  level: "Level",
  anomaly_threshold: "Anomaly threshold",
  update_frequency_seconds: "Every (seconds)",
  exogenous: "Regressors",
  metadata: "Metadata",
};

const NUMBERS = ["season", "horizon", "level", "anomaly_threshold", "update_frequency_seconds"];

/** The fields of a model that may be set: sent as a whole, and resting on the version that the form was filled from. */
export function ModelForm({ model, onClose, onSaved }: Props) {
  // What polls the model beside us must not move what a change rests on.
  const [base, setBase] = useState(model);
  const [draft, setDraft] = useState<ModelDraft>(() => (model ? draftOf(model) : NEW_MODEL));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const { spec, faults } = specOf(draft, base ?? {});
  const edit = (change: Partial<ModelDraft>) => setDraft((before) => ({ ...before, ...change }));
  const api = `/api/models/${encodeURIComponent(draft.model_id)}`;
  const shown = DRAFT_FIELDS.filter((name) => takes(draft.model_type, name));
  const faultOf = (name: string) => faults[name] ?? problem?.faultOf(name);

  const submit = async () => {
    setBusy(true);
    setProblem(null);
    try {
      if (base) await call("PUT", api, spec, { version: base.version });
      else await call("POST", "/api/models", spec);
      onSaved(String(spec["model_id"]));
    } catch (error) {
      setProblem(problemOf(error, "Not saved"));
      setBusy(false);
    }
  };

  const reload = async () => {
    try {
      const now = await get<Detail>(api);
      setBase(now);
      setDraft(draftOf(now));
      setProblem(null);
    } catch (error) {
      setProblem(problemOf(error));
    }
  };

  return (
    <Dialog
      wide
      title={base ? `Change ${draft.model_id}` : "New model"}
      action={base ? "Save" : "Create"}
      busy={busy}
      disabled={Object.keys(faults).length > 0 || !draft.model_id.trim()}
      problem={problem && problem.isElsewhere(shown) ? problem : null}
      buttons={
        problem?.status === 412 && (
          <button type="button" class="push-left" onClick={() => void reload()}>
            Load it again
          </button>
        )
      }
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      {base && <p>It begins to learn anew with what is changed. Its past forecasts stay in Kafka.</p>}
      <div class="form-grid">
        {shown.map((name) => {
          const id = `model-${name}`;
          const fault = faultOf(name);
          const common = described(id, fault, HELP[name]);
          return (
            <Field key={name} id={id} label={NAMES[name]} fault={fault} help={HELP[name]}>
              {name === "model_type" ? (
                <select {...common} value={draft.model_type} onChange={(e) => edit({ model_type: e.currentTarget.value })}>
                  {FAMILIES.map((family) => (
                    <option key={family}>{family}</option>
                  ))}
                </select>
              ) : name === "metadata" ? (
                <textarea {...common} class="code" rows={3} spellcheck={false} value={draft.metadata} onInput={(e) => edit({ metadata: e.currentTarget.value })} />
              ) : (
                <input
                  {...common}
                  value={draft[name]}
                  spellcheck={false}
                  autocomplete="off"
                  inputMode={NUMBERS.includes(name) ? "decimal" : undefined}
                  disabled={name === "model_id" && !!base}
                  required={name === "model_id"}
                  onInput={(e) => edit({ [name]: e.currentTarget.value })}
                />
              )}
            </Field>
          );
        })}
      </div>
      <label class="check">
        <input type="checkbox" checked={draft.enabled} onChange={(e) => edit({ enabled: e.currentTarget.checked })} /> Enabled
      </label>
    </Dialog>
  );
}
