import { useRef, useState } from "preact/hooks";
import { type Problem, call, problemOf } from "../api.ts";
import { save, toCsv } from "../csv.ts";
import * as format from "../format.ts";
import { ALERTS_MAX, identity, useAlerts } from "../live/alerts.ts";
import type { AlertItem, Silence } from "../model.ts";
import { query, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { Empty, Failed, Loaded } from "../ui/panel.tsx";
import { Acknowledge, acknowledgementPath } from "./acknowledge.tsx";
import { AlertList } from "./alert_list.tsx";
import { Choice } from "./models.tsx";
import { NewSilence, Silences, coverage, useSilences } from "./silences.tsx";

/** Drawn at once; the rest on demand, for each that comes moves them all. */
const DRAWN = 200;

/** Anomalies, fired rules and system errors, as they come; who sees to them, and which are silenced. */
export function Alerts() {
  const alerts = useAlerts(ALERTS_MAX);
  const silences = useSilences();
  const [silencing, setSilencing] = useState<AlertItem | "new" | null>(null);
  const [acknowledging, setAcknowledging] = useState<(AlertItem & { id: string }) | null>(null);
  const [busy, setBusy] = useState<ReadonlySet<string>>(new Set());
  const [fault, setFault] = useState<Problem | null>(null);
  const [told, setTold] = useState("");
  const [whole, setWhole] = useState(false);
  const kind = query.value.get("kind") ?? "";
  const severity = query.value.get("severity") ?? "";
  const ack = query.value.get("ack") ?? "";
  const q = query.value.get("q") ?? "";
  const paused = query.value.get("paused") === "1";
  const frozen = useRef<AlertItem[] | undefined>(undefined);
  const newest = alerts.data.value;
  if (!paused) frozen.current = newest;
  frozen.current ??= newest;
  // Held still, no alert comes or goes; what is done about those that stand there is still shown.
  const latest = paused ? new Map(newest?.map((alert) => [identity(alert), alert])) : null;
  const held = (frozen.current ?? []).map((alert) => latest?.get(identity(alert)) ?? alert);
  const shown = held.filter((alert) => matches(alert, { kind, severity, ack, q }));

  const takeBack = async (id: string) => {
    // The button stays as it is while it waits: one that is disabled would lose the focus.
    if (busy.has(id)) return;
    setFault(null);
    setBusy((now) => new Set(now).add(id));
    try {
      await call("DELETE", acknowledgementPath(id));
      setTold("The acknowledgement was taken back.");
    } catch (error) {
      setFault(problemOf(error));
    }
    setBusy((now) => new Set([...now].filter((other) => other !== id)));
    alerts.refresh();
  };
  const acknowledge = (alert: AlertItem) => {
    const { id } = alert;
    if (id === undefined) return;
    if (alert.acknowledged) void takeBack(id);
    else setAcknowledging({ ...alert, id });
  };
  const acknowledged = () => {
    setAcknowledging(null);
    setTold("Acknowledged.");
    alerts.refresh();
  };
  const silenced = (made: Silence) => {
    setSilencing(null);
    setTold(`Silenced: ${coverage(made)}.`);
    silences.refresh();
    alerts.refresh();
  };
  const actions = may("operate") ? { acknowledge, silence: setSilencing, busy } : undefined;

  return (
    <>
      <div class="page-head">
        <h1>Alerts</h1>
        <span class="note">
          {newest && `${format.count(shown.length)} of the newest ${format.count(held.length)}`}
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
          <Choice
            label="Acknowledged or not"
            value={ack}
            all="Seen to or not"
            options={["unacknowledged", "acknowledged"]}
            onChange={(v) => setQuery({ ack: v }, "push")}
          />
          <button type="button" aria-pressed={paused} onClick={() => setQuery({ paused: paused ? null : "1" }, "replace")}>
            {paused ? "Resume" : "Hold still"}
          </button>
          <button type="button" onClick={() => download(shown)} disabled={!shown.length}>
            CSV
          </button>
        </div>
      </div>
      {fault && <Failed error={fault} retry={() => setFault(null)} word="Dismiss" />}
      <p class="sr-only" role="status">
        {told}
      </p>
      <Silences silences={silences} onNew={() => setSilencing("new")} onChange={alerts.refresh} />
      <div class="panel">
        <Loaded of={alerts} rows={12}>
          {(all) =>
            shown.length || !all.length ? (
              <>
                <AlertList alerts={whole ? shown : shown.slice(0, DRAWN)} actions={actions} />
                {!whole && shown.length > DRAWN && (
                  <div class="pager">
                    <button type="button" onClick={() => setWhole(true)}>
                      Show {format.count(shown.length - DRAWN)} older ones
                    </button>
                  </div>
                )}
              </>
            ) : (
              <Empty>
                No alert matches.{" "}
                <button type="button" onClick={() => setQuery({ q: null, kind: null, severity: null, ack: null }, "push")}>
                  Clear the filters
                </button>
              </Empty>
            )
          }
        </Loaded>
      </div>
      {acknowledging && <Acknowledge alert={acknowledging} onClose={() => setAcknowledging(null)} onDone={acknowledged} />}
      {silencing && <NewSilence alert={silencing === "new" ? null : silencing} onClose={() => setSilencing(null)} onMade={silenced} />}
    </>
  );
}

interface Filters {
  kind: string;
  severity: string;
  ack: string;
  q: string;
}

function matches(alert: AlertItem, { kind, severity, ack, q }: Filters): boolean {
  if (kind && alert.kind !== kind) return false;
  if (severity && alert.severity !== severity) return false;
  if (ack && (ack === "acknowledged") !== !!alert.acknowledged) return false;
  if (!q) return true;
  const text = `${alert.model_id ?? ""} ${alert.rule ?? ""} ${alert.message}`.toLowerCase();
  return q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
}

function download(alerts: AlertItem[]): void {
  const rows = alerts.map((a) => [
    a.timestamp,
    a.kind,
    a.severity,
    a.model_id,
    a.rule,
    a.message,
    a.acknowledged?.by,
    a.acknowledged?.at,
    JSON.stringify(a.data),
  ]);
  const header = ["timestamp", "kind", "severity", "model_id", "rule", "message", "acknowledged_by", "acknowledged_at", "data"];
  save("alerts.csv", toCsv(header, rows));
}
