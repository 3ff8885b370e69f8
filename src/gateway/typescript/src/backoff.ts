/** How long to wait before the next attempt: doubles up to a ceiling, and is spread so that ten thousand clients
 * of a restarted gateway do not come back in the same instant. */
export interface BackOff {
  /** Ceiling of the first wait. */
  first_ms: number;
  /** No wait is longer. */
  max_ms: number;
}

export const defaultBackOff: BackOff = { first_ms: 500, max_ms: 15_000 };

/**
 * Wait before attempt number `attempt` (0 is the first one after a loss), in milliseconds.
 *
 * "Equal jitter": half of the ceiling is certain and half is drawn, so that a wait is never nothing.
 *
 * @param random a number in [0, 1)
 */
export function waitBefore(attempt: number, backOff: BackOff, random: number): number {
  const ceiling = Math.min(backOff.max_ms, backOff.first_ms * 2 ** Math.min(attempt, 30));
  return Math.round(ceiling / 2 + (ceiling / 2) * random);
}
