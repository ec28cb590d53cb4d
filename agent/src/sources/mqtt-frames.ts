/**
 * MQTT frames in a stream of bytes.
 *
 *   frame = type-and-flags (1 byte)  remaining length (1 to 4 bytes, 7 bits each, low first)  remaining bytes
 *
 * Frames that lie whole in a chunk are handed over where they lie; only a frame cut by the end of a chunk is copied,
 * and its buffer grows with the bytes that have come, not with the length it claims.
 */

/** Bytes of the fixed header, at most. */
export const FRAME_HEADER_BYTES_MAX = 5;
/** Bytes of a PUBLISH too large to hold that are kept to read its topic, packet id and properties from. */
export const SKIP_HEAD_BYTES: number = 68 * 1024;
/** First allocation for a frame that is not complete yet. */
const PARTIAL_BYTES_MIN = 128;

const TYPE_PUBLISH = 3;

export interface FrameLimits {
  /** Frames up to this many bytes are held. */
  readonly frameBytesMax: number;
  /** PUBLISH frames above frameBytesMax and up to this are passed over without being held. */
  readonly skipBytesMax: number;
}

/** Bytes in incomplete frames of all connections together; a reader that would exceed it says so and gives up. */
export interface PartialBudget {
  bytes: number;
  readonly bytesMax: number;
}

/** Why a stream of frames cannot be read on. */
export type FrameFault = "length_malformed" | "too_large" | "over_budget";

/** Called in the order of the stream. Bytes are lent for the call. Each returns false to stop reading after it. */
export interface FrameHandler {
  /** One whole frame, bytes[start, end); the fixed header ends at bodyStart. */
  frame(bytes: Buffer, start: number, bodyStart: number, end: number): boolean;
  /** The first bytes of a PUBLISH that is passed over, bytes[start, headEnd). */
  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): boolean;
  /** The end of the PUBLISH of the last skipping(). */
  skipped(): boolean;
  /** No more frames come from this reader. bytes[start, end) is the head of what it could not read. */
  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void;
}

