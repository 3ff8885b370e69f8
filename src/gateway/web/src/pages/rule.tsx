import { useEffect, useState } from "preact/hooks";
import { Problem, call, get } from "../api.ts";
import type { Rule } from "../model.ts";
import { useResource } from "../resource.ts";
import { navigate, rulePath, unsaved } from "../router.ts";
import { may } from "../session.ts";
import { suggest } from "../completion.ts";
import { Completed } from "../ui/completed.tsx";
import { Confirm } from "../ui/confirm.tsx";
import { Field } from "../ui/form.tsx";
import { Empty, Failed, Loading, Panel } from "../ui/panel.tsx";
import { DryRun, SAMPLES } from "./dry_run.tsx";

const ACTIONS = ["log", "save_to_file", "send_alert", "update_metrics", "publish", "webhook", "slack_notify"];
const PRIORITIES = ["CRITICAL", "HIGH", "MEDIUM", "LOW"];

const NEW: Rule = {
  name: "",
  event_type: "ANOMALY_DETECTED",
  condition: "data.anomaly_score >= 0.9",
  action: "log",
  priority_filter: null,
  enabled: true,
};

/** The rule of this name, or a new one where there is none. */
export function RulePage({ name }: { name: string | null }) {
  const isNew = name === null;
  const loaded = useResource<Rule>(
    (signal) => (isNew ? Promise.resolve(NEW) : get(`/api/rules/${encodeURIComponent(name)}`, signal)),
    ["rule", name],
  );
  const rule = loaded.data.value;
  const error = loaded.error.value;
  if (rule) return <Editor key={name} rule={rule} isNew={isNew} />;
  return (
    <>
      <h1>{name}</h1>
      {!error ? (
        <Loading rows={6} />
      ) : error.status === 404 ? (
        <Empty>
          There is no rule of this name. <a href="/rules">All rules</a>
        </Empty>
      ) : (
        <Failed error={error} retry={loaded.refresh} />
      )}
    </>
  );
}

