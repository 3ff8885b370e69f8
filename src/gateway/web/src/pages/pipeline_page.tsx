import { bottleneck, fill, inOrder } from "../answers.ts";
import { Sparkline } from "../charts/sparkline.tsx";
import * as format from "../format.ts";
import { ask, flows, samples, stats, statsAt_ms, statsError } from "../live/stats.ts";
import type { Ledger, PartitionLedger, Stage, Stats } from "../model.ts";
import { LevelMark } from "../ui/marks.tsx";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";

/** What happens in each stage, in a few words. */
const DOES: Record<string, string> = {
  aggregator: "counts events into windows",
  forecasting: "hands windows to their models",
  forecaster: "fits and forecasts",
  submissions: "forecasts and anomalies from outside",
  rules: "tries the rules",
  publisher: "writes to Kafka",
};

/** An event's way, stage by stage: what goes through, what waits, who holds the others up, and what became of every record. */
export function PipelinePage() {
  return (
    <>
      <div class="page-head">
        <h1>Pipeline</h1>
        <span class="note">an event's way from Kafka to Kafka</span>
      </div>
      <div class={stats.value ? "stack" : "panel"}>
        <Loaded of={{ data: stats, error: statsError, updated_ms: statsAt_ms, refresh: () => void ask() }} rows={8}>
          {(s) => (
            <>
              <Behind stats={s} />
              <Stages stats={s} />
              <Books stats={s} />
            </>
          )}
        </Loaded>
      </div>
    </>
  );
}

/** How far behind: in records, in the time that they tell of, and until it is made good. */
function Behind({ stats: s }: { stats: Stats }) {
  const { lag, lag_seconds, seconds_to_clear, events_per_second } = s.processor;
  const past = samples.value;
  const clear =
    lag === 0 ? "nothing waits" : seconds_to_clear == null ? "not shrinking now" : seconds_to_clear < 1 ? "within a second" : format.seconds(seconds_to_clear);
  return (
    <section class="figures figures-3" aria-label="Lag">
      <div class="figure">
        <div class="figure-name">Lag</div>
        <div class="figure-value">
          {format.count(lag)} <small>records</small>
        </div>
        <Sparkline values={past.map((p) => p.lag)} floor={0} area />
      </div>
      <div class="figure">
        <div class="figure-name">Lag in event time</div>
        <div class="figure-value">{format.seconds(lag_seconds)}</div>
        <p class="figure-note">of the partition that is furthest behind</p>
      </div>
      <div class="figure">
        <div class="figure-name">Until it is cleared</div>
        <div class="figure-value">{clear}</div>
        {lag !== 0 && (
          <p class="figure-note">{seconds_to_clear == null ? "over the last ten seconds" : "if it goes on as in the last ten seconds"}</p>
        )}
      </div>
      <div class="figure">
        <div class="figure-name">Events</div>
        <div class="figure-value">
          {format.rate(events_per_second)} <small>/s</small>
        </div>
        <Sparkline values={past.map((p) => p.eventsPerSecond)} floor={0} area />
      </div>
    </section>
  );
}

function Stages({ stats: s }: { stats: Stats }) {
  const stages = inOrder(s.processor.stages ?? []);
  const slow = bottleneck(s);
  const named = slow === "source" ? "Kafka itself" : slow?.replaceAll("_", " ");
  return (
    <Panel title="Stages" note={named ? undefined : "nothing has to wait"}>
      {named && (
        <p class="culprit" role="status">
          <LevelMark level="watch" />
          <span>
            <b>{named}</b>{" "}
            {slow === "source"
              ? "holds the others up: records wait there, and no stage here is full. More partitions, or a quicker broker, would help."
              : "holds the others up: those before it wait for room in its queue."}
          </span>
        </p>
      )}
      {stages.length ? (
        <ol class="flow">
          <li class="flow-end">
            <span class="flow-name">Kafka</span>
            <span class="flow-what">{s.kafka.topic}</span>
          </li>
          {stages.map((stage) => (
            <StageBox key={stage.name} stage={stage} slow={stage.name === slow} />
          ))}
          <li class="flow-end">
            <span class="flow-name">Kafka</span>
            <span class="flow-what">{format.count(s.kafka.messages_sent)} records out</span>
          </li>
        </ol>
      ) : (
        <Empty>This server does not tell of its stages: it runs none of them, or is older.</Empty>
      )}
    </Panel>
  );
}

