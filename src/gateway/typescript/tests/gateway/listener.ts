import { Connection, type ConnectionOptions, type ConnectionState, type Gap, type ServerMessage, type Update } from "../../src/index.ts";

const PATIENCE_MS = 30_000;

/** A connection that keeps what it hears, and can be waited on. */
export class Listener {
  readonly connection: Connection;
  readonly messages: ServerMessage[] = [];
  readonly states: ConnectionState[] = [];
  readonly gaps: Gap[] = [];
  readonly #waiters = new Set<() => void>();

  constructor(options: Partial<ConnectionOptions> & { url: string }) {
    const wake = () => this.#waiters.forEach((waiter) => waiter());
    this.connection = new Connection({
      backOff: { first_ms: 50, max_ms: 500 },
      onMessage: (message) => (this.messages.push(message), wake()),
      onState: (state) => (this.states.push(state), wake()),
      onGap: (gap) => this.gaps.push(gap),
      ...options,
    });
  }

  /** Waits until `read` gives something. */
  until<T>(what: string, read: () => T | undefined | null | false): Promise<T> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = read();
        if (found === undefined || found === null || found === false) return;
        end();
        resolve(found);
      };
      const timer = setTimeout(() => {
        end();
        reject(new Error(`${what}: not within ${PATIENCE_MS / 1000} s; heard ${this.messages.length} messages, the last ${JSON.stringify(this.messages.at(-1))?.slice(0, 300)}`));
      }, PATIENCE_MS);
      const end = () => {
        clearTimeout(timer);
        this.#waiters.delete(look);
      };
      this.#waiters.add(look);
      look();
    });
  }

  of<Type extends ServerMessage["type"]>(type: Type): Extract<ServerMessage, { type: Type }>[] {
    return this.messages.filter((message): message is Extract<ServerMessage, { type: Type }> => message.type === type);
  }

  /** Updates since the subscription: not the newest values, which have no position until they are replayed. */
  updates(): Update[] {
    return this.messages.filter((message): message is Update => message.type.endsWith("_update") || message.type.endsWith("_alert"));
  }
}