/** Cuts one connection's bytes into frames. */
export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #budget: PartialBudget;
  readonly #handler: FrameHandler;
  /** An incomplete frame, the first #partialLength bytes of it. */
  #partial: Buffer | null = null;
  #partialLength = 0;
  /** Bytes still to come of a frame that is passed over. */
  #skipLeft = 0;
  #faulty = false;
  /** Whether the handler stopped reading after the frame that #readPartial completed. */
  #stopped = false;
  /** Out-values of #measure: bytes of the fixed header, and of the part of the frame to be handed over. */
  #headerBytes = 0;
  #neededBytes = 0;
  #frameBytes = 0;

  constructor(limits: FrameLimits, budget: PartialBudget, handler: FrameHandler) {
    this.#limits = limits;
    this.#budget = budget;
    this.#handler = handler;
  }

  /**
   * Hands over the frames in chunk[from, …). Returns how far it came: chunk.length, or less where the handler stopped
   * it; go on from there. The chunk is not kept.
   */
  read(chunk: Buffer, from: number): number {
    let at = from;
    while (at < chunk.length && !this.#faulty) {
      if (this.#skipLeft > 0) {
        const skip = Math.min(this.#skipLeft, chunk.length - at);
        at += skip;
        this.#skipLeft -= skip;
        if (this.#skipLeft === 0 && !this.#handler.skipped()) return at;
        continue;
      }
      if (this.#partialLength > 0) {
        at = this.#readPartial(chunk, at);
        if (this.#partialLength > 0 || this.#faulty) continue;
        if (this.#stopped) return at;
        continue;
      }
      const needed = this.#measure(chunk, at, chunk.length);
      if (needed < 0) return chunk.length;
      if (chunk.length - at < needed) {
        this.#append(chunk, at, chunk.length);
        return chunk.length;
      }
      const goOn = this.#handOver(chunk, at);
      at += needed;
      if (!goOn) return at;
    }
    return this.#faulty ? chunk.length : at;
  }

  /** Forgets an incomplete frame; the reader is not used again. */
  close(): void {
    this.#faulty = true;
    this.#dropPartial();
  }

  /** Completes the incomplete frame as far as chunk goes; returns the position after what it took. */
  #readPartial(chunk: Buffer, from: number): number {
    let at = from;
    for (;;) {
      const needed = this.#measure(this.#partial!, 0, this.#partialLength);
      if (needed < 0) return chunk.length;
      if (this.#partialLength >= needed) break;
      const take = Math.min(needed - this.#partialLength, chunk.length - at);
      if (take === 0) return at;
      if (!this.#append(chunk, at, at + take)) return chunk.length;
      at += take;
    }
    const bytes = this.#partial!;
    this.#dropPartial();
    this.#stopped = !this.#handOver(bytes, 0);
    return at;
  }

  /**
   * How many bytes must be there before the frame at `at` can be handed over (one more than there are while even its
   * length is unknown); -1 when it cannot be read, which the handler has then been told.
   */
  #measure(bytes: Buffer, at: number, end: number): number {
    let length = 0;
    let scale = 1;
    let next = at + 1;
    for (;;) {
      if (next >= end) return end - at + 1;
      const byte = bytes[next++]!;
      length += (byte & 0x7f) * scale;
      if (byte < 0x80) break;
      scale *= 128;
      if (next - at >= FRAME_HEADER_BYTES_MAX) return this.#fail("length_malformed", bytes, at, end);
    }
    this.#headerBytes = next - at;
    this.#frameBytes = this.#headerBytes + length;
    this.#neededBytes = this.#frameBytes;
    if (this.#frameBytes > this.#limits.frameBytesMax) {
      const skippable = bytes[at]! >> 4 === TYPE_PUBLISH && this.#frameBytes <= this.#limits.skipBytesMax;
      if (!skippable) return this.#fail("too_large", bytes, at, end);
      this.#neededBytes = Math.min(this.#frameBytes, SKIP_HEAD_BYTES);
    }
    return this.#neededBytes;
  }

  /** Hands over the frame that #measure has just measured. */
  #handOver(bytes: Buffer, at: number): boolean {
    const bodyStart = at + this.#headerBytes;
    const end = at + this.#neededBytes;
    if (this.#frameBytes <= this.#limits.frameBytesMax) return this.#handler.frame(bytes, at, bodyStart, end);
    this.#skipLeft = this.#frameBytes - this.#neededBytes;
    const goOn = this.#handler.skipping(bytes, at, bodyStart, end);
    if (!goOn || this.#skipLeft > 0) return goOn;
    return this.#handler.skipped();
  }

  #append(chunk: Buffer, from: number, to: number): boolean {
    const wanted = this.#partialLength + to - from;
    const capacity = this.#partial?.length ?? 0;
    if (wanted > capacity) {
      const grown = Math.max(wanted, capacity * 2, PARTIAL_BYTES_MIN);
      if (this.#budget.bytes + grown - capacity > this.#budget.bytesMax) {
        this.#fail("over_budget", chunk, from, to);
        return false;
      }
      this.#budget.bytes += grown - capacity;
      const larger = Buffer.allocUnsafe(grown);
      this.#partial?.copy(larger, 0, 0, this.#partialLength);
      this.#partial = larger;
    }
    chunk.copy(this.#partial!, this.#partialLength, from, to);
    this.#partialLength = wanted;
    return true;
  }

  #dropPartial(): void {
    this.#budget.bytes -= this.#partial?.length ?? 0;
    this.#partial = null;
    this.#partialLength = 0;
  }

  #fail(fault: FrameFault, bytes: Buffer, start: number, end: number): -1 {
    this.#faulty = true;
    this.#dropPartial();
    this.#handler.fault(fault, bytes, start, end);
    return -1;
  }
}
