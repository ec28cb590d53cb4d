import { CodedError } from "../errors.ts";

/**
 * Days and hours of a plant's time zone, from the engine's time-zone data.
 */
export interface Calendar {
  /** IANA name, such as Europe/Berlin. */
  readonly timezone: string;
  /** YYYY-MM-DD of the local day that holds tsMs. */
  dayOf(tsMs: number): string;
  /** First millisecond of a local day, and of the next. Throws CodedError BAD_DAY when `day` is not YYYY-MM-DD. */
  dayRange(day: string): { readonly startMs: number; readonly endMs: number };
  /**
   * First millisecond of the local hour that holds tsMs. Hours tile time: where clocks change within an hour (by half
   * an hour, on Lord Howe Island), each side of the change is an hour of its own.
   */
  hourStart(tsMs: number): number;
  /** Hour of the local week, 0 (Monday 00:00) to 167. */
  hourOfWeek(tsMs: number): number;
}

/** Milliseconds of an hour of 60 minutes. */
export const HOUR_MS = 3_600_000;
/** Milliseconds of a day of 24 hours: not every local day is one. */
export const DAY_MS: number = 24 * HOUR_MS;

/**
 * Offsets are asked of the engine once a quarter of an hour: every zone's changes have fallen on one since 2011, when
 * Newfoundland stopped changing its clocks at a minute past midnight; but for Casey station in Antarctica, which did so
 * in 2020, 2021 and 2022: there the change is taken for 14 minutes later.
 */
const OFFSET_STEP_MS = 900_000;

/** The end, exclusive, of the local hour that starts at hourMs: not every hour is 60 minutes long. */
export function hourEnd(calendar: Calendar, hourMs: number): number {
  let endMs = hourMs + OFFSET_STEP_MS;
  while (calendar.hourStart(endMs) === hourMs) endMs += OFFSET_STEP_MS;
  return endMs;
}

/** Offsets remembered, at most: a good month of quarters of an hour. */
const OFFSETS_MAX = 4096;

/** The calendar of an IANA time zone. Throws CodedError BAD_TIMEZONE when the engine does not know it. */
export function createCalendar(timezone: string): Calendar {
  let format: Intl.DateTimeFormat;
  try {
    format = new Intl.DateTimeFormat("en-US", {
      timeZone: timezone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
      era: "short",
    });
  } catch (error) {
    throw new CodedError(
      "BAD_TIMEZONE",
      `Unknown time zone ${timezone}: use an IANA name such as Europe/Berlin or UTC.`,
      {
        cause: error,
      },
    );
  }
  const offsets = new Map<number, number>();

  const askOffsetMs = (tsMs: number): number => {
    const parts: Record<string, number> = {};
    for (const part of format.formatToParts(tsMs)) parts[part.type] = Number(part.value);
    const { year = 0, month = 1, day = 1, hour = 0, minute = 0, second = 0 } = parts;
    return Date.UTC(year, month - 1, day, hour, minute, second) - Math.floor(tsMs / 1000) * 1000;
  };
  /** Local time minus UTC at tsMs, ms. */
  const offsetMs = (tsMs: number): number => {
    if (timezone === "UTC") return 0;
    const step = Math.floor(tsMs / OFFSET_STEP_MS);
    let offset = offsets.get(step);
    if (offset === undefined) {
      offset = askOffsetMs(step * OFFSET_STEP_MS);
      if (offsets.size >= OFFSETS_MAX) offsets.clear();
      offsets.set(step, offset);
    }
    return offset;
  };
  /** The first instant whose local time is localMs or later. */
  const fromLocal = (localMs: number): number => {
    // The offset at the answer lies within a day of the guess; the later candidate skips a gap, the earlier one wins
    // where clocks went back.
    const before = localMs - offsetMs(localMs - DAY_MS);
    const after = localMs - offsetMs(localMs + DAY_MS);
    for (const candidate of [Math.min(before, after), Math.max(before, after)]) {
      if (candidate + offsetMs(candidate) === localMs) return candidate;
    }
    return Math.max(before, after);
  };

  return {
    timezone,
    dayOf: (tsMs) => new Date(tsMs + offsetMs(tsMs)).toISOString().slice(0, 10),
    dayRange(day) {
      const localMs = /^\d{4}-\d{2}-\d{2}$/.test(day) ? Date.parse(`${day}T00:00:00Z`) : NaN;
      if (!Number.isFinite(localMs) || new Date(localMs).toISOString().slice(0, 10) !== day) {
        throw new CodedError("BAD_DAY", `${day} is not a day: write YYYY-MM-DD.`);
      }
      return { startMs: fromLocal(localMs), endMs: fromLocal(localMs + DAY_MS) };
    },
    hourStart(tsMs) {
      const offset = offsetMs(tsMs);
      let startMs = Math.floor((tsMs + offset) / HOUR_MS) * HOUR_MS - offset;
      // Clocks changed since: this hour begins at the change. Offsets are constant within a step.
      while (offsetMs(startMs) !== offset) startMs = (Math.floor(startMs / OFFSET_STEP_MS) + 1) * OFFSET_STEP_MS;
      return startMs;
    },
    hourOfWeek(tsMs) {
      // 1970-01-01 was a Thursday.
      const localHour = Math.floor((tsMs + offsetMs(tsMs)) / HOUR_MS) + 3 * 24;
      return ((localHour % 168) + 168) % 168;
    },
  };
}
