import { signal } from "@preact/signals";
import { Connection, type ConnectionState, type ServerMessage, type Subscription } from "tidecast-client";
import { Problem, get } from "../api.ts";
import { loginWanted, token } from "../session.ts";

interface ClientConfig {
  websocket_url: string | null;
  auth_required: boolean;
  version: string;
}

/** Frames wait here for the next animation frame. At the bound the oldest go: the newest tell the present. */
const QUEUE_MAX = 5_000;

export const connection = signal<ConnectionState>({ kind: "idle" });
/** Frames received in the last whole second. */
export const updatesPerSecond = signal(0);
/** Updates that the server skipped for us (its `gap` frames) or that we dropped ourselves, since the page was opened. */
export const skipped = signal(0);
export const version = signal("");
/** Why there is no live connection at all, where the server offers none. */
export const unavailable = signal<string | null>(null);

type Listener = (batch: ServerMessage[]) => void;
const listeners = new Set<Listener>();

let live: Connection | null = null;
let queue: ServerMessage[] = [];
let drawing = false;
let received = 0;
/** Wishes made before the address was known. */
const early = new Set<{ subscription: Subscription; release: (() => void) | null }>();

function receive(message: ServerMessage): void {
  received += 1;
  if (message.type === "gap") skipped.value += message.data.skipped;
  if (message.type === "error" && message.data.code === "unauthorized") loginWanted.value = message.data.message;
  queue.push(message);
  if (queue.length > QUEUE_MAX) {
    const excess = queue.length - QUEUE_MAX;
    queue.splice(0, excess);
    skipped.value += excess;
  }
  if (drawing) return;
  drawing = true;
  // A hidden page gets no animation frames; it still has to empty its queue, only less often.
  if (document.hidden) setTimeout(deliver, 1000);
  else requestAnimationFrame(deliver);
}

function deliver(): void {
  drawing = false;
  const batch = queue;
  queue = [];
  for (const listener of listeners) listener(batch);
}

/** Finds the live address and connects; called once. */
export async function start(): Promise<void> {
  setInterval(() => {
    updatesPerSecond.value = received;
    received = 0;
  }, 1000);
  addEventListener("online", () => live?.retryNow());
  token.subscribe(() => {
    if (live?.state.kind === "refused") live.retryNow();
    else if (live?.state.kind === "open" && token.value) {
      live.close();
      live.open();
    }
  });
  await configure(0);
}

async function configure(attempt: number): Promise<void> {
  try {
    const config = await get<ClientConfig>("/api/client-config");
    version.value = config.version;
    if (config.auth_required && !token.value) loginWanted.value ??= "";
    if (config.websocket_url === null) {
      unavailable.value = "This server offers no live connection; the pages ask again every few seconds.";
      return;
    }
    connect(config.websocket_url, config.auth_required);
  } catch (error) {
    if (error instanceof Problem && error.status === 401) {
      // Asked again when there is a token.
      const stop = token.subscribe((given) => {
        if (!given || loginWanted.value !== null) return;
        queueMicrotask(() => stop());
        void configure(0);
      });
      return;
    }
    const wait_ms = Math.min(15_000, 500 * 2 ** attempt);
    setTimeout(() => void configure(attempt + 1), wait_ms);
    connection.value = { kind: "waiting", attempt: attempt + 1, retry_at_ms: Date.now() + wait_ms, code: 1006, reason: "", class: "reconnect" };
  }
}

function connect(address: string, withToken: boolean): void {
  live = new Connection({
    url: resolve(address, location),
    token: () => (withToken ? token.value : null),
    onMessage: receive,
    onState: (state) => {
      connection.value = state;
      // Of the final codes only 4403 is about who one is.
      if (state.kind !== "refused" || (state.class !== "credentials" && state.code !== 4403)) return;
      loginWanted.value = state.reason || "The live connection asks for a token.";
    },
  });
  for (const wish of early) wish.release = live.subscribe(wish.subscription);
  live.open();
}

/** Fills in what the server left open: no host (`ws://:8765/…`) or a wildcard means the host that served this page. */
export function resolve(address: string, page: { hostname: string; protocol: string }): string {
  const match = /^(wss?):\/\/([^/:]*|\[[^\]]*\])(:\d+)?(\/.*)?$/.exec(address);
  if (!match) return address;
  const [, scheme, host, port = "", rest = "/"] = match;
  const open = !host || host === "null" || host === "0.0.0.0" || host === "[::]";
  const secure = page.protocol === "https:" ? "wss" : scheme;
  return `${secure}://${open ? page.hostname : host}${port}${rest}`;
}

export function retryNow(): void {
  live?.retryNow();
}

/** Wants these updates, and hears every batch that comes, one per animation frame. The answer ends both. */
export function listen(subscription: Subscription, listener: Listener): () => void {
  listeners.add(listener);
  const wish = { subscription, release: live ? live.subscribe(subscription) : null };
  early.add(wish);
  return () => {
    listeners.delete(listener);
    early.delete(wish);
    wish.release?.();
  };
}
