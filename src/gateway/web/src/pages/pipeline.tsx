import { bottleneck, fill, inOrder } from "../answers.ts";
import * as format from "../format.ts";
import { flows, stats, statsError } from "../live/stats.ts";
import { Panel } from "../ui/panel.tsx";

/** The mailboxes on an event's way, in order; the one that holds the others up is named. */
export function Pipeline() {
  const s = stats.value;
  if (!s?.processor.stages?.length) return null;
  const stages = inOrder(s.processor.stages);
  const slow = bottleneck(s);
  const note = statsError.value ? "as of the last answer" : slow === "source" ? "records wait in Kafka" : slow ? `${slow.replaceAll("_", " ")} holds it up` : "nothing has to wait";
  return (
    <Panel title="Pipeline" class="pipeline" note={note} actions={<a href="/pipeline">Details</a>}>
      <table class="bars-table">
        <thead>
          <tr>
            <th scope="col">Stage</th>
            <th scope="col" class="num" title="Messages a second; a message is a batch of events">
              Msg/s
            </th>
            <th scope="col" class="num" title="Messages waiting, of those that may">
              Queue
            </th>
            <th scope="col" class="num" title="Mean time that a sender waits for room">
              Wait
            </th>
          </tr>
        </thead>
        <tbody>
          {stages.map((stage) => {
            const level = fill(stage) >= 0.8 ? "bad" : fill(stage) >= 0.5 ? "watch" : "calm";
            const flow = flows.value.get(stage.name);
            return (
              <tr key={stage.name}>
                <th scope="row">
                  <span class={`bar-back bar-${level}`} style={{ inlineSize: `${fill(stage) * 100}%` }} />
                  <span class="bar-name">{stage.name.replaceAll("_", " ")}</span>
                </th>
                <td class="num">{format.rate(flow?.rate)}</td>
                <td class="num">
                  {format.count(stage.depth)}
                  <span class="faint"> / {format.room(stage.capacity)}</span>
                </td>
                <td class="num">{format.millis(flow?.wait_s == null ? null : flow.wait_s * 1000)}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
    </Panel>
  );
}
