import type { ListenConnection } from "./listen-connection.ts";
import type { ListenHub } from "./listen-hub.ts";
import { AckBuffer, ackBytes, PUBACK, PUBCOMP, PUBREC } from "./mqtt-acks.ts";
import { REASON } from "./mqtt-control.ts";
import { emptyPublishHead, type PublishHead, readPublishHead } from "./mqtt-publish.ts";

/** A PUBLISH too large to hold, while its bytes go by. */
interface Skipped {
  readonly topic: string | null;
  readonly qos: number;
  readonly packetId: number;
  readonly head: Buffer;
}

/**
 * The messages of one connection from CONNECT on: PUBLISH and PUBREL in, acknowledgements out.
 *
 * Methods that read return 0, or the REASON for which the connection is to be ended. That is the frame's fault, which
 * has then been handled in no way, except for receiveMaximumExceeded: that message has been taken.
 */
export class ListenMessages {
  readonly #hub: ListenHub;
  readonly #connection: ListenConnection;
  readonly #isVersion5: boolean;
  readonly #head: PublishHead = emptyPublishHead();
  readonly #acks: AckBuffer = new AckBuffer();
  /** QoS 2: packet ids between PUBLISH and PUBREL, with the hub's count of accepted messages when it came. */
  #inFlight: Map<number, number> | null = null;
  #aliases: string[] | null = null;
  #skipped: Skipped | null = null;
  #closed = false;

  /** version: the protocol level, 3, 4 or 5. */
  constructor(hub: ListenHub, connection: ListenConnection, version: number) {
    this.#hub = hub;
    this.#connection = connection;
    this.#isVersion5 = version === 5;
  }

  /** Acknowledgements that wait for a commit. */
  get waitingAcks(): number {
    return this.#acks.count;
  }

  /** The acknowledgements that waited, as they are written; none wait afterwards. */
  takeAcks(): Buffer {
    this.#hub.unacknowledged -= this.#acks.count;
    return this.#acks.take();
  }

  /** PUBLISH, whole: bytes[start, end). */
  publish(bytes: Buffer, start: number, bodyStart: number, end: number): number {
    const head = this.#head;
    if (!readPublishHead(bytes, start, bodyStart, end, this.#isVersion5, true, head)) return REASON.malformed;
    const topic = this.#topicOf(bytes);
    if (typeof topic === "number") return topic;
    if (head.qos === 2 && this.#repeats(head.packetId)) return 0;
    if (topic === null) {
      const shown = bytes.toString("latin1", head.topicStart, Math.min(head.topicEnd, head.topicStart + 256));
      this.#hub.refuse("topic_malformed", shown, this.#hub.headOf(bytes, head.payloadStart, end));
    } else {
      this.#hub.accept(this.#connection, topic, bytes.subarray(head.payloadStart, end));
    }
    return head.qos > 0 ? this.#acknowledge(head.qos, head.packetId) : 0;
  }

  /** The first bytes of a PUBLISH too large to hold, bytes[start, headEnd). */
  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): number {
    const head = this.#head;
    if (!readPublishHead(bytes, start, bodyStart, headEnd, this.#isVersion5, false, head)) return REASON.malformed;
    const topic = this.#topicOf(bytes);
    if (typeof topic === "number") return topic;
    const payload = this.#hub.headOf(bytes, head.payloadStart, headEnd);
    this.#skipped = { topic, qos: head.qos, packetId: head.packetId, head: Buffer.from(payload) };
    return 0;
  }

  /** The end of the PUBLISH of the last skipping(). */
  skipped(): number {
    const { topic, qos, packetId, head } = this.#skipped!;
    this.#skipped = null;
    if (qos === 2 && this.#repeats(packetId)) return 0;
    this.#hub.refuse(topic === null ? "topic_malformed" : "payload_too_large", topic ?? "", head);
    return qos > 0 ? this.#acknowledge(qos, packetId) : 0;
  }

  /** PUBREL, bytes[start, end). */
  release(bytes: Buffer, start: number, bodyStart: number, end: number): number {
    const packetId = end - bodyStart >= 2 ? (bytes[bodyStart]! << 8) | bytes[bodyStart + 1]! : 0;
    const lengthRight = this.#isVersion5 || end - bodyStart === 2;
    if (packetId === 0 || !lengthRight || (bytes[start]! & 0x0f) !== 2) return REASON.malformed;
    const known = this.#inFlight?.delete(packetId) ?? false;
    if (known || !this.#isVersion5) this.#connection.write(ackBytes(PUBCOMP, packetId));
    else this.#connection.write(Buffer.from([PUBCOMP, 3, packetId >> 8, packetId & 0xff, REASON.packetIdNotFound]));
    return 0;
  }

  /** Gives back what is held. Acknowledgements that wait are dropped: the client sends again. */
  close(): void {
    this.#closed = true;
    this.#hub.unacknowledged -= this.#acks.count;
    this.#acks.clear();
    this.#inFlight = null;
    this.#aliases = null;
  }

  /** The topic of #head, by alias where it brings one; null: not a topic; a number: the REASON to end for. */
  #topicOf(bytes: Buffer): string | null | number {
    const { alias, topicStart, topicEnd } = this.#head;
    if (alias < 0) {
      if (topicStart === topicEnd && this.#isVersion5) return REASON.protocolError;
      return this.#hub.topicNames(bytes, topicStart, topicEnd);
    }
    if (alias === 0 || alias > this.#hub.limits.topicAliasMax) return REASON.topicAliasInvalid;
    if (topicStart === topicEnd) return this.#aliases?.[alias] ?? REASON.protocolError;
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
    else this.#connection.write(ackBytes(PUBREC, packetId));
    return true;
  }

  #acknowledge(qos: number, packetId: number): number {
    if (this.#closed) return 0;
    if (qos === 2) (this.#inFlight ??= new Map()).set(packetId, this.#hub.acceptedCount);
    this.#holdAck(qos === 2 ? PUBREC : PUBACK, packetId);
    if (!this.#isVersion5) return 0;
    const inFlight = this.#inFlight?.size ?? 0;
    const allowed = this.#hub.limits.receiveMaximum;
    // A PUBREC that waits is in both numbers, so only a client near its limit is counted exactly.
    if (this.#acks.count + inFlight <= allowed || this.#acks.countOf(PUBACK) + inFlight <= allowed) return 0;
    return REASON.receiveMaximumExceeded;
  }

  #holdAck(kind: number, packetId: number): void {
    this.#acks.hold(kind, packetId);
    if (this.#acks.count === 1) this.#hub.waiting.push(this.#connection);
    this.#hub.unacknowledged++;
  }
}
