import { FAULT_KINDS, createFaultPlan, firstFaultDevice, meanIntervalMinMs } from "@weir/firmware-sim/faults";
import type { Fault, FaultKind, FaultOptions } from "@weir/firmware-sim/faults";
import { createDevices, readingAt } from "@weir/firmware-sim/fleet";
import { healthyValue } from "@weir/firmware-sim/signals";
import * as fc from "fast-check";
import * as assert from "uvu/assert";
import { suite } from "../support/suite.ts";

const test = suite("firmware-sim faults");

const START_MS = 1_780_000_000_000;
const options: FaultOptions = {
  meanIntervalMs: 600_000,
  kinds: FAULT_KINDS,
  runStartMs: START_MS,
  firstAfterMs: 15_000,
  intervalMs: 1000,
};

/** All faults of a plan between two times, each once. */
function faultsOf(
  seed: number,
  device: string,
  first: boolean,
  forMs: number,
  changed: Partial<FaultOptions> = {},
): Fault[] {
  const plan = createFaultPlan(seed, device, 4, first, { ...options, ...changed });
  const faults: Fault[] = [];
  for (let tsMs = START_MS - 60_000; tsMs < START_MS + forMs; tsMs += 500) {
    const fault = plan.at(tsMs);
    if (fault && faults.at(-1)?.startMs !== fault.startMs) faults.push(fault);
  }
  return faults;
}

test("gives the same faults for the same seed, in whatever order times are asked for", () => {
  const anyTimes = fc.array(fc.integer({ min: START_MS, max: START_MS + 86_400_000 }), { minLength: 1, maxLength: 50 });
  fc.assert(
    fc.property(fc.nat(), anyTimes, (seed, times) => {
      const plan = createFaultPlan(seed, "pump-01", 4, true, options);
      const answers = times.map((tsMs) => plan.at(tsMs));
      for (const [index, tsMs] of times.entries()) {
        assert.equal(createFaultPlan(seed, "pump-01", 4, true, options).at(tsMs), answers[index]);
      }
    }),
  );
});

test("has one fault for each mean interval on average, of every kind, none overlapping", () => {
  const dayMs = 86_400_000;
  const faults = faultsOf(3, "pump-01", false, dayMs);
  assert.ok(Math.abs(faults.length - dayMs / options.meanIntervalMs) <= 2, `${faults.length} faults`);
  assert.equal(new Set(faults.map(({ kind }) => kind)), new Set<FaultKind>(FAULT_KINDS));
  for (const [index, fault] of faults.entries()) {
    const lengthMs = fault.endMs - fault.startMs;
    assert.ok(lengthMs >= 3000 && lengthMs <= options.meanIntervalMs / 2, `${fault.kind} takes ${lengthMs} ms`);
    const next = faults[index + 1];
    if (next) assert.ok(next.startMs >= fault.endMs);
    assert.is(fault.metric === -1, fault.kind === "dropout");
  }
});

test("only the kinds asked for", () => {
  const faults = faultsOf(3, "pump-01", true, 36_000_000, { kinds: ["stuck"] });
  assert.ok(faults.length > 10);
  assert.ok(faults.every(({ kind }) => kind === "stuck"));
});

test("one device of the fleet has a fault exactly first_after after the start, no device has one before", () => {
  for (let seed = 0; seed < 20; seed++) {
    const devices = createDevices(seed, 12, options);
    const first = firstFaultDevice(seed, 12);
    for (const [index, device] of devices.entries()) {
      for (let tsMs = START_MS - 60_000; tsMs < START_MS + options.firstAfterMs; tsMs += 250) {
        assert.is(device.faults!.at(tsMs), undefined);
      }
      const fault = device.faults!.at(START_MS + options.firstAfterMs);
      if (index === first) assert.is(fault?.kind, "spike");
      else assert.ok(fault === undefined || fault.startMs === START_MS + options.firstAfterMs);
    }
  }
});

test("with first_after 0 no fault is placed and none begins before the start", () => {
  const placed = faultsOf(3, "pump-01", true, 3_600_000, { firstAfterMs: 0 });
  assert.equal(placed, faultsOf(3, "pump-01", false, 3_600_000, { firstAfterMs: 0 }));
  assert.ok(placed.every(({ startMs }) => startMs >= START_MS));
});

test("a fault shows in at least 4 readings, also in a slow series at the shortest mean interval", () => {
  const intervalMs = 30_000;
  const meanIntervalMs = meanIntervalMinMs(intervalMs);
  const faults = faultsOf(5, "tank-01", true, 86_400_000, { intervalMs, meanIntervalMs });
  assert.ok(faults.length > 100);
  for (const { startMs, endMs } of faults) assert.ok(endMs - startMs >= 4 * intervalMs);
});

test("a device under a fault of one metric measures the others as before", () => {
  const devices = createDevices(1, 5, { ...options, kinds: ["spike"] });
  const device = devices[firstFaultDevice(1, 5)]!;
  const tsMs = START_MS + options.firstAfterMs + 1000;
  const fault = device.faults!.at(tsMs)!;
  device.signals.forEach((signal, metric) => {
    const value = readingAt(device, metric, tsMs, fault);
    if (metric === fault.metric) assert.is.not(value, healthyValue(signal, tsMs));
    else assert.is(value, healthyValue(signal, tsMs));
  });
});
