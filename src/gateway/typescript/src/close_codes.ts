/**
 * What a close code asks of a client:
 *
 * - `temporary`: the service restarts or moves; come back after a moment.
 * - `reconnect`: the connection was lost; come back, waiting longer each time.
 * - `credentials`: the token is missing, unusable or over; come back with another.
 * - `slower`: too much was said; come back after the longest wait.
 * - `final`: coming back cannot help.
 */
export type CloseClass = "temporary" | "reconnect" | "credentials" | "slower" | "final";

const CLASSES: ReadonlyMap<number, CloseClass> = new Map([
  [1012, "temporary"],
  [4401, "credentials"],
  [4429, "slower"],
  [1002, "final"],
  [1007, "final"],
  [1009, "final"],
  [4403, "final"],
]);

/** The class of a close code. One that is not known is a lost connection: a proxy between may have codes of its own. */
export function closeClass(code: number): CloseClass {
  return CLASSES.get(code) ?? "reconnect";
}
