import type { MetricSpec } from "./catalog.ts";
import type { Fault } from "./faults.ts";
import { boundedNoise, hashCounter, hashText, uniform } from "./random.ts";

/**
 * What a sensor measures, as a pure function of seed, device, metric and time. Nothing is carried from one reading to
 * the next, so any reading can be asked for, in any order.
 */

const DAY_MS = 86_400_000;
/** The plant is warmest and busiest at about 14:00 UTC; devices differ by up to an hour and a half either way. */
const PEAK_MS = 14 * 3_600_000;
const PEAK_SPREAD_MS = 3 * 3_600_000;

/** What random numbers of one series are for: the third argument of the hash. */
const SPREAD = 1;
const PEAK = 2;
const CYCLE = 3;
const SERVICE = 4;
const NOISE = 5;

/** One sensor with everything about its signal that does not change with time. */
export interface Signal {
  readonly metric: MetricSpec;
  /** Seed of this series' own random numbers. */
  readonly seed: number;
  readonly centre: number;
  readonly peakMs: number;
  readonly cyclePhase: number;
  readonly serviceMs: number;
  readonly servicePhase: number;
}

/** The signal of one metric of one device. seed: of the fleet; serviceDays: from the device's kind. */
export function createSignal(seed: number, device: string, metric: MetricSpec, serviceDays: number): Signal {
  const own = hashCounter(seed, hashText(device), hashText(metric.name));
  return {
    metric,
    seed: own,
    centre: metric.nominal + metric.spread * (2 * uniform(own, 0, SPREAD) - 1),
    peakMs: PEAK_MS + PEAK_SPREAD_MS * (uniform(own, 0, PEAK) - 0.5),
    cyclePhase: uniform(own, 0, CYCLE),
    serviceMs: serviceDays * DAY_MS,
    // Service is a matter of the device, not of one sensor: all its metrics wear and recover together.
    servicePhase: uniform(seed, hashText(device), SERVICE),
  };
}

/** The healthy value at tsMs, in the metric's unit, within healthyRange, to 3 decimals as firmware rounds it. */
export function healthyValue(signal: Signal, tsMs: number): number {
  return round3(exactHealthy(signal, tsMs));
}

function exactHealthy(signal: Signal, tsMs: number): number {
  const { metric } = signal;
  const life = tsMs / signal.serviceMs + signal.servicePhase;
  const age = life - Math.floor(life);
  return (
    signal.centre +
    metric.daily * Math.cos((2 * Math.PI * (tsMs - signal.peakMs)) / DAY_MS) +
    metric.cycle * Math.sin(2 * Math.PI * (tsMs / metric.cycleMs + signal.cyclePhase)) +
    metric.noise * boundedNoise(signal.seed, tsMs, NOISE) +
    // Slow at first, faster towards the end of the service life.
    metric.wear * age * age
  );
}

/** The share of a drift's length over which it grows; for the rest it holds. */
const DRIFT_RAMP = 0.6;
/** How far beyond the critical limit a fault goes, in distances between warning and critical limit. */
const EXCESS = 0.25;

/**
 * The value at tsMs under a fault that holds then and concerns this metric, to 3 decimals; undefined: nothing is sent.
 *
 * spike: the whole length beyond the critical limit. stuck: the healthy value of the fault's first millisecond, over
 * and over. drift: the healthy signal with an offset that grows until even its lowest (or highest) value is beyond the
 * critical limit. dropout: silence.
 */
export function faultyValue(signal: Signal, fault: Fault, tsMs: number): number | undefined {
  switch (fault.kind) {
    case "dropout":
      return undefined;
    case "stuck":
      return healthyValue(signal, fault.startMs);
    case "spike": {
      const { limit, excess, sign } = target(signal.metric, fault.up);
      return round3(limit + sign * excess * (1.5 + 0.5 * boundedNoise(signal.seed, tsMs, NOISE)));
    }
    case "drift": {
      const { sign, offset } = target(signal.metric, fault.up);
      const grown = Math.min(1, (tsMs - fault.startMs) / (DRIFT_RAMP * (fault.endMs - fault.startMs)));
      return round3(exactHealthy(signal, tsMs) + sign * offset * grown);
    }
  }
}

/** Where a fault in one direction heads: the critical limit, how far past it, and what moves any healthy value there. */
function target(
  metric: MetricSpec,
  up: boolean,
): { readonly limit: number; readonly excess: number; readonly sign: 1 | -1; readonly offset: number } {
  const { warningLow, warningHigh, criticalLow, criticalHigh } = metric.limits;
  const high = criticalHigh !== null && warningHigh !== null;
  const low = criticalLow !== null && warningLow !== null;
  const sign = high && (up || !low) ? 1 : -1;
  const limit = (sign > 0 ? criticalHigh : criticalLow) ?? metric.nominal;
  const warning = (sign > 0 ? warningHigh : warningLow) ?? metric.nominal;
  const excess = EXCESS * Math.abs(limit - warning);
  const swing = metric.spread + metric.daily + metric.cycle + metric.noise + Math.abs(metric.wear);
  return { limit, excess, sign, offset: Math.abs(limit - metric.nominal) + swing + excess };
}

/** Three decimals, never -0. */
function round3(value: number): number {
  return Math.round(value * 1000) / 1000 + 0;
}
