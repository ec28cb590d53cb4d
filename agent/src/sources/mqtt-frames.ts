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

/** Bytes in hand of all connections together; a reader that would exceed it says so and gives up. */
export interface PartialBudget {
  bytes: number;
  readonly bytesMax: number;
}

/** Why a stream of frames cannot be read on. */
export type FrameFault = "length_malformed" | "too_large" | "over_budget";

/** Called in the order of the stream. Bytes are lent for the call. */
export interface FrameHandler {
  /**
   * One whole frame, bytes[start, end); the fixed header ends at bodyStart. Returns false where it cannot be taken now:
   * reading stops before it, and it is handed over again when reading goes on.
   */
  frame(bytes: Buffer, start: number, bodyStart: number, end: number): boolean;
  /** The first bytes of a PUBLISH that is passed over, bytes[start, headEnd). Returns false as frame() does. */
  skipping(bytes: Buffer, start: number, bodyStart: number, headEnd: number): boolean;
  /** The end of the PUBLISH of the last skipping(). */
  skipped(): void;
  /** No more frames come from this reader. bytes[start, end) is the head of what it could not read. */
  fault(fault: FrameFault, bytes: Buffer, start: number, end: number): void;
}

/** Cuts one connection's bytes into frames. */
export class FrameReader {
  readonly #limits: FrameLimits;
  readonly #budget: PartialBudget;
  readonly #handler: FrameHandler;
  /** A frame that was cut, the first #partialLength bytes of it. */
  #partial: Buffer | null = null;
  #partialLength = 0;
  /** Bytes still to come of a frame that is passed over. */
  #skipLeft = 0;
  /** The handler did not take the last frame. */
  #refused = false;
  #closed = false;
  /** Out-values of #measure: bytes of the fixed header, of the whole frame, and of the part to be handed over. */
  #headerBytes = 0;
  #frameBytes = 0;
  #neededBytes = 0;

  constructor(limits: FrameLimits, budget: PartialBudget, handler: FrameHandler) {
    this.#limits = limits;
    this.#budget = budget;
    this.#handler = handler;
  }

  /** True while a frame that came in pieces waits here because the handler did not take it. */
  get holds(): boolean {
    return this.#refused && this.#partialLength > 0;
  }

  /**
   * Hands over the frames in chunk[from, end). Returns how far it came: end, or less where the handler did not take a
   * frame; go on from there, also where nothing is left but what the reader holds. The chunk is not kept.
   */
  read(chunk: Buffer, from: number, end: number): number {
    let at = from;
    this.#refused = false;
    while (!this.#closed && !this.#refused) {
      if (this.#skipLeft > 0) {
        const skip = Math.min(this.#skipLeft, end - at);
        at += skip;
        this.#skipLeft -= skip;
        if (this.#skipLeft > 0) return at;
        this.#handler.skipped();
      } else if (this.#partialLength > 0) {
        at = this.#readPartial(chunk, at, end);
        if (this.#partialLength > 0) break;
      } else {
        if (at === end) return at;
        at = this.#readWhole(chunk, at, end);
      }
    }
    return this.#closed ? end : at;
  }

  /** Forgets what is incomplete; the reader is not used again. */
  close(): void {
    this.#closed = true;
    this.#skipLeft = 0;
    this.#dropPartial();
  }

  /** Hands over frames as long as they lie whole in the chunk; keeps the beginning of one that does not. */
  #readWhole(chunk: Buffer, from: number, end: number): number {
    const handler = this.#handler;
    const frameBytesMax = this.#limits.frameBytesMax;
    let at = from;
    while (end - at > 2) {
      // Lengths of one and two bytes, which are nearly all.
      const low = chunk[at + 1]!;
      let bodyStart = at + 2;
      let frameEnd = bodyStart + low;
      if (low >= 0x80) {
        const high = chunk[at + 2]!;
        if (high >= 0x80) break;
        bodyStart = at + 3;
        frameEnd = bodyStart + (low & 0x7f) + (high << 7);
      }
      if (frameEnd > end || frameEnd - at > frameBytesMax) break;
      if (!handler.frame(chunk, at, bodyStart, frameEnd)) {
        this.#refused = true;
        return at;
      }
      at = frameEnd;
      if (this.#closed) return end;
    }
    return at === end ? at : this.#readOdd(chunk, at, end);
  }

  /** Any frame: long, too long, cut by the end of the chunk. */
  #readOdd(chunk: Buffer, at: number, end: number): number {
    const needed = this.#measure(chunk, at, end);
    if (needed < 0) return end;
    if (end - at < needed) {
      this.#append(chunk, at, end);
      return end;
    }
    return this.#handOver(chunk, at) ? at + needed : at;
  }

  /** Completes the cut frame as far as the chunk goes; returns the position after what it took. */
  #readPartial(chunk: Buffer, from: number, end: number): number {
    let at = from;
    for (;;) {
      const needed = this.#measure(this.#partial!, 0, this.#partialLength);
      if (needed < 0) return end;
      if (this.#partialLength >= needed) break;
      const take = Math.min(needed - this.#partialLength, end - at);
      if (take === 0) return at;
      if (!this.#append(chunk, at, at + take)) return end;
      at += take;
    }
    if (this.#handOver(this.#partial!, 0)) this.#dropPartial();
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

  /** Hands over the frame that #measure has just measured; false where the handler did not take it. */
  #handOver(bytes: Buffer, at: number): boolean {
    const bodyStart = at + this.#headerBytes;
    const end = at + this.#neededBytes;
    const isHeld = this.#frameBytes <= this.#limits.frameBytesMax;
    const skipLeft = this.#frameBytes - this.#neededBytes;
    const taken = isHeld
      ? this.#handler.frame(bytes, at, bodyStart, end)
      : this.#handler.skipping(bytes, at, bodyStart, end);
    this.#refused = !taken;
    if (isHeld || !taken || this.#closed) return taken;
    this.#skipLeft = skipLeft;
    if (skipLeft === 0) this.#handler.skipped();
    return true;
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
    this.#closed = true;
    this.#dropPartial();
    this.#handler.fault(fault, bytes, start, end);
    return -1;
  }
}
