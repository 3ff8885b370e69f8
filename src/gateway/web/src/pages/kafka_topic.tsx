import { useEffect, useRef, useState } from "preact/hooks";
import { type Page, get } from "../api.ts";
import * as format from "../format.ts";
import { pretty } from "../json.ts";
import { useResource } from "../resource.ts";
import { query, setQuery } from "../router.ts";
import { may } from "../session.ts";
import { Pager } from "../ui/pager.tsx";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { shapeOf, useTopics } from "./kafka.tsx";
import { SendMessage } from "./kafka_dialogs.tsx";
import { ByHour } from "./kafka_publishing.tsx";

interface TopicRecord {
  partition: number;
  offset: number;
  timestamp: string | null;
  key: string | null;
  value: string | null;
  value_base64: string | null;
  headers: Record<string, string>;
  truncated: boolean;
}

const SHOWN = 50;
const FOLLOW_MS = 2_000;
/** Nobody means the search for a word's first letter. */
const TYPED_MS = 300;

/** A topic: its newest records, as they come if one wishes, and what was published to it. */
export function TopicPage({ name }: { name: string }) {
  const topics = useTopics();
  const topic = topics.data.value?.find((known) => known.name === name);
  const [sending, setSending] = useState(false);
  const partition = query.value.get("partition") ?? "";
  const cursor = query.value.get("cursor") ?? "";
  // What is older stands still.
  const follow = query.value.get("follow") === "1" && !cursor;
  const q = query.value.get("q") ?? "";
  const contains = useSettled(q, TYPED_MS);
  const partitions = (topic && shapeOf(topic).partitions) ?? 0;

  const narrowed = Object.entries({ partition, contains, cursor })
    .map(([parameter, value]) => (value ? `&${parameter}=${encodeURIComponent(value)}` : ""))
    .join("");
  const path = `/api/kafka/topics/${encodeURIComponent(name)}/records?limit=${SHOWN}${narrowed}`;
  const records = useResource<Page<TopicRecord>>((signal) => get(path, signal), ["records", path, follow], follow ? FOLLOW_MS : undefined);
  const isNowhere = records.error.value?.status === 404;
  // While others are looked for, those that stand there stay.
  const held = useRef<Page<TopicRecord> | undefined>(undefined);
  held.current = records.data.value ?? held.current;
  const next = held.current?.next;
  const shown = { ...records, data: { value: held.current } };

  return (
    <>
      <div class="page-head">
        <h1>{name}</h1>
        <span class="note">
          <a href="/kafka">Kafka</a>
          {topic && `, ${format.plural(topic.messages ?? 0, "record")} in ${format.plural(partitions, "partition")}`}
        </span>
        <div class="filters" role="search">
          <input
            type="search"
            placeholder="Search key, value, headers"
            aria-label="Search records"
            value={q}
            onInput={(event) => setQuery({ q: event.currentTarget.value, cursor: null }, "replace")}
          />
          <select aria-label="Partition" value={partition} onChange={(event) => setQuery({ partition: event.currentTarget.value, cursor: null }, "push")}>
            <option value="">All partitions</option>
            {partition !== "" && !(Number(partition) < partitions) && <option value={partition}>Partition {partition}</option>}
            {Array.from({ length: partitions }, (_, n) => (
              <option key={n} value={String(n)}>
                Partition {n}
              </option>
            ))}
          </select>
          <button type="button" aria-pressed={follow} onClick={() => setQuery({ follow: follow ? null : "1", cursor: null }, "replace")}>
            Follow
          </button>
          {!follow && (
            <button type="button" onClick={records.refresh}>
              Look again
            </button>
          )}
          {may("administer") && (
            <button type="button" onClick={() => setSending(true)}>
              Send a message
            </button>
          )}
        </div>
      </div>
      {isNowhere ? (
        <Empty>
          There is no topic of this name, or you may not see it. <a href="/kafka">All topics</a>
        </Empty>
      ) : (
        <div class="stack">
          <Panel
            title={cursor ? "Older records" : "Newest records"}
            note={
              follow ? (
                <>looked for every two seconds</>
              ) : records.updated_ms.value ? (
                <>
                  as of <When at={records.updated_ms.value / 1000} />
                </>
              ) : null
            }
          >
            <Loaded of={shown} rows={8}>
              {(page) =>
                page.items.length ? (
                  <ul class="letters">
                    {page.items.map((record) => (
                      <RecordRow key={`${record.partition}-${record.offset}`} record={record} />
                    ))}
                  </ul>
                ) : contains || partition || cursor ? (
                  <Empty>
                    {page.next ? "No record matches among those looked through." : "No record matches."}{" "}
                    <button type="button" onClick={() => setQuery({ q: null, partition: null, cursor: null }, "push")}>
                      Clear the filters
                    </button>
                  </Empty>
                ) : (
                  <Empty>The topic is empty.</Empty>
                )
              }
            </Loaded>
            <Pager cursor={cursor} next={next} older={contains ? "Look further back" : "Older"} changes={{ follow: null }} />
          </Panel>
          <ByHour topic={name} />
        </div>
      )}
      {sending && <SendMessage topic={name} topics={topics.data.value?.map((known) => known.name) ?? []} onClose={() => setSending(false)} />}
    </>
  );
}

function RecordRow({ record }: { record: TopicRecord }) {
  const [open, setOpen] = useState(false);
  const isBinary = record.value == null && record.value_base64 != null;
  const short = record.value ?? record.value_base64 ?? "";
  return (
    <li>
      <details class="letter record" onToggle={(event) => setOpen(event.currentTarget.open)}>
        <summary>
          <span class="record-key">{record.key ?? <span class="faint">no key</span>}</span>
          <span class="record-value">{isBinary ? "(no text)" : record.value == null ? "(no value)" : short.slice(0, 300)}</span>
          <span class="letter-origin">
            {record.partition} @ {format.exact(record.offset)}
          </span>
          <span class="letter-when">
            <When at={record.timestamp} />
          </span>
        </summary>
        {open && <Whole record={record} />}
      </details>
    </li>
  );
}

/** All of a record. Drawn when it is opened, for values may be large. */
function Whole({ record }: { record: TopicRecord }) {
  const headers = Object.entries(record.headers ?? {});
  const json = record.value == null ? null : pretty(record.value);
  const text = json ?? record.value ?? record.value_base64 ?? "(no value: with a key, it says that the key is gone)";
  return (
    <>
      <dl class="facts">
        <dt>Key</dt>
        <dd>{record.key ?? <span class="faint">none</span>}</dd>
        {headers.map(([name, header]) => [
          <dt key={`${name}-name`}>{name}</dt>,
          <dd key={name}>
            <code>{header}</code>
          </dd>,
        ])}
        <dt>Value</dt>
        <dd>
          {record.value == null && record.value_base64 != null ? "not UTF-8, shown as base64" : record.value == null ? "none" : json === null ? "text" : "JSON"}
          {record.truncated && ", cut to what is shown here"}
        </dd>
      </dl>
      <pre tabIndex={0} aria-label="Value of the record">
        {text}
      </pre>
    </>
  );
}

/** What was typed, once the typing pauses; nothing, at once: nobody types that. */
function useSettled(value: string, wait_ms: number): string {
  const [settled, setSettled] = useState(value);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) {
      first.current = false;
      return;
    }
    const timer = setTimeout(() => setSettled(value), value ? wait_ms : 0);
    return () => clearTimeout(timer);
  }, [value]);
  return value && settled;
}
