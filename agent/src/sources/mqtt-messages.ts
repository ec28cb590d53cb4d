import type { Topic } from "../decode/topic.ts";
import { type AckHolder, FLOWING, type MessageFlow, SHEDDING } from "./message-flow.ts";
import { AckBuffer, ackBytes, PUBACK, PUBCOMP, PUBREC } from "./mqtt-acks.ts";
import { REASON } from "./mqtt-control.ts";
import type { FrameFault, FrameHandler } from "./mqtt-frames.ts";
import { emptyPublishHead, type PublishHead, readPublishHead } from "./mqtt-publish.ts";
import { TOPIC_MALFORMED } from "./topic-table.ts";

/** Acknowledgements one connection may have waiting for a commit; reading stops there until then. */
export const WAITING_ACKS_MAX = 65_535;

const TYPE_PUBLISH = 3;
const TYPE_PUBREL = 6;
/** Characters of a topic that is none that are shown. */
const TOPIC_SHOWN_MAX = 256;

/** The connection that messages come by. */
export interface MessagePeer {
  /**
   * A frame that is no message's; any frame before open() and after close(), where of a PUBLISH too large to hold only
   * the beginning comes. Returns false where it cannot be taken now.
   */
  control(bytes: Buffer, start: number, bodyStart: number, end: number): boolean;
  write(bytes: Buffer): void;
  /** The frame bytes[start, end) breaks the rules; it has been handled in no way. reason: one of REASON. */
  malformed(reason: number, bytes: Buffer, start: number, end: number): void;
  /** The other side has broken a rule with a message that has been taken. */
  end(reason: number): void;
  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void;
  /** Reads on, if reading was stopped because too many acknowledgements waited. */
  resume(): void;
}

/** What outlives a connection where its session does. */
export interface MessageSession {
  /** QoS 2: packet ids between PUBLISH and PUBREL, with the flow's count of accepted messages when it came. */
  inFlight: Map<number, number> | null;
}

export interface MessageLimits {
  /** QoS 1 and 2 messages that may be unacknowledged (MQTT 5). */
  readonly receiveMaximum: number;
  /** Topic aliases of a connection (MQTT 5). */
  readonly topicAliasMax: number;
  /** Whether the other side is a server, whose messages may name the subscription they come by (MQTT 5). */
  readonly isFromServer: boolean;
}

/** A PUBLISH too large to hold, while its bytes go by. */
interface Skipped {
  readonly topic: Topic | null;
  readonly qos: number;
  readonly packetId: number;
  readonly head: Buffer;
}

/** The messages of one connection: PUBLISH and PUBREL in, acknowledgements out. Other frames go to the peer. */
export class MqttMessages implements FrameHandler, AckHolder {
  readonly #flow: MessageFlow;
  readonly #peer: MessagePeer;
  readonly #limits: MessageLimits;
  readonly #session: MessageSession;
  readonly #head: PublishHead = emptyPublishHead();
  readonly #acks: AckBuffer = new AckBuffer();
  /** The flow's count when this connection began: what was accepted before came by an earlier one. */
  readonly #acceptedBefore: number;
  #isOpen = false;
  #isVersion5 = false;
  #isClosed = false;
  /** Entry of the topic of the last message: devices repeat themselves. */
  #lastTopic = 0;
  #aliases: Topic[] | null = null;
  #skipped: Skipped | null = null;
  /** No frame is taken while this is true. */
  blocked = false;

  constructor(flow: MessageFlow, peer: MessagePeer, limits: MessageLimits, session: MessageSession) {
    this.#flow = flow;
    this.#peer = peer;
    this.#limits = limits;
    this.#session = session;
    this.#acceptedBefore = flow.acceptedCount;
  }

  /** Acknowledgements that wait for a commit. */
  get waitingAcks(): number {
    return this.#acks.count;
  }

  /** From now on messages may come. version: the protocol level, 3, 4 or 5. */
  open(version: number): void {
    this.#isOpen = true;
    this.#isVersion5 = version === 5;
  }

