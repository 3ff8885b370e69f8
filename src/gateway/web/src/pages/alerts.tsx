import { save, toCsv } from "../csv.ts";
import * as format from "../format.ts";
import { ALERTS_MAX, useAlerts } from "../live/alerts.ts";
import type { AlertItem } from "../model.ts";
import { query, setQuery } from "../router.ts";
import { useRef } from "preact/hooks";
import { Empty, Loaded } from "../ui/panel.tsx";
import { AlertList } from "./alert_list.tsx";
import { Choice } from "./models.tsx";

/** Anomalies, fired rules and system errors, as they come. */
export function Alerts() {
  const alerts = useAlerts(ALERTS_MAX);
  const kind = query.value.get("kind") ?? "";
  const severity = query.value.get("severity") ?? "";
  const q = query.value.get("q") ?? "";
  const paused = query.value.get("paused") === "1";
  const frozen = useRef<AlertItem[] | undefined>(undefined);
  if (!paused) frozen.current = alerts.data.value;
  frozen.current ??= alerts.data.value;
  const shown = (frozen.current ?? []).filter((alert) => matches(alert, kind, severity, q));
  return (
    <>
      <div class="page-head">
        <h1>Alerts</h1>
        <span class="note">
          {alerts.data.value && `${format.count(shown.length)} of the newest ${format.count(frozen.current?.length)}`}
          {paused && ", held still"}
        </span>
        <div class="filters" role="search">
          <input
            type="search"
            placeholder="Search model, rule, message"
            aria-label="Search alerts"
            value={q}
            onInput={(event) => setQuery({ q: event.currentTarget.value }, "replace")}
          />
          <Choice label="Kind" value={kind} all="All kinds" options={["anomaly", "rule", "system"]} onChange={(v) => setQuery({ kind: v }, "push")} />
          <Choice
            label="Severity"
            value={severity}
            all="All severities"
            options={["CRITICAL", "HIGH", "MEDIUM", "LOW"]}
            onChange={(v) => setQuery({ severity: v }, "push")}
          />
          <button type="button" aria-pressed={paused} onClick={() => setQuery({ paused: paused ? null : "1" }, "replace")}>
            {paused ? "Resume" : "Hold still"}
          </button>
          <button type="button" onClick={() => download(shown)} disabled={!shown.length}>
            CSV
          </button>
        </div>
      </div>
      <div class="panel">
        <Loaded of={alerts} rows={12}>
          {(all) =>
            shown.length || !all.length ? (
              <AlertList alerts={shown} />
            ) : (
              <Empty>
                No alert matches.{" "}
                <button type="button" onClick={() => setQuery({ q: null, kind: null, severity: null }, "push")}>
                  Clear the filters
                </button>
              </Empty>
            )
          }
        </Loaded>
      </div>
    </>
  );
}

function matches(alert: AlertItem, kind: string, severity: string, q: string): boolean {
  if (kind && alert.kind !== kind) return false;
  if (severity && alert.severity !== severity) return false;
  if (!q) return true;
  const text = `${alert.model_id ?? ""} ${alert.rule ?? ""} ${alert.message}`.toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function download(alerts: AlertItem[]): void {
  const rows = alerts.map((a) => [a.timestamp, a.kind, a.severity, a.model_id, a.rule, a.message, JSON.stringify(a.data)]);
  save("alerts.csv", toCsv(["timestamp", "kind", "severity", "model_id", "rule", "message", "data"], rows));
}
