import { useMemo, useState } from "preact/hooks";
import { accuracy } from "../accuracy.ts";
import { type Problem, call, get, problemOf } from "../api.ts";
import { type Chart, type ChartData, TimeChart } from "../charts/time_chart.tsx";
import * as format from "../format.ts";
import { useAlerts } from "../live/alerts.ts";
import { type Timeline, ahead } from "../live/timeline.ts";
import { useTimeline } from "../live/use_timeline.ts";
import type { HistoryItem, ModelRow } from "../model.ts";
import { useResource } from "../resource.ts";
import { modelPath, navigate, query, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { toMs } from "../time.ts";
import { Confirm } from "../ui/confirm.tsx";
import { StateTag } from "../ui/marks.tsx";
import { Empty, Failed, Loaded, Loading, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { AlertList } from "./alert_list.tsx";
import { ModelChart } from "./model_chart.tsx";
import { ModelForm } from "./model_form.tsx";

type ModelDetail = ModelRow & { level?: number; anomaly_threshold?: number; error?: string | null } & Record<
    string,
    unknown
  >;

const SPANS = [72, 168, 336, 720];
const SPAN = 168;

export function ModelPage({ id }: { id: string }) {
  const api = `/api/models/${encodeURIComponent(id)}`;
  const model = useResource<ModelDetail>((signal) => get(api, signal), ["model", id], 15_000);
  // A link may ask for anything.
  const asked = Number(query.value.get("windows"));
  const windows = Number.isInteger(asked) && asked >= 10 && asked <= 5000 ? asked : SPAN;
  const row = model.data.value;
  const { loaded, timeline } = useTimeline(id, row, windows, 5_000);
  const [removing, setRemoving] = useState(false);
  const [fault, setFault] = useState<Problem | null>(null);
  const [refitted, setRefitted] = useState(false);

  if (!row) {
    const error = model.error.value;
    return (
      <>
        <h1>{id}</h1>
        {!error ? (
          <Loading rows={8} />
        ) : error.status === 404 ? (
          <Empty>
            There is no model of this name, or you may not see it. <a href="/models">All models</a>
          </Empty>
        ) : (
          <Failed error={error} retry={model.refresh} />
        )}
      </>
    );
  }

  const change = async (method: string, body?: unknown) => {
    setFault(null);
    try {
      // A template's model is not removed by itself; without a precondition the server says so in these words.
      await call(method, api, body, { version: method === "DELETE" && row.template ? undefined : row.version });
      if (method === "DELETE") navigate("/models");
      else model.refresh();
    } catch (error) {
      setFault(problemOf(error));
      model.refresh();
    }
  };
  const refit = async () => {
    setFault(null);
    try {
      await call("POST", `${api}/refit`);
      setRefitted(true);
    } catch (error) {
      setFault(problemOf(error));
    }
  };
  const mayChange = may("operate");
  const editing = mayChange && query.value.get("edit") === "1";

  const threshold = row.anomaly_threshold ?? 0.8;
  const isTemplate = row.state === "template";
  return (
    <div class="model">
      <div class="page-head">
        <h1>{id}</h1>
        <StateTag state={row.enabled ? row.state : "disabled"} />
        <span class="note">
          {row.model_type}, {row.field} of {row.series}
          {row.template && (
            <>
              , from the template <a href={modelPath(row.template)}>{row.template}</a>
            </>
          )}
        </span>
        <div class="filters">
          <select
            aria-label="Windows shown"
            value={windows}
            onChange={(event) => setQuery({ windows: event.currentTarget.value === String(SPAN) ? null : event.currentTarget.value }, "push")}
          >
            {(SPANS.includes(windows) ? SPANS : [...SPANS, windows].sort((a, b) => a - b)).map((n) => (
              <option key={n} value={n}>
                {n} windows
              </option>
            ))}
          </select>
          {mayChange && (
            <>
              <button type="button" onClick={() => setQuery({ edit: "1" }, "push")}>
                Edit
              </button>
              {row.enabled && (row.state === "live" || row.state === "template") && (
                <button type="button" title="Fit again to what is known by now, before the next window" onClick={() => void refit()}>
                  Refit
                </button>
              )}
              <button type="button" onClick={() => void change("PUT", { ...row, enabled: !row.enabled })}>
                {row.enabled ? "Disable" : "Enable"}
              </button>
              <button type="button" class="danger" onClick={() => setRemoving(true)}>
                Remove
              </button>
            </>
          )}
        </div>
      </div>
      {fault && <Failed error={fault} retry={() => setFault(null)} word="Dismiss" />}
      {row.error && <p class="notice fault">The newest fit failed: {row.error}</p>}
      {refitted && (
        <p class="notice" role="status">
          {isTemplate ? "New fits of all its models were" : "A new fit was"} asked for, to be in use from the next window on.{" "}
          <button type="button" onClick={() => setRefitted(false)}>
            Dismiss
          </button>
        </p>
      )}
      {row.state === "warming_up" && row.needed > 0 && (
        <p class="notice">
          Warming up: {format.plural(row.needed, "more window")} until the first forecast.
          <progress max={row.needed + row.observations} value={row.observations} aria-label="Windows seen" />
        </p>
      )}
      {isTemplate && (
        <p class="notice">
          A template makes one model for each key of its series. <a href={`/models?q=${encodeURIComponent(`${id}/`)}`}>Its models</a>
        </p>
      )}
      {!isTemplate && (
        <>
          <Panel title="Actual and forecast" class="model-main" note="right of the line: the newest forecast">
            <Loaded of={loaded} rows={8}>
              {() => <ModelChart id={id} timeline={timeline.value} height={340} threshold={threshold} group="model" />}
            </Loaded>
          </Panel>
          <Panel title="Past forecasts against what came" class="model-errors" note="value − forecast made one window before">
            <Loaded of={loaded} rows={4}>
              {() => <Residuals id={id} timeline={timeline.value} />}
            </Loaded>
          </Panel>
          <Panel title="Anomaly score" class="model-score" note={`at or above ${threshold} it is an anomaly`}>
            <Loaded of={loaded} rows={3}>
              {() => <Scores id={id} timeline={timeline.value} threshold={threshold} />}
            </Loaded>
          </Panel>
        </>
      )}
      <div class="model-side">
        {!isTemplate && <Accuracies timeline={timeline.value} row={row} />}
        {!isTemplate && <Ahead timeline={timeline.value} />}
        <Facts row={row} />
      </div>
      {!isTemplate && <ModelAlerts id={id} />}
      {removing && (
        <Confirm
          title={`Remove ${id}?`}
          action="Remove"
          onCancel={() => setRemoving(false)}
          onConfirm={() => (setRemoving(false), void change("DELETE"))}
        >
          {isTemplate && "The models that it made go with it. "}
          It stops forecasting, and what it has learnt is lost. Its past forecasts stay in Kafka.
          {!isTemplate && id.includes("/") && " Where a template makes models of such names, it makes this one again, which learns anew."}
        </Confirm>
      )}
      {editing && (
        <ModelForm
          model={row}
          onClose={() => setQuery({ edit: null }, "replace")}
          onSaved={() => (setQuery({ edit: null }, "replace"), model.refresh())}
        />
      )}
    </div>
  );
}

/** Columns for a chart below the main one: over the same time, the path ahead included, so that both stand in line. */
function under(timeline: Timeline, values: (item: HistoryItem) => (number | null)[]): ChartData {
  const steps = ahead(timeline);
  const rows = timeline.items.map(values);
  const width = rows[0]?.length ?? 0;
  return {
    times: [...timeline.items.map((item) => item.window_start), ...steps.map((step) => toMs(step.timestamp) / 1000)],
    columns: Array.from({ length: width }, (_, i) => [...rows.map((row) => row[i] ?? null), ...steps.map(() => null)]),
  };
}

const RESIDUALS: Chart = {
  lines: [{ label: "Error", color: "series-actual", style: "bars", format: format.value }],
  include: [0],
};

function Residuals({ id, timeline }: { id: string; timeline: Timeline }) {
  const data = useMemo(
    () => under(timeline, (item) => [item.value != null && item.predicted != null ? item.value - item.predicted : null]),
    [timeline],
  );
  if (!data.columns[0]?.some((v) => v != null)) return <Empty>No forecast has met its value yet.</Empty>;
  return <TimeChart label={`${id} errors`} chart={RESIDUALS} data={data} height={150} group="model" />;
}

const score = (v: number | null | undefined) => (v == null ? "–" : v.toFixed(2));
const SCORES: Chart = {
  lines: [
    { label: "Score", color: "series-anomaly", style: "line", format: score },
    { label: "Threshold", color: "ink-3", style: "dashed", format: score },
  ],
  range: [0, 1.05],
};

function Scores({ id, timeline, threshold }: { id: string; timeline: Timeline; threshold: number }) {
  const data = useMemo(
    () => under(timeline, (item) => [item.anomaly_score, threshold]),
    [timeline, threshold],
  );
  if (!data.columns[0]?.some((v) => v != null)) return <Empty>No window has been scored yet.</Empty>;
  return <TimeChart label={`${id} scores`} chart={SCORES} data={data} height={120} group="model" />;
}

function Accuracies({ timeline, row }: { timeline: Timeline; row: ModelDetail }) {
  const a = useMemo(() => accuracy(timeline.items), [timeline]);
  return (
    <Panel title="How good it was" note={`over ${format.plural(a.compared, "window")} shown`}>
      <dl class="facts facts-figures">
        <dt>Inside the band</dt>
        <dd>
          {format.percent(a.coverage)} <span class="faint">of {format.percent(row.level ?? 0.95, 0)} promised</span>
        </dd>
        <dt>Mean error</dt>
        <dd>{format.value(a.mae)}</dd>
        <dt>Bias</dt>
        <dd>{a.bias != null && a.bias > 0 ? `+${format.value(a.bias)}` : format.value(a.bias)}</dd>
        <dt>Against naive</dt>
        <dd>
          {a.mase == null ? "–" : `${a.mase.toFixed(2)}×`}{" "}
          <span class="faint">{a.mase == null ? "" : a.mase < 0.98 ? "its error: better" : a.mase > 1.02 ? "its error: worse" : "its error: the same"}</span>
        </dd>
      </dl>
    </Panel>
  );
}

function Ahead({ timeline }: { timeline: Timeline }) {
  const steps = ahead(timeline);
  return (
    <Panel title="Ahead" note={steps.length ? format.plural(steps.length, "step") : ""}>
      {steps.length ? (
        <div class="scroll-box" tabIndex={0} role="region" aria-label="Forecast steps">
          <table class="data-table">
            <thead>
              <tr>
                <th scope="col">Window</th>
                <th scope="col" class="num">
                  Forecast
                </th>
                <th scope="col" class="num">
                  Lower
                </th>
                <th scope="col" class="num">
                  Upper
                </th>
              </tr>
            </thead>
            <tbody>
              {steps.map((step) => (
                <tr key={step.timestamp}>
                  <td>
                    <When at={step.timestamp} seconds={false} />
                  </td>
                  <td class="num">
                    <b>{format.value(step.mean)}</b>
                  </td>
                  <td class="num">{format.value(step.lower)}</td>
                  <td class="num">{format.value(step.upper)}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      ) : (
        <Empty>No forecast yet.</Empty>
      )}
    </Panel>
  );
}

/** Settings and parameters, whatever this family has. */
function Facts({ row }: { row: ModelDetail }) {
  const hidden = ["model_id", "needed", "state", "enabled", "history", "error", "version"];
  const shown = Object.entries(row)
    .filter(([name, value]) => value != null && value !== "" && !hidden.includes(name))
    // What is nested one deep, such as the parameters of the newest fit, is told in rows of its own.
    .flatMap(([name, value]): [string, unknown][] =>
      typeof value === "object" && !Array.isArray(value) ? Object.entries(value as object) : [[name, value]],
    )
    .filter(([, value]) => value != null);
  return (
    <Panel title="Settings and parameters">
      <dl class="facts">
        {shown.map(([name, value]) => (
          <FactRow key={name} name={name} value={value} />
        ))}
      </dl>
    </Panel>
  );
}

function FactRow({ name, value }: { name: string; value: unknown }) {
  return (
    <>
      <dt>{name.replaceAll("_", " ")}</dt>
      <dd>
        {typeof value === "number" ? (
          format.value(value)
        ) : typeof value === "string" ? (
          /^\d{4}-\d\d-\d\dT/.test(value) ? (
            <When at={value} />
          ) : (
            value
          )
        ) : (
          <code>{JSON.stringify(value)}</code>
        )}
      </dd>
    </>
  );
}

function ModelAlerts({ id }: { id: string }) {
  const alerts = useAlerts(30, id);
  return (
    <Panel title="Alerts of this model" class="model-alerts" note="the newest thirty">
      <Loaded of={alerts}>
        {(mine) => (mine.length ? <AlertList alerts={mine} /> : <Empty>None that the server remembers.</Empty>)}
      </Loaded>
    </Panel>
  );
}
