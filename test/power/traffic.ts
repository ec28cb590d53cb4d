import { decodeAgentMessage, decodeAggregatorMessage } from "@weir/shared/wire/messages";
import type { AgentMessage, AggregatorMessage, Lane } from "@weir/shared/wire/messages";
import type { DiskEvent } from "../support/power-loss.ts";
import type { RecordedRun } from "./recorded-run.ts";
import { packetIdOf } from "./recorded-run.ts";

/** What had left the agent when some of its events had happened. */
export interface AgentPromises {
  /** By the number of a reading: 1 where a PUBACK for it had left. */
  readonly acknowledged: Uint8Array;
  acknowledgements: number;
  /** The newest frame of each lane. */
  readonly sent: Record<Lane, number>;
  /** Threshold versions that it had said it keeps. */
  readonly versions: Set<number>;
}

/** Follows what leaves the agent on its sockets. */
export class AgentTraffic {
  readonly promises: AgentPromises;
  /** Whole messages to the aggregator, in order. */
  readonly messages: AgentMessage[] = [];
  readonly #run: RecordedRun;
  readonly #pubacks = new Map<number, { rest: Buffer; place: number }>();
  readonly #uplinks = new Map<number, WebSocketStream>();

  constructor(run: RecordedRun) {
    this.#run = run;
    this.promises = {
      acknowledged: new Uint8Array(run.readings + 1),
      acknowledgements: 0,
      sent: { alerts: 0, data: 0 },
      versions: new Set(),
    };
  }

  /** Takes the next event. */
  take(event: DiskEvent): void {
    if (event.kind !== "sent") return;
    if (this.#run.mqttPorts.has(event.localPort)) this.#acknowledge(event.remotePort, event.bytes);
    else if (event.remotePort === this.#run.httpPort) this.#sendUp(event.localPort, event.bytes);
  }

  #acknowledge(port: number, bytes: Buffer): void {
    const stream = this.#pubacks.get(port) ?? { rest: Buffer.alloc(0), place: -1 };
    this.#pubacks.set(port, stream);
    const all = Buffer.concat([stream.rest, bytes]);
    let at = 0;
    // A CONNACK, then a PUBACK for each publish in the order they were sent: four bytes each.
    for (; at + 4 <= all.length; at += 4, stream.place++) {
      if (stream.place < 0) continue;
      if (all[at] !== 0x40 || all.readUInt16BE(at + 2) !== packetIdOf(stream.place)) {
        throw new Error(`Acknowledgement ${stream.place} to port ${port} is ${all.toString("hex", at, at + 4)}`);
      }
      this.promises.acknowledged[this.#run.published.get(port)![stream.place]!] = 1;
      this.promises.acknowledgements++;
    }
    stream.rest = all.subarray(at);
  }

  #sendUp(port: number, bytes: Buffer): void {
    const stream = this.#uplinks.get(port) ?? new WebSocketStream();
    this.#uplinks.set(port, stream);
    for (const payload of stream.push(bytes)) {
      const message = decodeAgentMessage(payload);
      this.messages.push(message);
      const { sent, versions } = this.promises;
      if (message.type === "frame") sent[message.lane] = Math.max(sent[message.lane], message.seq);
      if (message.type === "thresholdsStored") versions.add(message.version);
      if (message.type === "hello") for (const version of message.thresholdVersions) versions.add(version);
    }
  }
}

/** What the aggregator told its agent, with when. */
export function messagesOfAggregator(
  events: readonly DiskEvent[],
  httpPort: number,
): Array<{ readonly event: number; readonly timeMs: number; readonly message: AggregatorMessage }> {
  const streams = new Map<number, WebSocketStream>();
  return events.flatMap((event, index) => {
    if (event.kind !== "sent" || event.localPort !== httpPort) return [];
    const stream = streams.get(event.remotePort) ?? new WebSocketStream();
    streams.set(event.remotePort, stream);
    return stream.push(event.bytes).map((payload) => {
      return { event: index, timeMs: event.timeMs, message: decodeAggregatorMessage(payload) };
    });
  });
}

/** One direction of a connection that becomes a WebSocket (RFC 6455, 5.2); binary messages in one frame each. */
class WebSocketStream {
  #rest = Buffer.alloc(0);
  /** Undefined: the head of the request or of its answer is not over. False: this is no WebSocket. */
  #isOpen: boolean | undefined;

  /** Returns the messages that are whole now. */
  push(bytes: Buffer): Buffer[] {
    this.#rest = Buffer.concat([this.#rest, bytes]);
    if (this.#isOpen === undefined) {
      const end = this.#rest.indexOf("\r\n\r\n");
      if (end < 0) return [];
      this.#isOpen = /^upgrade: websocket/im.test(this.#rest.toString("latin1", 0, end));
      this.#rest = this.#rest.subarray(end + 4);
    }
    const messages: Buffer[] = [];
    for (let message = this.#next(); message; message = this.#next()) if (message.length > 0) messages.push(message);
    return messages;
  }

  /** The next frame's payload; empty for one that is no binary message. */
  #next(): Buffer | undefined {
    const bytes = this.#rest;
    if (!this.#isOpen || bytes.length < 2) return undefined;
    const short = bytes[1]! & 0x7f;
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0;
    const maskBytes = bytes[1]! & 0x80 ? 4 : 0;
    const start = 2 + lengthBytes + maskBytes;
    if (bytes.length < start) return undefined;
    const length = lengthBytes === 0 ? short : Number(BigInt(`0x${bytes.toString("hex", 2, 2 + lengthBytes)}`));
    if (bytes.length < start + length) return undefined;
    const payload = Buffer.from(bytes.subarray(start, start + length));
    if (maskBytes > 0) for (let i = 0; i < length; i++) payload[i]! ^= bytes[start - 4 + (i & 3)]!;
    this.#rest = bytes.subarray(start + length);
    return bytes[0] === 0x82 ? payload : Buffer.alloc(0);
  }
}
