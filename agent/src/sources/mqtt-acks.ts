/** First byte of the acknowledgements that a receiver sends (MQTT 3.4, 3.5, 3.7). */
export const PUBACK = 0x40;
export const PUBREC = 0x50;
export const PUBCOMP = 0x70;

/** Bytes of an acknowledgement without a reason code, in MQTT 3.1.1 and 5 alike: kind, length 2, packet id. */
const ACK_BYTES = 4;
const ACKS_FIRST = 64;
/** A longer buffer is given back after use. */
const KEPT_BYTES = 16 * 1024;

/** One acknowledgement as it is written. */
export function ackBytes(kind: number, packetId: number): Buffer {
  return Buffer.from([kind, 2, packetId >> 8, packetId & 0xff]);
}

/** Acknowledgements that wait for a commit, in order of receipt, as they will be written. */
export class AckBuffer {
  #bytes: Buffer | null = null;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  hold(kind: number, packetId: number): void {
    const at = this.#count * ACK_BYTES;
    if (this.#bytes === null || at === this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(ACKS_FIRST * ACK_BYTES, at * 2));
      this.#bytes?.copy(larger);
      this.#bytes = larger;
    }
    const bytes = this.#bytes;
    bytes[at] = kind;
    bytes[at + 1] = 2;
    bytes[at + 2] = packetId >> 8;
    bytes[at + 3] = packetId & 0xff;
    this.#count++;
  }

  /** How many of one kind wait. */
  countOf(kind: number): number {
    let count = 0;
    for (let i = 0; i < this.#count; i++) if (this.#bytes![i * ACK_BYTES] === kind) count++;
    return count;
  }

  /** All that wait, for the caller to keep; none wait afterwards. */
  take(): Buffer {
    const taken =
      this.#bytes === null ? Buffer.alloc(0) : Buffer.from(this.#bytes.subarray(0, this.#count * ACK_BYTES));
    this.clear();
    return taken;
  }

  clear(): void {
    this.#count = 0;
    if (this.#bytes !== null && this.#bytes.length > KEPT_BYTES) this.#bytes = null;
  }
}
