import { closeSync, existsSync, openSync, readSync, statSync } from "node:fs";
import { basename } from "node:path";

/**
 * SQLite takes a write-ahead log up to the first frame whose checksum is wrong, and forgets the rest without a word: after
 * a power cut that is the transaction that was being written. Where a damaged disk has changed a frame further up, the
 * rest is transactions that were committed, and acknowledged. This tells the two apart.
 *
 *   log    := magic:u32 version:u32 pageBytes:u32 sequence:u32 salts:u32×2 checksum:u32×2 frame*
 *   frame  := page:u32 pagesOfFile:u32 salts:u32×2 checksum:u32×2 u8×pageBytes
 *
 * Big-endian; pagesOfFile is not 0 where a transaction ends. A checksum goes on from that of the frame before, over the
 * first 8 bytes of the frame's head and its page. See https://www.sqlite.org/walformat.html.
 */
const MAGIC = 0x377f0682;
const HEAD_BYTES = 32;
const HEAD_SUMMED_BYTES = 24;
const FRAME_HEAD_BYTES = 24;
const FRAME_SUMMED_BYTES = 8;
const SALTS_AT = 16;
const FRAME_SALTS_AT = 8;
const PAGE_BYTES_MIN = 512;
const PAGE_BYTES_MAX = 65_536;
/** Of the agent's files: where the head does not tell. */
const PAGE_BYTES = 4096;

type Checksum = readonly [number, number];

/**
 * What is wrong with the write-ahead log of a data file that nobody has open; undefined: nothing, as far as can be told.
 * It is damaged where a transaction lies behind what SQLite will read and another was begun after its end: each is synced
 * before the next is begun, so no power cut leaves that. Damage within the last transaction cannot be told from a cut.
 */
export function walDamage(path: string): string | undefined {
  const wal = `${path}-wal`;
  if (!existsSync(wal) || statSync(wal).size <= HEAD_BYTES) return undefined;
  const file = openSync(wal, "r");
  try {
    const log = new WalFile(file, statSync(wal).size);
    const good = log.goodFrames();
    const lost = log.firstLost(good);
    if (lost === undefined) return undefined;
    return `${basename(wal)} is damaged after ${good} of its pages, and transactions behind that cannot be read`;
  } finally {
    closeSync(file);
  }
}

/** The frames of a log, read one at a time. */
class WalFile {
  readonly #file: number;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  readonly #frame: Buffer;
  readonly #isBigEndian: boolean;
  readonly #isHeadGood: boolean;
  readonly #frames: number;

  constructor(file: number, bytes: number) {
    this.#file = file;
    readSync(file, this.#head, 0, HEAD_BYTES, 0);
    const magic = this.#head.readUInt32BE(0);
    const told = this.#head.readUInt32BE(8);
    const isSize = told >= PAGE_BYTES_MIN && told <= PAGE_BYTES_MAX && (told & (told - 1)) === 0;
    this.#isBigEndian = (magic & 1) === 1;
    this.#frame = Buffer.alloc(FRAME_HEAD_BYTES + (isSize ? told : PAGE_BYTES));
    this.#frames = Math.floor((bytes - HEAD_BYTES) / this.#frame.length);
    const sum = this.#sum([0, 0], this.#head, 0, HEAD_SUMMED_BYTES);
    this.#isHeadGood = (magic & ~1) === MAGIC && isSize && isSame(sum, this.#head, HEAD_SUMMED_BYTES);
  }

  /** How many frames SQLite takes for good, whether their transaction has an end or not. */
  goodFrames(): number {
    if (!this.#isHeadGood) return 0;
    let sum = checksumAt(this.#head, HEAD_SUMMED_BYTES);
    for (let i = 0; i < this.#frames; i++) {
      this.#read(i);
      sum = this.#sumOfFrame(sum);
      if (!this.#hasSalts() || !isSame(sum, this.#frame, FRAME_HEAD_BYTES - 8)) return i;
    }
    return this.#frames;
  }

  /** The first frame from `from` on that ends a transaction after which another was begun; undefined: there is none. */
  firstLost(from: number): number | undefined {
    let end: Checksum | undefined;
    for (let i = from; i < this.#frames; i++) {
      this.#read(i);
      const isOfLog = this.#hasSalts();
      const before = checksumAt(this.#frame, FRAME_HEAD_BYTES - 8);
      // It goes on from the frame before: whoever wrote it had committed that.
      if (isOfLog && end && isSame(this.#sumOfFrame(end), this.#frame, FRAME_HEAD_BYTES - 8)) return i - 1;
      end = isOfLog && this.#frame.readUInt32BE(4) !== 0 ? before : undefined;
    }
    return undefined;
  }

  #read(index: number): void {
    readSync(this.#file, this.#frame, 0, this.#frame.length, HEAD_BYTES + index * this.#frame.length);
  }

  /**
   * Whether the frame was written since the log began anew. Of a head that is damaged the second salt will do: it is
   * random, so a head that a power cut has left of the next beginning has another.
   */
  #hasSalts(): boolean {
    const isSalt = (at: number): boolean =>
      this.#frame.readUInt32BE(FRAME_SALTS_AT + at) === this.#head.readUInt32BE(SALTS_AT + at);
    return isSalt(4) && (isSalt(0) || !this.#isHeadGood);
  }

  #sumOfFrame(before: Checksum): Checksum {
    const sum = this.#sum(before, this.#frame, 0, FRAME_SUMMED_BYTES);
    return this.#sum(sum, this.#frame, FRAME_HEAD_BYTES, this.#frame.length);
  }

  #sum([first, second]: Checksum, bytes: Buffer, from: number, to: number): Checksum {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const isLittle = !this.#isBigEndian;
    let a = first;
    let b = second;
    for (let at = from; at < to; at += 8) {
      a = (a + view.getUint32(at, isLittle) + b) >>> 0;
      b = (b + view.getUint32(at + 4, isLittle) + a) >>> 0;
    }
    return [a, b];
  }
}

function checksumAt(bytes: Buffer, at: number): Checksum {
  return [bytes.readUInt32BE(at), bytes.readUInt32BE(at + 4)];
}

function isSame([first, second]: Checksum, bytes: Buffer, at: number): boolean {
  return bytes.readUInt32BE(at) === first && bytes.readUInt32BE(at + 4) === second;
}
