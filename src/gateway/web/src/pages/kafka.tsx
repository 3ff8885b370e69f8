import { type Page, get } from "../api.ts";
import * as format from "../format.ts";
import { useResource } from "../resource.ts";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";

type Health = Record<string, unknown>;

interface Topic {
  name?: string;
  topic?: string;
  partitions?: number | unknown[];
  replication?: number;
  messages?: number;
  [more: string]: unknown;
}

/** The broker's side: the connection, the topics, and how publishing goes. */
export function Kafka() {
  const health = useResource<Health>((signal) => get("/api/kafka/health", signal), ["kafka-health"], 10_000);
  const topics = useResource<Topic[]>(
    async (signal) => {
      const answer = await get<Page<Topic | string> | { topics: (Topic | string)[] }>("/api/kafka/topics", signal);
      const list = "items" in answer ? answer.items : answer.topics;
      return list.map((topic) => (typeof topic === "string" ? { name: topic } : topic));
    },
    ["kafka-topics"],
    15_000,
  );
  const publishing = useResource<Health>((signal) => get("/api/kafka/metrics", signal), ["kafka-metrics"], 10_000);
  return (
    <>
      <div class="page-head">
        <h1>Kafka</h1>
      </div>
      <div class="kafka">
        <Panel title="Connection">
          <Loaded of={health}>{(facts) => <Facts of={facts} />}</Loaded>
        </Panel>
        <Panel title="Publishing since the start">
          <Loaded of={publishing}>{(facts) => <Facts of={facts} />}</Loaded>
        </Panel>
        <Panel title="Topics" class="kafka-topics">
          <Loaded of={topics} rows={6}>
            {(list) => (list.length ? <Topics topics={list} /> : <Empty>No topics are visible.</Empty>)}
          </Loaded>
        </Panel>
      </div>
    </>
  );
}

function Facts({ of }: { of: Health }) {
  return (
    <dl class="facts">
      {Object.entries(of)
        .filter(([, value]) => value != null)
        .map(([name, value]) => [
          <dt key={`${name}-name`}>{name.replaceAll("_", " ")}</dt>,
          <dd key={name}>
            {typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value) ? (
              <When at={value} />
            ) : typeof value === "object" ? (
              <code>{JSON.stringify(value)}</code>
            ) : typeof value === "boolean" ? (
              value ? "yes" : "no"
            ) : (
              String(value)
            )}
          </dd>,
        ])}
    </dl>
  );
}

function Topics({ topics }: { topics: Topic[] }) {
  return (
    <table class="data-table">
      <thead>
        <tr>
          <th scope="col">Topic</th>
          <th scope="col" class="num">
            Partitions
          </th>
          <th scope="col" class="num">
            Replication
          </th>
        </tr>
      </thead>
      <tbody>
        {topics.map((topic) => {
          const name = topic.name ?? topic.topic ?? "";
          const partitions = Array.isArray(topic.partitions) ? topic.partitions.length : topic.partitions;
          return (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td class="num">{format.count(partitions)}</td>
              <td class="num">{format.count(topic.replication ?? (topic["replication_factor"] as number | undefined))}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
