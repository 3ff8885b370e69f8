import { signal } from "@preact/signals";

const KEY = "tidecast.token";

/**
 * The token lives as long as the tab. It is sent in a header, or as the live connection's first message, and never put
 * in an address.
 */
export const token = signal<string | null>(sessionStorage.getItem(KEY));

/** Set when a call was answered 401: the pages then ask for a token. The text says why, when the server said so. */
export const loginWanted = signal<string | null>(null);

/** Whose data this page may hold. */
let subject = bearer(token.value);

export function logIn(text: string): void {
  sessionStorage.setItem(KEY, text);
  const whose = bearer(text);
  if (subject !== null && whose !== subject) {
    // Nothing of another's is left in a page that begins anew: no stream, no list, no chart.
    location.reload();
    return;
  }
  subject = whose;
  // In this order: who hears of the token may ask at once.
  loginWanted.value = null;
  token.value = text;
}

/** Ends all that this page holds and hears: it begins anew, without a token. */
export function logOut(): void {
  sessionStorage.removeItem(KEY);
  location.reload();
}

/** What the token says of its bearer. For display only: the server is the one that judges it. */
export function bearer(text: string | null): string | null {
  const { sub } = claims(text) ?? {};
  return typeof sub === "string" ? sub : null;
}

export type Right = "operate" | "administer";

/** The roles that give a right, as the server's table has them. */
const GIVEN_BY: Record<Right, string[]> = { operate: ["operator", "admin"], administer: ["admin"] };

/** Whether to offer what asks for a right. Without a token, or with one that cannot be read, it is offered: the server answers. */
export function may(right: Right): boolean {
  const roles = claims(token.value)?.roles;
  return !Array.isArray(roles) || roles.some((role) => GIVEN_BY[right].includes(role));
}

function claims(text: string | null): { sub?: unknown; roles?: unknown } | null {
  const payload = text?.split(".")[1];
  if (!payload) return null;
  try {
    const bytes = Uint8Array.from(atob(payload.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
    const read: unknown = JSON.parse(new TextDecoder().decode(bytes));
    return typeof read === "object" ? read : null;
  } catch {
    return null;
  }
}
