import type { Socket } from "node:net";
import type { IConnectPacket } from "mqtt-packet";
import { isPacketId, protocolLevel, readConnect, subscribe, unsubscribe } from "./listen-control.ts";
import type { ListenHub } from "./listen-hub.ts";
import { ListenMessages } from "./listen-messages.ts";
import {
  connackAcceptance,
  connackRefusal,
  disconnect5,
  parseControl,
  REASON,
  suback,
  unsuback,
} from "./mqtt-control.ts";
import { type FrameFault, type FrameHandler, FrameReader } from "./mqtt-frames.ts";
import type { RejectReason } from "./source.ts";
import { filterTakes } from "./topic-filter.ts";

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
  /** Null before CONNECT. */
  #messages: ListenMessages | null = null;
  #filters: Set<string> | null = null;
  /** Largest packet the client takes, in bytes. */
  #clientPacketBytesMax = Infinity;
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
    const count = this.#messages?.waitingAcks ?? 0;
    if (count === 0) return;
    this.write(this.#messages!.takeAcks());
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
      else this.write(bytes);
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

  /** Writes to the client; one that does not read is not read from either. */
  write(bytes: Buffer): void {
    if (this.#state === "closed") return;
    this.#socket.write(bytes);
    // Whoever does not read its acknowledgements is not read from: neither side's buffers grow.
    if (this.#socket.writableLength <= this.#hub.limits.writeBytesMax) return;
    this.#writeStalled = true;
    this.#hub.counters.writeStalls++;
    this.#socket.pause();
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
    return mayRead && !this.#hub.paused && !this.#writeStalled && (this.#messages?.waitingAcks ?? 0) < WAITING_ACKS_MAX;
  }

  frame(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    const type = bytes[start]! >> 4;
    if (this.#state === "greeting") {
      if (type === TYPE.connect) this.#greet(bytes, start, end);
      else this.#malformed(REASON.protocolError, bytes, start, end);
      return this.#readable();
    }
    let reason = 0;
    if (type === TYPE.publish) reason = this.#messages!.publish(bytes, start, bodyStart, end);
    else if (type === TYPE.pubrel) reason = this.#messages!.release(bytes, start, bodyStart, end);
    else if (type === TYPE_PINGREQ && end === bodyStart) this.write(PINGRESP);
    else if (type === TYPE.subscribe || type === TYPE.unsubscribe || type === TYPE_DISCONNECT) {
      this.#control(bytes, start, end);
    } else if (type !== TYPE.puback && type !== TYPE.pubrec && type !== TYPE.pubcomp) {
      // Acknowledgements are passed over: what we publish is QoS 0, so they are for an earlier server's messages.
      reason = REASON.protocolError;
    }
    if (reason === REASON.receiveMaximumExceeded) this.#end(reason, true);
    else if (reason !== 0) this.#malformed(reason, bytes, start, end);
    return this.#readable();
  }

  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): boolean {
    const mayCome = this.#state === "open";
    const reason = mayCome ? this.#messages!.skipping(bytes, start, bodyStart, headEnd) : REASON.malformed;
    if (reason !== 0) this.#malformed(reason, bytes, start, headEnd);
    return reason === 0;
  }

  skipped(): boolean {
    const reason = this.#messages!.skipped();
    if (reason !== 0) this.#end(reason, true);
    return this.#readable();
  }

  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void {
    if (fault === "too_large") return this.#fail("payload_too_large", REASON.packetTooLarge, bytes, start, end);
    if (fault === "length_malformed") return this.#malformed(REASON.malformed, bytes, start, end);
    // Nothing is wrong with this client; it was one too many that sends in pieces.
    this.#hub.counters.overBudget++;
    this.#end(REASON.quotaExceeded, true);
  }

  // Control packets

  #greet(bytes: Buffer, start: number, end: number): void {
    const packet = readConnect(bytes.subarray(start, end), this.#hub.topicNames);
    if (packet === null) return this.#malformed(REASON.malformed, bytes, start, end);
    if (Buffer.isBuffer(packet)) return this.#finish(packet);
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
    const version = protocolLevel(packet);
    if (!right) {
      this.#hub.counters.loginsRefused++;
      const bad = packet.username === undefined ? REASON.notAuthorized : REASON.credentialsBad;
      return this.#finish(connackRefusal(version, bad));
    }
    const assigned = packet.clientId === "" ? this.#hub.newClientId() : null;
    this.#version = version;
    this.#clientId = assigned ?? packet.clientId;
    this.#messages = new ListenMessages(this.#hub, this, version);
    this.#state = "open";
    // Half as long again as the client has promised (3.1.2.10), and the tick that has begun already.
    this.#patienceTicks = packet.keepalive ? Math.ceil((packet.keepalive * 1500) / this.#hub.tickMs) + 1 : 0;
    this.#heardTick = this.#hub.tick;
    this.#clientPacketBytesMax = packet.properties?.maximumPacketSize ?? Infinity;
    // A copy: the packet's bytes lie in the chunk, which the will would keep in memory as long as the connection.
    if (packet.will) this.#will = { topic: packet.will.topic, payload: Buffer.from(packet.will.payload as Buffer) };
    this.#hub.opened(this);
    this.write(connackAcceptance(version, this.#hub.limits, version === 5 ? assigned : null));
  }

  #control(bytes: Buffer, start: number, end: number): void {
    const packet = parseControl(bytes.subarray(start, end), this.#version);
    if (typeof packet === "string") return this.#malformed(REASON.malformed, bytes, start, end);
    if (packet.cmd === "subscribe" && packet.subscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.write(suback(this.#version, packet.messageId, subscribe((this.#filters ??= new Set()), packet)));
    } else if (packet.cmd === "unsubscribe" && packet.unsubscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.write(unsuback(this.#version, packet.messageId, unsubscribe((this.#filters ??= new Set()), packet)));
    } else if (packet.cmd === "disconnect") {
      if (packet.reasonCode !== DISCONNECT_WITH_WILL) this.#will = null;
      this.#finish(null);
    } else this.#malformed(REASON.malformed, bytes, start, end);
  }

  // Writing and ending

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

  /** Gives back what the connection holds. */
  #leave(): void {
    this.#state = "closed";
    this.#reader.close();
    this.#rest = null;
    this.#messages?.close();
    this.#filters = null;
    const will = this.#will;
    this.#will = null;
    this.#hub.left(this);
    if (will) this.#hub.accept(this, will.topic, will.payload);
  }
}
