import type { Socket } from "node:net";
import type { IConnectPacket } from "mqtt-packet";
import { isPacketId, protocolLevel, readConnect, subscribe, unsubscribe } from "./listen-control.ts";
import { HOLDING } from "./message-flow.ts";
import type { ListenHub } from "./listen-hub.ts";
import {
  connackAcceptance,
  connackRefusal,
  disconnect5,
  parseControl,
  REASON,
  suback,
  unsuback,
} from "./mqtt-control.ts";
import type { FrameFault } from "./mqtt-frames.ts";
import { type MessagePeer, MqttMessages, WAITING_ACKS_MAX } from "./mqtt-messages.ts";
import type { RejectReason } from "./source.ts";
import { type InputOwner, SocketInput } from "./socket-input.ts";
import { filterTakes } from "./topic-filter.ts";

/** A connection that is being ended gets this long to read its last words before it is cut. */
export const LINGER_MS = 1_000;

const TYPE = {
  connect: 1,
  puback: 4,
  pubrec: 5,
  pubcomp: 7,
  subscribe: 8,
  unsubscribe: 10,
  pingreq: 12,
  disconnect: 14,
} as const;
const CONNECT_HEADER = 0x10;
const PINGRESP: Buffer = Buffer.from([0xd0, 0]);
/** DISCONNECT reason of a client that wants its will published all the same. */
const DISCONNECT_WITH_WILL = 0x04;

/**
 * One connection of a device: CONNECT, then messages in, acknowledgements out.
 *
 *   greeting ──CONNECT──▶ checking ──password right──▶ open ──DISCONNECT, fault, close──▶ closed
 *
 * It reads while it is open, there is room, its acknowledgements are being read, and not too many wait for a
 * commit.
 */
export class ListenConnection implements MessagePeer, InputOwner {
  readonly #socket: Socket;
  readonly #hub: ListenHub;
  readonly #input: SocketInput;
  readonly #messages: MqttMessages;
  #state: "greeting" | "checking" | "open" | "closed" = "greeting";
  /** Protocol level: 0 before CONNECT, 3 or 4 for MQTT 3.1 and 3.1.1, 5. */
  #version = 0;
  #clientId = "";
  #will: { readonly topic: string; readonly payload: Buffer } | null = null;
  /** True until the first byte has come. */
  #unheard = true;
  #writeStalled = false;
  /** Ticks without a packet after which the client is given up; 0: never. */
  #patienceTicks = 0;
  #heardTick: number;
  #filters: Set<string> | null = null;
  /** Largest packet the client takes, in bytes. */
  #clientPacketBytesMax = Infinity;
  #lingerTimer: NodeJS.Timeout | null = null;

