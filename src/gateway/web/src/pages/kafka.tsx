import { useState } from "preact/hooks";
import { get, getAll } from "../api.ts";
import * as format from "../format.ts";
import { type Resource, useResource } from "../resource.ts";
import { topicPath } from "../router.ts";
import { may } from "../session.ts";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";
import { When } from "../ui/when.tsx";
import { SendMessage, TryConnection } from "./kafka_dialogs.tsx";
import { ByHour, Published } from "./kafka_publishing.tsx";

type Health = Record<string, unknown>;

export interface Topic {
  name: string;
  partition_count?: number;
  messages?: number;
  partitions?: number | { partition: number; replicas?: number[]; in_sync?: number[]; low?: number | null; high?: number | null }[];
  error?: string | null;
}

/** The topics that the reader may see. */
export function useTopics(): Resource<Topic[]> {
  return useResource<Topic[]>((signal) => getAll("/api/kafka/topics", 10_000, signal), ["kafka-topics"], 15_000);
}

/** The broker's side: the connection, the topics, and how publishing goes. */
export function Kafka() {
  const health = useResource<Health>((signal) => get("/api/kafka/health", signal), ["kafka-health"], 10_000);
  const topics = useTopics();
  const publishing = useResource<Health>((signal) => get("/api/kafka/metrics", signal), ["kafka-metrics"], 10_000);
  const [asking, setAsking] = useState<"send" | "try" | null>(null);
  const servers = health.data.value?.["bootstrap_servers"];
  return (
    <>
      <div class="page-head">
        <h1>Kafka</h1>
        {may("administer") && (
          <div class="filters">
            <button type="button" onClick={() => setAsking("try")}>
              Try a connection
            </button>
            <button type="button" onClick={() => setAsking("send")}>
              Send a message
            </button>
          </div>
        )}
      </div>
      <div class="kafka">
        <Published />
        <ByHour />
        <div class="kafka-side">
          <Panel title="Connection">
            <Loaded of={health}>{(facts) => <Facts of={facts} />}</Loaded>
          </Panel>
          <Panel title="Since the start" note="published by this process">
            <Loaded of={publishing}>{(facts) => <Facts of={facts} />}</Loaded>
          </Panel>
        </div>
        <Panel title="Topics" class="kafka-topics">
          <Loaded of={topics} rows={6}>
            {(list) => (list.length ? <Topics topics={list} /> : <Empty>No topics are visible.</Empty>)}
          </Loaded>
        </Panel>
      </div>
      {asking === "send" && <SendMessage topic="" topics={topics.data.value?.map((topic) => topic.name) ?? []} onClose={() => setAsking(null)} />}
      {asking === "try" && <TryConnection servers={Array.isArray(servers) ? servers.join(", ") : String(servers ?? "")} onClose={() => setAsking(null)} />}
    </>
  );
}

function Facts({ of }: { of: Health }) {
  return (
    <dl class="facts">
      {Object.entries(of)
        .filter(([, value]) => value != null && !(Array.isArray(value) && !value.length))
        .map(([name, value]) => [
          <dt key={`${name}-name`}>{name.replace(/_ms$/, "").replaceAll("_", " ")}</dt>,
          <dd key={name}>
            <Fact name={name} value={value} />
          </dd>,
        ])}
    </dl>
  );
}

function Fact({ name, value }: { name: string; value: unknown }) {
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? <When at={value} /> : <>{value}</>;
  if (typeof value === "boolean") return <>{value ? "yes" : "no"}</>;
  if (typeof value === "number") {
    if (name.endsWith("_ms")) return <>{format.millis(value)}</>;
    if (name.endsWith("_rate")) return <>{format.percent(value, 2)}</>;
    return <>{name.endsWith("bytes") ? format.bytes(value) : format.count(value)}</>;
  }
  if (Array.isArray(value)) {
    return <>{value.map((item: unknown) => (isBroker(item) ? `${item.id} at ${item.address}` : typeof item === "string" ? item : JSON.stringify(item))).join(", ")}</>;
  }
  return <code>{JSON.stringify(value)}</code>;
}

function isBroker(item: unknown): item is { id: number; address: string } {
  return typeof item === "object" && item !== null && "id" in item && "address" in item;
}

/** Partitions, and how many brokers hold each, as far as the server tells. */
export function shapeOf(topic: Topic): { partitions: number | undefined; replicas: number | undefined; behind: number } {
  const list = Array.isArray(topic.partitions) ? topic.partitions : [];
  const partitions = topic.partition_count ?? (typeof topic.partitions === "number" ? topic.partitions : list.length || undefined);
  const behind = list.filter((p) => p.replicas && p.in_sync && p.in_sync.length < p.replicas.length).length;
  return { partitions, replicas: list[0]?.replicas?.length, behind };
}

function Topics({ topics }: { topics: Topic[] }) {
  return (
    <table class="data-table topics-table">
      <thead>
        <tr>
          <th scope="col">Topic</th>
          <th scope="col" class="num">
            Records
          </th>
          <th scope="col" class="num">
            Partitions
          </th>
          <th scope="col" class="num wide-only">
            Replicas
          </th>
        </tr>
      </thead>
      <tbody>
        {topics.map((topic) => {
          const { partitions, replicas, behind } = shapeOf(topic);
          return (
            <tr key={topic.name}>
              <th scope="row">
                <a href={topicPath(topic.name)}>{topic.name}</a>
                {topic.error && <span class="fault"> {topic.error}</span>}
                {behind > 0 && <span class="fault"> {format.plural(behind, "partition")} short of replicas</span>}
              </th>
              <td class="num">{format.count(topic.messages)}</td>
              <td class="num">{format.count(partitions)}</td>
              <td class="num wide-only">{format.count(replicas)}</td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
