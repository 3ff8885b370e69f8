/** What differs between two states of a thing, a line for each field. */
export interface Change {
  /** Dotted path. */
  field: string;
  before: string | undefined;
  after: string | undefined;
}

/** How a thing fares, told with it and set by nobody: no part of a change. */
const TOLD = new Set([
  "state",
  "observations",
  "needed",
  "accuracy",
  "last_forecast_time",
  "anomalies",
  "template",
  "summary",
  "error",
  "version",
  "built_in",
  "fired",
  "errors",
  "last_fired",
]);

/** The fields that changed. Of models and rules what they tell of themselves is left out. */
export function changes(action: string, before: unknown, after: unknown): Change[] {
  const quiet = /^(model|rule)\./.test(action) ? TOLD : new Set<string>();
  const was = flat(before, quiet);
  const is = flat(after, quiet);
  const found: Change[] = [];
  for (const field of new Set([...was.keys(), ...is.keys()])) {
    const [a, b] = [was.get(field), is.get(field)];
    if (a !== b) found.push({ field, before: a, after: b });
  }
  return found;
}

/** Leaves by their path. A list is one leaf: its items have no names. */
function flat(value: unknown, quiet: ReadonlySet<string>): Map<string, string> {
  const leaves = new Map<string, string>();
  const walk = (part: unknown, path: string) => {
    // What is null and what is not there are the same to a reader.
    if (part === null || part === undefined) return;
    if (typeof part === "object" && !Array.isArray(part) && Object.keys(part).length) {
      for (const [name, inner] of Object.entries(part)) {
        if (!path && quiet.has(name)) continue;
        walk(inner, path ? `${path}.${name}` : name);
      }
      return;
    }
    leaves.set(path || "value", typeof part === "string" ? part : JSON.stringify(part));
  };
  walk(value, "");
  return leaves;
}
