import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import type { BrokerOptions } from "@weir/agent/sources/broker";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";

/** A broker of which the test decides what is sent and sees what comes, byte by byte. */
export interface FakeBroker {
  readonly port: number;
  /** Packets of each connection so far. */
  readonly connections: Packet[][];
  /** Their sockets. */
  readonly sockets: Socket[];
  /** To the newest connection; sendTo: to the nth. */
  send(...packets: Array<Packet | Buffer>): void;
  sendTo(connection: number, ...packets: Array<Packet | Buffer>): void;
  cut(connection?: number): void;
  close(): Promise<void>;
}

export interface FakeBrokerOptions {
  /** What CONNACK says. Default true. */
  sessionPresent?: boolean;
  version?: 4 | 5;
  /** Code of SUBACK for each filter. Default 1. */
  granted?: number;
  /** Default false: pings are not answered. */
  answersPings?: boolean;
  tls?: TlsOptions;
  /** Sent in one piece with CONNACK. */
  greeting?: readonly Packet[];
  /** Sent on each of the first connections before CONNACK. */
  preambles?: Packet[];
}

export async function fakeBroker(options: FakeBrokerOptions = {}): Promise<FakeBroker> {
  const {
    sessionPresent = true,
    version = 4,
    granted = 1,
    answersPings = false,
    greeting = [],
    preambles = [],
  } = options;
  const connections: Packet[][] = [];
  const sockets: Socket[] = [];
  const encode = (packets: ReadonlyArray<Packet | Buffer>): Buffer =>
    Buffer.concat(
      packets.map((packet) =>
        Buffer.isBuffer(packet) ? packet : mqttPacket.generate(packet, { protocolVersion: version }),
      ),
    );
  const connack: Packet = {
    cmd: "connack",
    sessionPresent,
    ...(version === 5 ? { reasonCode: 0 } : { returnCode: 0 }),
  };
  const answer = (packet: Packet): ReadonlyArray<Packet> => {
    if (packet.cmd === "connect") return [...preambles.splice(0, 1), connack, ...greeting];
    if (packet.cmd === "pingreq" && answersPings) return [{ cmd: "pingresp" }];
    if (packet.cmd !== "subscribe") return [];
    const codes = packet.subscriptions.map(() => granted);
    return [{ cmd: "suback", messageId: packet.messageId!, granted: codes }];
  };
  const take = (socket: Socket): void => {
    const packets: Packet[] = [];
    connections.push(packets);
    sockets.push(socket);
    const parser = mqttPacket.parser({ protocolVersion: version });
    parser.on("packet", (packet) => {
      packets.push(packet);
      const answers = answer(packet);
      if (answers.length > 0) socket.write(encode(answers));
    });
    socket.on("error", () => {});
    socket.on("data", (chunk) => void parser.parse(chunk));
  };
  const server: Server = options.tls ? createTlsServer(options.tls, take) : createServer(take);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    sockets,
    send: (...packets) => void sockets.at(-1)?.write(encode(packets)),
    sendTo: (connection, ...packets) => void sockets[connection]?.write(encode(packets)),
    cut: (connection = -1) => void sockets.at(connection)?.destroy(),
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A PUBLISH to sensors/a/b/c. */
export function brokerPublish(messageId: number, payload: string, qos: 0 | 1 | 2 = 1): Packet {
  const id = qos > 0 ? { messageId } : {};
  return { cmd: "publish", topic: "sensors/a/b/c", payload, qos, dup: false, retain: false, ...id };
}

/** Options that will do for most tests. */
export function brokerOptions(url: string): BrokerOptions {
  return { url, topics: ["sensors/+/+/+"], qos: 1, clientId: "agent", protocolVersion: 4, reconnectFirstMs: 20 };
}
