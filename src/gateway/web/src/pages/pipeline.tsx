import { culprit, fill } from "../answers.ts";
import * as format from "../format.ts";
import { stats } from "../live/stats.ts";
import { Panel } from "../ui/panel.tsx";

/** The mailboxes on an event's way, in order; the one that holds the others up is named. */
export function Pipeline() {
  const stages = stats.value?.pipeline;
  if (!stages?.length) return null;
  const slow = culprit(stages);
  const busy = slow && fill(slow) > 0.05 ? slow : undefined;
  return (
    <Panel title="Pipeline" note={busy ? `${busy.name} is the fullest` : "nothing is waiting"}>
      <table class="bars-table pipeline">
        <thead>
          <tr>
            <th scope="col">Stage</th>
            <th scope="col" class="num">
              Queue
            </th>
            <th scope="col" class="num">
              Wait
            </th>
          </tr>
        </thead>
        <tbody>
          {stages.map((stage) => {
            const level = fill(stage) >= 0.8 ? "bad" : fill(stage) >= 0.5 ? "watch" : "calm";
            return (
              <tr key={stage.name}>
                <th scope="row">
                  <span class={`bar-back bar-${level}`} style={{ inlineSize: `${fill(stage) * 100}%` }} />
                  <span class="bar-name">{stage.name}</span>
                </th>
                <td class="num">
                  {format.count(stage.depth)}
                  <span class="faint"> / {format.count(stage.capacity)}</span>
                </td>
                <td class="num">{format.millis(stage.wait_seconds * 1000)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Panel>
  );
}
