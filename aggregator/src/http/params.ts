import { parseDuration } from "@weir/shared/config/units";
import { createCalendar, DAY_MS } from "@weir/shared/operators/calendar";
import type { SeriesRange } from "../queries.ts";
import { badParameter } from "./errors.ts";

/** Points of a series when nobody names a step, at most: what a chart can show. */
export const SERIES_POINTS_DEFAULT_MAX = 1000;

/** Points of a series when the caller names the step, at most. */
export const SERIES_POINTS_MAX = 10_000;

/** The longest range of a series: ten years. */
export const SERIES_RANGE_MS_MAX: number = 3660 * DAY_MS;

/** The finest step of a series. */
export const SERIES_STEP_MS_MIN = 1;

/** The latest time taken, 9999-12-31: ISO 8601 texts of it still have four digits for the year. */
export const TIME_MS_MAX = 253_402_300_799_999;

/** Steps that divide hours and days, so that the points of two charts fall on the same times. */
const STEPS_MS: readonly number[] = [
  1,
  5,
  10,
  50,
  100,
  500,
  ...[1, 2, 5, 10, 15, 30].map((seconds) => seconds * 1000),
  ...[1, 2, 5, 10, 15, 30].map((minutes) => minutes * 60_000),
  ...[1, 2, 3, 6, 12].map((hours) => hours * 3_600_000),
  ...[1, 2, 7, 14].map((days) => days * DAY_MS),
];

const utc = createCalendar("UTC");

/** A time parameter in ms: ISO 8601 or epoch ms; undefined when it was not given. Throws HttpError naming it. */
export function parseTime(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  // Date.parse takes many spellings; only ISO 8601 means the same everywhere.
  const isIso = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?$/.test(text);
  const timeMs = /^\d+$/.test(text) ? Number(text) : isIso ? Date.parse(text) : Number.NaN;
  if (!Number.isFinite(timeMs) || timeMs < 0 || timeMs > TIME_MS_MAX) {
    throw badParameter(
      name,
      `"${text}" is not a time: write ISO 8601, such as 2025-01-31T12:00:00Z, or epoch milliseconds.`,
    );
  }
  return timeMs;
}

/** A local day. Throws HttpError naming the parameter when it is not YYYY-MM-DD. */
export function parseDay(name: string, text: string): string {
  try {
    utc.dayRange(text);
  } catch {
    throw badParameter(name, `"${text}" is not a day: write YYYY-MM-DD.`);
  }
  return text;
}

/** What was asked of a series, as texts. */
export interface RangeQuery {
  readonly from?: string;
  readonly to?: string;
  readonly step?: string;
}

/**
 * The range [from, to) and step of a series. Defaults: to just after its newest reading, from a day before, a step that
 * gives at most SERIES_POINTS_DEFAULT_MAX points. Throws HttpError 400 naming what is out of bounds.
 */
export function parseRange(query: RangeQuery, newestTsMs: number): SeriesRange {
  const from = parseTime("from", query.from);
  const toMs = parseTime("to", query.to) ?? Math.max(newestTsMs, from ?? 0) + 1;
  const fromMs = from ?? Math.max(0, toMs - DAY_MS);
  if (fromMs >= toMs) throw badParameter("from", `must be before to; got ${fromMs} and ${toMs} ms.`);
  const rangeMs = toMs - fromMs;
  if (rangeMs > SERIES_RANGE_MS_MAX) {
    throw badParameter(
      "from",
      `the range is ${Math.round(rangeMs / DAY_MS)} days; at most ${SERIES_RANGE_MS_MAX / DAY_MS} are answered.`,
    );
  }
  return { fromMs, toMs, stepMs: query.step === undefined ? defaultStepMs(rangeMs) : parseStep(query.step, rangeMs) };
}

/** Steps are aligned to multiples of themselves, so a range can touch one more than it is long. */
function pointsOf(rangeMs: number, stepMs: number): number {
  return Math.ceil(rangeMs / stepMs) + 1;
}

/** The shortest round step that gives at most SERIES_POINTS_DEFAULT_MAX points. */
export function defaultStepMs(rangeMs: number): number {
  const round = STEPS_MS.find((stepMs) => pointsOf(rangeMs, stepMs) <= SERIES_POINTS_DEFAULT_MAX);
  return round ?? Math.ceil(rangeMs / (SERIES_POINTS_DEFAULT_MAX - 1) / DAY_MS) * DAY_MS;
}

function parseStep(text: string, rangeMs: number): number {
  const stepMs = parseDuration(text);
  if (stepMs === undefined || !Number.isInteger(stepMs) || stepMs < SERIES_STEP_MS_MIN) {
    throw badParameter(
      "step",
      `"${text}" is not a step: write 10s, 5m, 1h or whole milliseconds from ${SERIES_STEP_MS_MIN}.`,
    );
  }
  const points = pointsOf(rangeMs, stepMs);
  if (points > SERIES_POINTS_MAX) {
    throw badParameter(
      "step",
      `would give ${points} points; at most ${SERIES_POINTS_MAX} are answered. Widen the step or narrow the range.`,
    );
  }
  return stepMs;
}
