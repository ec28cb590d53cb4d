import { scanNumber } from "./json-number.ts";

/**
 * Members of a JSON object that are of no interest, passed over where that can be done right without a parser: texts
 * without escapes, in UTF-8; numbers; true, false, null.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const SPACE = 0x20;
const LITERALS: readonly Uint8Array[] = ["true", "false", "null"].map((text) => Buffer.from(text));

/** Where the value that begins at bytes[start] ends; -1 where it is not one of those above. */
export function scanOther(bytes: Uint8Array, start: number, end: number): number {
  if (bytes[start] === QUOTE) return scanText(bytes, start + 1, end);
  for (const literal of LITERALS) {
    if (bytes[start] === literal[0]) return afterLiteral(bytes, start, literal);
  }
  return scanNumber(bytes, start);
}

/** Where the text that begins at bytes[start], behind its quotation mark, ends; -1 where it is not as above. */
export function scanText(bytes: Uint8Array, start: number, end: number): number {
  let at = start;
  while (at < end) {
    const byte = bytes[at]!;
    if (byte === QUOTE) return at + 1;
    if (byte < SPACE || byte === BACKSLASH) return -1;
    const length = byte < 0x80 ? 1 : utf8Length(bytes, at, end);
    if (length === 0) return -1;
    at += length;
  }
  return -1;
}

/** Bytes of the character beyond ASCII at bytes[at]; 0 where it is none (Unicode, table 3-7). */
function utf8Length(bytes: Uint8Array, at: number, end: number): number {
  const lead = bytes[at]!;
  const length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || at + length > end) return 0;
  // No overlong forms, no surrogates, nothing beyond U+10FFFF.
  const second = bytes[at + 1]!;
  const least = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
  const most = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
  if (second < least || second > most) return 0;
  for (let i = 2; i < length; i++) if ((bytes[at + i]! & 0xc0) !== 0x80) return 0;
  return length;
}

function afterLiteral(bytes: Uint8Array, start: number, literal: Uint8Array): number {
  for (let i = 0; i < literal.length; i++) if (bytes[start + i] !== literal[i]) return -1;
  return start + literal.length;
}
