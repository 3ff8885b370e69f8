import { signal } from "@preact/signals";
import { Problem, get } from "../api.ts";
import type { Stats } from "../model.ts";
import { loginWanted, token } from "../session.ts";
import { Ring } from "./ring.ts";

/** What was measured at one moment. */
export interface Sample {
  at_s: number;
  eventsPerSecond: number;
  lag: number | null;
  p99_ms: number;
  errors: number;
}

const EVERY_MS = 2000;
/** Half an hour. */
const SAMPLES_MAX = 900;

export const stats = signal<Stats | undefined>(undefined);
export const statsError = signal<Problem | undefined>(undefined);
export const statsAt_ms = signal(0);
export const ready = signal<{ ok: boolean; detail: string } | null>(null);
/** What each stage did between the last two answers. */
export interface Flow {
  /** Messages a second. */
  rate: number | null;
  /** Mean time that a sender waited for room, seconds. */
  wait_s: number | null;
}

/** By stage; empty until there are two answers to compare. */
export const flows = signal<ReadonlyMap<string, Flow>>(new Map());
/** Replaced at each sample, so that readers see it change. */
export const samples = signal<Sample[]>([]);

const ring = new Ring<Sample>(SAMPLES_MAX);
let timer: ReturnType<typeof setTimeout> | undefined;

/** Asks for `/api/stats` and readiness every two seconds while the page is visible, wherever the reader is. */
export function startStats(): void {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) void ask();
  });
  token.subscribe(() => void ask());
}

export async function ask(): Promise<void> {
  clearTimeout(timer);
  await Promise.all([askStats(), askReady()]);
  clearTimeout(timer);
  if (!document.hidden) timer = setTimeout(() => void ask(), EVERY_MS);
}

async function askStats(): Promise<void> {
  // Without a token there is nothing to hear; a new one asks again.
  if (loginWanted.value !== null) return;
  try {
    const answer = await get<Stats>("/api/stats");
    ring.push({
      at_s: Date.now() / 1000,
      eventsPerSecond: answer.processor.events_per_second,
      lag: answer.processor.lag ?? null,
      p99_ms: answer.processor.p99_latency_ms,
      errors: answer.processor.errors,
    });
    if (stats.value) flows.value = flowBetween(stats.value, answer, (Date.now() - statsAt_ms.value) / 1000);
    stats.value = answer;
    statsError.value = undefined;
    statsAt_ms.value = Date.now();
    samples.value = [...ring.items];
  } catch (error) {
    statsError.value = error instanceof Problem ? error : new Problem(0, "No answer", String(error));
  }
}

function flowBetween(before: Stats, after: Stats, seconds: number): Map<string, Flow> {
  const earlier = new Map(before.processor.stages?.map((stage) => [stage.name, stage]));
  const flow = new Map<string, Flow>();
  for (const stage of after.processor.stages ?? []) {
    const was = earlier.get(stage.name);
    if (!was) continue;
    const sent = stage.messages == null || was.messages == null ? null : stage.messages - was.messages;
    // A restart sets the counters back.
    if (sent != null && sent < 0) continue;
    const waited_s = Math.max(0, stage.wait_seconds - was.wait_seconds);
    flow.set(stage.name, {
      rate: sent == null || seconds <= 0 ? null : sent / seconds,
      wait_s: sent == null ? waited_s : sent > 0 ? waited_s / sent : 0,
    });
  }
  return flow;
}

async function askReady(): Promise<void> {
  try {
    const response = await fetch("/health/ready", { cache: "no-store", headers: { accept: "application/json" } });
    ready.value = { ok: response.ok, detail: response.ok ? "" : failing(await response.text()) };
  } catch {
    ready.value = null;
  }
}

/** Names what is not ready, where the answer says it. */
function failing(text: string): string {
  try {
    const body = JSON.parse(text) as { checks?: Record<string, unknown>; detail?: string; reason?: string };
    if (body.detail ?? body.reason) return (body.detail ?? body.reason)!;
    return Object.entries(body.checks ?? {})
      .filter(([, check]) => !isUp(check))
      .map(([name]) => name)
      .join(", ");
  } catch {
    return text.slice(0, 120);
  }
}

function isUp(check: unknown): boolean {
  const state = typeof check === "object" && check ? (check as { status?: unknown }).status : check;
  return state === true || state === "ok" || state === "up" || state === "ready" || state === "healthy";
}
