import type { SeriesKey } from "./reading.ts";

/** What a report says of one metric of a device on its day. Quantiles come from the sketch (see operators/sketch). */
export interface MetricReport {
  readonly metric: string;
  readonly count: number;
  readonly min: number;
  readonly max: number;
  /** The exact sum, rounded once, over the count. */
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
  readonly breaches: number;
  /** Share by which the day's distribution left its baseline, 0 (none) to 1; null: no baseline in the version. */
  readonly drift: number | null;
}

/** The parts of the score, each 0 (worst) to 100 (best), and the weight of each in the sum. */
export interface HealthParts {
  readonly availability: number;
  readonly breaches: number;
  readonly drift: number;
}

/**
 * The slope of health over the last days (Theil–Sen, points a day; null with fewer than 3 days), the days it was
 * taken from, and, where it falls, days until the score reaches the critical 40 (null where it does not fall).
 */
export interface Trend {
  readonly days: number;
  readonly slopePerDay: number | null;
  readonly daysUntilCritical: number | null;
}

export interface DeviceReport {
  readonly site: string;
  readonly device: string;
  /** 0 to 100, the weighted mean of healthParts. */
  readonly health: number;
  readonly healthParts: HealthParts;
  /** Share of expected readings that came, 0 to 1. */
  readonly availability: number;
  readonly readings: number;
  /**
   * By each metric's interval, that of its band whatever the hour of the week, from its first reading ever on. Of a day
   * that is not over: up to the clock of the agent, or the device's own newest reading where that is ahead; no other
   * device's clock has a say.
   */
  readonly expectedReadings: number;
  /** Alerts that began on this day: episodes that fired, and silences. */
  readonly alerts: number;
  readonly breaches: number;
  readonly metrics: readonly MetricReport[];
  readonly trend: Trend;
}

/** How whole the day's data is: the loss ledger's share of this report. */
export interface Completeness {
  readonly readings: number;
  readonly expectedReadings: number;
  /** readings that came ÷ expected, of each series' day no more counted than expected; 1 where nothing was expected. */
  readonly ratio: number;
  /** Readings without a time of their own, stamped on receipt: at-least-once, so possibly counted twice. */
  readonly stampedReadings: number;
  /** Messages or readings refused or lost while the day was received, by reason. */
  readonly rejected: Readonly<Record<string, number>>;
  readonly dropped: Readonly<Record<string, number>>;
}

export interface Lineage {
  readonly operatorVersion: number;
  readonly thresholdVersions: readonly number[];
  /** Agents whose logs hold the day's readings; times are event times of the first and last reading. */
  readonly sources: ReadonlyArray<{
    readonly agent: string;
    readonly firstTsMs: number;
    readonly lastTsMs: number;
    readonly readings: number;
  }>;
}

/** A day's health of every device: canonical JSON of this is the report's bytes. day is YYYY-MM-DD in timezone. */
export interface DailyReport {
  readonly day: string;
  readonly timezone: string;
  readonly revision: number;
  readonly completeness: Completeness;
  readonly lineage: Lineage;
  readonly devices: readonly DeviceReport[];
}

/** A device's name within a report. */
export type DeviceKey = Pick<SeriesKey, "site" | "device">;
