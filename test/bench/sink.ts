import { createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";

/**
 * A server that takes MQTT 3.1.1, acknowledges every PUBLISH at once and decodes nothing: what a publisher can do at
 * most. Says its port, and the count of messages when asked.
 */

const CONNECT = 1;
const PUBLISH = 3;

let messages = 0;

/** Walks over whole frames; keeps an incomplete one for the next piece. */
function serve(socket: Socket): void {
  let rest = Buffer.alloc(0);
  socket.setNoDelay(true);
  socket.on("error", () => socket.destroy());
  socket.on("data", (piece) => {
    const bytes = rest.length > 0 ? Buffer.concat([rest, piece]) : piece;
    const acks = Buffer.allocUnsafe(4 * Math.ceil(bytes.length / 8));
    let ackBytes = 0;
    let at = 0;
    for (;;) {
      const body = bodyAt(bytes, at);
      if (body === undefined) break;
      const head = bytes[at]!;
      if (head >> 4 === CONNECT) socket.write(Buffer.from([0x20, 2, 0, 0]));
      else if (head >> 4 === PUBLISH) {
        messages++;
        if ((head & 6) !== 0) {
          const idAt = body.from + 2 + (bytes[body.from]! << 8) + bytes[body.from + 1]!;
          acks[ackBytes++] = 0x40;
          acks[ackBytes++] = 2;
          acks[ackBytes++] = bytes[idAt]!;
          acks[ackBytes++] = bytes[idAt + 1]!;
        }
      }
      at = body.to;
    }
    rest = bytes.subarray(at);
    if (ackBytes > 0) socket.write(acks.subarray(0, ackBytes));
  });
}

/** Where the body of the frame at `at` begins and ends; undefined while it is not complete. */
function bodyAt(bytes: Buffer, at: number): { from: number; to: number } | undefined {
  let length = 0;
  for (let i = 1, shift = 0; at + i < bytes.length; i++, shift += 7) {
    length |= (bytes[at + i]! & 127) << shift;
    if (bytes[at + i]! >= 128) continue;
    const from = at + i + 1;
    return from + length <= bytes.length ? { from, to: from + length } : undefined;
  }
  return undefined;
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => {
  process.send?.({ type: "listening", port: (server.address() as AddressInfo).port });
});
process.on("message", () => process.send?.({ type: "count", messages, readings: messages }));
process.on("disconnect", () => process.exit(0));
