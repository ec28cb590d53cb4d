import { DEVICE_KINDS, healthyRange, limitRules } from "@weir/firmware-sim/catalog";
import type { MetricSpec } from "@weir/firmware-sim/catalog";
import type { Fault, FaultKind } from "@weir/firmware-sim/faults";
import { createDevices } from "@weir/firmware-sim/fleet";
import { boundedNoise, hashCounter, uniform } from "@weir/firmware-sim/random";
import { createSignal, faultyValue, healthyValue } from "@weir/firmware-sim/signals";
import type { Signal } from "@weir/firmware-sim/signals";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("firmware-sim signals");

const DAY_MS = 86_400_000;
const allMetrics = DEVICE_KINDS.flatMap((kind) => kind.metrics.map((metric) => ({ kind, metric })));
const anyMetric = fc.constantFrom(...allMetrics);
const anySeed = fc.integer({ min: 0, max: 2 ** 32 - 1 });
const anyTsMs = fc.integer({ min: 0, max: 4_102_444_800_000 });

function beyondWarning(metric: MetricSpec, value: number): boolean {
  const { warningLow, warningHigh } = metric.limits;
  return (warningHigh !== null && value > warningHigh) || (warningLow !== null && value < warningLow);
}

function beyondCritical(metric: MetricSpec, value: number): boolean {
  const { criticalLow, criticalHigh } = metric.limits;
  return (criticalHigh !== null && value > criticalHigh) || (criticalLow !== null && value < criticalLow);
}

test("hashes are MurmurHash3's of three words", () => {
  // The published algorithm in big integers; the length that it mixes in at the end is the same for all, and left out.
  const mul = (a: bigint, b: bigint): bigint => (a * b) & 0xffffffffn;
  const rotate = (x: bigint, by: bigint): bigint => ((x << by) | (x >> (32n - by))) & 0xffffffffn;
  const reference = (seed: bigint, words: readonly bigint[]): bigint => {
    let hash = seed;
    for (const word of words) {
      hash ^= mul(rotate(mul(word, 0xcc9e2d51n), 15n), 0x1b873593n);
      hash = (mul(rotate(hash, 13n), 5n) + 0xe6546b64n) & 0xffffffffn;
    }
    hash = mul(hash ^ (hash >> 16n), 0x85ebca6bn);
    hash = mul(hash ^ (hash >> 13n), 0xc2b2ae35n);
    return hash ^ (hash >> 16n);
  };
  fc.assert(
    fc.property(anySeed, anyTsMs, fc.nat(1_000_000), (seed, counter, purpose) => {
      const words = [BigInt(counter) & 0xffffffffn, BigInt(counter) >> 32n, BigInt(purpose)];
      assert.is(BigInt(hashCounter(seed, counter, purpose)), reference(BigInt(seed), words));
    }),
  );
});

test("random numbers fill their range evenly and noise stays within -1 to 1", () => {
  const counts = Array.from({ length: 10 }, () => 0);
  let sum = 0;
  let squares = 0;
  const draws = 20_000;
  for (let i = 0; i < draws; i++) {
    const bucket = Math.floor(uniform(7, i, 1) * 10);
    counts[bucket] = (counts[bucket] ?? 0) + 1;
    const noise = boundedNoise(7, i, 2);
    assert.ok(noise >= -1 && noise <= 1);
    sum += noise;
    squares += noise * noise;
  }
  for (const count of counts) assert.ok(Math.abs(count - draws / 10) < 200, `a tenth holds ${count} of ${draws}`);
  assert.ok(Math.abs(sum / draws) < 0.01, `mean ${sum / draws}`);
  // Irwin–Hall of four: variance 4/12, halved in width.
  assert.ok(Math.abs(squares / draws - 1 / 12) < 0.005, `variance ${squares / draws}`);
});

test("gives the same value for the same seed, device, metric and time, whatever was asked before", () => {
  fc.assert(
    fc.property(anyMetric, anySeed, anyTsMs, anyTsMs, ({ kind, metric }, seed, tsMs, otherMs) => {
      const one = createSignal(seed, "x-01", metric, kind.serviceDays);
      const other = createSignal(seed, "x-01", metric, kind.serviceDays);
      healthyValue(other, otherMs);
      assert.is(healthyValue(one, tsMs), healthyValue(other, tsMs));
    }),
  );
});

test("gives other values for another seed, device or time", () => {
  const { kind, metric } = allMetrics[0]!;
  const values = (seed: number, device: string, fromMs: number): number[] => {
    const signal = createSignal(seed, device, metric, kind.serviceDays);
    return Array.from({ length: 20 }, (_, i) => healthyValue(signal, fromMs + i * 1000));
  };
  const base = values(1, "pump-01", 0);
  for (const other of [values(2, "pump-01", 0), values(1, "pump-02", 0), values(1, "pump-01", 500)]) {
    assert.not.equal(base, other);
  }
});

