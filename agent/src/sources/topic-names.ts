import { isUtf8 } from "node:buffer";

/** Slots for topic names that are remembered by their bytes; a power of two. */
export const TOPIC_NAME_SLOTS: number = 1 << 16;
/** Bytes of a topic name that is remembered, at most. */
export const TOPIC_NAME_REMEMBERED_BYTES_MAX = 256;

/** The name that bytes[start, end) spell; null where they are no topic to publish to. */
export type TopicNames = (bytes: Buffer, start: number, end: number) => string | null;

/**
 * Turns topic bytes into names. A name seen before is found by its bytes and is the same string again: no decoding, no
 * checks, no garbage, and its hash is known to the maps it is looked up in. One slot a hash: a newcomer replaces.
 * slots: a power of two.
 */
export function createTopicNames(slots: number = TOPIC_NAME_SLOTS): TopicNames {
  const names: Array<string | undefined> = Array.from({ length: slots }, () => undefined);
  const spelled: Array<Uint8Array | undefined> = Array.from({ length: slots }, () => undefined);
  const mask = slots - 1;
  return (bytes, start, end) => {
    if (end - start > TOPIC_NAME_REMEMBERED_BYTES_MAX) return decodeTopicName(bytes, start, end);
    const slot = hashBytes(bytes, start, end) & mask;
    const known = spelled[slot];
    if (known !== undefined && sameBytes(known, bytes, start, end)) return names[slot]!;
    const name = decodeTopicName(bytes, start, end);
    if (name !== null) {
      names[slot] = name;
      spelled[slot] = Uint8Array.prototype.slice.call(bytes, start, end);
    }
    return name;
  };
}

/** The topic name in bytes[start, end): UTF-8, not empty, without NUL and wildcards; null where it is none. */
export function decodeTopicName(bytes: Buffer, start: number, end: number): string | null {
  if (start === end) return null;
  let ascii = true;
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!;
    if (byte === 0 || byte === 0x2b || byte === 0x23) return null;
    if (byte >= 0x80) ascii = false;
  }
  if (ascii) return bytes.toString("latin1", start, end);
  return isUtf8(bytes.subarray(start, end)) ? bytes.toString("utf8", start, end) : null;
}

/** FNV-1a, 32 bit (Fowler, Noll, Vo), folded so that the low bits depend on all. */
function hashBytes(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash ^ (hash >>> 15);
}

function sameBytes(known: Uint8Array, bytes: Uint8Array, start: number, end: number): boolean {
  if (known.length !== end - start) return false;
  for (let i = 0; i < known.length; i++) if (known[i] !== bytes[start + i]) return false;
  return true;
}
