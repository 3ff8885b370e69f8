import { useMemo } from "preact/hooks";
import { type Chart, type ChartData, TimeChart } from "../charts/time_chart.tsx";
import * as format from "../format.ts";
import { type Timeline, ahead, windowSize } from "../live/timeline.ts";
import type { HistoryItem } from "../model.ts";
import { toMs } from "../time.ts";
import { Empty } from "../ui/panel.tsx";

const CHART: Chart = {
  lines: [
    { label: "Actual", color: "series-actual", style: "line", format: format.value },
    { label: "Forecast", color: "series-forecast", style: "dashed", format: format.value },
    { label: "Upper", color: "series-forecast", style: "edge", format: format.value, quiet: true },
    { label: "Lower", color: "series-forecast", style: "edge", format: format.value, quiet: true },
    { label: "Anomaly", color: "series-anomaly", style: "marks", format: format.value },
  ],
  bands: [{ upper: 2, lower: 3, color: "series-band" }],
};

interface Props {
  id: string;
  timeline: Timeline;
  height: number;
  threshold?: number;
  group?: string;
}

/**
 * Actual, forecast and band. Left of the line each forecast stands as it was made, one window before its value came;
 * right of it lies the newest path.
 */
export function ModelChart({ id, timeline, height, threshold = 0.8, group }: Props) {
  const { data, divider } = useMemo(() => columns(timeline, threshold), [timeline, threshold]);
  if (!data.times.length) return <Empty>No window has closed for this model yet.</Empty>;
  return (
    <TimeChart
      label={id}
      chart={CHART}
      data={data}
      height={height}
      divider={divider}
      {...(group ? { group } : {})}
    />
  );
}

/** A line must not cross a time in which nothing came: beyond this many missing windows it is broken. */
const GAP_WINDOWS = 12;

function withGaps(items: HistoryItem[]): HistoryItem[] {
  const size = windowSize(items);
  if (!size) return items;
  const whole: HistoryItem[] = [];
  for (const item of items) {
    const before = whole.at(-1);
    if (before && item.window_start - before.window_start > size * GAP_WINDOWS) {
      const nothing = { value: null, predicted: null, lower: null, upper: null, anomaly_score: null };
      whole.push({ window_start: before.window_start + size, ...nothing });
    }
    whole.push(item);
  }
  return whole;
}

function columns(timeline: Timeline, threshold: number): { data: ChartData; divider: number | null } {
  const items = withGaps(timeline.items);
  const steps = ahead(timeline);
  const known = items.length;
  const last = items.at(-1)?.window_start;
  return {
    data: {
      times: [...items.map((item) => item.window_start), ...steps.map((step) => toMs(step.timestamp) / 1000)],
      columns: [
        [...items.map((item) => item.value), ...steps.map(() => null)],
        [...items.map((item) => item.predicted), ...steps.map((step) => step.mean)],
        [...items.map((item) => item.upper), ...steps.map((step) => step.upper)],
        [...items.map((item) => item.lower), ...steps.map((step) => step.lower)],
        [...items.map((item) => ((item.anomaly_score ?? 0) >= threshold ? item.value : null)), ...steps.map(() => null)],
      ],
    },
    divider: steps.length && known && last !== undefined ? last + (windowSize(items) ?? 0) / 2 : null,
  };
}
