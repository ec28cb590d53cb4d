import { newTopic, type Topic } from "../decode/topic.ts";
import { decodeTopicName } from "./topic-name.ts";

/** Topics remembered, at most. */
export const TOPICS_REMEMBERED = 262_144;
/** Bytes of their records together, at most. */
export const TOPIC_BYTES_REMEMBERED: number = 24 * 1024 * 1024;
/** A topic with a longer name is not remembered. */
export const TOPIC_NAME_REMEMBERED_BYTES_MAX = 1024;
/** Topics in one bucket, at most: more come only of names chosen to share one, and those are not remembered. */
export const BUCKET_TOPICS_MAX = 24;
/** What find() returns for bytes that are no topic to publish to. */
export const TOPIC_MALFORMED = -1;

/** The entry of the last topic that is not remembered. */
const PASSING = 0;
const CAPACITY_FIRST = 1024;

/**
 * A record of the arena, in words of four bytes. Whatever a lookup reads of a topic lies together, since what it costs
 * with many topics is cache lines.
 *
 *   next record of the bucket (0: none)   hash   entry   length of the name, and USED   name, to a whole word
 */
const NEXT = 0;
const HASH = 1;
const ENTRY = 2;
const LENGTH = 3;
const HEADER_WORDS = 4;
/** Set in the LENGTH word where the topic was used since the clock's hand came by. */
const USED: number = 1 << 16;
const LENGTH_MASK: number = USED - 1;

const ARENA_WORDS_FIRST: number = 16 * 1024;
/** Words of forgotten records that a full arena holds before it is cleared of them. */
const ARENA_SPARE_WORDS: number = 2 * 1024 * 1024;

/**
 * Topics by the bytes that spell them. A topic seen before is found by hash and bytes, and is the same object again: no
 * decoding, no checks, no garbage.
 *
 * When the table is full the clock algorithm finds room (Corbató 1968): a hand goes round, passes over each topic that
 * was used since it came by last, and takes the place of the first that was not. So topics that come once replace each
 * other, and topics that keep coming stay. What lookups and insertions cost does not depend on how many there are.
 */
export class TopicTable {
  readonly #topicsMax: number;
  readonly #wordsMax: number;
  /** By entry. */
  readonly topics: Topic[] = [newTopic("")];
  #capacity: number;
  /** By entry, where its record begins, in words; 0: the entry holds nothing. */
  #records: Int32Array;
  /** First record of each bucket, in words; 0: none. A power of two, at least #capacity. */
  #buckets: Int32Array;
  #count = 0;
  /** Entries that hold nothing; their order does not matter. */
  readonly #free: number[] = [];
  /** The entry at which the clock's hand points. */
  #hand = 1;
  #arena: Int32Array;
  #names: DataView;
  /** Words in use at the beginning of the arena; those of forgotten records included. */
  #arenaEnd = 1;
  /** Words of records remembered. */
  #words = 0;
  #viewed: Buffer;
  #view: DataView;

  constructor(topicsMax: number = TOPICS_REMEMBERED, bytesMax: number = TOPIC_BYTES_REMEMBERED) {
    this.#topicsMax = topicsMax;
    this.#wordsMax = bytesMax >> 2;
    this.#capacity = Math.min(CAPACITY_FIRST, topicsMax);
    this.#records = new Int32Array(this.#capacity + 1);
    this.#buckets = new Int32Array(bucketCount(this.#capacity));
    this.#arena = new Int32Array(ARENA_WORDS_FIRST);
    this.#names = new DataView(this.#arena.buffer);
    this.#viewed = Buffer.alloc(0);
    this.#view = viewOf(this.#viewed);
  }

  /** Topics remembered. */
  get count(): number {
    return this.#count;
  }

  /** Bytes held for their records and for finding them; the topics themselves not counted. */
  get bytesHeld(): number {
    return this.#arena.byteLength + this.#buckets.byteLength + this.#records.byteLength;
  }

