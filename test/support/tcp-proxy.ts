import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";

/** What a proxy does with connections and with what goes through them. */
export type ProxyMode = "open" | "refusing" | "swallowing";

/** Both ends of a connection through the proxy. */
interface Pair {
  readonly near: Socket;
  readonly far: Socket;
  /** Bytes have been lost: nothing more can go through it, or the stream would have a hole. */
  isDead: boolean;
}

/**
 * A TCP proxy on 127.0.0.1 that stands for a bad network: it cuts connections, refuses them, delays what goes through,
 * or leaves them half-open, where bytes go in and nothing comes out.
 */
export class TcpProxy {
  /** refusing: new connections are ended at once. swallowing: old and new ones stay open and dead. */
  mode: ProxyMode = "open";
  /** How long bytes take, each way, ms. */
  delayMs = 0;
  /** Called with the bytes of each piece that goes to the target, after it was written there. */
  onForward: (bytes: number) => void = () => {};
  readonly #targetPort: number;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();

  private constructor(targetPort: number) {
    this.#targetPort = targetPort;
    this.#server = createServer((near) => this.#accept(near));
  }

  /** Starts a proxy to a port of 127.0.0.1, which need not be open yet. */
  static async start(targetPort: number): Promise<TcpProxy> {
    const proxy = new TcpProxy(targetPort);
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once("error", reject);
      proxy.#server.listen(0, "127.0.0.1", resolve);
    });
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Ends all connections, both ways, as a reset does. */
  cut(): void {
    for (const { near, far } of this.#pairs) {
      near.destroy();
      far.destroy();
    }
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(near: Socket): void {
    if (this.mode === "refusing") {
      near.destroy();
      return;
    }
    const far = connect(this.#targetPort, "127.0.0.1");
    const pair = { near, far, isDead: false };
    this.#pairs.add(pair);
    const end = (): void => {
      this.#pairs.delete(pair);
      near.destroy();
      far.destroy();
    };
    for (const socket of [near, far]) {
      socket.setNoDelay(true);
      socket.on("error", end);
      socket.on("close", end);
    }
    this.#forward(pair, near, far, (bytes) => this.onForward(bytes));
    this.#forward(pair, far, near, () => {});
  }

  /** In order, also while the delay changes: one queue and one timer. */
  #forward(pair: Pair, from: Socket, to: Socket, forwarded: (bytes: number) => void): void {
    const queue: Array<{ readonly dueMs: number; readonly chunk: Buffer }> = [];
    let timer: NodeJS.Timeout | undefined;
    const pump = (): void => {
      timer = undefined;
      for (let first = queue[0]; first; first = queue[0]) {
        const waitMs = first.dueMs - performance.now();
        if (waitMs > 0) {
          timer = setTimeout(pump, waitMs);
          return;
        }
        queue.shift();
        if (this.mode === "swallowing") pair.isDead = true;
        if (pair.isDead || to.destroyed) continue;
        to.write(first.chunk);
        forwarded(first.chunk.length);
      }
    };
    from.on("data", (chunk: Buffer) => {
      queue.push({ dueMs: performance.now() + this.delayMs, chunk });
      if (!timer) pump();
    });
    from.on("close", () => clearTimeout(timer));
  }
}
