import { useMemo } from "preact/hooks";
import { type Page, get } from "../api.ts";
import { type Chart, type ChartData, TimeChart } from "../charts/time_chart.tsx";
import * as format from "../format.ts";
import { useResource } from "../resource.ts";
import { query, setQuery } from "../router.ts";
import { toMs } from "../time.ts";
import { Empty, Loaded, Panel } from "../ui/panel.tsx";

interface Figures {
  total_messages: number;
  messages_sent: number;
  messages_failed: number;
  success_rate: number;
  total_bytes: number;
  avg_latency_ms: number;
  p90_latency_ms: number;
  p99_latency_ms: number;
}

interface Hour extends Figures {
  hour: string;
}

const PERIODS = [
  ["today", "Today (UTC)"],
  ["last_7_days", "7 days"],
] as const;
const SPANS = [
  [24, "24 hours"],
  [168, "7 days"],
] as const;
const HOUR_S = 3600;

/** One of a few views of the same thing, kept in the address. */
function Switch<T extends string | number>({ label, name, value, options }: { label: string; name: string; value: T; options: readonly (readonly [T, string])[] }) {
  return (
    <span class="segments" role="group" aria-label={label}>
      {options.map(([option, text], i) => (
        <button key={option} type="button" aria-pressed={option === value} onClick={() => setQuery({ [name]: i ? String(option) : null }, "push")}>
          {text}
        </button>
      ))}
    </span>
  );
}

/** What was published in a period, by every instance. */
export function Published() {
  const period = query.value.get("period") === "last_7_days" ? "last_7_days" : "today";
  const summary = useResource<Figures>((signal) => get(`/api/kafka/metrics/summary?period=${period}`, signal), ["published", period], 30_000);
  return (
    <Panel title="Published" note="by every instance" class="published" actions={<Switch label="Period" name="period" value={period} options={PERIODS} />}>
      <Loaded of={summary} rows={2}>
        {(figures) => (
          <dl class="tiles">
            <Tile name="Messages" text={format.count(figures.total_messages)} />
            <Tile name="Arrived" text={format.percent(figures.success_rate, 2)} />
            <Tile name="Failed" text={format.count(figures.messages_failed)} bad={figures.messages_failed > 0} />
            <Tile name="Bytes" text={format.bytes(figures.total_bytes)} />
            <Tile name="Mean latency" text={format.millis(figures.avg_latency_ms)} />
            <Tile name="p90" text={format.millis(figures.p90_latency_ms)} />
            <Tile name="p99" text={format.millis(figures.p99_latency_ms)} />
          </dl>
        )}
      </Loaded>
    </Panel>
  );
}

function Tile({ name, text, bad = false }: { name: string; text: string; bad?: boolean }) {
  return (
    <div class="tile">
      <dt>{name}</dt>
      <dd class={bad ? "fault" : undefined}>{text}</dd>
    </div>
  );
}

const BARS: Chart = {
  lines: [
    { label: "Messages", color: "series-forecast", style: "bars", format: format.count, widest: 22 },
    { label: "Failed", color: "series-anomaly", style: "bars", format: format.count, widest: 22 },
  ],
  include: [0],
  margin_s: 1800,
};

/** Messages by hour; of one topic, where it is named. */
export function ByHour({ topic }: { topic?: string }) {
  const hours = Number(query.value.get("hours")) === 168 ? 168 : 24;
  const path =
    topic === undefined
      ? `/api/kafka/metrics/hourly?hours=${hours}`
      : `/api/kafka/metrics/topic/${encodeURIComponent(topic)}?limit=${hours}`;
  const rows = useResource<Page<Hour>>((signal) => get(path, signal), ["by-hour", path], 60_000);
  return (
    <Panel
      title="Published by hour"
      note={topic === undefined ? "all topics" : "by Tidecast, to this topic"}
      class="by-hour"
      actions={<Switch label="Span" name="hours" value={hours} options={SPANS} />}
    >
      <Loaded of={rows} rows={5}>
        {(page) => <Hours rows={page.items} hours={hours} label={topic ?? "all topics"} />}
      </Loaded>
    </Panel>
  );
}

function Hours({ rows, hours, label }: { rows: Hour[]; hours: number; label: string }) {
  const data = useMemo(() => byHour(rows, hours), [rows, hours]);
  if (!data.columns[0]?.some((n) => n)) return <Empty>Nothing was published in this time.</Empty>;
  return <TimeChart label={`Published by hour, ${label}`} chart={BARS} data={data} height={190} />;
}

/** Every hour of the span, those without a message as nought: a gap would look like a fault of ours. */
function byHour(rows: Hour[], hours: number): ChartData {
  const known = new Map(rows.map((row) => [toMs(row.hour) / 1000, row]));
  const last = Math.floor(Date.now() / 1000 / HOUR_S) * HOUR_S;
  const times = Array.from({ length: hours }, (_, i) => last - (hours - 1 - i) * HOUR_S);
  return {
    times,
    columns: [times.map((t) => known.get(t)?.total_messages ?? 0), times.map((t) => known.get(t)?.messages_failed ?? 0)],
  };
}
