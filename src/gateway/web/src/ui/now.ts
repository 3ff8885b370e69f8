import { signal } from "@preact/signals";

/** The wall clock, moved once a second: for ages and countdowns, which need no more. */
export const now = signal(Date.now());

setInterval(() => {
  if (!document.hidden) now.value = Date.now();
}, 1000);
