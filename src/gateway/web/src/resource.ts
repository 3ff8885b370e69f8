import { type ReadonlySignal, signal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { Problem } from "./api.ts";
import { loginWanted, token } from "./session.ts";

/** Something fetched, and perhaps fetched again and again. Old data stays while an error stands beside it. */
export interface Resource<T> {
  data: ReadonlySignal<T | undefined>;
  error: ReadonlySignal<Problem | undefined>;
  /** Epoch milliseconds of the last success, 0 before the first. */
  updated_ms: ReadonlySignal<number>;
  refresh: () => void;
}

/**
 * Loads on mount, whenever `inputs` change, and every `every_ms` while the page is visible.
 *
 * A hidden page asks for nothing: a wall of forgotten tabs must not load the server.
 */
export function useResource<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: unknown[],
  every_ms?: number,
): Resource<T> {
  const key = JSON.stringify(inputs);
  const { resource, run } = useMemo(() => make(load, every_ms), [key]);
  useEffect(run, [resource]);
  return resource;
}

function make<T>(load: (signal: AbortSignal) => Promise<T>, every_ms?: number) {
  const data = signal<T | undefined>(undefined);
  const error = signal<Problem | undefined>(undefined);
  const updated_ms = signal(0);
  let refresh = () => {};

  const run = () => {
    let aborter: AbortController | null = null;
    let timer: ReturnType<typeof setTimeout> | undefined;
    let ended = false;

    const once = async () => {
      clearTimeout(timer);
      // Under the login there is nothing to ask; a token asks again.
      if (loginWanted.peek() !== null && data.peek() !== undefined) return;
      aborter?.abort();
      const mine = (aborter = new AbortController());
      try {
        const loaded = await load(mine.signal);
        if (ended || mine.signal.aborted) return;
        data.value = loaded;
        error.value = undefined;
        updated_ms.value = Date.now();
      } catch (cause) {
        if (ended || mine.signal.aborted) return;
        error.value = cause instanceof Problem ? cause : new Problem(0, "Cannot be shown", String(cause));
      }
      if (every_ms && !document.hidden) timer = setTimeout(once, every_ms);
    };
    refresh = () => void once();

    const onVisible = () => {
      if (!document.hidden && every_ms) void once();
    };
    document.addEventListener("visibilitychange", onVisible);
    // A new token is a new chance for whatever was refused.
    const stopToken = token.subscribe(() => void once());
    return () => {
      ended = true;
      clearTimeout(timer);
      aborter?.abort();
      stopToken();
      document.removeEventListener("visibilitychange", onVisible);
    };
  };
  const resource: Resource<T> = { data, error, updated_ms, refresh: () => refresh() };
  return { resource, run };
}
