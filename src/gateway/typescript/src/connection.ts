import { type BackOff, defaultBackOff, waitBefore } from "./backoff.ts";
import { type CloseClass, closeClass } from "./close_codes.ts";
import type { ClientMessage, ServerMessage, Subscription } from "./messages.ts";
import { Place } from "./place.ts";
import { Subscriptions } from "./subscriptions.ts";

/** Where the connection stands, for a light in a corner. */
export type ConnectionState =
  | { kind: "idle" }
  | { kind: "connecting"; attempt: number }
  | { kind: "open"; since_ms: number }
  /** Lost, and tried again at `retry_at_ms` (epoch). `code` is the close code, 1006 when there was none. */
  | { kind: "waiting"; attempt: number; retry_at_ms: number; code: number; reason: string; class: CloseClass }
  /** Refused for good, or until there is another token: connecting again as before would be refused again. */
  | { kind: "refused"; code: number; reason: string; class: CloseClass }
  | { kind: "closed" };

/** Updates that did not come. */
export type Gap =
  /** They were not taken in time. The newest of each model follows. */
  | { reason: "too_slow"; skipped: number; model_ids: string[] }
  /** What was missed while the connection was lost cannot be had any more. The newest of each model follows. */
  | { reason: "not_replayed"; message: string };

/** The part of a WebSocket that is used, so that another implementation, or a test, can stand in for it. */
export interface Socket {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: { data: any }) => void) | null;
  onclose: ((event: { code: number; reason: string }) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

export interface ConnectionOptions {
  /** `ws://host:8765/forecast-updates` */
  url: string;
  onMessage: (message: ServerMessage) => void;
  onState?: (state: ConnectionState) => void;
  /** Updates did not come, and will not. Their message goes to `onMessage`, too. */
  onGap?: (gap: Gap) => void;
  /** Asked before each attempt, so that a fresh token is used after the old one ran out. Sent as the first message. */
  token?: () => string | null | Promise<string | null>;
  /** Instead of a token: gives a ticket of `POST /api/ws-tickets`, which is good for one attempt. Sent in the address. */
  ticket?: () => string | Promise<string>;
  /** Where to go on from: a `position` of an earlier program. */
  position?: string;
  /** Reads MessagePack: with it, updates are asked for in that format. Without it they come as JSON. */
  decode?: (bytes: Uint8Array) => unknown;
  backOff?: BackOff;
  /** Silence longer than this is taken for a dead peer: the gateway's heartbeat comes every 30 s. [75,000] */
  silence_ms?: number;
  /** A handshake that takes longer is given up. [10,000] */
  handshake_ms?: number;
  makeSocket?: (url: string) => Socket;
  now?: () => number;
  random?: () => number;
}

interface Credentials {
  token: string | null;
  ticket: string | null;
}

/**
 * One live connection to `/forecast-updates` that heals itself.
 *
 * It owns the set of subscriptions: they are sent when the socket opens, and again after every reconnection, so its
 * user says once what is wanted. After a reconnection it goes on from where it stood: what was missed comes first, and
 * nothing comes twice; where that cannot be, the user is told (`onGap`) and the newest values follow.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #subscriptions = new Subscriptions();
  #place: Place;
  #socket: Socket | null = null;
  #state: ConnectionState = { kind: "idle" };
  #attempt = 0;
  /** Counts what makes an earlier attempt's answer of no interest. */
  #turn = 0;
  #retryTimer: ReturnType<typeof setTimeout> | undefined;
  #handshakeTimer: ReturnType<typeof setTimeout> | undefined;
  #silenceTimer: ReturnType<typeof setInterval> | undefined;
  #lastHeard_ms = 0;
  #shown: string | null = null;
  /** The token that was refused last, and why: it is not shown a second time. */
  #refused: { token: string | null; reason: string } | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#place = new Place(options.position);
  }

  get state(): ConnectionState {
    return this.#state;
  }

  /** Where this client stands. A program that keeps it can give it to its next run as `position`. */
  get position(): string | undefined {
    return this.#place.position;
  }

  /** Connects, unless connected or on the way. */
  open(): void {
    if (this.#state.kind === "connecting" || this.#state.kind === "open" || this.#state.kind === "waiting") return;
    this.#attempt = 0;
    this.#refused = undefined;
    this.#connect();
  }

  /** Ends the connection and stays so until `open`. Subscriptions are kept; what comes meanwhile is not asked for. */
  close(): void {
    this.#place = new Place();
    const socket = this.#release();
    this.#setState({ kind: "closed" });
    socket?.close(1000, "closed by the client");
  }

  /** Skips what is left of the present wait: for a button, or when the browser says that it is online again. */
  retryNow(): void {
    if (this.#state.kind !== "waiting" && this.#state.kind !== "refused") return;
    this.#refused = undefined;
    this.#connect();
  }

  /** Shows a fresh token before the old one runs out, so that the connection lives on. */
  async authenticate(): Promise<void> {
    const socket = this.#socket;
    const token = (await this.#options.token?.()) ?? null;
    if (token === null || socket === null || this.#socket !== socket || this.#state.kind !== "open") return;
    this.#shown = token;
    this.#send({ type: "auth", token });
  }

  /**
   * Wants these updates from now on: forecasts and anomalies of every model, where it does not say. The answer lets go of
   * them. What is to be resumed from `position` has to be wanted before `open`.
   */
  subscribe(wanted: Partial<Subscription> = {}): () => void {
    const held: Subscription = {
      model_ids: [...(wanted.model_ids ?? ["*"])],
      update_types: [...(wanted.update_types ?? (["new_forecast", "anomaly_detected"] as const))],
    };
    this.#subscriptions.add(held);
    if (this.#state.kind === "open") this.#subscribe(held);
    return () => {
      const gone = this.#subscriptions.remove(held);
      if (this.#state.kind === "open") for (const group of gone) this.#send({ type: "unsubscribe", ...group });
      // Who comes next has nothing to go on from.
      if (this.#subscriptions.isEmpty) this.#place = new Place();
    };
  }

  #subscribe(wanted: Subscription, resume?: string): void {
    const format = this.#options.decode ? { data_format: "msgpack" as const } : {};
    this.#send({ type: "subscribe", ...wanted, ...format, ...(resume === undefined ? {} : { resume }) });
  }

  #connect(): void {
    this.#release();
    const turn = this.#turn;
    this.#setState({ kind: "connecting", attempt: this.#attempt });
    const failed = (error: unknown) => {
      if (this.#turn === turn) this.#wait(1006, error instanceof Error ? error.message : String(error));
    };
    try {
      const credentials = this.#credentials();
      if (!(credentials instanceof Promise)) return this.#dial(credentials);
      credentials.then((given) => {
        if (this.#turn === turn) this.#dial(given);
      }).catch(failed);
    } catch (error) {
      // So does a URL that the browser refuses (mixed content, blocked port), rather than closing.
      failed(error);
    }
  }

  #credentials(): Credentials | Promise<Credentials> {
    const ticket = this.#options.ticket?.() ?? null;
    const token = ticket === null ? (this.#options.token?.() ?? null) : null;
    if (!(ticket instanceof Promise) && !(token instanceof Promise)) return { ticket, token };
    return Promise.all([ticket, token]).then(([ticket, token]) => ({ ticket, token }));
  }

  #dial({ token, ticket }: Credentials): void {
    if (ticket === null && this.#refused?.token === token) return this.#refuse(4401, this.#refused.reason);
    this.#shown = token;
    const socket = (this.#options.makeSocket ?? platformSocket)(withTicket(this.#options.url, ticket));
    this.#socket = socket;
    this.#handshakeTimer = setTimeout(() => this.#giveUp("the handshake was not answered"), this.#options.handshake_ms ?? 10_000);
    socket.onopen = () => {
      if (this.#socket === socket) this.#opened(token);
    };
    socket.onmessage = (event) => {
      if (this.#socket === socket) this.#heard(event.data);
    };
    socket.onclose = (event) => {
      if (this.#socket === socket) this.#lost(event.code, event.reason);
    };
    // `close` follows an `error`, and carries the code; not on every platform, where the handshake failed.
    socket.onerror = () => {
      if (this.#socket === socket && this.#state.kind === "connecting") this.#lost(1006, "the handshake failed");
    };
  }

  #opened(token: string | null): void {
    clearTimeout(this.#handshakeTimer);
    this.#lastHeard_ms = this.#now();
    this.#watchSilence();
    if (token !== null) this.#send({ type: "auth", token });
    const subscriptions = this.#subscriptions.all();
    const isPinged = this.#place.begin(subscriptions.length);
    for (const wanted of subscriptions) this.#subscribe(wanted, this.#place.position);
    if (isPinged) this.#send({ type: "ping" });
    this.#setState({ kind: "open", since_ms: this.#now() });
  }

  #heard(data: unknown): void {
    this.#lastHeard_ms = this.#now();
    const message = this.#read(data);
    if (message === null) return;
    // A gateway that accepts and closes at once has not answered yet: the waits go on growing.
    this.#attempt = 0;
    this.#refused = undefined;
    if (!this.#place.take(message)) return;
    this.#options.onMessage(message);
    if (message.type === "gap") this.#options.onGap?.({ reason: "too_slow", ...message.data });
    if (message.type === "error" && message.data.code === "resume_unavailable") {
      this.#options.onGap?.({ reason: "not_replayed", message: message.data.message });
    }
  }

  #read(data: unknown): ServerMessage | null {
    try {
      const read: unknown =
        typeof data === "string" ? JSON.parse(data) : data instanceof ArrayBuffer ? this.#options.decode?.(new Uint8Array(data)) : null;
      const isMessage = typeof read === "object" && read !== null && "type" in read && typeof read.type === "string";
      return isMessage ? (read as ServerMessage) : null;
    } catch {
      return null;
    }
  }

  #lost(code: number, reason: string): void {
    const shown = this.#shown;
    this.#release();
    switch (closeClass(code)) {
      case "final":
        return this.#refuse(code, reason);
      case "credentials":
        this.#refused = { token: shown, reason };
        return this.#wait(code, reason);
      case "slower":
        // The longest wait at once.
        this.#attempt = Math.max(this.#attempt, 30);
        return this.#wait(code, reason);
      default:
        return this.#wait(code, reason);
    }
  }

  #refuse(code: number, reason: string): void {
    this.#setState({ kind: "refused", code, reason, class: closeClass(code) });
  }

  #wait(code: number, reason: string): void {
    const { backOff = defaultBackOff, random = Math.random } = this.#options;
    const wait_ms = waitBefore(this.#attempt, backOff, random());
    this.#attempt += 1;
    this.#retryTimer = setTimeout(() => this.#connect(), wait_ms);
    const [attempt, retry_at_ms] = [this.#attempt, this.#now() + wait_ms];
    this.#setState({ kind: "waiting", attempt, retry_at_ms, code, reason, class: closeClass(code) });
  }

  /** A half-open connection never closes by itself: nothing heard for long enough is a loss. */
  #watchSilence(): void {
    const silence_ms = this.#options.silence_ms ?? 75_000;
    this.#silenceTimer = setInterval(() => {
      const quiet_ms = this.#now() - this.#lastHeard_ms;
      if (quiet_ms >= silence_ms) this.#giveUp("nothing was heard");
      else if (quiet_ms > silence_ms / 2) this.#send({ type: "ping" });
    }, silence_ms / 5);
  }

  #giveUp(reason: string): void {
    const socket = this.#release();
    socket?.close(4000, reason);
    this.#wait(1006, reason);
  }

  /** Forgets the socket and all that is waited for. */
  #release(): Socket | null {
    this.#turn += 1;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#handshakeTimer);
    clearInterval(this.#silenceTimer);
    const socket = this.#socket;
    this.#socket = null;
    return socket;
  }

  #send(message: ClientMessage): void {
    this.#socket?.send(JSON.stringify(message));
  }

  #setState(state: ConnectionState): void {
    this.#state = state;
    this.#options.onState?.(state);
  }

  #now(): number {
    return (this.#options.now ?? Date.now)();
  }
}

function withTicket(url: string, ticket: string | null): string {
  if (ticket === null) return url;
  return `${url}${url.includes("?") ? "&" : "?"}ticket=${encodeURIComponent(ticket)}`;
}

function platformSocket(url: string): Socket {
  const socket = new WebSocket(url);
  socket.binaryType = "arraybuffer";
  return socket as unknown as Socket;
}
