import { createServer } from "node:net";
import type { AddressInfo } from "node:net";

const handedOut = new Set<number>();

/**
 * A TCP port on 127.0.0.1 that is free now, and that this process has not been given before. Another process may
 * still take it first: use port 0 where the program under test allows it.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = await askForPort();
    if (handedOut.has(port)) continue;
    handedOut.add(port);
    return port;
  }
}

function askForPort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