  /** Gives back what is held. Acknowledgements that wait are dropped: the other side sends again. */
  close(): void {
    this.#isClosed = true;
    this.#isOpen = false;
    this.#flow.unacknowledged -= this.#acks.count;
    this.#acks.clear();
    this.#aliases = null;
    this.#skipped = null;
  }

  seal(): void {
    this.#acks.seal();
  }

  /** Writes the acknowledgements of what is durable, in one write. */
  flush(): void {
    const count = this.#acks.sealed;
    if (count === 0) return;
    const isAtBound = this.#acks.count >= WAITING_ACKS_MAX;
    this.#flow.unacknowledged -= count;
    this.#peer.write(this.#acks.takeSealed());
    if (isAtBound) this.#peer.resume();
  }

  frame(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    if (this.blocked) return false;
    const type = bytes[start]! >> 4;
    if (this.#isOpen) {
      if (type === TYPE_PUBLISH) return this.#publish(bytes, start, bodyStart, end);
      if (type === TYPE_PUBREL) return this.#release(bytes, start, bodyStart, end);
    }
    return this.#peer.control(bytes, start, bodyStart, end);
  }

  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): boolean {
    if (this.blocked) return false;
    if (!this.#isOpen) return this.#peer.control(bytes, start, bodyStart, headEnd);
    const head = this.#head;
    if (!readPublishHead(bytes, start, bodyStart, headEnd, this.#isVersion5, false, head)) {
      this.#peer.malformed(REASON.malformed, bytes, start, headEnd);
      return true;
    }
    if (!this.#mayCome(head.qos)) return false;
    const topic = this.#topicOf(bytes);
    if (typeof topic === "number") {
      this.#peer.malformed(topic, bytes, start, headEnd);
      return true;
    }
    const { qos, packetId, payloadStart } = head;
    this.#skipped = { topic, qos, packetId, head: Buffer.from(bytes.subarray(payloadStart, headEnd)) };
    return true;
  }

  skipped(): void {
    // A peer that is parting lets messages go by.
    if (this.#skipped === null) return;
    const { topic, qos, packetId, head } = this.#skipped;
    this.#skipped = null;
    if (qos === 2 && this.#repeats(packetId)) return;
    const reason = topic === null ? "topic_malformed" : "payload_too_large";
    this.#flow.refuse(reason, topic?.name ?? "", head, 0, head.length);
    if (qos > 0) this.#acknowledge(qos, packetId);
  }

  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void {
    this.#peer.fault(fault, bytes, start, end);
  }

  #publish(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    const head = this.#head;
    if (!readPublishHead(bytes, start, bodyStart, end, this.#isVersion5, true, head)) {
      this.#peer.malformed(REASON.malformed, bytes, start, end);
      return true;
    }
    const { qos } = head;
    if (!this.#mayCome(qos)) return false;
    const topic = this.#topicOf(bytes);
    if (typeof topic === "number") {
      this.#peer.malformed(topic, bytes, start, end);
      return true;
    }
    if (qos === 2 && this.#repeats(head.packetId)) return true;
    if (topic === null) this.#refuseTopic(bytes, end);
    else if (this.#flow.state === SHEDDING) this.#flow.drop(topic, bytes, head.payloadStart, end);
    else this.#flow.accept(topic, bytes, head.payloadStart, end);
    if (qos > 0) this.#acknowledge(qos, head.packetId);
    return true;
  }

  /** Whether a message of this QoS is to be taken now. */
  #mayCome(qos: number): boolean {
    const { state } = this.#flow;
    if (state !== FLOWING && (state !== SHEDDING || qos > 0)) return false;
    return qos === 0 || this.#acks.count < WAITING_ACKS_MAX;
  }

  #release(bytes: Buffer, start: number, bodyStart: number, end: number): boolean {
    const packetId = end - bodyStart >= 2 ? (bytes[bodyStart]! << 8) | bytes[bodyStart + 1]! : 0;
    const isLengthRight = this.#isVersion5 || end - bodyStart === 2;
    if (packetId === 0 || !isLengthRight || (bytes[start]! & 0x0f) !== 2) {
      this.#peer.malformed(REASON.malformed, bytes, start, end);
      return true;
    }
    const isKnown = this.#session.inFlight?.delete(packetId) ?? false;
    if (isKnown || !this.#isVersion5) this.#peer.write(ackBytes(PUBCOMP, packetId));
    else this.#peer.write(Buffer.from([PUBCOMP, 3, packetId >> 8, packetId & 0xff, REASON.packetIdNotFound]));
    return true;
  }

  /** The topic of #head, by alias where it brings one; null: not a topic; a number: the REASON to end for. */
  #topicOf(bytes: Buffer): Topic | null | number {
    const { alias, topicStart, topicEnd } = this.#head;
    if (this.#head.isServers && !this.#limits.isFromServer) return REASON.malformed;
    if (alias < 0) {
      if (topicStart === topicEnd && this.#isVersion5) return REASON.protocolError;
      return this.#find(bytes, topicStart, topicEnd);
    }
    if (alias === 0 || alias > this.#limits.topicAliasMax) return REASON.topicAliasInvalid;
    if (topicStart === topicEnd) return this.#aliases?.[alias] ?? REASON.protocolError;
    const topic = this.#find(bytes, topicStart, topicEnd);
    if (topic !== null) (this.#aliases ??= [])[alias] = topic;
    return topic;
  }

  #find(bytes: Buffer, start: number, end: number): Topic | null {
    const { topics } = this.#flow;
    const entry = topics.find(bytes, start, end, this.#lastTopic);
    if (entry === TOPIC_MALFORMED) return null;
    this.#lastTopic = entry;
    return topics.topics[entry]!;
  }

  #refuseTopic(bytes: Buffer, end: number): void {
    const { topicStart, topicEnd, payloadStart } = this.#head;
    const shown = bytes.toString("latin1", topicStart, Math.min(topicEnd, topicStart + TOPIC_SHOWN_MAX));
    this.#flow.refuse("topic_malformed", shown, bytes, payloadStart, end);
  }

  /**
   * True for a QoS 2 message that is in flight already: it is not passed on again. Its PUBREC is on the way, or is sent
   * again, or, where the connection that it came by is gone, waits here for its commit.
   */
  #repeats(packetId: number): boolean {
    const acceptedAt = this.#session.inFlight?.get(packetId);
    if (acceptedAt === undefined) return false;
    const flow = this.#flow;
    const isDurable = acceptedAt <= flow.committedCount;
    if (!isDurable && acceptedAt > this.#acceptedBefore) return true;
    if (isDurable && this.#acks.count === 0) {
      this.#peer.write(ackBytes(PUBREC, packetId));
      return true;
    }
    // Among the open ones it would wait for a commit that may not come soon, where nothing else is open.
    const goesWithSealed = acceptedAt <= flow.sealedCount && this.#acks.open === 0;
    this.#holdAck(PUBREC, packetId);
    if (!goesWithSealed) return true;
    this.#acks.seal();
    flow.waitsSealed(this);
    return true;
  }

  #acknowledge(qos: number, packetId: number): void {
    if (this.#isClosed) return;
    if (qos === 2) (this.#session.inFlight ??= new Map()).set(packetId, this.#flow.acceptedCount);
    this.#holdAck(qos === 2 ? PUBREC : PUBACK, packetId);
    if (!this.#isVersion5) return;
    const inFlight = this.#session.inFlight?.size ?? 0;
    const allowed = this.#limits.receiveMaximum;
    // A PUBREC that waits is in both numbers, so only a client near its limit is counted exactly.
    if (this.#acks.count + inFlight <= allowed || this.#acks.countOf(PUBACK) + inFlight <= allowed) return;
    this.#peer.end(REASON.receiveMaximumExceeded);
  }

  #holdAck(kind: number, packetId: number): void {
    this.#acks.hold(kind, packetId);
    if (this.#acks.open === 1) this.#flow.waits(this);
    this.#flow.unacknowledged++;
  }
}
