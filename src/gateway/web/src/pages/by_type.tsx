import { Sparkline } from "../charts/sparkline.tsx";
import * as format from "../format.ts";
import { type TypeHistory, byType, streamState } from "../live/by_type.ts";
import { Empty, Loading, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";

/** Windows by event type, as they close. */
export function ByType() {
  const types = [...byType.value.values()].sort((a, b) => a.key.localeCompare(b.key));
  const newest = types.reduce((end, type) => Math.max(end, type.windows.last?.window_end ?? 0), 0);
  const state = streamState.value;
  return (
    <Panel
      title="Live by type"
      class="by-type"
      note={
        newest ? (
          <>
            window to <When at={newest} />
          </>
        ) : null
      }
    >
      {state === "waiting" && types.length > 0 && (
        <p class="stale" role="status">
          The stream was lost and is being reconnected; these windows are the last that came.
        </p>
      )}
      {types.length ? (
        <table class="data-table by-type-table">
          <thead>
            <tr>
              <th scope="col">Type</th>
              <th scope="col" class="num">
                Events/s
              </th>
              <th scope="col" class="wide-only">
                By window
              </th>
              <th scope="col">Field</th>
              <th scope="col" class="num">
                Mean
              </th>
              <th scope="col" class="num">
                p95
              </th>
              <th scope="col" class="num wide-only">
                Late
              </th>
            </tr>
          </thead>
          <tbody>
            {types.slice(0, 12).map((type) => (
              <TypeRow key={type.key} type={type} />
            ))}
          </tbody>
        </table>
      ) : state === "connecting" ? (
        <Loading rows={4} />
      ) : state === "open" ? (
        <Empty>No window of this series has closed since this page was opened.</Empty>
      ) : state === "refused" ? (
        <Empty>Not shown: there is no series by type, or this token may not see the topic of the aggregates.</Empty>
      ) : (
        <Empty>The stream of windows cannot be reached; it is tried again.</Empty>
      )}
    </Panel>
  );
}

function TypeRow({ type }: { type: TypeHistory }) {
  const last = type.windows.last;
  if (!last) return null;
  const seconds = Math.max(1, last.window_end - last.window_start);
  const [field, statistics] = Object.entries(last.aggregates)[0] ?? [];
  return (
    <tr>
      <th scope="row">{type.key}</th>
      <td class="num">{format.rate(last.event_count / seconds)}</td>
      <td class="wide-only">
        <Sparkline values={type.windows.items.map((window) => window.event_count)} floor={0} area />
      </td>
      <td class="faint">{field ?? "–"}</td>
      <td class="num">{format.value(statistics?.avg)}</td>
      <td class="num">{format.value(statistics?.p95)}</td>
      <td class="num wide-only">{last.late_count ? format.count(last.late_count) : <span class="faint">0</span>}</td>
    </tr>
  );
}
