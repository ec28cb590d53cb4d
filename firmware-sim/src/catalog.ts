import type { Band, BandRule } from "@weir/shared/model/thresholds";

/** Limits of a metric as on the nameplate; null: no limit on that side. Units are those of the metric. */
export type Limits = Pick<Band, "warningLow" | "warningHigh" | "criticalLow" | "criticalHigh">;

/**
 * One metric of a kind of device. All amplitudes are the farthest the part moves the signal from its nominal value, in
 * the metric's unit, so their sum bounds a healthy signal (healthyRange).
 */
export interface MetricSpec {
  readonly name: string;
  readonly unit: string;
  /** The middle of the healthy signal of a new device. */
  readonly nominal: number;
  /** Devices of one kind differ by up to this much. */
  readonly spread: number;
  /** The plant's day: warmer and busier in the afternoon. */
  readonly daily: number;
  /** The machine's own working cycle, and its length in milliseconds. */
  readonly cycle: number;
  readonly cycleMs: number;
  readonly noise: number;
  /** Wear at the end of a service life, up or (negative) down; a service takes it back to nothing. */
  readonly wear: number;
  readonly limits: Limits;
}

export interface DeviceKind {
  readonly name: string;
  /** From one service to the next, in days. */
  readonly serviceDays: number;
  readonly metrics: readonly MetricSpec[];
}

const MINUTE_MS = 60_000;

/** A metric's limits in the order low to high: critical low, warning low, warning high, critical high. */
function limits(
  criticalLow: number | null,
  warningLow: number | null,
  warningHigh: number | null,
  criticalHigh: number | null,
): Limits {
  return { warningLow, warningHigh, criticalLow, criticalHigh };
}

function describe(
  name: string,
  unit: string,
  nameplate: Limits,
  signal: Omit<MetricSpec, "name" | "unit" | "limits" | "cycleMs"> & { readonly cycleMinutes: number },
): MetricSpec {
  const { cycleMinutes, ...amplitudes } = signal;
  return { name, unit, limits: nameplate, cycleMs: cycleMinutes * MINUTE_MS, ...amplitudes };
}

/**
 * The kinds of device. Vibration limits are zone boundaries of ISO 10816-3 in mm/s RMS (4.5, 7.1, 11.2 for the classes
 * of machine here); the others are typical of nameplates. A fleet takes the kinds in turn.
 */
