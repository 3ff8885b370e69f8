import { useState } from "preact/hooks";
import { Problem, call, getAll } from "../api.ts";
import * as format from "../format.ts";
import type { Rule } from "../model.ts";
import { useResource } from "../resource.ts";
import { rulePath } from "../router.ts";
import { may } from "../session.ts";
import { Empty, Failed, Loaded } from "../ui/panel.tsx";

/** What turns an event into an action. */
export function Rules() {
  const rules = useResource<Rule[]>((signal) => getAll("/api/rules", 10_000, signal), ["rules"], 15_000);
  const [fault, setFault] = useState<Problem | null>(null);
  const mayChange = may("operate");
  const toggle = async (rule: Rule) => {
    setFault(null);
    try {
      await call("PUT", `/api/rules/${encodeURIComponent(rule.name)}`, { ...rule, enabled: !rule.enabled }, { version: rule.version });
      rules.refresh();
    } catch (error) {
      setFault(error instanceof Problem ? error : new Problem(0, "Failed", String(error)));
    }
  };
  return (
    <>
      <div class="page-head">
        <h1>Rules</h1>
        <span class="note">{rules.data.value && format.plural(rules.data.value.length, "rule")}</span>
        {mayChange && (
          <div class="filters">
            <a class="button primary" href="/rules?create=1">
              New rule
            </a>
          </div>
        )}
      </div>
      {fault && <Failed error={fault} retry={() => setFault(null)} word="Dismiss" />}
      <div class="panel">
        <Loaded of={rules} rows={6}>
          {(all) =>
            all.length ? (
              <ul class="rules">
                {all.map((rule) => (
                  <li key={rule.name} class={rule.enabled ? "rule" : "rule rule-off"}>
                    <label class="switch">
                      <input
                        type="checkbox"
                        role="switch"
                        checked={rule.enabled}
                        disabled={!mayChange}
                        onChange={() => void toggle(rule)}
                        aria-label={`${rule.name} is enabled`}
                      />
                    </label>
                    <div class="rule-text">
                      <a class="rule-name" href={rulePath(rule.name)}>
                        {rule.name}
                      </a>
                      <span class="rule-on">
                        on {rule.event_type === "*" ? "every event" : rule.event_type.toLowerCase().replaceAll("_", " ")}
                        {rule.priority_filter ? `, ${rule.priority_filter.toLowerCase()} only` : ""}
                      </span>
                      <code class="rule-condition">{rule.condition || "always"}</code>
                      <span class="rule-action">→ {actionText(rule.action)}</span>
                      <span class="rule-fired">
                        {rule.fired ? `fired ${format.count(rule.fired)}×` : rule.fired === 0 ? "never fired" : ""}
                        {rule.errors ? <span class="fault">, {format.plural(rule.errors, "failure")}</span> : null}
                      </span>
                    </div>
                  </li>
                ))}
              </ul>
            ) : (
              <Empty>No rules. One with the condition "true" runs its action on every event of its type.</Empty>
            )
          }
        </Loaded>
      </div>
    </>
  );
}

/** An action as people name it: `log`, `webhook`, or a chain of them. */
export function actionText(action: unknown): string {
  if (typeof action === "string") return action;
  if (Array.isArray(action)) return action.map(actionText).join(", then ");
  if (action && typeof action === "object") {
    const named = action as { type?: unknown; action?: unknown; name?: unknown; chain?: unknown };
    if (Array.isArray(named.chain)) return actionText(named.chain);
    const name = named.type ?? named.action ?? named.name;
    if (typeof name === "string") return name;
    const [only] = Object.keys(action);
    if (only) return only;
  }
  return JSON.stringify(action);
}
