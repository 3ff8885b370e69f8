/** One event of a `text/event-stream`. */
export interface ServerEvent {
  type: string;
  data: string;
  id: string | null;
}

/**
 * Reads a `text/event-stream` piece by piece, by the parsing rules of the HTML standard (section 9.2.6).
 *
 * `EventSource` would do the same but cannot send `Authorization`, and a token in a query string is refused.
 */
export class EventStreamParser {
  #rest = "";
  #data: string[] = [];
  #type = "";
  #id: string | null = null;

  /** The id of the last event, for `Last-Event-ID`. */
  get lastId(): string | null {
    return this.#id;
  }

  /** Takes the next piece of text, wherever it was cut, and gives the events that it completed. */
  push(text: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    this.#rest += text;
    let start = 0;
    for (;;) {
      const end = this.#rest.indexOf("\n", start);
      if (end < 0) break;
      const line = this.#rest.slice(start, this.#rest[end - 1] === "\r" ? end - 1 : end);
      start = end + 1;
      const event = this.#line(line);
      if (event) events.push(event);
    }
    this.#rest = this.#rest.slice(start);
    return events;
  }

  #line(line: string): ServerEvent | null {
    if (line === "") {
      const data = this.#data;
      const type = this.#type || "message";
      this.#data = [];
      this.#type = "";
      return data.length ? { type, data: data.join("\n"), id: this.#id } : null;
    }
    const colon = line.indexOf(":");
    if (colon === 0) return null; // a comment, which keeps the connection warm
    const field = colon < 0 ? line : line.slice(0, colon);
    let value = colon < 0 ? "" : line.slice(colon + 1);
    if (value.startsWith(" ")) value = value.slice(1);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#type = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }
}
