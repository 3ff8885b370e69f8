import { useEffect, useState } from "preact/hooks";
import { Problem, call } from "../api.ts";
import * as format from "../format.ts";
import type { Rule } from "../model.ts";
import { Empty, Panel } from "../ui/panel.tsx";
import { LevelMark } from "../ui/marks.tsx";
import { When } from "../ui/when.tsx";

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

/** What the rule would have done with what happened. */
interface Trial {
  events: number;
  matched: number;
  errors: number;
  error: string | null;
  /** The newest that it fires on, newest first. */
  matches: { timestamp: string; model_id: string | null }[];
  since: string;
  /** Everything since then was looked at. */
  complete: boolean;
}

/** Hours that can be looked back. */
const HOURS = [1, 2, 6, 24];

/** Tries the rule as it stands in the form, on one event or on those of the last hours; nothing is saved and no action runs. */
export function DryRun({ rule }: { rule: Rule }) {
  const [text, setText] = useState(() => sample(rule.event_type));
  const [verdict, setVerdict] = useState<Verdict | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [trial, setTrial] = useState<Trial | null>(null);
  const [hours, setHours] = useState(2);
  const [busy, setBusy] = useState(false);
  const named = { ...rule, name: rule.name || "dry_run" };
  const untouched = Object.values(SAMPLES).some((s) => JSON.stringify(s, null, 2) === text);

  useEffect(() => {
    if (untouched) setText(sample(rule.event_type));
    setVerdict(null);
    setTrial(null);
  }, [rule.event_type]);

  const asked = async <T,>(path: string, body: unknown, take: (answer: T) => void) => {
    setVerdict(null);
    setTrial(null);
    setProblem(null);
    setBusy(true);
    try {
      take(await call<T>("POST", path, body));
    } catch (error) {
      setProblem(error instanceof Problem ? error : new Problem(0, "Failed", String(error)));
    }
    setBusy(false);
  };

  const run = async () => {
    let event: unknown;
    try {
      event = JSON.parse(text);
    } catch (error) {
      setVerdict(null);
      setProblem(new Problem(0, "The sample event is not JSON", (error as Error).message));
      return;
    }
    await asked("/api/rules/test", { rule: named, event }, setVerdict);
  };
  const look = () => asked("/api/rules/try", { rule: named, hours }, setTrial);

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
          <span class="push-right look-back">
            <button type="button" onClick={() => void look()} disabled={busy || rule.event_type === "MODEL_RETRAINED"}>
              Try it on the last
            </button>
            <select aria-label="Hours" value={hours} onChange={(event) => setHours(Number(event.currentTarget.value))}>
              {HOURS.map((count) => (
                <option key={count} value={count}>
                  {format.plural(count, "hour")}
                </option>
              ))}
            </select>
          </span>
        </div>
        <div role="status" class="verdict">
          {problem ? (
            <p class="fault">
              {problem.title}
              {problem.detail && `: ${problem.detail}`}
            </p>
          ) : verdict ? (
            <Result verdict={verdict} />
          ) : trial ? (
            <Tried trial={trial} onPick={(event) => setText(JSON.stringify(event, null, 2))} />
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

function Tried({ trial, onPick }: { trial: Trial; onPick: (event: unknown) => void }) {
  const { events, matched, errors, error, matches, since, complete } = trial;
  return (
    <>
      <p class="verdict-line">
        <LevelMark level={matched ? "good" : "unknown"} />
        {events
          ? `It would have fired ${format.plural(matched, "time")} on ${format.plural(events, "event")}.`
          : "There was no event of its type and priority."}
      </p>
      <p class="faint">
        Since <When at={Date.parse(since) / 1000} />
        {!complete && ", of the newest 10,000 records"}
        {errors > 0 && `; on ${format.count(errors)} the condition has no answer: ${error}`}
      </p>
      {matches.length > 0 && (
        <ul class="tried" aria-label="The newest that it would have fired on">
          {matches.map((event, at) => (
            <li key={at}>
              <button type="button" class="as-link" title="As the sample event" onClick={() => onPick(event)}>
                <When at={Date.parse(event.timestamp) / 1000} /> {event.model_id ?? ""}
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}

function sample(type: string): string {
  return JSON.stringify(SAMPLES[type] ?? SAMPLES["ANOMALY_DETECTED"], null, 2);
}
