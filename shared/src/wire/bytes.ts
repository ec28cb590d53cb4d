import { CodedError } from "../errors.ts";

/** Appends numbers and bytes to a buffer that grows by doubling. */
export class ByteWriter {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView<ArrayBuffer>;
  #length = 0;

  constructor(capacityBytes = 1024) {
    this.#bytes = new Uint8Array(capacityBytes);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** The buffer, for what claim() made room for; valid until the next write. */
  get view(): DataView<ArrayBuffer> {
    return this.#view;
  }

  /** A copy of what was written. */
  toBytes(): Uint8Array {
    return this.#bytes.slice(0, this.#length);
  }

  /** Forgets what was written and keeps the buffer. */
  clear(): void {
    this.#length = 0;
  }

  /** Appends `count` bytes for the caller to fill in `view`, with `slack` more behind them; returns their offset. */
  claim(count: number, slack = 0): number {
    this.#reserve(count + slack);
    const offset = this.#length;
    this.#length += count;
    return offset;
  }

  uint8(value: number): void {
    this.#reserve(1);
    this.#bytes[this.#length++] = value;
  }

  /** IEEE 754 double, little-endian. */
  float64(value: number): void {
    this.#reserve(8);
    this.#view.setFloat64(this.#length, value, true);
    this.#length += 8;
  }

  /** Whole number from 0 to 2^53 - 1 in groups of seven bits, lowest first (LEB128). */
  varint(value: number): void {
    this.#reserve(8);
    let rest = value;
    while (rest >= 2 ** 31) {
      this.#bytes[this.#length++] = (rest % 0x80) + 0x80;
      rest = Math.floor(rest / 0x80);
    }
    while (rest >= 0x80) {
      this.#bytes[this.#length++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.#bytes[this.#length++] = rest;
  }

  /** Whole number of either sign, |value| < 2^52: zigzag, so that small magnitudes are short. */
  zigzag(value: number): void {
    this.varint(value >= 0 ? value * 2 : -value * 2 - 1);
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#bytes.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reserve(count: number): void {
    const needed = this.#length + count;
    if (needed <= this.#bytes.length) return;
    const grown = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Bytes behind those loaded into a reader that may be looked at, though they mean nothing. */
const READ_AHEAD = 8;

/** Reads what ByteWriter wrote. Every method throws CodedError TRUNCATED past the end, or where a number is too long. */
export class ByteReader {
  #bytes: Uint8Array;
  #view: DataView;
  #length: number;
  #offset = 0;
  #owned = false;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#length = bytes.length;
  }

  get done(): boolean {
    return this.#offset >= this.#length;
  }

  /** Bytes not yet read. */
  get restBytes(): number {
    return this.#length - this.#offset;
  }

  /** The bytes being read, for what claim() found to be there, and READ_AHEAD more after load(). */
  get view(): DataView {
    return this.#view;
  }

  /**
   * Begins anew with a copy of `bytes`, in a buffer that is kept from one time to the next. `view` then has READ_AHEAD
   * bytes more than there are to read, which mean nothing, so that bits can be taken by words.
   */
  load(bytes: Uint8Array): void {
    if (!this.#owned || this.#bytes.length < bytes.length + READ_AHEAD) {
      this.#bytes = new Uint8Array((bytes.length + READ_AHEAD) * 2);
      this.#view = new DataView(this.#bytes.buffer);
      this.#owned = true;
    }
    this.#bytes.set(bytes);
    this.#length = bytes.length;
    this.#offset = 0;
  }

  /** Skips `count` bytes for the caller to read in `view`; returns their offset. */
  claim(count: number): number {
    this.#need(count);
    const offset = this.#offset;
    this.#offset += count;
    return offset;
  }

  uint8(): number {
    this.#need(1);
    return this.#bytes[this.#offset++]!;
  }

  float64(): number {
    this.#need(8);
    const value = this.#view.getFloat64(this.#offset, true);
    this.#offset += 8;
    return value;
  }

  varint(): number {
    const first = this.uint8();
    if (first < 0x80) return first;
    let value = first & 0x7f;
    for (let scale = 0x80; scale < 2 ** 56; scale *= 0x80) {
      const byte = this.uint8();
      value += (byte & 0x7f) * scale;
      if (value > Number.MAX_SAFE_INTEGER) break;
      if (byte < 0x80) return value;
    }
    throw new CodedError("TRUNCATED", "A number in a stored or sent block is too long.");
  }

  zigzag(): number {
    const value = this.varint();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  /** The number of items that follow. Refused when even `bytesEach`, the fewest of one item, would not fit. */
  itemCount(bytesEach: number): number {
    const count = this.varint();
    this.#need(count * bytesEach);
    return count;
  }

  /** A view of the next `count` bytes; valid as long as the bytes being read. */
  bytes(count: number): Uint8Array {
    this.#need(count);
    const view = this.#bytes.subarray(this.#offset, this.#offset + count);
    this.#offset += count;
    return view;
  }

  #need(count: number): void {
    if (this.#offset + count > this.#length) {
      throw new CodedError("TRUNCATED", `A stored or sent block ends after ${this.#length} bytes, in mid-value.`);
    }
  }
}
