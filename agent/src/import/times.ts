import { createCalendar, DAY_MS } from "@weir/shared/operators/calendar";
import { isoToMs, timeToMs } from "../decode/time.ts";
import type { TopicMapping } from "../decode/decoder.ts";

/** Unit of times that are numbers. */
export type TimeUnit = TopicMapping["timeUnit"];

/** Reads the times of a column. Each gives ms since 1970 in UTC, NaN for what is no time. */
export interface TimeReader {
  /** From a field: a number, or a text that spells one or is ISO 8601. */
  readonly fromField: (field: unknown) => number;
  /** From ms as local clocks showed them. */
  readonly fromLocal: (localMs: number) => number;
  /** Why a field is no time. */
  readonly whyNot: (field: unknown) => "time_malformed" | "time_without_zone";
}

/**
 * Makes a reader. timezone: IANA name for times that say no offset; undefined: those are none. Throws CodedError
 * BAD_TIMEZONE.
 *
 * A local time that comes twice, when clocks are set back, is taken for the first of the two; one that is left out, when
 * they are set forward, for as long after the change as it seems to be.
 */
export function createTimeReader(unit: TimeUnit, timezone: string | undefined): TimeReader {
  const fromLocal = timezone === undefined ? (): number => NaN : localTime(timezone);
  // Rows of one time mostly come one after another.
  let lastText = "";
  let lastMs = NaN;
  const fromText = (text: string): number => {
    if (text === lastText) return lastMs;
    lastText = text;
    const trimmed = text.trim();
    if (isNumberText(trimmed)) lastMs = timeToMs(Number(trimmed), unit);
    else lastMs = saysOffset(trimmed) ? isoToMs(trimmed) : fromLocal(isoToMs(trimmed));
    return lastMs;
  };
  return {
    fromField(field) {
      if (typeof field === "string") return fromText(field);
      if (typeof field === "bigint") return timeToMs(Number(field), unit);
      return timeToMs(field, unit);
    },
    fromLocal,
    whyNot(field) {
      if (timezone !== undefined || typeof field !== "string") return "time_malformed";
      const text = field.trim();
      return !saysOffset(text) && !Number.isNaN(isoToMs(text)) ? "time_without_zone" : "time_malformed";
    },
  };
}

function isNumberText(text: string): boolean {
  // The minus sign of 2026-03-14 is where no number has one.
  return text.charCodeAt(4) !== 45 && /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?$/.test(text);
}

/** True for a date and time that ends in Z or an offset. */
function saysOffset(text: string): boolean {
  for (let i = 16; i < text.length; i++) {
    const code = text.charCodeAt(i);
    // + - Z z
    if (code === 43 || code === 45 || code === 90 || code === 122) return true;
  }
  return false;
}

/** Offsets change on a quarter of an hour; see the calendar. */
const OFFSET_STEP_MS = 900_000;
/** Offsets remembered, at most. */
const OFFSETS_MAX = 4096;

function localTime(timezone: string): (localMs: number) => number {
  // Says what is wrong with a name that is none.
  createCalendar(timezone);
  const format = new Intl.DateTimeFormat("en-US", { timeZone: timezone, timeZoneName: "longOffset" });
  const offsets = new Map<number, number>();
  const askOffsetMs = (tsMs: number): number => {
    const name = format.formatToParts(tsMs).find(({ type }) => type === "timeZoneName")?.value ?? "";
    const [, sign, hours = "0", minutes = "0"] = /GMT([+-])(\d\d):(\d\d)/.exec(name) ?? [];
    return (sign === "-" ? -1 : 1) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  };
  const offsetMs = (tsMs: number): number => {
    const step = Math.floor(tsMs / OFFSET_STEP_MS);
    let offset = offsets.get(step);
    if (offset === undefined) {
      if (offsets.size >= OFFSETS_MAX) offsets.clear();
      offsets.set(step, (offset = askOffsetMs(step * OFFSET_STEP_MS)));
    }
    return offset;
  };
  return (localMs) => {
    if (Number.isNaN(localMs)) return NaN;
    // As the calendar does: the offset at the answer is one of those a day around it.
    const before = localMs - offsetMs(localMs - DAY_MS);
    const after = localMs - offsetMs(localMs + DAY_MS);
    const first = Math.min(before, after);
    const last = Math.max(before, after);
    return first + offsetMs(first) === localMs ? first : last;
  };
}