function Editor({ rule: loaded, isNew }: { rule: Rule; isNew: boolean }) {
  // What the draft is compared with, and what a change rests on: as loaded, then as last saved.
  const [rule, setRule] = useState(loaded);
  const [draft, setDraft] = useState(rule);
  const [actionText, setActionText] = useState(shownAction(rule.action));
  const [problem, setProblem] = useState<Problem | null>(null);
  const [saved, setSaved] = useState(false);
  const [removing, setRemoving] = useState(false);
  const action = readAction(actionText);
  const mayChange = may("operate");
  const whole: Rule = { ...draft, action: action.value };
  const dirty = JSON.stringify(whole) !== JSON.stringify(rule);
  const edit = (change: Partial<Rule>) => {
    setDraft({ ...draft, ...change });
    setSaved(false);
  };

  // Leaving with unsaved work is asked about: by the browser itself, and on the way to another page of ours.
  useEffect(() => {
    if (!dirty) return;
    const ask = (event: BeforeUnloadEvent) => event.preventDefault();
    addEventListener("beforeunload", ask);
    unsaved.value = true;
    return () => {
      removeEventListener("beforeunload", ask);
      unsaved.value = false;
    };
  }, [dirty]);

  const save = async (event: Event) => {
    event.preventDefault();
    setProblem(null);
    try {
      if (isNew) {
        await call("POST", "/api/rules", whole);
        unsaved.value = false;
        navigate(rulePath(whole.name), "replace");
        return;
      }
      const now = await call<Rule>("PUT", `/api/rules/${encodeURIComponent(rule.name)}`, whole, { version: rule.version });
      setRule(now);
      setDraft(now);
      setActionText(shownAction(now.action));
      setSaved(true);
    } catch (cause) {
      setProblem(cause instanceof Problem ? cause : new Problem(0, "Not saved", String(cause)));
    }
  };

  const remove = async () => {
    setRemoving(false);
    try {
      await call("DELETE", `/api/rules/${encodeURIComponent(rule.name)}`);
      unsaved.value = false;
      navigate("/rules");
    } catch (cause) {
      setProblem(cause instanceof Problem ? cause : new Problem(0, "Not removed", String(cause)));
    }
  };

  const faultOf = (field: string) => (problem?.field?.split(".").pop() === field ? problem.message : undefined);
  return (
    <>
      <div class="page-head">
        <h1>{isNew ? "New rule" : rule.name}</h1>
        <span class="note" role="status">
          {dirty && !isNew ? "Changed, not saved" : saved ? "Saved" : ""}
        </span>
      </div>
      <div class="rule-editor">
        <Panel title="Rule">
          <form class="form" onSubmit={save}>
            <Field id="name" label="Name" fault={faultOf("name")}>
              <input id="name" required disabled={!isNew} value={draft.name} onInput={(e) => edit({ name: e.currentTarget.value })} />
            </Field>
            <Field id="event_type" label="On" fault={faultOf("event_type")}>
              <select id="event_type" value={draft.event_type} onChange={(e) => edit({ event_type: e.currentTarget.value })}>
                {Object.keys(SAMPLES).map((type) => (
                  <option key={type} value={type}>
                    {type}
                  </option>
                ))}
                <option value="*">every type</option>
              </select>
            </Field>
            <Field
              id="condition"
              label="When"
              fault={faultOf("condition")}
              help="CEL over data, model_id, priority, event_type, timestamp and metadata. A missing field makes it false; data.get('x', 0) names a default. Ctrl Space offers how to go on."
            >
              <Completed
                id="condition"
                rows={4}
                describedBy="condition-help"
                invalid={faultOf("condition") !== undefined}
                value={draft.condition}
                onChange={(condition) => edit({ condition })}
                suggest={(text, caret) => suggest(text, caret, SAMPLES[draft.event_type] ?? SAMPLES["ANOMALY_DETECTED"]!)}
              />
            </Field>
            <Field
              id="priority"
              label="Priority"
              fault={faultOf("priority_filter")}
            >
              <select
                id="priority"
                value={draft.priority_filter ?? ""}
                onChange={(e) => edit({ priority_filter: e.currentTarget.value || null })}
              >
                <option value="">any</option>
                {PRIORITIES.map((priority) => (
                  <option key={priority} value={priority}>
                    {priority} only
                  </option>
                ))}
              </select>
            </Field>
            <Field
              id="action"
              label="Then"
              fault={faultOf("action") ?? action.fault}
              help={`One of ${ACTIONS.join(", ")}; or JSON, for an action with settings or a chain.`}
            >
              <textarea
                id="action"
                class="code"
                rows={actionText.includes("\n") ? 6 : 1}
                required
                spellcheck={false}
                aria-describedby="action-help"
                value={actionText}
                onInput={(e) => (setActionText(e.currentTarget.value), setSaved(false))}
              />
            </Field>
            <label class="check">
              <input type="checkbox" checked={draft.enabled} onChange={(e) => edit({ enabled: e.currentTarget.checked })} /> Enabled
            </label>
            {problem && !problem.field && (
              <p class="fault" role="alert">
                {problem.title}
                {problem.detail && `: ${problem.detail}`}
              </p>
            )}
            <div class="form-buttons">
              {mayChange && (
                <button type="submit" class="primary" disabled={!draft.name.trim() || !!action.fault || (!dirty && !isNew)}>
                  {isNew ? "Create" : "Save"}
                </button>
              )}
              <a class="button" href="/rules">
                Back
              </a>
              {!isNew && mayChange && (
                <button type="button" class="danger push-right" onClick={() => setRemoving(true)}>
                  Remove
                </button>
              )}
            </div>
          </form>
        </Panel>
        {mayChange && <DryRun rule={whole} />}
      </div>
      {removing && (
        <Confirm title={`Remove ${rule.name}?`} action="Remove" onCancel={() => setRemoving(false)} onConfirm={() => void remove()}>
          It stops at once. What it has already done stays done.
        </Confirm>
      )}
    </>
  );
}

function shownAction(action: unknown): string {
  return typeof action === "string" ? action : JSON.stringify(action, null, 2);
}

function readAction(text: string): { value: unknown; fault?: string } {
  const trimmed = text.trim();
  if (!/^[[{"]/.test(trimmed)) return { value: trimmed };
  try {
    return { value: JSON.parse(trimmed) };
  } catch (error) {
    return { value: trimmed, fault: `Not JSON: ${(error as Error).message}` };
  }
}