  /** accepted: not used by anybody else afterwards. */
  constructor(accepted: Socket, hub: ListenHub) {
    this.#hub = hub;
    // A session ends with its connection here, so none is handed in.
    this.#messages = new MqttMessages(hub.flow, this, hub.limits, { inFlight: null });
    this.#input = new SocketInput(hub, this.#messages, this);
    const socket = this.#input.accept(accepted);
    this.#socket = socket;
    this.#heardTick = hub.tick;
    socket.setNoDelay(true);
    socket.on("drain", () => this.#drained());
    socket.on("error", (error) => hub.noteError(error));
    socket.on("close", () => this.#closed());
    if (this.readable) socket.resume();
    else socket.pause();
  }

  get clientId(): string {
    return this.#clientId;
  }

  /** True where messages have been read and not handled yet. */
  get inHand(): boolean {
    return this.#input.inHand;
  }

  get readable(): boolean {
    if (this.#state === "greeting") return !this.#hub.flow.stopped;
    if (this.#state !== "open" || this.#writeStalled) return false;
    return this.#hub.flow.state !== HOLDING && this.#messages.waitingAcks < WAITING_ACKS_MAX;
  }

  /** Stops reading; what is in hand is kept. A client that has not said CONNECT yet goes on. */
  pause(): void {
    this.#input.pause();
  }

  /** Reads on where nothing stands against it. */
  resume(): void {
    this.#heardTick = this.#hub.tick;
    this.#input.resume();
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
    // Nobody's silence counts while it is we who do not listen; resume() starts the count again.
    if (!this.#writeStalled && (this.inHand || !this.readable)) return;
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
    this.#messages.blocked = true;
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

  heard(bytes: Buffer, length: number): boolean {
    this.#heardTick = this.#hub.tick;
    // Somebody who speaks another protocol is told by the first byte, not after a frame's worth of waiting.
    if (this.#unheard && bytes[0] !== CONNECT_HEADER) {
      this.malformed(REASON.protocolError, bytes, 0, length);
      return false;
    }
    this.#unheard = false;
    return true;
  }

  reading(): void {
    this.#hub.reading = this;
  }

  control(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    const type = bytes[start]! >> 4;
    if (this.#state === "greeting") {
      if (type === TYPE.connect) this.#greet(bytes, start, end);
      else this.malformed(REASON.protocolError, bytes, start, end);
    } else if (type === TYPE.pingreq && end === bodyStart) this.write(PINGRESP);
    else if (type === TYPE.subscribe || type === TYPE.unsubscribe || type === TYPE.disconnect) {
      this.#control(bytes, start, end);
    } else if (type !== TYPE.puback && type !== TYPE.pubrec && type !== TYPE.pubcomp) {
      // Acknowledgements are passed over: what we publish is QoS 0, so they are for an earlier server's messages.
      this.malformed(REASON.protocolError, bytes, start, end);
    }
    return true;
  }

  end(reason: number): void {
    this.#end(reason, true);
  }

  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void {
    if (fault === "too_large") return this.#fail("payload_too_large", REASON.packetTooLarge, bytes, start, end);
    if (fault === "length_malformed") return this.malformed(REASON.malformed, bytes, start, end);
    this.overBudget();
  }

  /** Nothing is wrong with this client; it was one too many that keeps us holding what it sends. */
  overBudget(): void {
    this.#hub.counters.overBudget++;
    this.#end(REASON.quotaExceeded, true);
  }

  // Control packets

  #greet(bytes: Buffer, start: number, end: number): void {
    // A copy: what it says is kept, and the bytes are lent.
    const packet = readConnect(Buffer.from(bytes.subarray(start, end)));
    if (packet === null) return this.malformed(REASON.malformed, bytes, start, end);
    if (Buffer.isBuffer(packet)) return this.#finish(packet);
    this.#state = "checking";
    this.#messages.blocked = true;
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
    this.#messages.open(version);
    this.#messages.blocked = false;
    this.#state = "open";
    // Half as long again as the client has promised (3.1.2.10), and the tick that has begun already.
    this.#patienceTicks = packet.keepalive ? Math.ceil((packet.keepalive * 1500) / this.#hub.tickMs) + 1 : 0;
    this.#heardTick = this.#hub.tick;
    this.#clientPacketBytesMax = packet.properties?.maximumPacketSize ?? Infinity;
    if (packet.will) this.#will = { topic: packet.will.topic, payload: packet.will.payload as Buffer };
    this.#hub.opened(this);
    this.write(connackAcceptance(version, this.#hub.limits, version === 5 ? assigned : null));
  }

  #control(bytes: Buffer, start: number, end: number): void {
    const packet = parseControl(bytes.subarray(start, end), this.#version);
    if (typeof packet === "string") return this.malformed(REASON.malformed, bytes, start, end);
    if (packet.cmd === "subscribe" && packet.subscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.write(suback(this.#version, packet.messageId, subscribe((this.#filters ??= new Set()), packet)));
    } else if (packet.cmd === "unsubscribe" && packet.unsubscriptions.length > 0 && isPacketId(packet.messageId)) {
      this.write(unsuback(this.#version, packet.messageId, unsubscribe((this.#filters ??= new Set()), packet)));
    } else if (packet.cmd === "disconnect") {
      if (packet.reasonCode !== DISCONNECT_WITH_WILL) this.#will = null;
      this.#finish(null);
    } else this.malformed(REASON.malformed, bytes, start, end);
  }

  // Writing and ending

  #drained(): void {
    if (!this.#writeStalled) return;
    this.#writeStalled = false;
    this.#messages.blocked = this.#state === "checking";
    this.resume();
  }

  malformed(reason: number, bytes: Buffer, start: number, end: number): void {
    this.#fail("frame_malformed", reason, bytes, start, end);
  }

  #fail(refusal: RejectReason, reason: number, bytes: Buffer, start: number, end: number): void {
    this.#hub.flow.refuse(refusal, "", bytes, start, end);
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
    this.#input.close();
    this.#messages.close();
    this.#filters = null;
    const will = this.#will;
    this.#will = null;
    this.#hub.left(this);
    if (will) this.#hub.passOnWill(will.topic, will.payload);
  }
}
