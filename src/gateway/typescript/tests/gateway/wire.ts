import { type Server, type Socket, connect, createServer } from "node:net";
import type { AddressInfo } from "node:net";

/** A way to the gateway that can be cut, as a cable that is pulled, or go dead without anybody's being told. */
export class Wire {
  readonly #server: Server;
  readonly #pairs = new Set<[Socket, Socket]>();
  readonly #target: URL;
  /** Connections so far. */
  connections = 0;

  private constructor(server: Server, target: URL) {
    this.#server = server;
    this.#target = target;
  }

  static async to(target: string): Promise<Wire> {
    const url = new URL(target);
    const server = createServer((near) => {
      wire.connections += 1;
      const far = connect(Number(url.port), url.hostname);
      const pair: [Socket, Socket] = [near, far];
      wire.#pairs.add(pair);
      for (const [from, to] of [pair, [far, near] as const]) {
        from.on("error", () => {});
        from.on("close", () => {
          to.destroy();
          wire.#pairs.delete(pair);
        });
      }
      near.pipe(far).pipe(near);
    });
    const wire = new Wire(server, url);
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return wire;
  }

  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `ws://127.0.0.1:${port}${this.#target.pathname}`;
  }

  /** No close frame goes either way. */
  cut(): void {
    for (const [near, far] of this.#pairs) {
      near.resetAndDestroy();
      far.resetAndDestroy();
    }
  }

  /** Nothing that is said over the present connections arrives any more. */
  goDead(): void {
    for (const [near, far] of this.#pairs) {
      near.unpipe();
      far.unpipe();
      near.pause();
      far.pause();
    }
  }

  close(): void {
    this.cut();
    this.#server.close();
  }
}
