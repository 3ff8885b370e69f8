/** A client of Tidecast's live updates: connects, heals, goes on from where it stood. It needs nothing but a WebSocket. */
export { type BackOff, defaultBackOff, waitBefore } from "./backoff.ts";
export { type CloseClass, closeClass } from "./close_codes.ts";
export { Connection, type ConnectionOptions, type ConnectionState, type Gap, type Socket } from "./connection.ts";
export { type ServerEvent, EventStreamParser } from "./event_stream.ts";
export type * from "./messages.ts";
