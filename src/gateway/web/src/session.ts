import { signal } from "@preact/signals";

const KEY = "tidecast.token";

/**
 * The token lives as long as the tab. It is sent in a header, or as the live connection's first message, and never put
 * in an address.
 */
export const token = signal<string | null>(sessionStorage.getItem(KEY));

/** Set when a call was answered 401: the pages then ask for a token. The text says why, when the server said so. */
export const loginWanted = signal<string | null>(null);

export function logIn(text: string): void {
  sessionStorage.setItem(KEY, text);
  // In this order: who hears of the token may ask at once.
  loginWanted.value = null;
  token.value = text;
}

export function logOut(): void {
  sessionStorage.removeItem(KEY);
  loginWanted.value = "You have logged out.";
  token.value = null;
}

/** What the token says of its bearer. For display only: the server is the one that judges it. */
export function bearer(text: string | null): string | null {
  const payload = text?.split(".")[1];
  if (!payload) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const claims = JSON.parse(new TextDecoder().decode(bytes)) as { sub?: unknown };
    return typeof claims.sub === "string" ? claims.sub : null;
  } catch {
    return null;
  }
}
