import { useEffect, useState } from "preact/hooks";
import { Problem, call } from "../api.ts";
import type { Rule } from "../model.ts";
import { Empty, Panel } from "../ui/panel.tsx";
import { LevelMark } from "../ui/marks.tsx";

/** An event of each type to try a rule on, as the pipeline would hand it over. */
export const SAMPLES: Record<string, Record<string, unknown>> = {
  ANOMALY_DETECTED: {
    event_type: "ANOMALY_DETECTED",
    model_id: "delays/JFK",
    priority: "CRITICAL",
    timestamp: "2013-02-08T22:00:00Z",
    data: {
      model_id: "delays/JFK",
      anomaly_score: 0.97,
      observed_value: 143.2,
      predicted_value: 18.4,
      expected_range: [2.1, 41.7],
      severity: "CRITICAL",
    },
    metadata: {},
  },
  FORECAST_GENERATED: {
    event_type: "FORECAST_GENERATED",
    model_id: "sales_model_001",
    priority: "MEDIUM",
    timestamp: "2026-01-20T10:30:00Z",
    data: {
      model_id: "sales_model_001",
      predicted_value: 5285.4,
      confidence_interval: [4180.5, 6390.3],
      forecast_horizon: 7,
      model_type: "SARIMA",
      model_accuracy: 0.92,
    },
    metadata: { region: "Nord" },
  },
  WINDOW_CLOSED: {
    event_type: "WINDOW_CLOSED",
    priority: "LOW",
    timestamp: "2026-01-20T10:30:10Z",
    data: {
      series: "by_type",
      key: "sensor_data",
      window_start: 1768905000,
      window_end: 1768905010,
      event_count: 412,
      aggregates: { value: { count: 412, avg: 51.3, p95: 88.1 } },
    },
    metadata: {},
  },
  SYSTEM_ERROR: {
    event_type: "SYSTEM_ERROR",
    priority: "HIGH",
    timestamp: "2026-01-20T10:30:00Z",
    data: { component: "publisher", error: "the broker does not answer" },
    metadata: {},
  },
  MODEL_RETRAINED: {
    event_type: "MODEL_RETRAINED",
    model_id: "sales_model_001",
    priority: "MEDIUM",
    timestamp: "2026-01-20T10:30:00Z",
    data: {
      model_id: "sales_model_001",
      predicted_value: 5285.4,
      confidence_interval: [4180.5, 6390.3],
      forecast_horizon: 7,
      model_type: "SARIMA",
      model_accuracy: 0.92,
    },
    metadata: { region: "Nord" },
  },
};

/** What the server found. */
interface Verdict {
  /** It would fire. */
  matched: boolean;
  /** What the condition alone says. */
  condition: boolean;
  error: string | null;
  actions: unknown[];
}

/** Tries the rule as it stands in the form on one event; nothing is saved and no action runs. */
export function DryRun({ rule }: { rule: Rule }) {
  const [text, setText] = useState(() => sample(rule.event_type));
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const untouched = Object.values(SAMPLES).some((s) => JSON.stringify(s, null, 2) === text);

  useEffect(() => {
    if (untouched) setText(sample(rule.event_type));
    setVerdict(null);
  }, [rule.event_type]);

  const run = async () => {
    setVerdict(null);
    setProblem(null);
    let event: unknown;
    try {
      event = JSON.parse(text);
    } catch (error) {
      setProblem(new Problem(0, "The sample event is not JSON", (error as Error).message));
      return;
    }
    setBusy(true);
    try {
      const named = { ...rule, name: rule.name || "dry_run" };
      setVerdict(await call<Verdict>("POST", "/api/rules/test", { rule: named, event }));
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "Failed", String(error)));
    }
    setBusy(false);
  };

  return (
    <Panel title="Dry run" note="nothing is saved, no action runs">
      <div class="form">
        <label for="sample">Sample event</label>
        <textarea
          id="sample"
          class="code"
          rows={16}
          spellcheck={false}
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void run();
          }}
        />
        <div class="form-buttons">
          <button type="button" onClick={() => void run()} disabled={busy} title="Ctrl Enter in the sample">
            Try it
          </button>
          {!untouched && (
            <button type="button" onClick={() => setText(sample(rule.event_type))}>
              Reset the sample
            </button>
          )}
        </div>
        <div role="status" class="verdict">
          {problem ? (
            <p class="fault">
              {problem.title}
              {problem.detail && `: ${problem.detail}`}
            </p>
          ) : verdict ? (
            <Result verdict={verdict} />
          ) : (
            <Empty>Try it to see whether this event would fire the rule.</Empty>
          )}
        </div>
      </div>
    </Panel>
  );
}

function Result({ verdict }: { verdict: Verdict }) {
  const { matched, condition, error, actions } = verdict;
  return (
    <>
      <p class="verdict-line">
        <LevelMark level={error ? "bad" : matched ? "good" : "unknown"} />
        {error
          ? "It would not fire: the condition cannot be evaluated."
          : matched
            ? "It would fire."
            : condition
              ? "It would not fire: the condition holds, but this is another type or priority, or the rule is disabled."
              : "It would not fire."}
      </p>
      {error && <pre tabIndex={0} aria-label="Error">{error}</pre>}
      {matched && actions.length > 0 && (
        <pre tabIndex={0} aria-label="What would be done">
          {actions.map((action) => JSON.stringify(action, null, 1)).join("\n")}
        </pre>
      )}
    </>
  );
}

function sample(type: string): string {
  return JSON.stringify(SAMPLES[type] ?? SAMPLES["ANOMALY_DETECTED"], null, 2);
}
