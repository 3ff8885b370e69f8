import type { Level } from "../answers.ts";

/** Colour never speaks alone: each level has a shape too. */
export function LevelMark({ level }: { level: Level }) {
  return (
    <svg class={`mark mark-${level}`} viewBox="0 0 16 16" aria-hidden="true">
      {level === "good" && <circle cx="8" cy="8" r="6" />}
      {level === "watch" && <path d="M8 1.5 15 14H1z" />}
      {level === "bad" && <path d="M5 1h6l4 4v6l-4 4H5l-4-4V5z" />}
      {level === "unknown" && <circle cx="8" cy="8" r="5.25" fill="none" stroke-width="1.5" />}
    </svg>
  );
}

/** LOW to CRITICAL, as a word with a tint. */
export function SeverityTag({ severity }: { severity: string }) {
  const known = severity.toLowerCase();
  return <span class={`tag sev-${known}`}>{known}</span>;
}

/** The state of a model or rule, in words. */
export function StateTag({ state }: { state: string }) {
  const level = /fail|quarantin|error/.test(state) ? "bad" : /warm|needs|fit|train/.test(state) ? "wait" : /disab|template/.test(state) ? "off" : "ok";
  return <span class={`dot-tag dot-${level}`}>{state.replaceAll("_", " ")}</span>;
}

/** Where a value fell against the range that was expected of it: the band is grey, the forecast a tick, the value a dot. */
export function RangeBar({ observed, lower, upper, predicted }: RangeProps) {
  const width = Math.max(upper - lower, 1e-9);
  const from = Math.min(lower - width * 0.35, observed - width * 0.15);
  const to = Math.max(upper + width * 0.35, observed + width * 0.15);
  const at = (x: number) => ((x - from) / (to - from)) * 100;
  return (
    <svg class="range-bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <line x1="0" x2="100" y1="6" y2="6" class="range-axis" />
      <rect x={at(lower)} width={Math.max(1, at(upper) - at(lower))} y="3" height="6" class="range-band" />
      <line x1={at(predicted)} x2={at(predicted)} y1="2" y2="10" class="range-mid" />
      <line x1={at(observed)} x2={at(observed)} y1="0" y2="12" class="range-seen" />
    </svg>
  );
}

interface RangeProps {
  observed: number;
  lower: number;
  upper: number;
  predicted: number;
}
