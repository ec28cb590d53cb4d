import { Duplex } from "node:stream";
import { CodedError } from "@weir/shared/errors";
import { MqttClient } from "mqtt";
import type { IClientOptions, IPublishPacket } from "mqtt";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";

/**
 * Where we reach into the mqtt package, and the proof that what we find there does what we think.
 *
 * mqtt acknowledges a message when its handleMessage calls back, and handles one message at a time. Waiting there for a
 * commit would mean one message a commit. So its own PUBACKs and PUBRECs are swallowed (in _sendPacket, a method that
 * is not part of its contract) and the source writes them after the commit. A later version that sends them some other
 * way would acknowledge early and nobody would notice; assertAckSeam() does, on every start.
 */

/**
 * Handles one message: at its PUBLISH, also for QoS 2. messageId: 0 at QoS 0. payload: lent for the call. The client
 * handles nothing else until done() is called.
 */
export type MessageHandler = (message: BrokerMessage, done: () => void) => void;

/** A message as the client hands it over. */
export interface BrokerMessage {
  readonly topic: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly messageId: number;
}

/* oxlint-disable no-underscore-dangle -- the name is mqtt's. */
interface Inside {
  _sendPacket?: (packet: Packet, done?: () => void, ...rest: unknown[]) => void;
}

/**
 * Makes `handler` see every message of a client that has not been connected yet, and keeps the client from
 * acknowledging any. released: a QoS 2 message has come to its PUBREL. Throws CodedError BROKER_SEAM.
 */
export function installAckSeam(
  client: MqttClient,
  handler: MessageHandler,
  released: (messageId: number) => void,
): void {
  const inside = client as unknown as Inside;
  const send = inside._sendPacket;
  if (typeof send !== "function") throw seamError("it has no _sendPacket");
  inside._sendPacket = (packet, done, ...rest) => {
    if (packet.cmd === "puback" || packet.cmd === "pubrec") return done?.();
    return send.call(client, packet, done, ...rest);
  };
  client.handleMessage = (packet, done) => {
    if (packet.qos !== 2) return handler(messageOf(packet), done);
    // A QoS 2 message comes here at its PUBREL; it has been handled at its PUBLISH, since PUBREC makes it ours.
    released(packet.messageId ?? 0);
    done();
  };
  client.options.customHandleAcks = (_topic, _payload, packet: IPublishPacket, done) => {
    if (packet.qos === 2) handler(messageOf(packet), () => done(0));
    else done(0);
  };
}

function messageOf(packet: IPublishPacket): BrokerMessage {
  const payload = typeof packet.payload === "string" ? Buffer.from(packet.payload) : packet.payload;
  return { topic: packet.topic, payload, qos: packet.qos, messageId: packet.messageId ?? 0 };
}

/** A dry run has this long; in memory it takes a few turns of the event loop. */
const DRY_RUN_TIMEOUT_MS = 5_000;

/**
 * Plays a broker to a real client in memory, both versions, and sees that the messages come through once and in order,
 * that nothing is acknowledged, and that a message whose done() is withheld holds up the next. Throws BROKER_SEAM.
 */
export async function assertAckSeam(): Promise<void> {
  for (const version of [4, 5] as const) await dryRun(version);
}

async function dryRun(version: 4 | 5): Promise<void> {
  const sent: string[] = [];
  const seen: string[] = [];
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet) => void sent.push(packet.cmd));
  const wire = new Duplex({
    read() {},
    write(bytes: Buffer, _, done) {
      parser.parse(bytes);
      done();
    },
  });
  const options: IClientOptions = {
    manualConnect: true,
    protocolVersion: version,
    keepalive: 0,
    reconnectPeriod: 0,
    clientId: "seam",
  };
  const client = new MqttClient(() => wire, options);
  client.on("error", () => {});
  const over = new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => reject(seamError(`no more messages after ${seen.join(", ")}`)), DRY_RUN_TIMEOUT_MS);
    const handler: MessageHandler = ({ topic, qos, messageId }, done) => {
      seen.push(`${topic} ${qos} ${messageId}`);
      // Withheld over a turn of the event loop: the next message must wait for it.
      setImmediate(() => {
        seen.push("done");
        if (topic !== "last") return done();
        clearTimeout(timer);
        resolve();
      });
    };
    try {
      installAckSeam(client, handler, () => {});
    } catch (error) {
      clearTimeout(timer);
      reject(error instanceof Error ? error : seamError(String(error)));
    }
  });
  client.connect();
  for (const packet of dryRunPackets(version)) wire.push(mqttPacket.generate(packet, { protocolVersion: version }));
  try {
    await over;
  } finally {
    client.end(true);
    wire.destroy();
  }
  const expected = "first 1 1, done, second 2 2, done, third 1 3, done, last 0 0, done";
  if (seen.join(", ") !== expected) throw seamError(`messages came as ${seen.join(", ")}`);
  if (sent.join(", ") !== "connect") throw seamError(`the client sent ${sent.join(", ")} by itself`);
}

function dryRunPackets(version: 4 | 5): Packet[] {
  const publish = (topic: string, qos: 0 | 1 | 2, messageId: number): Packet => ({
    cmd: "publish",
    topic,
    payload: "1",
    qos,
    dup: false,
    retain: false,
    ...(messageId > 0 ? { messageId } : {}),
  });
  const accepted = version === 5 ? { reasonCode: 0 } : { returnCode: 0 };
  const connack: Packet = { cmd: "connack", sessionPresent: false, ...accepted };
  return [connack, publish("first", 1, 1), publish("second", 2, 2), publish("third", 1, 3), publish("last", 0, 0)];
}

function seamError(problem: string): CodedError {
  const message =
    `The mqtt package ${String(MqttClient.VERSION)} does not let Weir hold back acknowledgements: ${problem}. ` +
    "Readings could be lost, so the broker is not connected. Install the version that Weir was released with.";
  return new CodedError("BROKER_SEAM", message);
}
