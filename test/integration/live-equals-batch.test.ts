import { rmSync } from "node:fs";
import * as assert from "uvu/assert";
import fc from "fast-check";
import type { ThresholdVersion } from "@weir/shared/model/thresholds";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { tempFolder } from "../support/temp.ts";

const test = suite("live equals batch", { timeoutMs: 90_000 });

const DAY = "2026-03-14";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);
const NOW_MS = DAY_MS + 2 * 86_400_000;

interface Reading {
  readonly topic: string;
  readonly tsMs: number;
  readonly value: number;
}

function version(number: number, effectiveFromMs: number, high: number, gapMs: number, forMs = 0): ThresholdVersion {
  const band = {
    warningLow: -high,
    warningHigh: high,
    criticalLow: null,
    criticalHigh: 2 * high,
    forMs,
    gapMs,
    intervalMs: null,
  };
  const rules = [{ match: { site: "*", device: "*", metric: "*" }, band }];
  return { version: number, effectiveFromMs, createdAtMs: 0, timezone: "UTC", note: "", rules, series: [] };
}

/** What may happen between readings, in some order. */
type Step =
  | { readonly kind: "reading"; readonly index: number }
  | { readonly kind: "commit" | "checkpoint" | "restart" | "ship" | "shipUnacknowledged" }
  | { readonly kind: "publish"; readonly index: number };

/** Everything in event-time order, once each, all versions known from the start: the plain batch. */
function plainBatch(folder: string, readings: readonly Reading[], versions: readonly ThresholdVersion[]): Plant {
  const plant = createPlant(folder, { nowMs: NOW_MS });
  for (const one of versions) plant.publish(one);
  const distinct = new Map(readings.map((reading) => [`${reading.topic} ${reading.tsMs} ${reading.value}`, reading]));
  const sorted = [...distinct.values()].toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);
  for (const { topic, tsMs, value } of sorted) plant.send(topic, tsMs, value);
  finish(plant);
  return plant;
}

function finish(plant: Plant): void {
  plant.pipeline.commit();
  plant.pipeline.tick();
  plant.pipeline.checkpoint();
  // What the checkpoint's re-folds emitted is in the outbox now.
  plant.ship();
}

function take(plant: Plant, step: Step, readings: readonly Reading[], versions: readonly ThresholdVersion[]): void {
  switch (step.kind) {
    case "reading": {
      const { topic, tsMs, value } = readings[step.index]!;
      plant.send(topic, tsMs, value);
      break;
    }
    case "publish":
      plant.publish(versions[step.index]!);
      break;
    case "restart":
      plant.restart();
      break;
    case "ship":
      plant.ship();
      break;
    case "shipUnacknowledged":
      plant.ship({ lostAcks: true });
      break;
    default:
      plant.pipeline[step.kind]();
  }
}

const readingArb = fc.record({
  topic: fc.constantFrom("s/hall/pump/temp", "s/hall/pump/flow", "s/yard/fan/rpm"),
  // Seconds of a day and a bit: windows, hours and midnight are all crossed.
  tsMs: fc.integer({ min: -400, max: 90_000 }).map((second) => DAY_MS + second * 1000),
  value: fc.oneof(
    fc.integer({ min: -30, max: 30 }),
    fc.double({ min: -25, max: 25, noNaN: true }).map((v) => v + 0),
  ),
});

const versionsArb = fc
  .array(
    fc.record({
      at: fc.integer({ min: -500, max: 80_000 }),
      high: fc.integer({ min: 2, max: 25 }),
      gap: fc.constantFrom(10, 600, 7200),
      hold: fc.constantFrom(0, 30),
    }),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((list) =>
    list.map(({ at, high, gap, hold }, i) => version(i + 1, DAY_MS + at * 1000, high, gap * 1000, hold * 1000)),
  );

const planArb = fc.record({
  readings: fc.array(readingArb, { minLength: 1, maxLength: 120 }),
  versions: versionsArb,
  disorder: fc.array(fc.nat(), { minLength: 40, maxLength: 300 }),
});

/** A run that sends every reading at least once, in an order drawn from `disorder`, with faults in between. */
function stepsOf(readings: number, versions: number, disorder: readonly number[]): Step[] {
  const steps: Step[] = [];
  for (let index = 0; index < readings; index++) steps.push({ kind: "reading", index });
  for (let index = 0; index < versions; index++) steps.push({ kind: "publish", index });
  const faults = ["commit", "checkpoint", "restart", "ship", "shipUnacknowledged", "commit"] as const;
  disorder.forEach((draw, i) => {
    const at = draw % (steps.length + 1);
    const choice = i % 3;
    if (choice === 0) steps.splice(at, 0, { kind: faults[draw % faults.length]! });
    else if (choice === 1) steps.splice(at, 0, { kind: "reading", index: draw % readings });
    else {
      const [moved] = steps.splice(draw % steps.length, 1);
      if (moved) steps.splice(at % (steps.length + 1), 0, moved);
    }
  });
  return steps;
}

test("any order, duplicates, restarts, re-sent frames and late threshold versions give the plain batch's bytes", () => {
  fc.assert(
    fc.property(planArb, ({ readings, versions, disorder }) => {
      const folders = [tempFolder(), tempFolder()] as const;
      const plant = createPlant(folders[0], { nowMs: NOW_MS });
      const steps = stepsOf(readings.length, versions.length, disorder);
      let uncommitted: Step[] = [];
      for (const step of steps) {
        if (step.kind === "reading") uncommitted.push(step);
        if (step.kind === "restart") {
          // Not committed, so not acknowledged: the device or the broker sends it again.
          plant.restart();
          for (const again of uncommitted) take(plant, again, readings, versions);
          continue;
        }
        take(plant, step, readings, versions);
        if (step.kind === "commit" || step.kind === "checkpoint" || step.kind === "publish") uncommitted = [];
      }
      finish(plant);
      const batch = plainBatch(folders[1], readings, versions);
      for (const day of ["2026-03-13", DAY, "2026-03-15"]) {
        const expected = batch.reports(day);
        const got = plant.reports(day);
        assert.is(got.live, expected.live);
        assert.is(got.batch, expected.live);
        assert.is(got.replay, expected.live);
        assert.is(expected.replay, expected.live);
      }
      assert.equal(plant.alerts(), batch.alerts());
      assert.equal(plant.replayedAlerts(), batch.alerts());
      const { received, stored, duplicates } = plant.pipeline.core.ledger;
      assert.is(received, stored + duplicates);
      plant.close();
      batch.close();
      for (const folder of folders) rmSync(folder, { recursive: true });
    }),
    {
      numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 100),
      interruptAfterTimeLimit: 60_000,
      markInterruptAsFailure: true,
    },
  );
});
