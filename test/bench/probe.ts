import { connect } from "node:net";
import type { Socket } from "node:net";
import { generate } from "mqtt-packet";

/** A device that publishes now and then and times it. */
export interface Probe {
  /** Sends a QoS 1 message; resolves at its PUBACK with the time from the write, ms. One at a time. */
  publish(topic: string, payload: string): Promise<number>;
  /** Sends a QoS 0 message. */
  send(topic: string, payload: string): void;
  close(): void;
}

const CONNACK_BYTES = 4;
const PUBACK_BYTES = 4;

/** Connects to an MQTT endpoint on this machine. */
export async function startProbe(port: number): Promise<Probe> {
  const socket = connect({ host: "127.0.0.1", port, noDelay: true });
  socket.write(generate({ cmd: "connect", clientId: "bench-probe", clean: true, keepalive: 0, protocolVersion: 4 }));
  await bytesFrom(socket, CONNACK_BYTES);
  let messageId = 0;
  return {
    async publish(topic, payload) {
      messageId = (messageId % 65_535) + 1;
      const frame = generate({ cmd: "publish", topic, payload, qos: 1, messageId, retain: false, dup: false });
      const beganMs = performance.now();
      socket.write(frame);
      await bytesFrom(socket, PUBACK_BYTES);
      return performance.now() - beganMs;
    },
    send(topic, payload) {
      socket.write(generate({ cmd: "publish", topic, payload, qos: 0, retain: false, dup: false }));
    },
    close: () => void socket.end(generate({ cmd: "disconnect" })),
  };
}

/** Resolves when as many bytes have come; throws when the connection ends before. */
function bytesFrom(socket: Socket, count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    let seen = 0;
    const done = (settle: () => void): void => {
      socket.off("data", look).off("close", gone).off("error", reject);
      settle();
    };
    const look = (piece: Buffer): void => {
      seen += piece.length;
      if (seen >= count) done(resolve);
    };
    const gone = (): void => done(() => reject(new Error("The probe's connection was closed")));
    socket.on("data", look).on("close", gone).on("error", reject);
  });
}
