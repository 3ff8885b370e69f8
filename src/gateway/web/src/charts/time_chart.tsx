import { useEffect, useRef, useState } from "preact/hooks";
import uPlot from "uplot";
import { dark, zone } from "../preferences.ts";
import { axisLabels, axisSplits, axisSteps_s, full, zoneName } from "../time.ts";
import { type Cell, save, toCsv } from "../csv.ts";
import { color } from "./colors.ts";

/** How one column of the data is drawn. */
export interface Line {
  label: string;
  /** Name of a colour of the style sheet. */
  color: string;
  /** `line`, `dashed`, `marks` (points alone), `bars`, or `edge`: an invisible border of a band. */
  style: "line" | "dashed" | "marks" | "bars" | "edge";
  format: (value: number | null | undefined) => string;
  /** Left out of the legend and the readout. */
  quiet?: boolean;
  /** Of bars: most pixels that one is wide. [6] */
  widest?: number;
}

export interface Chart {
  lines: Line[];
  /** Pairs of line numbers (from 0), upper first, between which the ground is tinted. */
  bands?: { upper: number; lower: number; color: string }[];
  /** Always within the scale, e.g. 0. */
  include?: number[];
  /** A fixed scale, where one is natural (a score from 0 to 1). */
  range?: [number, number];
  /** Seconds left free on either side, so that the bars there are whole. */
  margin_s?: number;
}

export interface ChartData {
  /** Epoch seconds, ascending. */
  times: number[];
  /** One column a line. */
  columns: (number | null)[][];
}

interface Props {
  label: string;
  /** Must keep its identity between renders: a new one builds the chart anew. */
  chart: Chart;
  data: ChartData;
  height: number;
  /** Vertical line: where the known ends. Epoch seconds. */
  divider?: number | null;
  /** Charts of the same name share the cursor. */
  group?: string;
  /** Width of the value axis in CSS pixels, the same for charts that stand above each other. [56] */
  gutter?: number;
}

/**
 * A chart over time. The readout above it is its legend and shows the values under the cursor, or the newest; the
 * arrow keys move the cursor, and the values can be had as a table in a file.
 */
