/** A small client of Tidecast's live updates: connects, heals, subscribes again. It needs nothing but a WebSocket. */
export { type BackOff, defaultBackOff, waitBefore } from "./backoff.ts";
export { Connection, type ConnectionOptions, type ConnectionState, type Socket } from "./connection.ts";
export { type ServerEvent, EventStreamParser } from "./event_stream.ts";
export type * from "./messages.ts";
