/** First byte of the acknowledgements that a receiver sends (MQTT 3.4, 3.5, 3.7). */
export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBCOMP = 0x70;

/** Bytes of an acknowledgement without a reason code, in MQTT 3.1.1 and 5 alike: kind, length 2, packet id. */
const ACK_BYTES = 4;
const ACKS_FIRST = 16;
/** A longer buffer is given back after use. */
const KEPT_BYTES = 16 * 1024;

/** One acknowledgement as it is written. */
export function ackBytes(kind: number, packetId: number): Buffer {
  return Buffer.from([kind, 2, packetId >> 8, packetId & 0xff]);
}

/**
 * Acknowledgements that wait for a commit, in order of receipt, as they will be written: first the sealed ones, which
 * the commit under way makes durable, then the open ones, which wait for the next.
 */
export class AckBuffer {
  #bytes: Buffer | null = null;
  #count = 0;
  #sealed = 0;

  /** All that wait. */
  get count(): number {
    return this.#count;
  }

  get sealed(): number {
    return this.#sealed;
  }

  get open(): number {
    return this.#count - this.#sealed;
  }

  /** Adds an open one. */
  hold(kind: number, packetId: number): void {
    const at = this.#count * ACK_BYTES;
    if (this.#bytes === null || at === this.#bytes.length) this.#grow(at);
    const bytes = this.#bytes!;
    bytes[at] = kind;
    bytes[at + 1] = 2;
    bytes[at + 2] = packetId >> 8;
    bytes[at + 3] = packetId & 0xff;
    this.#count++;
  }

  /** What is open becomes sealed. */
  seal(): void {
    this.#sealed = this.#count;
  }

  /** How many of one kind wait. */
  countOf(kind: number): number {
    let count = 0;
    for (let i = 0; i < this.#count; i++) if (this.#bytes![i * ACK_BYTES] === kind) count++;
    return count;
  }

  /** The sealed ones, for the caller to keep; none are sealed afterwards. */
  takeSealed(): Buffer {
    if (this.#bytes === null) return Buffer.alloc(0);
    const end = this.#sealed * ACK_BYTES;
    const taken = Buffer.from(this.#bytes.subarray(0, end));
    this.#bytes.copyWithin(0, end, this.#count * ACK_BYTES);
    this.#count -= this.#sealed;
    this.#sealed = 0;
    if (this.#count === 0) this.clear();
    return taken;
  }

  clear(): void {
    this.#count = 0;
    this.#sealed = 0;
    if (this.#bytes !== null && this.#bytes.length > KEPT_BYTES) this.#bytes = null;
  }

  #grow(used: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(ACKS_FIRST * ACK_BYTES, used * 2));
    this.#bytes?.copy(larger, 0, 0, used);
    this.#bytes = larger;
  }
}