export function TimeChart({ label, chart, data, height, divider = null, group, gutter = 56 }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const newest = useRef(data);
  const divide = useRef(divider);
  newest.current = data;
  divide.current = divider;
  const [cursor, setCursor] = useState<number | null>(null);
  const z = zone.value;
  const isDark = dark.value;

  useEffect(() => {
    const node = box.current!;
    const made = new uPlot(
      options({ chart, height, gutter, group, divide, width: node.clientWidth, zone: z, onCursor: setCursor }),
      aligned(newest.current),
      node,
    );
    plot.current = made;
    const watcher = new ResizeObserver(() => {
      const width = node.clientWidth;
      if (width && Math.abs(width - made.width) >= 1) made.setSize({ width, height });
    });
    watcher.observe(node);
    return () => {
      watcher.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [chart, height, gutter, group, z, isDark]);

  useEffect(() => {
    const made = plot.current;
    if (!made || made.data[0] === (data.times as unknown)) return;
    made.setData(aligned(data));
  }, [data, divider]);

  const at = cursor != null && cursor < data.times.length ? cursor : lastKnown(data);
  const moment_ms = at == null ? NaN : data.times[at]! * 1000;
  const shown = chart.lines.flatMap((line, i) =>
    line.quiet ? [] : [{ line, text: line.format(at == null ? null : data.columns[i]?.[at]) }],
  );
  const spoken = Number.isFinite(moment_ms)
    ? `${full(moment_ms, z)} ${zoneName(z, moment_ms)}: ${shown.map((s) => `${s.line.label} ${s.text}`).join(", ")}`
    : "no data";

  const step = (event: KeyboardEvent) => {
    const length = data.times.length;
    if (!length) return;
    const here = cursor ?? lastKnown(data) ?? length - 1;
    const far = Math.max(1, Math.round(length / 20));
    const to =
      { ArrowLeft: here - 1, ArrowRight: here + 1, PageUp: here - far, PageDown: here + far, Home: 0, End: length - 1 }[
        event.key
      ] ?? null;
    if (event.key === "Escape") setCursor(null);
    if (to == null) return;
    event.preventDefault();
    const index = Math.max(0, Math.min(length - 1, to));
    setCursor(index);
    const made = plot.current;
    if (made) made.setCursor({ left: made.valToPos(data.times[index]!, "x"), top: made.over.clientHeight / 2 }, false);
  };

  const download = () => {
    const columns = chart.lines.map((line) => line.label);
    const rows: Cell[][] = data.times.map((t, i) => [
      new Date(t * 1000).toISOString(),
      ...data.columns.map((column) => column[i]),
    ]);
    save(`${label}.csv`, toCsv(["time", ...columns], rows));
  };

  return (
    <figure class="chart">
      <figcaption class="readout">
        <span class="readout-time">
          {Number.isFinite(moment_ms) ? `${full(moment_ms, z).slice(0, 16)} ${zoneName(z, moment_ms)}` : "–"}
        </span>
        {shown.map(({ line, text }) => (
          <span key={line.label} class="readout-item">
            <i class={`key key-${line.style}`} style={{ color: `var(--${line.color})` }} />
            {line.label} <b>{text}</b>
          </span>
        ))}
        <button type="button" class="quiet-button" onClick={download} disabled={!data.times.length} title="Download the values">
          CSV
        </button>
      </figcaption>
      <div
        ref={box}
        class="plot"
        style={{ blockSize: `${height}px` }}
        role="slider"
        tabIndex={0}
        aria-label={`${label}: move through time`}
        aria-orientation="horizontal"
        aria-valuemin={0}
        aria-valuemax={Math.max(0, data.times.length - 1)}
        aria-valuenow={at ?? 0}
        aria-valuetext={spoken}
        onKeyDown={step}
        onBlur={() => setCursor(null)}
      />
    </figure>
  );
}

function aligned(data: ChartData): uPlot.AlignedData {
  return [data.times, ...data.columns] as uPlot.AlignedData;
}

/** The newest place where the first line has a value. */
function lastKnown(data: ChartData): number | null {
  const at = data.columns[0]?.findLastIndex((v) => v != null) ?? -1;
  if (at >= 0) return at;
  return data.times.length ? data.times.length - 1 : null;
}

interface OptionsInput {
  chart: Chart;
  height: number;
  width: number;
  gutter: number;
  group: string | undefined;
  divide: { current: number | null };
  zone: "utc" | "local";
  onCursor: (index: number | null) => void;
}

function options(input: OptionsInput): uPlot.Options {
  const { chart, zone: z } = input;
  const font = `11px ${getComputedStyle(document.body).fontFamily}`;
  const ink = color("ink-3");
  const grid = { stroke: color("grid"), width: 1 };
  const ticks = { show: false };
  const cursor: uPlot.Cursor = {
    drag: { x: false, y: false },
    y: false,
    points: { size: 6, show: (u, i) => pointAt(u, i, chart) },
  };
  if (input.group) cursor.sync = { key: input.group, setSeries: false };
  return {
    width: Math.max(50, input.width),
    height: input.height,
    cursor,
    legend: { show: false },
    // Half of the widest label under the last mark: a day with its year.
    padding: [8, 32, 0, 0],
    scales: {
      x: { time: false, ...(chart.margin_s ? { range: (_u, low, high) => [low - chart.margin_s!, high + chart.margin_s!] } : {}) },
      y: { range: chart.range ? () => chart.range! : (_, low, high) => around(low, high, chart.include ?? []) },
    },
    axes: [
      {
        stroke: ink,
        font,
        grid: { show: false },
        ticks: { show: true, stroke: grid.stroke, width: 1, size: 4 },
        size: 38,
        gap: 4,
        space: 64,
        incrs: axisSteps_s,
        splits: (_u, _axis, low, high, step) => axisSplits(low, high, step, z),
        values: (_u, splits, _axis, _space, step) => axisLabels(splits, step, z),
      },
      {
        stroke: ink,
        font,
        grid,
        ticks,
        size: input.gutter,
        gap: 6,
        space: 34,
        values: (_u, splits) => splits.map((v) => (v == null ? "" : chart.lines[0]!.format(v))),
      },
    ],
    series: [{}, ...chart.lines.map(series)],
    bands: (chart.bands ?? []).map((band) => ({ series: [band.upper + 1, band.lower + 1], fill: color(band.color) })),
    hooks: {
      setCursor: [(u) => input.onCursor(u.cursor.idx ?? null)],
      drawClear: [(u) => drawDivider(u, input.divide.current)],
    },
  };
}

function series(line: Line): uPlot.Series {
  const stroke = color(line.color);
  switch (line.style) {
    case "line":
      return { stroke, width: 1.5, points: { show: false } };
    case "dashed":
      return { stroke, width: 1.5, dash: [5, 3], points: { show: false } };
    case "edge":
      return { stroke: "transparent", width: 0, points: { show: false } };
    case "marks":
      return { stroke, width: 0, paths: () => null, points: { show: true, size: 8, stroke, fill: stroke, width: 0 } };
    case "bars":
      return { stroke, fill: stroke, width: 0, paths: uPlot.paths.bars!({ size: [0.8, line.widest ?? 6, 1] }), points: { show: false } };
  }
}

function pointAt(u: uPlot, index: number, chart: Chart): HTMLElement {
  const dot = document.createElement("div");
  const line = chart.lines[index - 1];
  if (!line || line.style === "edge" || line.style === "bars") dot.style.display = "none";
  void u;
  return dot;
}

/** The scale: all values, what must be seen, and a little air. */
function around(low: number | null, high: number | null, include: number[]): [number, number] {
  const from = Math.min(low ?? 0, ...include);
  const to = Math.max(high ?? 1, ...include);
  if (from === to) return [from - 1, to + 1];
  const air = (to - from) * 0.05;
  return [include.includes(from) ? from : from - air, include.includes(to) ? to : to + air];
}

function drawDivider(u: uPlot, at_s: number | null): void {
  if (at_s == null) return;
  const x = Math.round(u.valToPos(at_s, "x", true));
  if (x <= u.bbox.left || x >= u.bbox.left + u.bbox.width) return;
  const { ctx } = u;
  ctx.save();
  ctx.fillStyle = color("future");
  ctx.fillRect(x, u.bbox.top, u.bbox.left + u.bbox.width - x, u.bbox.height);
  ctx.strokeStyle = color("line-strong");
  ctx.lineWidth = 1;
  ctx.beginPath();
  ctx.moveTo(x + 0.5, u.bbox.top);
  ctx.lineTo(x + 0.5, u.bbox.top + u.bbox.height);
  ctx.stroke();
  ctx.restore();
}
