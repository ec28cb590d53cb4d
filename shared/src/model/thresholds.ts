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
