import { isUtf8 } from "node:buffer";

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
