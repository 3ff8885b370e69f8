import { useState } from "preact/hooks";
import { type Page, call, get, problemOf } from "../api.ts";
import * as format from "../format.ts";
import type { DeadLetter } from "../model.ts";
import { useResource } from "../resource.ts";
import { query, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { Confirm } from "../ui/confirm.tsx";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { EditLetter, type Replayed } from "./dlq_edit.tsx";

const SHOWN = 500;

/** Input that could not be used: why, from where, and its untouched bytes. */
export function DeadLetters() {
  const letters = useResource<Page<DeadLetter>>((signal) => get(`/api/dlq?limit=${SHOWN}`, signal), ["dlq"], 10_000);
  const reason = query.value.get("reason") ?? "";
  const [asking, setAsking] = useState(false);
  const [editing, setEditing] = useState<DeadLetter | null>(null);
  const mayReplay = may("operate");
  const [told, setTold] = useState<{ fault: boolean; text: string } | null>(null);

  const replay = async (what: { reason: string } | { all: true } | { ids: string[] }) => {
    setAsking(false);
    try {
      sent(await call<Replayed>("POST", "/api/dlq/replay", what));
    } catch (error) {
      setTold({ fault: true, text: problemOf(error).message });
    }
  };
  const sent = (answer: Replayed) => {
    setEditing(null);
    const skipped = answer.skipped ? `, ${format.count(answer.skipped)} passed over` : "";
    setTold({ fault: false, text: `${format.plural(answer.replayed, "record")} sent again${skipped}.` });
    letters.refresh();
  };

  return (
    <>
      <div class="page-head">
        <h1>Dead letters</h1>
        <span class="note">input that could not be used</span>
        <div class="filters">
          {mayReplay && (
            <button type="button" onClick={() => setAsking(true)} disabled={!letters.data.value?.items.length}>
              Replay {reason ? `"${reason.replaceAll("_", " ")}"` : "all"}
            </button>
          )}
        </div>
      </div>
      {told && (
        <p class={told.fault ? "notice fault" : "notice"} role="status">
          {told.text}
        </p>
      )}
      <Loaded of={letters} rows={8}>
        {(page) => (
          <Letters
            items={page.items}
            more={page.next !== null}
            reason={reason}
            replay={mayReplay ? (letter) => void replay({ ids: [letter.id] }) : null}
            edit={setEditing}
          />
        )}
      </Loaded>
      {asking && (
        <Confirm title="Send them again?" action="Replay" onCancel={() => setAsking(false)} onConfirm={() => void replay(reason ? { reason } : { all: true })}>
          {reason ? `The records with the reason "${reason}"` : "All dead letters"} go back to the topics they came from. What
          still cannot be used comes back here.
        </Confirm>
      )}
      {editing && <EditLetter letter={editing} onClose={() => setEditing(null)} onSent={sent} />}
    </>
  );
}

interface LettersProps {
  items: DeadLetter[];
  more: boolean;
  reason: string;
  /** Null where the reader may not. */
  replay: ((letter: DeadLetter) => void) | null;
  edit: (letter: DeadLetter) => void;
}

function Letters({ items, more, reason, replay, edit }: LettersProps) {
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
            {shown.map((letter) => (
              <Letter key={letter.id} letter={letter} replay={replay} edit={edit} />
            ))}
          </ul>
        ) : (
          <Empty>None with this reason among the newest.</Empty>
        )}
      </Panel>
    </div>
  );
}

function Letter({ letter, replay, edit }: { letter: DeadLetter } & Pick<LettersProps, "replay" | "edit">) {
  const isText = letter.payload != null;
  const bytes = letter.payload ?? letter.payload_base64 ?? "";
  return (
    <li>
      <details class="letter">
        <summary>
          <span class="letter-reason">{letter.reason.replaceAll("_", " ")}</span>
          <span class="letter-detail">{letter.detail}</span>
          <span class="letter-origin">
            {letter.topic}/{letter.partition} @ {format.exact(letter.offset)}
          </span>
          <span class="letter-when">
            <When at={letter.timestamp} />
          </span>
        </summary>
        <dl class="facts">
          <dt>Key</dt>
          <dd>{letter.key ?? <span class="faint">none</span>}</dd>
          <dt>Bytes</dt>
          <dd>
            {isText || !bytes ? "as they came" : "not UTF-8, shown as base64"}
            {letter.truncated && ", cut to the largest record that Kafka takes"}
          </dd>
        </dl>
        <pre tabIndex={0} aria-label="Bytes of the record">
          {bytes === "" ? "(no bytes)" : bytes}
        </pre>
        {replay && (
          <div class="letter-buttons">
            <button type="button" onClick={() => replay(letter)}>
              Send it again
            </button>
            <button type="button" onClick={() => edit(letter)}>
              Edit and send again
            </button>
          </div>
        )}
      </details>
    </li>
  );
}