  /**
   * The entry in `topics` of the topic that bytes[start, end) spell, good until the next call; TOPIC_MALFORMED where
   * they are none. hint: an entry it may be, such as that of the message before; 0: no idea.
   */
  find(bytes: Buffer, start: number, end: number, hint: number): number {
    if (bytes !== this.#viewed) this.#lookAt(bytes);
    const arena = this.#arena;
    const length = end - start;
    const hinted = this.#records[hint]!;
    if (hinted !== 0 && (arena[hinted + LENGTH]! & LENGTH_MASK) === length && this.#spells(hinted, start, length)) {
      arena[hinted + LENGTH] = length | USED;
      return hint;
    }
    const hash = hashOf(this.#view, start, end);
    let record = this.#buckets[hash & (this.#buckets.length - 1)]!;
    while (record !== 0) {
      if (arena[record + HASH] === hash && (arena[record + LENGTH]! & LENGTH_MASK) === length) {
        if (this.#spells(record, start, length)) {
          arena[record + LENGTH] = length | USED;
          return arena[record + ENTRY]!;
        }
      }
      record = arena[record + NEXT]!;
    }
    return this.#insert(bytes, start, end, hash);
  }

  #lookAt(bytes: Buffer): void {
    this.#viewed = bytes;
    this.#view = viewOf(bytes);
  }

  /** Whether a record with a name of this length has the bytes from `start` on. */
  #spells(record: number, start: number, length: number): boolean {
    const names = this.#names;
    const view = this.#view;
    const name = (record + HEADER_WORDS) * 4;
    if (length < 4) {
      for (let i = 0; i < length; i++) if (names.getUint8(name + i) !== view.getUint8(start + i)) return false;
      return true;
    }
    // The end first: that is where the topics of one device differ.
    const last = length - 4;
    if (names.getInt32(name + last, true) !== view.getInt32(start + last, true)) return false;
    for (let i = 0; i < last; i += 4) {
      if (names.getInt32(name + i, true) !== view.getInt32(start + i, true)) return false;
    }
    return true;
  }

