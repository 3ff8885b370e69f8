import { useState } from "preact/hooks";
import { anomalyOf, identity } from "../live/alerts.ts";
import * as format from "../format.ts";
import type { AlertItem } from "../model.ts";
import { modelPath, rulePath } from "../router.ts";
import { RangeBar, SeverityTag } from "../ui/marks.tsx";
import { Empty } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";

/** What may be done about an alert, where it may. */
export interface AlertActions {
  /** Asks for a note and acknowledges it, or takes that back. */
  acknowledge: (alert: AlertItem) => void;
  silence: (alert: AlertItem) => void;
  /** Ids of those on whose answer somebody waits. */
  busy: ReadonlySet<string>;
}

interface Props {
  alerts: AlertItem[];
  /** Leaves out what the overview has no room for. */
  brief?: boolean;
  actions?: AlertActions | undefined;
}

/** Alerts, newest first. */
export function AlertList({ alerts, brief = false, actions }: Props) {
  const [open, setOpen] = useState<string | null>(null);
  if (!alerts.length) return <Empty>No alert yet. Anomalies, fired rules and system errors appear here as they happen.</Empty>;
  return (
    <ol class={`alerts ${brief ? "alerts-brief" : ""} ${actions ? "alerts-acting" : ""}`}>
      {alerts.map((alert) => {
        const id = identity(alert);
        const isOpen = open === id;
        return (
          <li key={id} class={alert.acknowledged && !brief ? "alert alert-seen" : "alert"}>
            <div class="alert-row">
              <span class="alert-when">
                <When at={alert.timestamp} seconds={!brief} />
              </span>
              <SeverityTag severity={alert.severity} />
              {!brief && <span class="alert-kind">{alert.kind}</span>}
              <span class="alert-subject">
                <Subject alert={alert} />
              </span>
              {!brief && <Range alert={alert} />}
              <span class="alert-message">
                {alert.message}
                {!brief && <Seen alert={alert} />}
              </span>
              {!brief && (
                <span class="alert-buttons">
                  {actions && <ActionButtons alert={alert} actions={actions} />}
                  <button type="button" class="quiet-button" aria-expanded={isOpen} onClick={() => setOpen(isOpen ? null : id)}>
                    Why<span class="sr-only">, {nameOf(alert)}</span>
                  </button>
                </span>
              )}
            </div>
            {isOpen && <Why alert={alert} />}
          </li>
        );
      })}
    </ol>
  );
}

/** What an alert is about, in a word. */
export const nameOf = (alert: AlertItem) => alert.model_id ?? alert.rule ?? alert.kind;

function ActionButtons({ alert, actions }: { alert: AlertItem; actions: AlertActions }) {
  // Without a name of its own it cannot be spoken of to the server.
  const isNamed = alert.id !== undefined;
  return (
    <>
      {isNamed && (
        <button type="button" class="quiet-button" aria-busy={actions.busy.has(alert.id!)} onClick={() => actions.acknowledge(alert)}>
          {alert.acknowledged ? "Take back" : "Acknowledge"}
          <span class="sr-only">
            {alert.acknowledged ? " the acknowledgement of" : ""} {nameOf(alert)}
          </span>
        </button>
      )}
      <button type="button" class="quiet-button" onClick={() => actions.silence(alert)}>
        Silence<span class="sr-only"> {nameOf(alert)}</span>
      </button>
    </>
  );
}

/** Who sees to it, and whether it is silenced. */
function Seen({ alert }: { alert: AlertItem }) {
  const { acknowledged, silenced } = alert;
  if (!acknowledged && !silenced) return null;
  return (
    <span class="alert-seen-by">
      {acknowledged && (
        <span>
          ✓ Acknowledged{acknowledged.by ? ` by ${acknowledged.by}` : ""} <When at={acknowledged.at} seconds={false} />
          {acknowledged.note ? `: ${acknowledged.note}` : ""}
        </span>
      )}
      {silenced && <span class="tag">silenced</span>}
    </span>
  );
}

function Range({ alert }: { alert: AlertItem }) {
  const anomaly = anomalyOf(alert);
  if (!anomaly) return <span class="range-none" />;
  const [lower, upper] = anomaly.expected_range;
  return <RangeBar observed={anomaly.observed_value} lower={lower} upper={upper} predicted={anomaly.predicted_value} />;
}

function Subject({ alert }: { alert: AlertItem }) {
  if (alert.kind === "anomaly" && alert.model_id) return <a href={modelPath(alert.model_id)}>{alert.model_id}</a>;
  return (
    <>
      {alert.rule && (alert.kind === "rule" ? <a href={rulePath(alert.rule)}>{alert.rule}</a> : alert.rule)}
      {alert.model_id && (
        <>
          {alert.rule ? " on " : ""}
          <a href={modelPath(alert.model_id)}>{alert.model_id}</a>
        </>
      )}
    </>
  );
}

/** Why it was raised: what was seen against what was expected, what to do, and all that came with it. */
function Why({ alert }: { alert: AlertItem }) {
  const anomaly = anomalyOf(alert);
  return (
    <div class="why">
      {anomaly && (
        <dl class="facts">
          <dt>Seen</dt>
          <dd>{format.value(anomaly.observed_value)}</dd>
          <dt>Forecast</dt>
          <dd>{format.value(anomaly.predicted_value)}</dd>
          <dt>Expected</dt>
          <dd>
            {format.value(anomaly.expected_range[0])} to {format.value(anomaly.expected_range[1])}
            <RangeBar
              observed={anomaly.observed_value}
              lower={anomaly.expected_range[0]}
              upper={anomaly.expected_range[1]}
              predicted={anomaly.predicted_value}
            />
          </dd>
          <dt>Score</dt>
          <dd>{anomaly.anomaly_score.toFixed(3)}</dd>
          {anomaly.recommended_actions?.length ? (
            <>
              <dt>To do</dt>
              <dd>{anomaly.recommended_actions.join("; ")}</dd>
            </>
          ) : null}
        </dl>
      )}
      <pre tabIndex={0} aria-label="All that came with the alert">
        {JSON.stringify(alert.data, null, 2)}
      </pre>
    </div>
  );
}
