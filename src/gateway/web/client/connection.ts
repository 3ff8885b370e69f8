import { type BackOff, defaultBackOff, waitBefore } from "./backoff.ts";
import type { ClientMessage, ServerMessage, Subscription } from "./messages.ts";

/** Where the connection stands, for a light in a corner. */
export type ConnectionState =
  | { kind: "idle" }
  | { kind: "connecting"; attempt: number }
  | { kind: "open"; since_ms: number }
  /** Lost, and tried again at `retry_at_ms` (epoch). `code` is the close code, 1006 when there was none. */
  | { kind: "waiting"; attempt: number; retry_at_ms: number; code: number }
  /** The server refused for good (4401, 4403): connecting again would be refused again. */
  | { kind: "refused"; code: number; reason: string }
  | { kind: "closed" };

/** The part of the browser's WebSocket that is used, so that tests can drive one by hand. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: { data: any }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface ConnectionOptions {
  url: string;
  /** Asked at each attempt, so that a fresh token is used after the old one ran out. Sent as the first message. */
  token?: () => string | null;
  onMessage: (message: ServerMessage) => void;
  onState?: (state: ConnectionState) => void;
  backOff?: BackOff;
  /** Silence longer than this is taken for a dead peer: the server's heartbeat comes every 30 s. [75,000] */
  silence_ms?: number;
  makeSocket?: (url: string) => Socket;
  now?: () => number;
  random?: () => number;
}

/** Close codes after which trying again cannot help: no usable token, and a token that may not. */
const FINAL_CODES = new Set([4401, 4403]);

/**
 * One live connection to `/forecast-updates` that heals itself.
 *
 * It owns the set of subscriptions: they are sent when the socket opens, and again after every reconnection, so its
 * user says once what is wanted. After a reconnection it goes on from where it stood: what was missed comes first, and
 * nothing comes twice; where that cannot be, the server says so (`resume_unavailable`) and sends the newest values. Subscriptions are counted by holder; the last holder's `release` unsubscribes.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  #socket: Socket | null = null;
  #state: ConnectionState = { kind: "idle" };
  #attempt = 0;
  #retryTimer: ReturnType<typeof setTimeout> | null = null;
  #silenceTimer: ReturnType<typeof setInterval> | null = null;
  #lastHeard_ms = 0;
  /** Where this client stands: the last position it was told. */
  #place: string | undefined;
  readonly #holders = new Set<Subscription>();

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Connects, unless connected or on the way. */
  open(): void {
    if (this.#socket || this.#retryTimer) return;
    this.#attempt = 0;
    this.#connect();
  }

  /** Ends the connection and stays so until `open`. Subscriptions are kept; what comes meanwhile is not asked for. */
  close(): void {
    this.#place = undefined;
    this.#clearTimers();
    const socket = this.#socket;
    this.#socket = null;
    this.#setState({ kind: "closed" });
    socket?.close(1000, "closed by the page");
  }

  /** Skips what is left of the present wait: for a button, or when the browser says that it is online again. */
  retryNow(): void {
    if (this.#state.kind !== "waiting" && this.#state.kind !== "refused") return;
    this.#clearTimers();
    this.#connect();
  }

  /** Wants `subscription` from now on; the answer releases it. */
  subscribe(subscription: Subscription): () => void {
    const held: Subscription = { ...subscription };
    this.#holders.add(held);
    if (this.#state.kind === "open") this.#send({ type: "subscribe", ...held });
    return () => {
      if (!this.#holders.delete(held) || this.#state.kind !== "open") return;
      this.#release(held);
    };
  }

  /** The server's set is by model and type, ours by holder: what others still hold is left alone. */
  #release(gone: Subscription): void {
    const byTypes = new Map<string, Subscription>();
    for (const id of gone.model_ids) {
      const holders = [...this.#holders].filter((held) => held.model_ids.includes(id));
      const types = gone.update_types.filter((type) => !holders.some((held) => held.update_types.includes(type)));
      if (!types.length) continue;
      const key = types.join();
      const group = byTypes.get(key) ?? { model_ids: [], update_types: types };
      group.model_ids.push(id);
      byTypes.set(key, group);
    }
    for (const group of byTypes.values()) this.#send({ type: "unsubscribe", ...group });
  }

  #connect(): void {
    this.#retryTimer = null;
    this.#setState({ kind: "connecting", attempt: this.#attempt });
    let socket: Socket;
    try {
      socket = (this.#options.makeSocket ?? browserSocket)(this.#options.url);
    } catch {
      // A URL that the browser refuses (mixed content, blocked port) throws here rather than closing.
      this.#wait(1006);
      return;
    }
    this.#socket = socket;
    socket.onopen = () => {
      if (this.#socket !== socket) return;
      this.#attempt = 0;
      this.#lastHeard_ms = this.#now();
      this.#watchSilence();
      const token = this.#options.token?.() ?? null;
      if (token) this.#send({ type: "auth", token });
      const resume = this.#place === undefined ? {} : { resume: this.#place };
      for (const held of this.#holders) this.#send({ type: "subscribe", ...held, ...resume });
      this.#setState({ kind: "open", since_ms: this.#now() });
    };
    socket.onmessage = (event) => {
      if (this.#socket !== socket || typeof event.data !== "string") return;
      this.#lastHeard_ms = this.#now();
      let message: ServerMessage;
      try {
        message = JSON.parse(event.data) as ServerMessage;
      } catch {
        return;
      }
      if ("position" in message && message.position !== undefined) this.#place = message.position;
      this.#options.onMessage(message);
    };
    socket.onclose = (event) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      this.#clearTimers();
      if (FINAL_CODES.has(event.code)) {
        this.#setState({ kind: "refused", code: event.code, reason: event.reason });
      } else {
        this.#wait(event.code);
      }
    };
    // `close` follows every `error`, and carries the code.
    socket.onerror = () => {};
  }

  #wait(code: number): void {
    const wait_ms = waitBefore(
      this.#attempt,
      this.#options.backOff ?? defaultBackOff,
      (this.#options.random ?? Math.random)(),
    );
    this.#attempt += 1;
    this.#setState({ kind: "waiting", attempt: this.#attempt, retry_at_ms: this.#now() + wait_ms, code });
    this.#retryTimer = setTimeout(() => this.#connect(), wait_ms);
  }

  /** A half-open connection never closes by itself: nothing heard for long enough is a loss. */
  #watchSilence(): void {
    const silence_ms = this.#options.silence_ms ?? 75_000;
    this.#silenceTimer = setInterval(() => {
      const quiet_ms = this.#now() - this.#lastHeard_ms;
      if (quiet_ms < silence_ms) {
        if (quiet_ms > silence_ms / 2) this.#send({ type: "ping" });
        return;
      }
      const socket = this.#socket;
      this.#socket = null;
      this.#clearTimers();
      socket?.close(4000, "nothing heard");
      this.#wait(1006);
    }, silence_ms / 5);
  }

  #send(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#options.onState?.(state);
  }

  #clearTimers(): void {
    if (this.#retryTimer) clearTimeout(this.#retryTimer);
    if (this.#silenceTimer) clearInterval(this.#silenceTimer);
    this.#retryTimer = null;
    this.#silenceTimer = null;
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

function browserSocket(url: string): Socket {
  return new WebSocket(url) as unknown as Socket;
}
