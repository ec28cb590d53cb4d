/**
 * Threshold versions: immutable, numbered sets of bands with a start in event time.
 */

/**
 * Limits of one series. Null means no limit on that side. A reading above `criticalHigh` or below `criticalLow` is a
 * critical breach, above `warningHigh` or below `warningLow` a warning. Units are those of the readings.
 */
export interface Band {
  readonly warningLow: number | null;
  readonly warningHigh: number | null;
  readonly criticalLow: number | null;
  readonly criticalHigh: number | null;
  /** Breaches must span at least this long before the episode fires; 0: at the first breach. */
  readonly forMs: number;
  /** Breaches further apart than this belong to different episodes. */
  readonly gapMs: number;
  /** How often the series is expected to report; null: taken from the day's own readings. */
  readonly intervalMs: number | null;
  /**
   * So many intervals without a reading, while the agent watched, are a silence; 0: silence is not judged. Null or absent
   * (as in older versions): SILENCE_INTERVALS_DEFAULT, but no less than SILENCE_MS_MIN. Without intervalMs none is judged.
   */
  readonly silenceIntervals?: number | null;
}

/** A band for every series whose site, device and metric match (`*` matches any run of characters). */
export interface BandRule {
  readonly match: { readonly site: string; readonly device: string; readonly metric: string };
  readonly band: Band;
}

/** The normal distribution of one series, for drift: quantiles of its training window, units of the readings. */
export interface Baseline {
  readonly p05: number;
  readonly p50: number;
  readonly p95: number;
}

/** What a version says of one series by name; `hourOfWeek`, where given, has 168 bands, Monday 00:00 first. */
export interface SeriesBand {
  readonly site: string;
  readonly device: string;
  readonly metric: string;
  readonly band: Band;
  readonly hourOfWeek?: readonly Band[];
  readonly baseline?: Baseline;
}

/**
 * One version. It judges readings with event time ≥ effectiveFromMs that no version with a later effectiveFromMs
 * (ties: the higher number) judges. A series' band is its entry in `series`, else the last matching entry of `rules`,
 * else none. timezone is an IANA name; hours of the week are local to it.
 */
export interface ThresholdVersion {
  readonly version: number;
  readonly effectiveFromMs: number;
  readonly createdAtMs: number;
  readonly timezone: string;
  readonly note: string;
  readonly rules: readonly BandRule[];
  readonly series: readonly SeriesBand[];
}

/** Gap of an episode where a band names none: five minutes. */
export const GAP_MS_DEFAULT = 300_000;

/** Intervals that make a silence, and the shortest silence, where a band does not say how many. */
export const SILENCE_INTERVALS_DEFAULT = 10;
export const SILENCE_MS_MIN = 60_000;

/** In the place of a silence's length: silence is not judged. The highest int32; the longest silence is 1 ms less. */
export const SILENCE_NOT_JUDGED: number = 2 ** 31 - 1;

/** The length of a silence by a band, whole ms: without a reading for so long, a series is silent. */
export function silenceLimitMs(band: Band | undefined): number {
  if (!band?.intervalMs || band.silenceIntervals === 0) return SILENCE_NOT_JUDGED;
  const intervals = band.silenceIntervals ?? null;
  const limitMs =
    intervals === null
      ? Math.max(SILENCE_MS_MIN, SILENCE_INTERVALS_DEFAULT * band.intervalMs)
      : intervals * band.intervalMs;
  return Math.min(Math.ceil(limitMs), SILENCE_NOT_JUDGED - 1);
}

/** The longest gap that any band of some versions allows within one episode, ms; 0 without bands. */
export function longestGapMs(versions: readonly ThresholdVersion[]): number {
  let longest = 0;
  for (const { rules, series } of versions) {
    for (const { band } of rules) longest = Math.max(longest, band.gapMs);
    for (const { band, hourOfWeek } of series) {
      longest = Math.max(longest, band.gapMs);
      for (const { gapMs } of hourOfWeek ?? []) longest = Math.max(longest, gapMs);
    }
  }
  return longest;
}
