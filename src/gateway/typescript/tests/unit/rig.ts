import { mock } from "node:test";
import { Connection, type ConnectionOptions, type ConnectionState, type Gap, type ServerMessage, type Socket } from "../../src/index.ts";

/** A socket that is driven by hand. */
export class HandSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  sent: any[] = [];
  closedWith: number | undefined;
  readonly url: string;

  constructor(url: string) {
    this.url = url;
  }

  send(text: string) {
    this.sent.push(JSON.parse(text));
  }

  close(code?: number) {
    this.closedWith = code;
  }

  open() {
    this.onopen!({});
  }

  hear(message: unknown) {
    this.onmessage!({ data: JSON.stringify(message) });
  }

  lose(code = 1006, reason = "") {
    this.onclose!({ code, reason });
  }
}

/** A connection over sockets that are driven by hand, its clock and its dice. */
export function rig(extra: Partial<ConnectionOptions> = {}) {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"] });
  const sockets: HandSocket[] = [];
  const states: ConnectionState[] = [];
  const messages: ServerMessage[] = [];
  const gaps: Gap[] = [];
  const connection = new Connection({
    url: "ws://test/forecast-updates",
    onMessage: (message) => messages.push(message),
    onState: (state) => states.push(state),
    onGap: (gap) => gaps.push(gap),
    random: () => 0.5,
    makeSocket: (url) => {
      const socket = new HandSocket(url);
      sockets.push(socket);
      return socket;
    },
    ...extra,
  });
  const last = () => sockets.at(-1)!;
  /** The wait is over, and the next socket is open. */
  const comeBack = () => {
    const before = sockets.length;
    mock.timers.tick(20_000);
    if (sockets.length !== before + 1) throw new Error(`${sockets.length - before} attempts`);
    last().open();
    return last();
  };
  return { connection, sockets, states, messages, gaps, last, comeBack };
}

export const subscribed = (position: string, resumed?: boolean) => ({
  type: "subscribed",
  position,
  ...(resumed === undefined ? {} : { resumed }),
  data: { model_ids: ["a"], update_types: ["new_forecast"] },
});

export const forecast = (model_id: string, value: number, position?: string) => ({
  type: "forecast_update",
  model_id,
  ...(position === undefined ? {} : { position }),
  data: { model_id, predicted_value: value },
});

export const heartbeat = { type: "heartbeat", data: { server_time: "2026-01-01T00:00:00Z" } };
