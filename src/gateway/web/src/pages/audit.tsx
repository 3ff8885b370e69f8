import { type Page, get } from "../api.ts";
import { type Change, changes } from "../diff.ts";
import * as format from "../format.ts";
import { useResource } from "../resource.ts";
import { decoded, modelPath, query, rulePath, setQuery, topicPath } from "../router.ts";
import { Pager } from "../ui/pager.tsx";
import { Empty, Forbidden, Loaded } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { Choice } from "./models.tsx";

/** One change that was made over REST. */
interface Entry {
  id: string;
  timestamp: string;
  /** Null without authentication. */
  subject: string | null;
  address: string;
  action: string;
  path: string;
  /** What was asked for, of changes whose states do not tell. */
  request: unknown;
  before: unknown;
  after: unknown;
}

const PAGE = 50;
/** Lines of a change that are shown at once. */
const LINES = 30;

/** What an entry calls it, and what people do. */
const ACTIONS: Record<string, string> = {
  "model.create": "made a model",
  "model.replace": "changed a model",
  "model.delete": "removed a model",
  "model.refit": "asked for a new fit",
  "rule.create": "made a rule",
  "rule.replace": "changed a rule",
  "rule.delete": "removed a rule",
  "alert.acknowledge": "acknowledged an alert",
  "alert.unacknowledge": "took back an acknowledgement",
  "silence.create": "silenced alerts",
  "silence.delete": "ended a silence",
  "dlq.replay": "sent dead letters again",
  "kafka.send": "sent a message",
  "kafka.metrics.cleanup": "cleared old figures",
};

/** Who changed what, newest first. The server searches; the cursor is in the address, so that a page can be shared. */
export function Audit() {
  const q = query.value.get("q") ?? "";
  const action = query.value.get("action") ?? "";
  const cursor = query.value.get("cursor") ?? "";
  const asked = Object.entries({ search: q, action, cursor }).filter(([, value]) => value);
  const path = `/api/audit?limit=${PAGE}${asked.map(([name, value]) => `&${name}=${encodeURIComponent(value)}`).join("")}`;
  const entries = useResource<Page<Entry>>((signal) => get(path, signal), ["audit", path], cursor ? undefined : 15_000);
  const shown = entries.data.value?.items ?? [];
  const next = entries.data.value?.next;
  return (
    <>
      <div class="page-head">
        <h1>Audit</h1>
        <span class="note">changes made over REST, newest first</span>
        <div class="filters" role="search">
          <input
            type="search"
            placeholder="Search who, what, path"
            aria-label="Search changes"
            value={q}
            onInput={(event) => setQuery({ q: event.currentTarget.value, cursor: null }, "replace")}
          />
          <Choice label="Action" value={action} all="All actions" options={Object.keys(ACTIONS)} onChange={(v) => setQuery({ action: v, cursor: null }, "push")} />
        </div>
      </div>
      <div class="panel">
        <Forbidden of={entries} what="The audit log">
          <Loaded of={entries} rows={8}>
            {() =>
              shown.length ? (
                <ol class="letters entries">
                  {shown.map((entry) => (
                    <EntryRow key={entry.id} entry={entry} />
                  ))}
                </ol>
              ) : q || action || cursor ? (
                <Empty>
                  No change matches.{" "}
                  <button type="button" onClick={() => setQuery({ q: null, action: null, cursor: null }, "push")}>
                    Clear the filters
                  </button>
                </Empty>
              ) : (
                <Empty>Nothing has been changed yet.</Empty>
              )
            }
          </Loaded>
          <Pager cursor={cursor} next={next} />
        </Forbidden>
      </div>
    </>
  );
}

function EntryRow({ entry }: { entry: Entry }) {
  const found = changes(entry.action, entry.before, entry.after);
  const asked = changes(entry.action, null, entry.request);
  const thing = subjectOf(entry);
  return (
    <li>
      <details class="letter entry">
        <summary>
          <span class="letter-when">
            <When at={entry.timestamp} />
          </span>
          <span class="entry-who">{entry.subject ?? <span class="faint">somebody</span>}</span>
          <span class="entry-what">{ACTIONS[entry.action] ?? entry.action}</span>
          <span class="entry-thing">{thing.name}</span>
          <span class="letter-origin">{found.length ? format.plural(found.length, "field") : ""}</span>
        </summary>
        <dl class="facts">
          <dt>Action</dt>
          <dd>
            <code>{entry.action}</code> {thing.href && <a href={thing.href}>Open {thing.name}</a>}
          </dd>
          <dt>Path</dt>
          <dd>
            <code>{entry.path}</code>
          </dd>
          <dt>From</dt>
          <dd>{entry.address || <span class="faint">not known</span>}</dd>
        </dl>
        {asked.length > 0 && (
          <>
            <h2>Asked for</h2>
            <Diff found={asked} label="What was asked for" />
            <h2>Answered</h2>
          </>
        )}
        {found.length ? <Diff found={found} label="What changed" /> : <p class="state faint">Nothing that was set differs before and after.</p>}
      </details>
    </li>
  );
}

/** Before and after, a line each: by sign and word, not by colour alone. */
function Diff({ found, label }: { found: Change[]; label: string }) {
  return (
    <div class="diff" role="group" aria-label={label} tabIndex={0}>
      {found.slice(0, LINES).map(({ field, before, after }) => (
        <div key={field} class="diff-field">
          <code class="diff-name">{field}</code>
          {before !== undefined && (
            <del>
              <span aria-hidden="true">− </span>
              {before}
            </del>
          )}
          {after !== undefined && (
            <ins>
              <span aria-hidden="true">+ </span>
              {after}
            </ins>
          )}
        </div>
      ))}
      {found.length > LINES && <p class="faint">and {format.plural(found.length - LINES, "further field")}</p>}
    </div>
  );
}

/** What a change was made to, and its page where it has one. */
function subjectOf(entry: Entry): { name: string; href: string | null } {
  const [, kind = "", name = ""] = /^\/api\/(models|rules|alerts|silences)\/([^/]+)/.exec(entry.path) ?? [];
  const known = decoded(name);
  const after = (typeof entry.after === "object" && entry.after !== null ? entry.after : {}) as Record<string, unknown>;
  const made = [after["model_id"], after["name"], after["topic"]].find((text) => typeof text === "string") as string | undefined;
  if (entry.action.startsWith("model.")) return { name: known || made || "", href: entry.action.endsWith("delete") ? null : modelPath(known || made || "") };
  if (entry.action.startsWith("rule.")) return { name: known || made || "", href: entry.action.endsWith("delete") ? null : rulePath(known || made || "") };
  if (entry.action === "kafka.send" && made) return { name: made, href: topicPath(made) };
  if (kind) return { name: known, href: null };
  // A silence has its name from what it covers.
  const named = after["name"];
  return { name: typeof named === "string" ? named : "", href: null };
}
