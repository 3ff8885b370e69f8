import { useEffect, useMemo, useRef } from "preact/hooks";
import { getAll } from "../api.ts";
import { save, toCsv } from "../csv.ts";
import * as format from "../format.ts";
import type { ModelRow } from "../model.ts";
import { useResource } from "../resource.ts";
import { modelPath, navigate, query, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { StateTag } from "../ui/marks.tsx";
import { Empty, Loaded } from "../ui/panel.tsx";
import { type Column, VirtualTable } from "../ui/virtual_table.tsx";
import { When } from "../ui/when.tsx";
import { toMs } from "../time.ts";
import { ModelForm } from "./model_form.tsx";

/** More than this are not fetched; the search is then by the server's order. */
const MODELS_MAX = 50_000;

const COLUMNS: Column<ModelRow>[] = [
  { id: "model_id", title: "Model", cell: (m) => m.model_id },
  { id: "model_type", title: "Type", cell: (m) => m.model_type },
  { id: "series", title: "Series", cell: (m) => <span class="faint">{m.series}</span> },
  { id: "field", title: "Field", cell: (m) => <span class="faint">{m.field}</span> },
  { id: "state", title: "State", cell: (m) => <StateCell model={m} /> },
  { id: "observations", title: "Windows", numeric: true, cell: (m) => format.count(m.observations) },
  { id: "accuracy", title: "Accuracy", numeric: true, cell: (m) => format.percent(m.accuracy) },
  { id: "anomalies", title: "Anomalies", numeric: true, cell: (m) => (m.anomalies ? <b>{format.count(m.anomalies)}</b> : <span class="faint">0</span>) },
  { id: "last_forecast_time", title: "Last forecast", cell: (m) => <When at={m.last_forecast_time} seconds={false} /> },
];

function StateCell({ model }: { model: ModelRow }) {
  if (!model.enabled) return <StateTag state="disabled" />;
  if (model.state === "warming_up" && model.needed > 0) return <StateTag state={`needs ${model.needed} more`} />;
  return <StateTag state={model.state} />;
}

/** Every model that the reader may see: searched, filtered and sorted here, for the list is small beside the windows. */
export function Models() {
  const models = useResource<ModelRow[]>((signal) => getAll("/api/models", MODELS_MAX, signal), ["models"], 30_000);
  const search = useRef<HTMLInputElement>(null);
  const q = query.value.get("q") ?? "";
  const type = query.value.get("type") ?? "";
  const state = query.value.get("state") ?? "";
  const [by, direction] = (query.value.get("sort") ?? "model_id").split(":") as [string, string | undefined];
  const down = direction === "desc";
  const all = models.data.value;
  const rows = useMemo(() => select(all ?? [], { q, type, state, by, down }), [all, q, type, state, by, down]);

  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const typing = event.target instanceof HTMLElement && event.target.matches("input, textarea, select");
      if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      search.current?.focus();
    };
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);

  const sortBy = (column: string) => {
    // Numbers are asked for from the greatest, names from the first.
    const firstDown = COLUMNS.find((c) => c.id === column)?.numeric ?? false;
    const nextDown = by === column ? !down : firstDown;
    setQuery({ sort: column === "model_id" && !nextDown ? null : `${column}${nextDown ? ":desc" : ""}` }, "push");
  };

  return (
    <div class="page-fill">
      <div class="page-head">
        <h1>Models</h1>
        <span class="note" role="status">
          {all && (rows.length === all.length ? format.plural(all.length, "model") : `${format.count(rows.length)} of ${format.plural(all.length, "model")}`)}
        </span>
        <div class="filters" role="search">
          <input
            ref={search}
            type="search"
            placeholder="Search name, series, field"
            aria-label="Search models"
            title="Press / to search"
            value={q}
            onInput={(event) => setQuery({ q: event.currentTarget.value }, "replace")}
          />
          <Choice label="Type" value={type} all="All types" options={distinct(all, (m) => m.model_type)} onChange={(v) => setQuery({ type: v }, "push")} />
          <Choice label="State" value={state} all="All states" options={distinct(all, stateOf)} onChange={(v) => setQuery({ state: v }, "push")} />
          <button type="button" onClick={() => download(rows)} disabled={!rows.length}>
            CSV
          </button>
          {may("operate") && (
            <button type="button" class="primary" onClick={() => setQuery({ create: "1" }, "push")}>
              New model
            </button>
          )}
        </div>
      </div>
      <div class="panel panel-fill">
        <Loaded of={models} rows={12}>
          {(loaded) =>
            rows.length ? (
              <VirtualTable
                label="Models"
                class="models-table"
                rows={rows}
                columns={COLUMNS}
                keyOf={(m) => m.model_id}
                hrefOf={(m) => modelPath(m.model_id)}
                sort={{ by, down }}
                onSort={sortBy}
              />
            ) : loaded.length ? (
              <Empty>
                No model matches.{" "}
                <button type="button" onClick={() => setQuery({ q: null, type: null, state: null }, "push")}>
                  Clear the filters
                </button>
              </Empty>
            ) : (
              <Empty>
                No models yet. Make one here, or add <code>[[models]]</code> to the configuration.
              </Empty>
            )
          }
        </Loaded>
      </div>
      {may("operate") && query.value.get("create") === "1" && (
        <ModelForm model={null} onClose={() => setQuery({ create: null }, "replace")} onSaved={(id) => navigate(modelPath(id), "replace")} />
      )}
    </div>
  );
}

function stateOf(model: ModelRow): string {
  return model.enabled ? model.state : "disabled";
}

function distinct(models: ModelRow[] | undefined, of: (model: ModelRow) => string): string[] {
  return [...new Set(models?.map(of))].sort();
}

interface ChoiceProps {
  label: string;
  value: string;
  all: string;
  options: string[];
  onChange: (value: string) => void;
}

/** A filter with few values. */
export function Choice({ label, value, all, options, onChange }: ChoiceProps) {
  const listed = value && !options.includes(value) ? [value, ...options] : options;
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.currentTarget.value)}>
      <option value="">{all}</option>
      {listed.map((option) => (
        <option key={option} value={option}>
          {option.replaceAll("_", " ")}
        </option>
      ))}
    </select>
  );
}

interface Selection {
  q: string;
  type: string;
  state: string;
  by: string;
  down: boolean;
}

function select(models: ModelRow[], { q, type, state, by, down }: Selection): ModelRow[] {
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = models.filter((model) => {
    if (type && model.model_type !== type) return false;
    if (state && stateOf(model) !== state) return false;
    if (!words.length) return true;
    const text = `${model.model_id} ${model.series} ${model.field}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const value = (model: ModelRow): string | number => {
    if (by === "last_forecast_time") return toMs(model.last_forecast_time) || 0;
    if (by === "state") return stateOf(model);
    return (model[by as keyof ModelRow] as string | number | null) ?? -1;
  };
  const collator = new Intl.Collator("en", { numeric: true });
  const sign = down ? -1 : 1;
  return kept.sort((a, b) => {
    const x = value(a);
    const y = value(b);
    const order = typeof x === "number" && typeof y === "number" ? x - y : collator.compare(String(x), String(y));
    return sign * order || collator.compare(a.model_id, b.model_id);
  });
}

function download(rows: ModelRow[]): void {
  const header = ["model_id", "model_type", "series", "field", "state", "enabled", "observations", "accuracy", "anomalies", "last_forecast_time"];
  save(
    "models.csv",
    toCsv(header, rows.map((m) => header.map((name) => String(m[name as keyof ModelRow] ?? "")))),
  );
}
