import { type Page, get } from "../api.ts";
import * as format from "../format.ts";
import { useResource } from "../resource.ts";
import { query, setQuery } from "../router.ts";
import { toMs } from "../time.ts";
import { Empty, Forbidden, Loaded } from "../ui/panel.tsx";
import { type SortedColumn, SortedTable } from "../ui/sorted_table.tsx";
import { When } from "../ui/when.tsx";
import { Choice } from "./models.tsx";

/** One live client. */
interface Session {
  id: number;
  kind: "websocket" | "sse" | "ingest";
  address: string | null;
  user: string | null;
  connected_at: string;
  format: "json" | "msgpack" | null;
  subscriptions: number;
  queued: number;
  queued_bytes: number;
  /** Updates left out for it, so that it keeps up. */
  skipped: number;
}

const SHOWN = 1000;
const KINDS: Record<string, string> = { websocket: "WebSocket", sse: "event stream", ingest: "ingest" };
const none = <span class="faint">–</span>;
const quiet = (n: number, text = format.count(n)) => (n ? text : <span class="faint">0</span>);

const COLUMNS: SortedColumn<Session>[] = [
  { id: "connected_at", title: "Since", value: (s) => toMs(s.connected_at) || null, cell: (s) => <When at={s.connected_at} /> },
  { id: "kind", title: "Kind", value: (s) => s.kind, cell: (s) => KINDS[s.kind] ?? s.kind },
  { id: "address", title: "Address", long: true, value: (s) => s.address, cell: (s) => s.address ?? none },
  { id: "user", title: "User", long: true, value: (s) => s.user, cell: (s) => s.user ?? none },
  { id: "format", title: "Format", wide: true, value: (s) => s.format, cell: (s) => s.format ?? none },
  { id: "subscriptions", title: "Subscriptions", numeric: true, wide: true, value: (s) => s.subscriptions, cell: (s) => quiet(s.subscriptions) },
  { id: "queued", title: "Queued", numeric: true, wide: true, value: (s) => s.queued, cell: (s) => quiet(s.queued) },
  { id: "queued_bytes", title: "Bytes", numeric: true, wide: true, value: (s) => s.queued_bytes, cell: (s) => quiet(s.queued_bytes, format.bytes(s.queued_bytes)) },
  { id: "skipped", title: "Skipped", numeric: true, value: (s) => s.skipped, cell: (s) => (s.skipped ? <b class="fault">{format.count(s.skipped)}</b> : quiet(0)) },
];

/** Who is connected now: live clients, streams and senders of events, and which of them do not keep up. */
export function Sessions() {
  const sessions = useResource<Page<Session>>((signal) => get(`/api/sessions?limit=${SHOWN}`, signal), ["sessions"], 5_000);
  const q = query.value.get("q") ?? "";
  const kind = query.value.get("kind") ?? "";
  const all = sessions.data.value?.items;
  const words = q.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = (all ?? []).filter((session) => {
    if (kind && session.kind !== kind) return false;
    const text = `${session.id} ${session.address ?? ""} ${session.user ?? ""} ${KINDS[session.kind] ?? session.kind} ${session.format ?? ""}`.toLowerCase();
    return words.every((word) => text.includes(word));
  });
  const behind = rows.filter((session) => session.skipped > 0).length;
  return (
    <>
      <div class="page-head">
        <h1>Sessions</h1>
        <span class="note">
          {all &&
            (rows.length === all.length ? format.plural(all.length, "client") : `${format.count(rows.length)} of ${format.plural(all.length, "client")}`)}
          {sessions.data.value?.next && ", the first thousand"}
          {behind > 0 && `, ${format.count(behind)} did not keep up`}
        </span>
        <div class="filters" role="search">
          <input
            type="search"
            placeholder="Search address, user"
            aria-label="Search sessions"
            value={q}
            onInput={(event) => setQuery({ q: event.currentTarget.value }, "replace")}
          />
          <Choice label="Kind" value={kind} all="All kinds" options={Object.keys(KINDS)} onChange={(v) => setQuery({ kind: v }, "push")} />
        </div>
      </div>
      <div class="panel">
        <Forbidden of={sessions} what="The list of who is connected">
          <Loaded of={sessions} rows={6}>
            {() =>
              rows.length ? (
                <SortedTable label="Sessions" rows={rows} columns={COLUMNS} keyOf={(s) => `${s.kind} ${s.id}`} />
              ) : all?.length ? (
                <Empty>
                  No client matches.{" "}
                  <button type="button" onClick={() => setQuery({ q: null, kind: null }, "push")}>
                    Clear the filters
                  </button>
                </Empty>
              ) : (
                <Empty>Nobody is connected: no live client, no stream, no sender of events.</Empty>
              )
            }
          </Loaded>
        </Forbidden>
      </div>
    </>
  );
}
