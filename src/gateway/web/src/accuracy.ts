import type { HistoryItem } from "./model.ts";

/** How past forecasts compare with what came. Fields are null when nothing can be compared. */
export interface Accuracy {
  /** Windows that have both a forecast and a value. */
  compared: number;
  /** Share of values inside their band, 0 to 1. */
  coverage: number | null;
  /** Mean absolute error, in the series' own unit. */
  mae: number | null;
  /** Mean of value - forecast: above 0 the model forecasts too low. */
  bias: number | null;
  /** MAE over that of the naive forecast "as the window before", on the same windows: below 1 is better than naive. */
  mase: number | null;
}

export function accuracy(items: HistoryItem[]): Accuracy {
  let compared = 0;
  let banded = 0;
  let inside = 0;
  let absolute = 0;
  let sum = 0;
  let naive = 0;
  let naiveCompared = 0;
  let naiveModel = 0;
  let before: number | null = null;
  for (const item of items) {
    const { value, predicted, lower, upper } = item;
    if (value != null && predicted != null) {
      compared += 1;
      const error = value - predicted;
      absolute += Math.abs(error);
      sum += error;
      if (lower != null && upper != null) {
        banded += 1;
        if (value >= lower && value <= upper) inside += 1;
      }
      if (before != null) {
        naiveCompared += 1;
        naive += Math.abs(value - before);
        naiveModel += Math.abs(error);
      }
    }
    before = value;
  }
  return {
    compared,
    coverage: banded ? inside / banded : null,
    mae: compared ? absolute / compared : null,
    bias: compared ? sum / compared : null,
    mase: naiveCompared && naive > 0 ? naiveModel / naive : null,
  };
}