function StageBox({ stage, slow }: { stage: Stage; slow: boolean }) {
  const share = fill(stage);
  const level = share >= 0.8 ? "bad" : share >= 0.5 ? "watch" : "calm";
  const flow = flows.value.get(stage.name);
  return (
    <li class={slow ? "flow-stage flow-slow" : "flow-stage"}>
      <span class="flow-name">
        {slow && <LevelMark level="watch" />}
        {stage.name.replaceAll("_", " ")}
        {slow && <span class="sr-only">, holds the others up</span>}
      </span>
      <span class="flow-what">{DOES[stage.name] ?? ""}</span>
      <span class="flow-queue">
        <span class={`flow-fill bar-${level}`} style={{ inlineSize: `${stage.depth ? Math.max(2, share * 100) : 0}%` }} />
      </span>
      <dl class="flow-facts">
        <dt>Queue</dt>
        <dd>
          {format.count(stage.depth)} <span class="faint">of {format.room(stage.capacity)}</span>
        </dd>
        <dt>Through</dt>
        <dd>
          {format.rate(flow?.rate)} <span class="faint">msg/s</span>
        </dd>
        <dt title="Mean time that a sender waits for room">Wait</dt>
        <dd>{format.millis(flow?.wait_s == null ? null : flow.wait_s * 1000)}</dd>
      </dl>
    </li>
  );
}

const rest = (ledger: Ledger) => ledger.in - ledger.windowed - ledger.late - ledger.dead_lettered - ledger.filtered;

/** What became of the records: every one that was read is in exactly one of the columns. */
function Books({ stats: s }: { stats: Stats }) {
  const whole = s.processor.ledger;
  const each = s.processor.ledgers ?? [];
  if (!whole && !each.length) {
    return (
      <Panel title="Ledger">
        <Empty>This server does not tell what became of its records.</Empty>
      </Panel>
    );
  }
  const withLag = each.some((row) => row.lag != null);
  const sum = whole ?? each.reduce(add, { in: 0, windowed: 0, late: 0, dead_lettered: 0, filtered: 0 });
  return (
    <Panel title="Ledger" note="read = windowed + late + dead-lettered + filtered">
      <div class="wide-box" role="region" aria-label="Ledger, by partition" tabIndex={0}>
        <table class="data-table ledger">
          <thead>
            <tr>
              <th scope="col">Partition</th>
              <th scope="col" class="num">
                Read
              </th>
              <th scope="col" class="num">
                Windowed
              </th>
              <th scope="col" class="num">
                Late
              </th>
              <th scope="col" class="num">
                Dead letters
              </th>
              <th scope="col" class="num">
                Filtered
              </th>
              <th scope="col">Adds up</th>
              {withLag && (
                <>
                  <th scope="col" class="num">
                    Lag
                  </th>
                  <th scope="col" class="num">
                    In event time
                  </th>
                </>
              )}
            </tr>
          </thead>
          <tbody>
            {each.map((row) => (
              <LedgerRow key={`${row.topic} ${row.partition}`} name={`${row.topic}/${row.partition}`} row={row} withLag={withLag} />
            ))}
            <LedgerRow
              name={s.processor.partitions == null ? "All" : `All, of ${format.plural(s.processor.partitions, "partition")}`}
              row={{ ...sum, lag: s.processor.lag ?? null, lag_seconds: s.processor.lag_seconds ?? null }}
              withLag={withLag}
              total
            />
          </tbody>
        </table>
      </div>
    </Panel>
  );
}

interface RowProps {
  name: string;
  row: Ledger & Pick<PartitionLedger, "lag" | "lag_seconds">;
  withLag: boolean;
  total?: boolean;
}

function LedgerRow({ name, row, withLag, total = false }: RowProps) {
  const left = rest(row);
  return (
    <tr class={total ? "ledger-sum" : undefined}>
      <th scope="row">{name}</th>
      <td class="num">{format.exact(row.in)}</td>
      <td class="num">{format.exact(row.windowed)}</td>
      <td class="num">{format.exact(row.late)}</td>
      <td class="num">
        {row.dead_lettered ? (
          <a href="/dlq">{format.exact(row.dead_lettered)}</a>
        ) : (
          0
        )}
      </td>
      <td class="num">{format.exact(row.filtered)}</td>
      <td>
        <span class="adds-up">
          <LevelMark level={left === 0 ? "good" : left > 0 ? "unknown" : "bad"} />
          {left === 0 ? "yes" : left > 0 ? `${format.count(left)} under way` : `${format.count(-left)} too many`}
        </span>
      </td>
      {withLag && (
        <>
          <td class="num">{format.count(row.lag)}</td>
          <td class="num">{format.seconds(row.lag_seconds)}</td>
        </>
      )}
    </tr>
  );
}

function add(sum: Ledger, row: Ledger): Ledger {
  return {
    in: sum.in + row.in,
    windowed: sum.windowed + row.windowed,
    late: sum.late + row.late,
    dead_lettered: sum.dead_lettered + row.dead_lettered,
    filtered: sum.filtered + row.filtered,
  };
}
