/**
 * Keys of `values`, recognised by their bytes in the message, so that no string is made for them.
 *
 * A key is its UTF-8 bytes up to the closing quotation mark. Only keys that JSON writes without escapes can be told by
 * their bytes; others are known by name alone. Hashes are FNV-1a; a key whose place and the PROBES_MAX - 1 after it are
 * taken is known by name alone too, so nobody can make look-ups long by choosing keys that collide.
 */

const QUOTE = 0x22;

/** Different keys kept by one table, at most. */
export const KEYS_MAX = 16_384;
/** Bytes of a key that can be told by its bytes, at most. */
export const KEY_BYTES_MAX = 128;
const SLOTS: number = 2 * KEYS_MAX;
const PROBES_MAX = 16;
/** Bytes of all keys at first; doubled when they are full. */
const TEXT_BYTES_MIN = 4096;

/** The keys that the topics of one decoder have in common. Grows up to KEYS_MAX, never shrinks. */
export class KeyTable {
  /** All keys, each followed by a quotation mark. */
  text: Uint8Array = new Uint8Array(TEXT_BYTES_MIN);
  /** Where in `text` a key begins, by its number; made at the first key, as many an agent never sees one. */
  starts: Int32Array = new Int32Array(0);
  /** Of use to who reads messages: the last object a key was seen in, by its number. */
  seenIn: Int32Array = new Int32Array(0);
  #slots: Int32Array = new Int32Array(0);
  #textEnd = 0;
  #count = 0;
  readonly #numbers = new Map<string, number>();

  /** The number of a key, -1 where it is not kept. */
  numberOf(key: string): number {
    return this.#numbers.get(key) ?? -1;
  }

  /** Keeps a key; returns its number, -1 where there is no room. Whether find() can tell it is another matter. */
  add(key: string): number {
    const known = this.numberOf(key);
    if (known >= 0 || this.#count >= KEYS_MAX) return known;
    if (this.#count === 0) this.#allocate();
    const number = this.#count++;
    this.#numbers.set(key, number);
    if (isPlain(key)) this.#addBytes(Buffer.from(`${key}"`), number);
    return number;
  }

  /** The number of the key in bytes[start, end), -1 where it is not kept. bytes[end]: its closing quotation mark. */
  find(bytes: Uint8Array, start: number, end: number): number {
    if (this.#count === 0 || end - start > KEY_BYTES_MAX) return -1;
    let slot = hashOf(bytes, start, end) & (SLOTS - 1);
    for (let probes = 0; probes < PROBES_MAX; probes++) {
      const number = this.#slots[slot]! - 1;
      if (number < 0) return -1;
      if (keyEnd(this.text, this.starts[number]!, bytes, start) === end) return number;
      slot = (slot + 1) & (SLOTS - 1);
    }
    return -1;
  }

  #addBytes(bytes: Uint8Array, number: number): void {
    if (bytes.length > KEY_BYTES_MAX + 1) return;
    let slot = hashOf(bytes, 0, bytes.length - 1) & (SLOTS - 1);
    let probes = 1;
    while (this.#slots[slot] !== 0) {
      if (++probes > PROBES_MAX) return;
      slot = (slot + 1) & (SLOTS - 1);
    }
    this.#slots[slot] = number + 1;
    this.starts[number] = this.#textEnd;
    while (this.#textEnd + bytes.length > this.text.length) this.text = doubled(this.text);
    this.text.set(bytes, this.#textEnd);
    this.#textEnd += bytes.length;
  }

  #allocate(): void {
    this.starts = new Int32Array(KEYS_MAX);
    this.seenIn = new Int32Array(KEYS_MAX);
    this.#slots = new Int32Array(SLOTS);
  }
}

/**
 * Where the key that text holds from textStart on ends in bytes, when it stands there from `start` on: the place of its
 * closing quotation mark; -1 when another key stands there.
 */
export function keyEnd(text: Uint8Array, textStart: number, bytes: Uint8Array, start: number): number {
  let at = start;
  for (let i = textStart; ; i++, at++) {
    const byte = text[i]!;
    if (byte !== bytes[at]!) return -1;
    if (byte === QUOTE) return at;
  }
}

/**
 * True for a key that JSON writes without escapes and JSON.parse keeps in the order of the text: whole numbers such as
 * "0" and "12" it puts first. Without brackets, at which a scanner sees the end of a message.
 */
function isPlain(key: string): boolean {
  return JSON.stringify(key) === `"${key}"` && !/^(?:0|[1-9]\d*)$|[\]}]/.test(key);
}

function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5 | 0;
  for (let at = start; at < end; at++) hash = Math.imul(hash ^ bytes[at]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function doubled(bytes: Uint8Array): Uint8Array {
  const twice = new Uint8Array(2 * bytes.length);
  twice.set(bytes);
  return twice;
}
