import { useState } from "preact/hooks";
import { type Page, type Problem, call, get, problemOf } from "../api.ts";
import * as format from "../format.ts";
import type { AlertItem, Silence } from "../model.ts";
import { type Resource, useResource } from "../resource.ts";
import { may } from "../session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Dialog, Field, described } from "../ui/form.tsx";
import { now } from "../ui/now.ts";
import { Empty, Failed, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";

/** The silences that are not over, as the server has them. */
export function useSilences(): Resource<Silence[]> {
  return useResource<Silence[]>(
    async (signal) => (await get<Page<Silence>>("/api/silences?limit=1000", signal)).items,
    ["silences"],
    15_000,
  );
}

/** What a silence covers, in words. */
export function coverage(silence: Pick<Silence, "model_id" | "rule">): string {
  const named = (what: string, pattern: string) => `${what}${pattern.endsWith("*") ? "s" : ""} ${pattern}`;
  const parts = [silence.rule && named("rule", silence.rule), silence.model_id && named("model", silence.model_id)];
  return parts.filter(Boolean).join(" on ") || "every alert";
}

/** Silences that are in force, and their removal. */
export function Silences({ silences, onNew, onChange }: { silences: Resource<Silence[]>; onNew: () => void; onChange: () => void }) {
  const [removing, setRemoving] = useState<Silence | null>(null);
  const [fault, setFault] = useState<Problem | null>(null);
  const mayRemove = may("operate");
  const remove = async (silence: Silence) => {
    setRemoving(null);
    setFault(null);
    try {
      await call("DELETE", `/api/silences/${encodeURIComponent(silence.name)}`);
    } catch (error) {
      setFault(problemOf(error));
    }
    silences.refresh();
    onChange();
  };
  return (
    <Panel
      title="Silences"
      class="silences"
      note="covered alerts are listed and notify nobody"
      actions={
        mayRemove && (
          <button type="button" class="quiet-button" onClick={onNew}>
            New silence
          </button>
        )
      }
    >
      {fault && <Failed error={fault} retry={() => setFault(null)} word="Dismiss" />}
      <Loaded of={silences} rows={1}>
        {(all) => {
          const active = all.filter((silence) => silence.until_ms > now.value).sort((a, b) => a.until_ms - b.until_ms);
          if (!active.length) return <Empty>None: every alert notifies those whom its rule names.</Empty>;
          return (
            <ul class="silence-list">
              {active.map((silence) => (
                <li key={silence.name} class="silence">
                  <span class="silence-what">{coverage(silence)}</span>
                  <span class="silence-until">
                    until <When at={silence.until} seconds={false} />, {format.seconds(Math.ceil((silence.until_ms - now.value) / 60_000) * 60)} left
                  </span>
                  <span class="silence-why">
                    {silence.reason}
                    {silence.by && <span class="faint">{silence.reason ? ", " : ""}by {silence.by}</span>}
                  </span>
                  {mayRemove && (
                    <button type="button" class="quiet-button" onClick={() => setRemoving(silence)}>
                      Remove<span class="sr-only"> the silence {silence.name}</span>
                    </button>
                  )}
                </li>
              ))}
            </ul>
          );
        }}
      </Loaded>
      {removing && (
        <Confirm title={`Remove the silence of ${coverage(removing)}?`} action="Remove" onCancel={() => setRemoving(null)} onConfirm={() => void remove(removing)}>
          From now on these alerts notify again. What it held back is not sent later.
        </Confirm>
      )}
    </Panel>
  );
}

const SPANS = [
  ["1 hour", 1],
  ["4 hours", 4],
  ["1 day", 24],
] as const;
const UNITS = { minutes: 1 / 60, hours: 1, days: 24 } as const;
const KNOWN = ["name", "model_id", "rule", "until", "reason"] as const;

/** Asks what to silence, for how long, and why; begins with what the alert is about. */
export function NewSilence({ alert, onClose, onMade }: { alert: AlertItem | null; onClose: () => void; onMade: (made: Silence) => void }) {
  const [model, setModel] = useState(alert?.model_id ?? "");
  const [rule, setRule] = useState(alert?.rule ?? "");
  const [hours, setHours] = useState<number | null>(4);
  const [custom, setCustom] = useState("12");
  const [unit, setUnit] = useState<keyof typeof UNITS>("hours");
  const [reason, setReason] = useState("");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const span_h = hours ?? Number(custom) * UNITS[unit];
  const isSpan = Number.isFinite(span_h) && span_h > 0 && span_h <= 24 * 366;
  const until_ms = now.value + span_h * 3_600_000;
  const faultOf = (name: string) => problem?.faultOf(name);

  const submit = async () => {
    setBusy(true);
    setProblem(null);
    const until = new Date(Date.now() + span_h * 3_600_000).toISOString();
    const covered = { model_id: model.trim() || null, rule: rule.trim() || null };
    // A name of its own, of the characters that names may have: the same model may be silenced again while an old
    // silence is still listed.
    const name = `${coverage(covered).slice(0, 160)} ${new Date().toISOString().slice(0, 19)}`.replace(/[^A-Za-z0-9 ._/-]+/g, "-");
    try {
      onMade(await call<Silence>("POST", "/api/silences", { name, ...covered, until, reason: reason.trim() || null }));
    } catch (error) {
      setProblem(problemOf(error));
      setBusy(false);
    }
  };

  return (
    <Dialog
      title={alert ? "Silence alerts like this" : "New silence"}
      action="Silence"
      busy={busy}
      disabled={!isSpan}
      problem={problem?.isElsewhere(KNOWN) || problem?.faultOf("name") ? problem : null}
      onSubmit={() => void submit()}
      onClose={onClose}
    >
      <p>They go on being listed, and send no webhook, Slack message or e-mail while it lasts.</p>
      <Field id="silence-model" label="Model" fault={faultOf("model_id")} help="A name, or its beginning with * behind it. Empty: every model.">
        <input {...described("silence-model", faultOf("model_id"), "help")} value={model} spellcheck={false} onInput={(e) => setModel(e.currentTarget.value)} />
      </Field>
      <Field id="silence-rule" label="Rule" fault={faultOf("rule")} help="Likewise. Empty: every rule, and anomalies themselves.">
        <input {...described("silence-rule", faultOf("rule"), "help")} value={rule} spellcheck={false} onInput={(e) => setRule(e.currentTarget.value)} />
      </Field>
      <fieldset class="choices">
        <legend>For</legend>
        {SPANS.map(([name, span]) => (
          <label key={name} class="choice">
            <input type="radio" name="silence-for" checked={hours === span} onChange={() => setHours(span)} />
            {name}
          </label>
        ))}
        <label class="choice">
          <input type="radio" name="silence-for" checked={hours === null} onChange={() => setHours(null)} />
          other
        </label>
        {hours === null && (
          <span class="choice">
            <input type="number" class="short" min="1" step="any" required aria-label="How long" value={custom} onInput={(e) => setCustom(e.currentTarget.value)} />
            <select aria-label="Unit" value={unit} onChange={(e) => setUnit(e.currentTarget.value as keyof typeof UNITS)}>
              {Object.keys(UNITS).map((name) => (
                <option key={name}>{name}</option>
              ))}
            </select>
          </span>
        )}
      </fieldset>
      {faultOf("until") && (
        <p class="fault" role="alert">
          {faultOf("until")}
        </p>
      )}
      <Field id="silence-reason" label="Why" fault={faultOf("reason")}>
        <textarea {...described("silence-reason", faultOf("reason"))} rows={2} maxLength={1000} value={reason} onInput={(e) => setReason(e.currentTarget.value)} />
      </Field>
      <p class="faint">
        Covers {coverage({ model_id: model.trim() || null, rule: rule.trim() || null })}
        {isSpan && (
          <>
            , until <When at={until_ms / 1000} seconds={false} />
          </>
        )}
        .
      </p>
    </Dialog>
  );
}