  #insert(bytes: Buffer, start: number, end: number, hash: number): number {
    const name = decodeTopicName(bytes, start, end);
    if (name === null) return TOPIC_MALFORMED;
    const length = end - start;
    const isRemembered = length <= TOPIC_NAME_REMEMBERED_BYTES_MAX && this.#bucketLength(hash) < BUCKET_TOPICS_MAX;
    if (!isRemembered) {
      this.topics[PASSING] = newTopic(name);
      return PASSING;
    }
    const words = recordWords(length);
    this.#makeRoom(words);
    const entry = this.#free.pop() ?? this.topics.length;
    const record = this.#arenaEnd;
    this.#arenaEnd += words;
    this.#words += words;
    this.#count++;
    this.#records[entry] = record;
    this.#arena[record + HASH] = hash;
    this.#arena[record + ENTRY] = entry;
    this.#arena[record + LENGTH] = length;
    const to = (record + HEADER_WORDS) * 4;
    for (let i = 0; i < length; i++) this.#names.setUint8(to + i, bytes[start + i]!);
    this.#link(record);
    this.topics[entry] = newTopic(name);
    return entry;
  }

  #bucketLength(hash: number): number {
    let length = 0;
    let record = this.#buckets[hash & (this.#buckets.length - 1)]!;
    for (; record !== 0; record = this.#arena[record + NEXT]!) length++;
    return length;
  }

  /** Sees to it that there is an entry, and `words` of the arena behind #arenaEnd. */
  #makeRoom(words: number): void {
    if (this.#count === this.#capacity && this.#capacity < this.#topicsMax) this.#growTable();
    while (this.#count === this.#capacity || this.#words + words > this.#wordsMax) this.#forgetOne();
    if (this.#arenaEnd + words > this.#arena.length) this.#copyArena(words);
  }

  /** Goes round with the hand and forgets the first topic that was not used since it came by last. */
  #forgetOne(): void {
    for (;;) {
      const entry = this.#hand;
      this.#hand = entry + 1 < this.topics.length ? entry + 1 : 1;
      const record = this.#records[entry]!;
      if (record === 0) continue;
      const length = this.#arena[record + LENGTH]!;
      if (length < USED) return this.#forget(entry);
      this.#arena[record + LENGTH] = length & LENGTH_MASK;
    }
  }

  #forget(entry: number): void {
    const record = this.#records[entry]!;
    this.#unlink(record);
    this.#words -= recordWords(this.#arena[record + LENGTH]! & LENGTH_MASK);
    this.#count--;
    this.#records[entry] = 0;
    this.#free.push(entry);
    this.topics[entry] = this.topics[PASSING]!;
  }

  #link(record: number): void {
    const bucket = this.#arena[record + HASH]! & (this.#buckets.length - 1);
    this.#arena[record + NEXT] = this.#buckets[bucket]!;
    this.#buckets[bucket] = record;
  }

  #unlink(record: number): void {
    const bucket = this.#arena[record + HASH]! & (this.#buckets.length - 1);
    const next = this.#arena[record + NEXT]!;
    let before = this.#buckets[bucket]!;
    if (before === record) {
      this.#buckets[bucket] = next;
      return;
    }
    while (this.#arena[before + NEXT] !== record) before = this.#arena[before + NEXT]!;
    this.#arena[before + NEXT] = next;
  }

  /** Doubles the table. */
  #growTable(): void {
    this.#capacity = Math.min(this.#capacity * 2, this.#topicsMax);
    const records = new Int32Array(this.#capacity + 1);
    records.set(this.#records);
    this.#records = records;
    this.#buckets = new Int32Array(bucketCount(this.#capacity));
    for (let entry = 1; entry < this.topics.length; entry++) {
      if (records[entry] !== 0) this.#link(records[entry]!);
    }
  }

  /** Copies the records to an arena with space for as many again, of `words` at least. */
  #copyArena(words: number): void {
    const wanted = Math.min(2 * (this.#words + words), this.#wordsMax + ARENA_SPARE_WORDS);
    const arena = new Int32Array(Math.max(ARENA_WORDS_FIRST, wanted + 1));
    const old = this.#arena;
    this.#arena = arena;
    this.#names = new DataView(arena.buffer);
    this.#buckets.fill(0);
    let to = 1;
    for (let entry = 1; entry < this.topics.length; entry++) {
      const from = this.#records[entry]!;
      if (from === 0) continue;
      const end = from + recordWords(old[from + LENGTH]! & LENGTH_MASK);
      this.#records[entry] = to;
      const record = to;
      for (let i = from; i < end; i++) arena[to++] = old[i]!;
      this.#link(record);
    }
    this.#arenaEnd = to;
  }
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function recordWords(length: number): number {
  return HEADER_WORDS + ((length + 3) >> 2);
}

/** A power of two, at least as many as there may be topics. */
function bucketCount(topics: number): number {
  return 1 << (32 - Math.clz32(Math.max(1, topics - 1)));
}

/** The hash that find() goes by; its low bits choose the bucket. */
export function hashTopic(name: string): number {
  const bytes = Buffer.from(name);
  return hashOf(viewOf(bytes), 0, bytes.length);
}

/** Four bytes at a time, multiplied by the golden ratio (Knuth, 6.4) and folded so that the low bits depend on all. */
function hashOf(view: DataView, start: number, end: number): number {
  let hash = end - start;
  if (hash < 4) {
    for (let i = start; i < end; i++) hash = mix(hash, view.getUint8(i));
    return hash;
  }
  for (let i = start; i < end - 4; i += 4) hash = mix(hash, view.getInt32(i, true));
  return mix(hash, view.getInt32(end - 4, true));
}

function mix(hash: number, word: number): number {
  const product = Math.imul(hash ^ word, 0x9e3779b1);
  return product ^ (product >>> 15);
}
