import { loginWanted, token } from "./session.ts";

/** A call that failed: an RFC 9457 problem from the server, or the network's own failure (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    readonly field: string | null = null,
    readonly errors: FieldFault[] = [],
  ) {
    super(detail || title);
  }

  /** What is wrong with this field of a form; `order[1]` and `rule.order` are faults of `order`. */
  faultOf(name: string): string | undefined {
    const all = this.errors.length ? this.errors : this.field ? [{ field: this.field, detail: this.message }] : [];
    return all.find(({ field }) => bare(field) === name)?.detail;
  }

  /** Names a field that none of these are: then it has to be said beside no field. */
  isElsewhere(names: readonly string[]): boolean {
    const fields = this.errors.length ? this.errors.map((error) => error.field) : this.field ? [this.field] : [];
    return !fields.some((field) => names.includes(bare(field)));
  }
}

/** One wrong field, as the server names it. */
export interface FieldFault {
  field: string;
  detail: string;
}

const bare = (field: string) => field.replace(/\[.*$/, "").split(".").pop() ?? field;

/** Whatever was thrown, as a problem to be shown. */
export function problemOf(cause: unknown, title = "Failed"): Problem {
  return cause instanceof Problem ? cause : new Problem(0, title, String(cause));
}

export interface Page<T> {
  items: T[];
  next: string | null;
}

interface Extra {
  signal?: AbortSignal | undefined;
  /** The version that a change rests on: one made meanwhile by somebody else is then not undone unseen. */
  version?: number | undefined;
}

/** Calls the server and gives the JSON of its answer; `undefined` for an empty one. */
export async function call<T>(method: string, path: string, body?: unknown, extra: Extra = {}): Promise<T> {
  const { signal, version } = extra;
  const headers: Record<string, string> = { accept: "application/json" };
  if (token.value) headers["authorization"] = `Bearer ${token.value}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  if (version !== undefined) headers["if-match"] = `"${version}"`;
  let response: Response;
  try {
    const init: RequestInit = { method, headers, cache: "no-store" };
    if (body !== undefined) init.body = JSON.stringify(body);
    if (signal) init.signal = signal;
    response = await fetch(path, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Problem(0, "No answer", "The server could not be reached.");
  }
  const text = await response.text();
  const json = parse(text);
  if (response.ok) return json as T;
  const problem = (json ?? {}) as { title?: string; detail?: string; field?: string; errors?: FieldFault[] };
  if (response.status === 401) loginWanted.value = problem.detail ?? "";
  if (response.status === 412) {
    const why = "Somebody else has changed it since it was shown. Load it again first.";
    throw new Problem(412, "Changed meanwhile", problem.detail ? `${why} (${problem.detail})` : why);
  }
  throw new Problem(
    response.status,
    problem.title ?? (response.statusText || `Status ${response.status}`),
    problem.detail ?? "",
    problem.field ?? problem.errors?.[0]?.field ?? null,
    (problem.errors ?? []).filter((error) => typeof error?.field === "string" && error.field !== ""),
  );
}

export const get = <T>(path: string, signal?: AbortSignal) => call<T>("GET", path, undefined, { signal });

/** Follows the cursor of a list to its end, or to `max` items. */
export async function getAll<T>(path: string, max: number, signal?: AbortSignal): Promise<T[]> {
  const items: T[] = [];
  let cursor: string | null = null;
  do {
    const joiner = path.includes("?") ? "&" : "?";
    const limit = `${joiner}limit=1000`;
    const page: Page<T> = await get(
      path + limit + (cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""),
      signal,
    );
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < max);
  return items;
}

function parse(text: string): unknown {
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
