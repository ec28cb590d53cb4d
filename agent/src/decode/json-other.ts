import { scanNumber } from "./json-number.ts";
import { afterSpace } from "./number-text.ts";

/**
 * Members of a JSON object that are of no interest, passed over where that can be done right without a parser: texts
 * without escapes, in UTF-8; numbers; true, false, null; and objects and lists of these, some levels deep.
 */

const QUOTE = 0x22;
const SPACE = 0x20;
const COMMA = 0x2c;
const COLON = 0x3a;
const LIST_OPEN = 0x5b;
const BACKSLASH = 0x5c;
const LIST_CLOSE = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;
/** Levels of objects and lists in each other; deeper ones are left to the parser. */
const LEVELS_MAX = 4;
const LITERALS: readonly Uint8Array[] = ["true", "false", "null"].map((text) => Buffer.from(text));

/** Where the value that begins at bytes[start] ends; -1 where it is not one of those above. */
export function scanOther(bytes: Uint8Array, start: number, end: number): number {
  return scanValue(bytes, start, end, LEVELS_MAX);
}

function scanValue(bytes: Uint8Array, start: number, end: number, levels: number): number {
  const byte = bytes[start]!;
  if (byte === QUOTE) return scanText(bytes, start + 1, end);
  if (byte === OPEN || byte === LIST_OPEN) return levels === 0 ? -1 : scanMembers(bytes, start, end, levels - 1);
  for (const literal of LITERALS) {
    if (byte === literal[0]) return afterLiteral(bytes, start, literal);
  }
  return scanNumber(bytes, start);
}

/** Where the object or list ends whose bracket is at bytes[start]. */
function scanMembers(bytes: Uint8Array, start: number, end: number, levels: number): number {
  const isObject = bytes[start] === OPEN;
  const close = isObject ? CLOSE : LIST_CLOSE;
  let at = afterSpace(bytes, start + 1);
  if (bytes[at] === close) return at + 1;
  for (;;) {
    if (isObject) {
      if (bytes[at] !== QUOTE) return -1;
      at = scanText(bytes, at + 1, end);
      if (at < 0) return -1;
      at = afterSpace(bytes, at);
      if (bytes[at] !== COLON) return -1;
      at = afterSpace(bytes, at + 1);
    }
    at = scanValue(bytes, at, end, levels);
    if (at < 0 || at >= end) return -1;
    at = afterSpace(bytes, at);
    if (bytes[at] === close) return at + 1;
    if (bytes[at] !== COMMA) return -1;
    at = afterSpace(bytes, at + 1);
  }
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
