// How the checks wait: what a page shows follows an action, a frame or an answer later.

import assert from "node:assert/strict";

const PAUSE_MS = 50;
const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));

/** Waits until `read` gives something that `holds`; the last value is in the message. */
export async function until(what, read, holds, timeout_ms = 15_000) {
  const deadline = Date.now() + timeout_ms;
  let value;
  do {
    value = await read();
    if (holds(value)) return value;
    await pause();
  } while (Date.now() < deadline);
  assert.fail(`${what}: still ${JSON.stringify(value)}`);
}

/** Waits until `check`, which throws until then, passes; what it threw last is the failure. */
export async function eventually(check, timeout_ms = 15_000) {
  const deadline = Date.now() + timeout_ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() >= deadline) throw error;
    }
    await pause();
  }
}