test("a healthy signal stays in its stated range, inside the warning limits, and to 3 decimals", () => {
  for (const { kind, metric } of allMetrics) {
    const { min, max } = healthyRange(metric);
    assert.not.ok(beyondWarning(metric, min), `${kind.name} ${metric.name} reaches ${min}`);
    assert.not.ok(beyondWarning(metric, max), `${kind.name} ${metric.name} reaches ${max}`);
  }
  fc.assert(
    fc.property(anyMetric, anySeed, anyTsMs, ({ kind, metric }, seed, tsMs) => {
      const { min, max } = healthyRange(metric);
      const value = healthyValue(createSignal(seed, "x-01", metric, kind.serviceDays), tsMs);
      assert.ok(value >= min - 0.001 && value <= max + 0.001, `${metric.name} ${value} not in ${min}…${max}`);
      assert.is(Number(value.toFixed(3)), value);
      assert.not(Object.is(value, -0));
    }),
    { numRuns: 2000 },
  );
});

test("a signal has a day and wears over its service life", () => {
  const metric = DEVICE_KINDS[0]!.metrics[1]!;
  const signal = createSignal(1, "pump-01", metric, 180);
  const meanOver = (fromMs: number): number => {
    let sum = 0;
    for (let i = 0; i < 360; i++) sum += healthyValue(signal, fromMs + i * 10_000);
    return sum / 360;
  };
  assert.ok(meanOver(14 * 3_600_000) - meanOver(2 * 3_600_000) > metric.daily);
  const young = Math.ceil(1 - signal.servicePhase) * signal.serviceMs - signal.servicePhase * signal.serviceMs;
  // The same hour of the day at the beginning and the end of one service life.
  const startDayMs = Math.ceil(young / DAY_MS) * DAY_MS;
  assert.ok(meanOver(startDayMs + 178 * DAY_MS) - meanOver(startDayMs) > metric.wear * 0.7);
});

function faultOf(kind: FaultKind, up: boolean, startMs: number, lengthMs: number): Fault {
  return { kind, metric: 0, startMs, endMs: startMs + lengthMs, up };
}

const anyFault = fc.record({
  metric: anyMetric,
  seed: anySeed,
  tsMs: anyTsMs,
  up: fc.boolean(),
  share: fc.double({ min: 0, max: 0.999, noNaN: true }),
});

function signalOf({ metric, seed }: { metric: (typeof allMetrics)[number]; seed: number }): Signal {
  return createSignal(seed, "x-01", metric.metric, metric.kind.serviceDays);
}

test("a spike is beyond the critical limit for its whole length", () => {
  fc.assert(
    fc.property(anyFault, (drawn) => {
      const fault = faultOf("spike", drawn.up, drawn.tsMs, 5000);
      const value = faultyValue(signalOf(drawn), fault, drawn.tsMs + Math.floor(drawn.share * 5000))!;
      assert.ok(beyondCritical(drawn.metric.metric, value), `${drawn.metric.metric.name} ${value}`);
    }),
  );
});

test("a drift begins at the healthy value and is beyond the critical limit for its last third", () => {
  fc.assert(
    fc.property(anyFault, (drawn) => {
      const fault = faultOf("drift", drawn.up, drawn.tsMs, 60_000);
      const signal = signalOf(drawn);
      assert.is(faultyValue(signal, fault, fault.startMs), healthyValue(signal, fault.startMs));
      const late = faultyValue(signal, fault, drawn.tsMs + 40_000 + Math.floor(drawn.share * 20_000))!;
      assert.ok(beyondCritical(drawn.metric.metric, late), `${drawn.metric.metric.name} ${late}`);
    }),
  );
});

test("a stuck sensor repeats the first value and a dropout is silent", () => {
  fc.assert(
    fc.property(anyFault, (drawn) => {
      const signal = signalOf(drawn);
      const tsMs = drawn.tsMs + Math.floor(drawn.share * 60_000);
      const first = healthyValue(signal, drawn.tsMs);
      assert.is(faultyValue(signal, faultOf("stuck", drawn.up, drawn.tsMs, 60_000), tsMs), first);
      assert.is(faultyValue(signal, faultOf("dropout", drawn.up, drawn.tsMs, 60_000), tsMs), undefined);
    }),
  );
});

test("a larger fleet holds the smaller one unchanged", () => {
  const names = (count: number): string[] => createDevices(1, count, undefined).map(({ name }) => name);
  assert.equal(names(7), ["pump-01", "motor-01", "compressor-01", "tank-01", "conveyor-01", "pump-02", "motor-02"]);
  assert.equal(names(40).slice(0, 7), names(7));
  const value = (count: number): number => healthyValue(createDevices(1, count, undefined)[5]!.signals[0]!, 1e12);
  assert.is(value(6), value(600));
});

test("limit rules have a band for every metric of every kind, in order", () => {
  const rules = limitRules(250.4);
  assert.is(rules.length, allMetrics.length);
  assert.equal(rules[0], {
    match: { site: "*", device: "pump-*", metric: "vibration" },
    band: {
      warningLow: null,
      warningHigh: 7.1,
      criticalLow: null,
      criticalHigh: 11.2,
      forMs: 0,
      gapMs: 60_000,
      intervalMs: 250,
    },
  });
  for (const { band } of rules) {
    if (band.warningHigh !== null) assert.ok(band.criticalHigh !== null && band.criticalHigh > band.warningHigh);
    if (band.warningLow !== null) assert.ok(band.criticalLow !== null && band.criticalLow < band.warningLow);
  }
  assert.is(limitRules(60_000)[0]!.band.gapMs, 300_000);
});
