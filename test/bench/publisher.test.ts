import { createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";
import { publisherCeiling } from "./ceiling.ts";
import { PublishConnection } from "./publisher/connection.ts";
import type { Allowance } from "./publisher/connection.ts";
import { PLAN_DEFAULTS } from "./publish.ts";

const test = suite("the publisher");

test("sends what it is asked for over its connections, in two processes, and has all of it acknowledged", async () => {
  const plan = { connections: 7, qos: 1 as const, series: 70, messages: 20_001, window: 50, processes: 2 };
  const result = await publisherCeiling(plan);
  assert.is(result.messages, 20_001);
  assert.is(result.acked, 20_001);
});

test("keeps its pace", async () => {
  const result = await publisherCeiling({ connections: 5, series: 5, rate: 2000, seconds: 0.5 });
  assert.is(result.messages, 1000);
  assert.ok(result.seconds > 0.45, `${result.seconds} s`);
});

/** A server that accepts a connection and then answers with these bytes to whatever it is sent. */
async function answering(bytes: readonly number[]): Promise<{ server: Server; port: number; sockets: Socket[] }> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.once("data", () => {
      socket.write(Buffer.from([0x20, 2, 0, 0]));
      socket.once("data", () => socket.write(Buffer.from(bytes)));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, port: (server.address() as AddressInfo).port, sockets };
}

for (const [what, bytes, isRight] of [
  ["takes acknowledgements in the order of its messages", [0x40, 2, 0, 1, 0x40, 2, 0, 2], true],
  ["fails at one that is out of order", [0x40, 2, 0, 2, 0x40, 2, 0, 1], false],
  ["fails at one too many", [0x40, 2, 0, 1, 0x40, 2, 0, 2, 0x40, 2, 0, 3], false],
] as const) {
  test(what, async () => {
    const { server, port, sockets } = await answering(bytes);
    const allowance: Allowance = { messagesLeft: 2, isOver: false, failure: undefined };
    const job = { ...PLAN_DEFAULTS, host: "127.0.0.1", port, series: 1, qos: 1 as const, window: 10 };
    const full = { ...job, messages: 2, connectionsFrom: 0, connectionsTo: 1, clientPrefix: "test" };
    let settle = (): void => {};
    const settled = new Promise<void>((resolve) => (settle = resolve));
    const connection = new PublishConnection(full, 0, allowance, () => {
      if (connection.acked >= 2 || allowance.failure) settle();
    });
    await connection.ready();
    connection.pump();
    await settled;
    // One too many comes in the same piece as the others.
    assert.is(allowance.failure === undefined, isRight, allowance.failure?.message ?? "no failure");
    for (const socket of sockets) socket.destroy();
    await connection.end();
    server.close();
  });
}
