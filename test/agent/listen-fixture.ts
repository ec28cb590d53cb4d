import { connect, type Socket } from "node:net";
import type { Ingest, RejectReason, Source } from "@weir/agent/sources/source";
import mqttPacket from "mqtt-packet";
import type { Packet } from "mqtt-packet";
import * as assert from "uvu/assert";
import { eventually } from "../support/eventually.ts";

/** What a source has handed on, in order. */
export interface RecordingIngest extends Ingest {
  readonly messages: Array<{ readonly source: string; readonly topic: string; readonly payload: string }>;
  readonly dropped: string[];
  readonly refused: Array<{ readonly reason: RejectReason; readonly topic: string; readonly head: Buffer }>;
  /** What the next accepts answer; true when it runs out. */
  readonly answers: boolean[];
  /** Times that the clock was taken. */
  readonly turns: number;
}

/** An ingest that keeps what it is given and says yes, unless told otherwise. */
export function recordingIngest(): RecordingIngest {
  const messages: RecordingIngest["messages"] = [];
  const dropped: string[] = [];
  const refused: RecordingIngest["refused"] = [];
  const answers: boolean[] = [];
  let turns = 0;
  return {
    messages,
    dropped,
    refused,
    answers,
    get turns() {
      return turns;
    },
    open: (source) => ({
      turn: () => void turns++,
      accept(topic, bytes, start, end) {
        assert.ok(turns > 0, "a message has a time");
        messages.push({ source, topic: topic.name, payload: bytes.toString("latin1", start, end) });
        return answers.shift() ?? true;
      },
      drop: (topic, bytes, start, end) => void dropped.push(`${topic.name} ${bytes.toString("latin1", start, end)}`),
      refuse: (reason, topic, head) => void refused.push({ reason, topic, head: Buffer.from(head) }),
    }),
  };
}

/** A group commit as a source sees it when nothing comes in meanwhile. */
export function commit(source: Source): void {
  source.seal();
  source.committed();
  source.readOn();
}

/** A client that speaks bytes: what no library would send can be sent with it. */
export interface RawClient {
  readonly socket: Socket;
  /** Packets received, in order. */
  readonly packets: Packet[];
  /** Sizes of the chunks received. */
  readonly chunks: number[];
  readonly closed: boolean;
  send(...packets: Array<Packet | Buffer>): void;
  /** Resolves when `count` packets have come in all. */
  received(count: number): Promise<Packet[]>;
  ended(): Promise<void>;
}

/** Connects to an endpoint; sends CONNECT and waits for CONNACK unless `fields` is null. */
export async function rawClient(
  port: number,
  version: 4 | 5 = 4,
  fields: Record<string, unknown> | null = {},
): Promise<RawClient> {
  const socket = connect(port, "127.0.0.1");
  const packets: Packet[] = [];
  const chunks: number[] = [];
  let closed = false;
  const parser = mqttPacket.parser({ protocolVersion: version });
  parser.on("packet", (packet) => void packets.push(packet));
  parser.on("error", (error) => socket.destroy(error as Error));
  socket.on("data", (chunk) => {
    chunks.push(chunk.length);
    parser.parse(chunk);
  });
  socket.on("error", () => {});
  socket.on("close", () => (closed = true));
  const client: RawClient = {
    socket,
    packets,
    chunks,
    get closed() {
      return closed;
    },
    send: (...items) => void socket.write(Buffer.concat(items.map((item) => encode(item, version)))),
    received: (count) =>
      eventually(() => {
        if (packets.length < count) throw new Error(`${packets.length} of ${count} packets have come`);
        return packets;
      }),
    ended: () =>
      eventually(() => {
        if (!closed) throw new Error("the connection is open");
      }),
  };
  if (fields !== null) {
    client.send(connectPacket(version, fields));
    await client.received(1);
  }
  return client;
}

/** A CONNECT with these fields. */
export function connectPacket(version: 3 | 4 | 5, fields: Record<string, unknown> = {}): Buffer {
  const protocolId = version === 3 ? "MQIsdp" : "MQTT";
  const packet = {
    cmd: "connect",
    protocolId,
    protocolVersion: version,
    clientId: "raw",
    clean: true,
    keepalive: 0,
    ...fields,
  };
  return encode(packet as Packet, version);
}

/** A PUBLISH; id: at QoS 1 and 2. */
export function publishPacket(
  topic: string,
  payload: string | Buffer,
  { qos = 0, id, version = 4, properties }: PublishFields = {},
): Buffer {
  const extra = { ...(id === undefined ? {} : { messageId: id }), ...(properties ? { properties } : {}) };
  return encode({ cmd: "publish", topic, payload, qos, dup: false, retain: false, ...extra }, version);
}

interface PublishFields {
  qos?: 0 | 1 | 2;
  id?: number;
  version?: 4 | 5;
  properties?: Record<string, unknown>;
}

function encode(packet: Packet | Buffer, version: number): Buffer {
  return Buffer.isBuffer(packet) ? packet : mqttPacket.generate(packet, { protocolVersion: version });
}
