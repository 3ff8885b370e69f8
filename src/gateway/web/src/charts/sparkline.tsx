interface Props {
  values: (number | null)[];
  /** In words, for those who do not see it; none when the number stands beside it. */
  label?: string;
  /** Lowest value of the scale; absent: that of the values. */
  floor?: number;
  /** Filled below, for rates. */
  area?: boolean;
}

const W = 120;
const H = 28;

/** A line the size of a word: shape only, no axis. */
export function Sparkline({ values, label, floor, area }: Props) {
  const present = values.filter((v): v is number => v != null && Number.isFinite(v));
  const role = label ? ({ role: "img", "aria-label": label } as const) : ({ "aria-hidden": true } as const);
  if (present.length < 2) return <svg class="spark" viewBox={`0 0 ${W} ${H}`} {...role} />;
  const low = floor ?? Math.min(...present);
  const high = Math.max(...present, low + 1e-9);
  const x = (i: number) => ((i / (values.length - 1)) * W).toFixed(1);
  const y = (v: number) => (H - 2 - ((v - low) / (high - low)) * (H - 4)).toFixed(1);
  let path = "";
  let pen = false;
  values.forEach((v, i) => {
    if (v == null || !Number.isFinite(v)) {
      pen = false;
      return;
    }
    path += `${pen ? "L" : "M"}${x(i)} ${y(v)}`;
    pen = true;
  });
  return (
    <svg class="spark" viewBox={`0 0 ${W} ${H}`} preserveAspectRatio="none" {...role}>
      {area && <path class="spark-area" d={`${path}L${W} ${H}L0 ${H}Z`} />}
      <path class="spark-line" d={path} vector-effect="non-scaling-stroke" />
    </svg>
  );
}
