import type { Socket } from "node:net";
import type { IConnectPacket, ISubscribePacket, IUnsubscribePacket } from "mqtt-packet";
import type { ListenHub } from "./listen-hub.ts";
import { AckBuffer, ackBytes, PUBACK, PUBCOMP, PUBREC } from "./mqtt-acks.ts";
import {
  connackAcceptance,
  connackRefusal,
  disconnect5,
  parseControl,
  REASON,
  suback,
  unsuback,
  VERSION_UNKNOWN,
} from "./mqtt-control.ts";
import { type FrameFault, type FrameHandler, FrameReader } from "./mqtt-frames.ts";
import { emptyPublishHead, type PublishHead, readPublishHead } from "./mqtt-publish.ts";
import type { RejectReason } from "./source.ts";
import { filterTakes, isLocalFilter } from "./topic-filter.ts";

/** Filters one connection may subscribe to. */
export const SUBSCRIPTIONS_MAX = 32;
/** Acknowledgements one connection may have waiting for a commit; reading stops there until then. */
export const WAITING_ACKS_MAX = 65_535;
/** A connection that is being ended gets this long to read its last words before it is cut. */
export const LINGER_MS = 1_000;

const TYPE = {
  connect: 1,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
} as const;
const CONNECT_HEADER = 0x10;
const TYPE_PINGREQ = 12;
const TYPE_DISCONNECT = 14;
const PINGRESP: Buffer = Buffer.from([0xd0, 0]);
/** DISCONNECT reason of a client that wants its will published all the same. */
const DISCONNECT_WITH_WILL = 0x04;

/** A PUBLISH too large to hold, while its bytes go by. */
interface Skipped {
  readonly topic: string | null;
  readonly qos: number;
  readonly packetId: number;
  readonly head: Buffer;
}

/**
 * One connection of a device: CONNECT, then messages in, acknowledgements out.
 *
 *   greeting ──CONNECT──▶ checking ──password right──▶ open ──DISCONNECT, fault, close──▶ closed
 *
 * It reads while it is open, the source is not paused, its acknowledgements are being read, and not too many wait for
 * a commit. What it has read and not handled when reading stops stays in #rest, less than one chunk.
 */
export class ListenConnection implements FrameHandler {
  readonly #socket: Socket;
  readonly #hub: ListenHub;
  readonly #reader: FrameReader;
  readonly #head: PublishHead = emptyPublishHead();
  #state: "greeting" | "checking" | "open" | "closed" = "greeting";
  /** Protocol level: 0 before CONNECT, 3 or 4 for MQTT 3.1 and 3.1.1, 5. */
  #version = 0;
  #clientId = "";
  #will: { readonly topic: string; readonly payload: Buffer } | null = null;
  /** True until the first byte has come. */
  #unheard = true;
  #rest: Buffer | null = null;
  #writeStalled = false;
  /** Ticks without a packet after which the client is given up; 0: never. */
  #patienceTicks = 0;
  #heardTick: number;
  readonly #acks: AckBuffer = new AckBuffer();
  /** QoS 2: packet ids between PUBLISH and PUBREL, with the hub's count of accepted messages when it came. */
  #inFlight: Map<number, number> | null = null;
  #aliases: string[] | null = null;
  #filters: Set<string> | null = null;
  /** Largest packet the client takes, in bytes. */
  #clientPacketBytesMax = Infinity;
  #skipped: Skipped | null = null;
  #lingerTimer: NodeJS.Timeout | null = null;

