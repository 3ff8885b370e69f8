import { useState } from "preact/hooks";
import { type Page, Problem, call, get } from "../api.ts";
import * as format from "../format.ts";
import type { DeadLetter } from "../model.ts";
import { useResource } from "../resource.ts";
import { query, setQuery } from "../router.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";

const SHOWN = 500;

/** Input that could not be used: why, from where, and its untouched bytes. */
export function DeadLetters() {
  const letters = useResource<Page<DeadLetter>>((signal) => get(`/api/dlq?limit=${SHOWN}`, signal), ["dlq"], 10_000);
  const reason = query.value.get("reason") ?? "";
  const [asking, setAsking] = useState(false);
  const [told, setTold] = useState<{ fault: boolean; text: string } | null>(null);

  const replay = async () => {
    setAsking(false);
    try {
      const answer = await call<Record<string, unknown> | undefined>("POST", "/api/dlq/replay", reason ? { reason } : {});
      const count = answer?.["replayed"] ?? answer?.["count"];
      setTold({ fault: false, text: typeof count === "number" ? `${format.plural(count, "record")} sent again.` : "Sent again." });
      letters.refresh();
    } catch (error) {
      setTold({ fault: true, text: error instanceof Problem ? error.message : String(error) });
    }
  };

  return (
    <>
      <div class="page-head">
        <h1>Dead letters</h1>
        <span class="note">input that could not be used</span>
        <div class="filters">
          <button type="button" onClick={() => setAsking(true)} disabled={!letters.data.value?.items.length}>
            Replay {reason ? `"${reason.replaceAll("_", " ")}"` : "all"}
          </button>
        </div>
      </div>
      {told && (
        <p class={told.fault ? "notice fault" : "notice"} role="status">
          {told.text}
        </p>
      )}
      <Loaded of={letters} rows={8}>
        {(page) => <Letters items={page.items} more={page.next !== null} reason={reason} />}
      </Loaded>
      {asking && (
        <Confirm title="Send them again?" action="Replay" onCancel={() => setAsking(false)} onConfirm={() => void replay()}>
          {reason ? `The records with the reason "${reason}"` : "All dead letters"} go back to the topics they came from. What
          still cannot be used comes back here.
        </Confirm>
      )}
    </>
  );
}

function Letters({ items, more, reason }: { items: DeadLetter[]; more: boolean; reason: string }) {
  const groups = new Map<string, number>();
  for (const item of items) groups.set(item.reason, (groups.get(item.reason) ?? 0) + 1);
  const sorted = [...groups].sort((a, b) => b[1] - a[1]);
  const shown = reason ? items.filter((item) => item.reason === reason) : items;
  if (!items.length) return <div class="panel"><Empty>No dead letters: all input could be used.</Empty></div>;
  return (
    <div class="dlq">
      <Panel title="Reasons" note={more ? `of the newest ${items.length}` : format.plural(items.length, "record")}>
        <ul class="reasons">
          {[["", items.length] as const, ...sorted].map(([name, n]) => (
            <li key={name}>
              <button type="button" aria-pressed={reason === name} onClick={() => setQuery({ reason: name }, "push")}>
                <span class="bar-back" style={{ inlineSize: `${(n / items.length) * 100}%` }} />
                <span class="bar-name">{name ? name.replaceAll("_", " ") : "all"}</span>
                <span class="num">{format.count(n)}</span>
              </button>
            </li>
          ))}
        </ul>
      </Panel>
      <Panel title="Records" note={reason ? reason.replaceAll("_", " ") : "newest first"}>
        {shown.length ? (
          <ul class="letters">
            {shown.map((letter, i) => (
              <Letter key={`${letter.topic}/${letter.partition}/${letter.offset}/${i}`} letter={letter} />
            ))}
          </ul>
        ) : (
          <Empty>None with this reason among the newest.</Empty>
        )}
      </Panel>
    </div>
  );
}

function Letter({ letter }: { letter: DeadLetter }) {
  const bytes = letter.value ?? (letter["payload"] as string | undefined) ?? (letter["bytes"] as string | undefined) ?? "";
  return (
    <li>
      <details class="letter">
        <summary>
          <span class="letter-reason">{letter.reason.replaceAll("_", " ")}</span>
          <span class="letter-detail">{letter.detail}</span>
          <span class="letter-origin">
            {letter.topic}
            {letter.partition != null && `/${letter.partition}`}
            {letter.offset != null && ` @ ${format.exact(letter.offset)}`}
          </span>
          {letter.timestamp != null && (
            <span class="letter-when">
              <When at={letter.timestamp} />
            </span>
          )}
        </summary>
        <dl class="facts">
          <dt>Key</dt>
          <dd>{letter.key ?? <span class="faint">none</span>}</dd>
        </dl>
        <pre tabIndex={0} aria-label="Bytes of the record">
          {bytes === "" ? "(no bytes)" : bytes}
        </pre>
      </details>
    </li>
  );
}
