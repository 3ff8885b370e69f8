/** What a text is as JSON; the fault says where it ends to be. */
export function readJson(text: string): { value: unknown; fault: string | undefined } {
  try {
    return { value: JSON.parse(text) as unknown, fault: undefined };
  } catch (error) {
    return { value: undefined, fault: `Not JSON: ${(error as Error).message}` };
  }
}

/**
 * JSON over several lines; null for what is none. The text itself is laid out anew, not what it reads as: a number past
 * 2⁵³ stays the number that it is.
 */
export function pretty(text: string): string | null {
  if (readJson(text).fault) return null;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[{}[\],:]|[^\s{}[\],:"]+/g) ?? [];
  let out = "";
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  tokens.forEach((token, i) => {
    const closes = tokens[i + 1] === "}" || tokens[i + 1] === "]";
    if (token === "{" || token === "[") {
      depth += 1;
      out += token + (closes ? "" : line());
    } else if (token === "}" || token === "]") {
      depth -= 1;
      const isEmpty = tokens[i - 1] === "{" || tokens[i - 1] === "[";
      out += (isEmpty ? "" : line()) + token;
    } else if (token === ",") out += `,${line()}`;
    else out += token === ":" ? ": " : token;
  });
  return out;
}