  constructor(socket: Socket, hub: ListenHub) {
    this.#socket = socket;
    this.#hub = hub;
    this.#reader = new FrameReader(hub.limits, hub.partialBudget, this);
    this.#heardTick = hub.tick;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Buffer) => this.#data(chunk));
    socket.on("drain", () => this.#drained());
    socket.on("error", (error) => hub.noteError(error));
    socket.on("close", () => this.#closed());
    if (!this.#readable()) socket.pause();
  }

  get clientId(): string {
    return this.#clientId;
  }

  /** True where messages have been read and not handled yet. */
  get inHand(): boolean {
    return this.#rest !== null;
  }

  /** Stops reading; what is in hand is kept. */
  pause(): void {
    if (this.#state !== "closed") this.#socket.pause();
  }

  /** Reads on where nothing stands against it. */
  resume(): void {
    this.#heardTick = this.#hub.tick;
    if (this.#state === "closed" || !this.#readable()) return;
    const rest = this.#rest;
    this.#rest = null;
    if (rest !== null) this.#consume(rest);
    if (this.#rest === null && this.#readable()) this.#socket.resume();
  }

  /** Writes the acknowledgements that waited for the commit, in one write. */
  flushAcks(): void {
    const count = this.#acks.count;
    if (count === 0) return;
    this.#hub.unacknowledged -= count;
    this.#write(this.#acks.take());
    if (count >= WAITING_ACKS_MAX) this.resume();
  }

  /** Delivers a message of the agent's own where a filter takes it. encode: the PUBLISH for a protocol level. */
  deliver(topic: string, encode: (version: number) => Buffer): void {
    if (this.#filters === null || this.#state !== "open") return;
    for (const filter of this.#filters) {
      if (!filterTakes(filter, topic)) continue;
      const bytes = encode(this.#version);
      const full = this.#socket.writableLength + bytes.length > this.#hub.limits.writeBytesMax;
      if (full || bytes.length > this.#clientPacketBytesMax) this.#hub.counters.localDropped++;
      else this.#write(bytes);
      return;
    }
  }

  /** Called on each of the hub's ticks: gives up a client that has been silent for too long. */
  checkSilence(connectTimeoutTicks: number): void {
    if (this.#state === "closed" || this.#state === "checking") return;
    const patience = this.#state === "greeting" ? connectTimeoutTicks : this.#patienceTicks;
    if (patience === 0 || this.#hub.tick - this.#heardTick <= patience) return;
    this.#hub.counters.timeouts++;
    this.#end(REASON.keepAliveTimeout, true);
  }

  /** Ends the connection; the will is kept back. */
  shutDown(): void {
    this.#end(REASON.shuttingDown, false);
  }

  /** Ends the connection because another took its client id. */
  yieldTo(): void {
    this.#end(REASON.takenOver, true);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // Reading

  #data(chunk: Buffer): void {
    if (this.#state === "closed") return;
    this.#hub.counters.bytes += chunk.length;
    this.#heardTick = this.#hub.tick;
    // Somebody who speaks another protocol is told by the first byte, not after a frame's worth of waiting.
    if (this.#unheard && chunk[0] !== CONNECT_HEADER) {
      return this.#malformed(REASON.protocolError, chunk, 0, chunk.length);
    }
    this.#unheard = false;
    this.#consume(chunk);
  }

  #consume(chunk: Buffer): void {
    // Answers to one chunk (PUBCOMP, PINGRESP) leave in one write.
    this.#socket.cork();
    const at = this.#reader.read(chunk, 0);
    this.#socket.uncork();
    if (at >= chunk.length || this.#state === "closed") return this.#pauseUnlessReadable();
    this.#rest = chunk.subarray(at);
    this.#socket.pause();
  }

  #pauseUnlessReadable(): void {
    if (this.#state !== "closed" && !this.#readable()) this.#socket.pause();
  }

  #readable(): boolean {
    const mayRead = this.#state === "open" || this.#state === "greeting";
    return mayRead && !this.#hub.paused && !this.#writeStalled && this.#acks.count < WAITING_ACKS_MAX;
  }

  frame(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    const type = bytes[start]! >> 4;
    if (this.#state === "greeting") {
      if (type === TYPE.connect) this.#greet(bytes, start, end);
      else this.#malformed(REASON.protocolError, bytes, start, end);
      return this.#readable();
    }
    if (type === TYPE.publish) this.#publish(bytes, start, bodyStart, end);
    else if (type === TYPE.pubrel) this.#pubrel(bytes, start, bodyStart, end);
    else if (type === TYPE_PINGREQ && end === bodyStart) this.#write(PINGRESP);
    else if (type === TYPE.subscribe || type === TYPE.unsubscribe || type === TYPE_DISCONNECT) {
      this.#control(bytes, start, end);
    } else if (type !== TYPE.puback && type !== TYPE.pubrec && type !== TYPE.pubcomp) {
      // Acknowledgements are passed over: what we publish is QoS 0, so they are for an earlier server's messages.
      this.#malformed(REASON.protocolError, bytes, start, end);
    }
    return this.#readable();
  }

  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): boolean {
    const head = this.#head;
    const known =
      this.#state === "open" && readPublishHead(bytes, start, bodyStart, headEnd, this.#version === 5, false, head);
    if (!known) {
      this.#malformed(REASON.malformed, bytes, start, headEnd);
      return false;
    }
    const topic = this.#topicOf(bytes, start, headEnd);
    if (topic === undefined) return false;
    const payload = this.#hub.headOf(bytes, head.payloadStart, headEnd);
    this.#skipped = { topic, qos: head.qos, packetId: head.packetId, head: Buffer.from(payload) };
    return true;
  }

  skipped(): boolean {
    const { topic, qos, packetId, head } = this.#skipped!;
    this.#skipped = null;
    if (qos === 2 && this.#repeats(packetId)) return this.#readable();
    this.#hub.refuse(topic === null ? "topic_malformed" : "payload_too_large", topic ?? "", head);
    if (qos > 0) this.#acknowledge(qos, packetId);
    return this.#readable();
  }

  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void {
    if (fault === "too_large") return this.#fail("payload_too_large", REASON.packetTooLarge, bytes, start, end);
    if (fault === "length_malformed") return this.#malformed(REASON.malformed, bytes, start, end);
    // Nothing is wrong with this client; it was one too many that sends in pieces.
    this.#hub.counters.overBudget++;
    this.#end(REASON.quotaExceeded, true);
  }

  // Messages

  #publish(bytes: Buffer, start: number, bodyStart: number, end: number): void {
    const head = this.#head;
    if (!readPublishHead(bytes, start, bodyStart, end, this.#version === 5, true, head)) {
      return this.#malformed(REASON.malformed, bytes, start, end);
    }
    const topic = this.#topicOf(bytes, start, end);
    if (topic === undefined) return;
    if (head.qos === 2 && this.#repeats(head.packetId)) return;
    if (topic === null) {
      const shown = bytes.toString("latin1", head.topicStart, Math.min(head.topicEnd, head.topicStart + 256));
      this.#hub.refuse("topic_malformed", shown, this.#hub.headOf(bytes, head.payloadStart, end));
    } else {
      this.#hub.accept(this, topic, bytes.subarray(head.payloadStart, end));
    }
    if (head.qos > 0) this.#acknowledge(head.qos, head.packetId);
  }

  /** The topic of #head, by alias where it brings one; null: not a topic; undefined: the connection has been ended. */
  #topicOf(bytes: Buffer, start: number, end: number): string | null | undefined {
    const { alias, topicStart, topicEnd } = this.#head;
    if (alias < 0) {
      if (topicStart === topicEnd && this.#version === 5) {
        this.#malformed(REASON.protocolError, bytes, start, end);
        return undefined;
      }
      return this.#hub.topicNames(bytes, topicStart, topicEnd);
    }
    const known = this.#aliases?.[alias];
    const inRange = alias > 0 && alias <= this.#hub.limits.topicAliasMax;
    if (!inRange || (topicStart === topicEnd && known === undefined)) {
      this.#malformed(inRange ? REASON.protocolError : REASON.topicAliasInvalid, bytes, start, end);
      return undefined;
    }
    if (topicStart === topicEnd) return known!;
    const topic = this.#hub.topicNames(bytes, topicStart, topicEnd);
    if (topic !== null) (this.#aliases ??= [])[alias] = topic;
    return topic;
  }

  /**
   * True for a QoS 2 message that is in flight already: it is not passed on again. Its PUBREC is on the way, or, where
   * it has been written before, is written again.
   */
  #repeats(packetId: number): boolean {
    const acceptedAt = this.#inFlight?.get(packetId);
    if (acceptedAt === undefined) return false;
    if (acceptedAt > this.#hub.committedCount) return true;
    if (this.#acks.count > 0) this.#holdAck(PUBREC, packetId);
    else this.#write(ackBytes(PUBREC, packetId));
    return true;
  }

  #acknowledge(qos: number, packetId: number): void {
    if (this.#state === "closed") return;
    if (qos === 2) (this.#inFlight ??= new Map()).set(packetId, this.#hub.acceptedCount);
    this.#holdAck(qos === 2 ? PUBREC : PUBACK, packetId);
    if (this.#version !== 5) return;
    const inFlight = this.#inFlight?.size ?? 0;
    const allowed = this.#hub.limits.receiveMaximum;
    // A PUBREC that waits is in both numbers, so only a client near its limit is counted exactly.
    if (this.#acks.count + inFlight <= allowed || this.#acks.countOf(PUBACK) + inFlight <= allowed) return;
    this.#end(REASON.receiveMaximumExceeded, true);
  }

  #holdAck(kind: number, packetId: number): void {
    this.#acks.hold(kind, packetId);
    if (this.#acks.count === 1) this.#hub.waiting.push(this);
    this.#hub.unacknowledged++;
  }

  #pubrel(bytes: Buffer, start: number, bodyStart: number, end: number): void {
    const packetId = end - bodyStart >= 2 ? (bytes[bodyStart]! << 8) | bytes[bodyStart + 1]! : 0;
    const lengthRight = this.#version === 5 || end - bodyStart === 2;
    if (packetId === 0 || !lengthRight || (bytes[start]! & 0x0f) !== 2) {
      return this.#malformed(REASON.malformed, bytes, start, end);
    }
    const known = this.#inFlight?.delete(packetId) ?? false;
    if (known || this.#version !== 5) this.#write(ackBytes(PUBCOMP, packetId));
    else this.#write(Buffer.from([PUBCOMP, 3, packetId >> 8, packetId & 0xff, REASON.packetIdNotFound]));
  }

  // Control packets

  #greet(bytes: Buffer, start: number, end: number): void {
    const packet = parseControl(bytes.subarray(start, end), 0);
    if (packet === VERSION_UNKNOWN) return this.#refuseConnect(4, REASON.versionUnsupported);
    if (typeof packet === "string" || packet.cmd !== "connect") {
      return this.#malformed(REASON.malformed, bytes, start, end);
    }
    const version = packet.protocolVersion ?? 4;
    if (packet.properties?.authenticationMethod !== undefined) {
      return this.#refuseConnect(version, REASON.authMethodBad);
    }
    if (packet.clientId === "" && version !== 5 && packet.clean === false) {
      return this.#refuseConnect(version, REASON.clientIdInvalid);
    }
    if (packet.will && !this.#isTopic(packet.will.topic)) return this.#malformed(REASON.malformed, bytes, start, end);

    this.#state = "checking";
    const decision = this.#hub.admits(packet.username, packet.password);
    if (typeof decision === "boolean") return this.#admit(packet, decision);
    void this.#admitLater(packet, decision);
  }

  async #admitLater(packet: IConnectPacket, decision: Promise<boolean>): Promise<void> {
    try {
      const right = await decision;
      if (this.#state !== "checking") return;
      this.#admit(packet, right);
      this.resume();
    } catch (error) {
      this.#hub.noteError(error);
      this.#socket.destroy();
    }
  }

  #admit(packet: IConnectPacket, right: boolean): void {
    const version = packet.protocolVersion ?? 4;
    if (!right) {
      this.#hub.counters.loginsRefused++;
      const bad = packet.username === undefined ? REASON.notAuthorized : REASON.credentialsBad;
      return this.#refuseConnect(version, bad);
    }
    const assigned = packet.clientId === "" ? this.#hub.newClientId() : null;
    this.#version = version;
    this.#clientId = assigned ?? packet.clientId;
    this.#state = "open";
    // Half as long again as the client has promised (3.1.2.10), and the tick that has begun already.
    this.#patienceTicks = packet.keepalive ? Math.ceil((packet.keepalive * 1500) / this.#hub.tickMs) + 1 : 0;
    this.#heardTick = this.#hub.tick;
    this.#clientPacketBytesMax = packet.properties?.maximumPacketSize ?? Infinity;
    // A copy: the packet's bytes lie in the chunk, which the will would keep in memory as long as the connection.
    if (packet.will) this.#will = { topic: packet.will.topic, payload: Buffer.from(packet.will.payload as Buffer) };
    this.#hub.opened(this);
    this.#write(connackAcceptance(version, this.#hub.limits, version === 5 ? assigned : null));
  }

  #refuseConnect(version: number, reason: number): void {
    this.#finish(connackRefusal(version, reason));
  }

  #control(bytes: Buffer, start: number, end: number): void {
    const packet = parseControl(bytes.subarray(start, end), this.#version);
    if (typeof packet === "string") return this.#malformed(REASON.malformed, bytes, start, end);
    if (packet.cmd === "subscribe" && packet.subscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.#subscribe(packet, packet.messageId);
    } else if (packet.cmd === "unsubscribe" && packet.unsubscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.#unsubscribe(packet, packet.messageId);
    } else if (packet.cmd === "disconnect") {
      if (packet.reasonCode !== DISCONNECT_WITH_WILL) this.#will = null;
      this.#finish(null);
    } else this.#malformed(REASON.malformed, bytes, start, end);
  }

  #subscribe(packet: ISubscribePacket, messageId: number): void {
    const filters = (this.#filters ??= new Set());
    const codes = packet.subscriptions.map(({ topic }) => {
      if (topic.startsWith("$share/")) return REASON.sharedUnsupported;
      if (!isLocalFilter(topic)) return REASON.notAuthorized;
      if (!filters.has(topic) && filters.size >= SUBSCRIPTIONS_MAX) return REASON.quotaExceeded;
      filters.add(topic);
      return 0;
    });
    this.#write(suback(this.#version, messageId, codes));
  }

  #unsubscribe(packet: IUnsubscribePacket, messageId: number): void {
    const codes = packet.unsubscriptions.map((filter) => (this.#filters?.delete(filter) ? 0 : 0x11));
    this.#write(unsuback(this.#version, messageId, codes));
  }

  #isTopic(topic: string): boolean {
    const bytes = Buffer.from(topic);
    return !topic.includes("\ufffd") && this.#hub.topicNames(bytes, 0, bytes.length) !== null;
  }

  // Writing and ending

  #write(bytes: Buffer): void {
    if (this.#state === "closed") return;
    this.#socket.write(bytes);
    // Whoever does not read its acknowledgements is not read from: neither side's buffers grow.
    if (this.#socket.writableLength <= this.#hub.limits.writeBytesMax) return;
    this.#writeStalled = true;
    this.#hub.counters.writeStalls++;
    this.#socket.pause();
  }

  #drained(): void {
    if (!this.#writeStalled) return;
    this.#writeStalled = false;
    this.resume();
  }

  #malformed(reason: number, bytes: Buffer, start: number, end: number): void {
    this.#fail("frame_malformed", reason, bytes, start, end);
  }

  #fail(refusal: RejectReason, reason: number, bytes: Buffer, start: number, end: number): void {
    this.#hub.refuse(refusal, "", this.#hub.headOf(bytes, start, end));
    this.#end(reason, true);
  }

  /** Ends the connection from our side. withWill: the client did not part in order. */
  #end(reason: number, withWill: boolean): void {
    if (!withWill) this.#will = null;
    this.#finish(this.#version === 5 ? disconnect5(reason) : null);
  }

  /**
   * Says the last words and ends; what still comes in is thrown away. Not cut at once: closing a socket that holds
   * unread bytes makes the other side throw away what it has not read yet, acknowledgements included.
   */
  #finish(lastWords: Buffer | null): void {
    if (this.#state === "closed") return;
    this.#leave();
    if (lastWords === null) this.#socket.end();
    else this.#socket.end(lastWords);
    this.#socket.resume();
    this.#lingerTimer = setTimeout(() => this.#socket.destroy(), LINGER_MS);
  }

  #closed(): void {
    if (this.#lingerTimer !== null) clearTimeout(this.#lingerTimer);
    if (this.#state !== "closed") this.#leave();
    this.#hub.gone(this);
  }

  /** Gives back what the connection holds. Acknowledgements that wait are dropped: the client sends again. */
  #leave(): void {
    this.#state = "closed";
    this.#reader.close();
    this.#rest = null;
    this.#hub.unacknowledged -= this.#acks.count;
    this.#acks.clear();
    this.#inFlight = null;
    this.#filters = null;
    this.#aliases = null;
    const will = this.#will;
    this.#will = null;
    this.#hub.left(this);
    if (will) this.#hub.accept(this, will.topic, will.payload);
  }
}

function isPacketId(messageId: number | undefined): messageId is number {
  return messageId !== undefined && messageId > 0;
}
