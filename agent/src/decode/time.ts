import type { TopicMapping } from "./decoder.ts";

/** The furthest a Date reaches, ms either side of 1970: the times beyond are nobody's. */
const TIME_ABS_MS_MAX = 8.64e15;

/**
 * Event time in whole ms since 1970-01-01 UTC from what a JSON payload holds; NaN where it holds no time.
 *
 * A number is in `unit`; `auto` goes by magnitude: below 1e11 seconds, below 1e14 ms, below 1e17 µs, else ns (so 1973
 * to 5138 is told right in each). A text is ISO 8601 with date and time; without a zone it is UTC. Anything else,
 * null and numbers in texts included, is no time.
 *
 * Parts of a millisecond are rounded down. Seconds and nanoseconds are rounded to the µs first: a double holds neither
 * 1700000000.123 s nor 1700000000123000000 ns exactly, and rounding those down would give the millisecond before.
 */
export function timeToMs(raw: unknown, unit: TopicMapping["timeUnit"]): number {
  if (typeof raw === "string") return isoToMs(raw);
  if (typeof raw !== "number") return NaN;
  const ms = numberToMs(raw, unit === "auto" ? unitByMagnitude(raw) : unit);
  // + 0 turns -0 into 0; NaN fails the comparison.
  return Math.abs(ms) <= TIME_ABS_MS_MAX ? ms + 0 : NaN;
}

type TimeUnit = Exclude<TopicMapping["timeUnit"], "auto">;

function unitByMagnitude(time: number): TimeUnit {
  const magnitude = Math.abs(time);
  if (magnitude < 1e11) return "s";
  if (magnitude < 1e14) return "ms";
  return magnitude < 1e17 ? "us" : "ns";
}

function numberToMs(time: number, unit: TimeUnit): number {
  switch (unit) {
    case "s":
      return Math.floor(Math.round(time * 1e6) / 1e3);
    case "ms":
      return Math.floor(time);
    case "us":
      return Math.floor(time / 1e3);
    case "ns":
      return Math.floor(Math.round(time / 1e3) / 1e3);
  }
}

/**
 * Milliseconds of an ISO 8601 (RFC 3339) date and time, NaN where the text is none.
 *
 *   YYYY-MM-DD ("T" | "t" | " ") hh:mm [ :ss [ ("." | ",") 1*digit ] ] [ "Z" | "z" | (+|-)hh[[:]mm] ]
 *
 * Read by hand: no zone means UTC here, which Date.parse takes for local time, and Date.parse takes much that is not
 * ISO. A leap second (:60) is the first second of the next minute. Years from 0100.
 */
export function isoToMs(text: string): number {
  const length = text.length;
  if (length < 16 || length > 64) return NaN;
  const year = digits(text, 0, 4);
  const month = digits(text, 5, 2);
  const day = digits(text, 8, 2);
  const hour = digits(text, 11, 2);
  const minute = digits(text, 14, 2);
  const separator = text[10];
  if (text[4] !== "-" || text[7] !== "-" || text[13] !== ":") return NaN;
  if (separator !== "T" && separator !== "t" && separator !== " ") return NaN;
  if (!(year >= 100 && month >= 1 && month <= 12 && day >= 1 && day <= daysInMonth(year, month))) return NaN;
  if (!(hour <= 23 && minute <= 59)) return NaN;

  let at = 16;
  let second = 0;
  let millisecond = 0;
  if (text[at] === ":") {
    second = digits(text, at + 1, 2);
    if (!(second <= 60)) return NaN;
    at += 3;
    if (text[at] === "." || text[at] === ",") {
      let count = 0;
      for (at++; isDigit(text.charCodeAt(at)); at++, count++) {
        if (count < 3) millisecond = millisecond * 10 + text.charCodeAt(at) - 48;
      }
      if (count === 0) return NaN;
      for (; count < 3; count++) millisecond *= 10;
    }
  }
  return Date.UTC(year, month - 1, day, hour, minute, second, millisecond) - zoneOffsetMs(text, at);
}

/** Offset from UTC in ms of the zone that is all of text from `at` on; NaN where it is not a zone. */
function zoneOffsetMs(text: string, at: number): number {
  const length = text.length - at;
  if (length === 0) return 0;
  const sign = text[at];
  if (sign === "Z" || sign === "z") return length === 1 ? 0 : NaN;
  if (sign !== "+" && sign !== "-") return NaN;
  const hours = digits(text, at + 1, 2);
  let minutes = 0;
  if (length === 6 && text[at + 3] === ":") minutes = digits(text, at + 4, 2);
  else if (length === 5) minutes = digits(text, at + 3, 2);
  else if (length !== 3) return NaN;
  if (!(hours <= 23 && minutes <= 59)) return NaN;
  return (sign === "-" ? -1 : 1) * (hours * 60 + minutes) * 60_000;
}

/** The number that `count` digits from `at` spell; NaN where one of them is no digit. */
function digits(text: string, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const code = text.charCodeAt(i);
    if (!isDigit(code)) return NaN;
    value = value * 10 + code - 48;
  }
  return value;
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57;
}

/** Days of a month, 1 to 12, in the Gregorian calendar. */
export function daysInMonth(year: number, month: number): number {
  if (month === 2) return (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0 ? 29 : 28;
  return month === 4 || month === 6 || month === 9 || month === 11 ? 30 : 31;
}