export const DEVICE_KINDS: readonly DeviceKind[] = [
  {
    name: "pump",
    serviceDays: 180,
    metrics: [
      describe("vibration", "mm/s", limits(null, null, 7.1, 11.2), {
        nominal: 2.8,
        spread: 0.4,
        daily: 0.3,
        cycle: 0.2,
        cycleMinutes: 15,
        noise: 0.5,
        wear: 1.2,
      }),
      describe("temperature", "°C", limits(null, null, 75, 90), {
        nominal: 52,
        spread: 3,
        daily: 6,
        cycle: 1.5,
        cycleMinutes: 40,
        noise: 1,
        wear: 5,
      }),
      describe("pressure", "bar", limits(3.2, 4.2, 7.5, 8.5), {
        nominal: 6,
        spread: 0.2,
        daily: 0.3,
        cycle: 0.2,
        cycleMinutes: 15,
        noise: 0.15,
        wear: -0.5,
      }),
      describe("current", "A", limits(6, 10, 25, 30), {
        nominal: 18,
        spread: 0.8,
        daily: 1.5,
        cycle: 0.7,
        cycleMinutes: 15,
        noise: 0.6,
        wear: 1.5,
      }),
    ],
  },
  {
    name: "motor",
    serviceDays: 365,
    metrics: [
      describe("rpm", "1/min", limits(1400, 1440, 1510, 1550), {
        nominal: 1480,
        spread: 4,
        daily: 6,
        cycle: 3,
        cycleMinutes: 10,
        noise: 4,
        wear: -8,
      }),
      describe("vibration", "mm/s", limits(null, null, 4.5, 7.1), {
        nominal: 1.8,
        spread: 0.3,
        daily: 0.2,
        cycle: 0.15,
        cycleMinutes: 10,
        noise: 0.35,
        wear: 0.9,
      }),
      describe("temperature", "°C", limits(null, null, 95, 115), {
        nominal: 65,
        spread: 3,
        daily: 7,
        cycle: 2,
        cycleMinutes: 45,
        noise: 1.2,
        wear: 6,
      }),
    ],
  },
  {
    name: "compressor",
    serviceDays: 120,
    metrics: [
      describe("pressure", "bar", limits(5, 6.2, 9.5, 10.5), {
        nominal: 8,
        spread: 0.15,
        daily: 0.2,
        cycle: 0.5,
        cycleMinutes: 6,
        noise: 0.08,
        wear: -0.3,
      }),
      describe("temperature", "°C", limits(null, null, 105, 115), {
        nominal: 82,
        spread: 3,
        daily: 5,
        cycle: 3,
        cycleMinutes: 20,
        noise: 1,
        wear: 4,
      }),
      describe("vibration", "mm/s", limits(null, null, 7.1, 11.2), {
        nominal: 3.2,
        spread: 0.4,
        daily: 0.3,
        cycle: 0.4,
        cycleMinutes: 6,
        noise: 0.5,
        wear: 1,
      }),
      describe("current", "A", limits(20, 35, 85, 100), {
        nominal: 60,
        spread: 2,
        daily: 3,
        cycle: 6,
        cycleMinutes: 6,
        noise: 1.5,
        wear: 3,
      }),
    ],
  },
  {
    name: "tank",
    serviceDays: 730,
    metrics: [
      describe("level", "%", limits(5, 15, 92, 98), {
        nominal: 55,
        spread: 3,
        daily: 8,
        cycle: 18,
        cycleMinutes: 90,
        noise: 0.6,
        wear: 0,
      }),
      describe("temperature", "°C", limits(15, 25, 55, 65), {
        nominal: 38,
        spread: 2,
        daily: 4,
        cycle: 1,
        cycleMinutes: 90,
        noise: 0.4,
        wear: 0,
      }),
    ],
  },
  {
    name: "conveyor",
    serviceDays: 240,
    metrics: [
      describe("speed", "m/s", limits(1, 1.25, 1.9, 2.2), {
        nominal: 1.6,
        spread: 0.04,
        daily: 0.05,
        cycle: 0.03,
        cycleMinutes: 8,
        noise: 0.03,
        wear: -0.08,
      }),
      describe("current", "A", limits(3, 5, 14, 18), {
        nominal: 9,
        spread: 0.5,
        daily: 1,
        cycle: 0.5,
        cycleMinutes: 8,
        noise: 0.4,
        wear: 1,
      }),
      describe("temperature", "°C", limits(null, null, 70, 85), {
        nominal: 45,
        spread: 2.5,
        daily: 6,
        cycle: 1,
        cycleMinutes: 30,
        noise: 0.8,
        wear: 5,
      }),
    ],
  },
];

/** The least and greatest value a healthy device can ever send, before rounding, in the metric's unit. */
export function healthyRange(metric: MetricSpec): { readonly min: number; readonly max: number } {
  const swing = metric.spread + metric.daily + metric.cycle + metric.noise;
  return {
    min: metric.nominal - swing + Math.min(0, metric.wear),
    max: metric.nominal + swing + Math.max(0, metric.wear),
  };
}

/** Episodes of the demo end after this long without a breach, or after GAP_INTERVALS missed readings if that is more. */
const GAP_MS = 60_000;
const GAP_INTERVALS = 5;

/**
 * The nameplate limits of every kind as threshold rules, for a first version. intervalMs: how often each series
 * reports, > 0; rounded to whole milliseconds, at least 1.
 */
export function limitRules(intervalMs: number): BandRule[] {
  const wholeIntervalMs = Math.max(1, Math.round(intervalMs));
  const gapMs = Math.max(GAP_MS, GAP_INTERVALS * wholeIntervalMs);
  return DEVICE_KINDS.flatMap((kind) =>
    kind.metrics.map((metric) => ({
      match: { site: "*", device: `${kind.name}-*`, metric: metric.name },
      band: { ...metric.limits, forMs: 0, gapMs, intervalMs: wholeIntervalMs },
    })),
  );
}
