import * as assert from "uvu/assert";
import fc from "fast-check";
import type { Band, ThresholdVersion } from "@weir/shared/model/thresholds";
import type { ClockTick } from "@weir/shared/operators/watched";
import type { Plant } from "../support/plant.ts";
import { createPlant } from "../support/plant.ts";
import { suite } from "../support/suite.ts";
import { memoryFolder } from "../support/memory-folder.ts";

const test = suite("live equals batch", { timeoutMs: 90_000 });

const DAY = "2026-03-14";
const DAY_MS = Date.parse(`${DAY}T00:00:00Z`);
const NOW_MS = DAY_MS + 2 * 86_400_000;
/** Later than all ticks that are drawn. */
const END_MS = DAY_MS + 60 * 86_400_000;

interface Reading {
  readonly topic: string;
  readonly tsMs: number;
  readonly value: number;
}

interface Tick {
  readonly nowMs: number;
  readonly watching: boolean;
}

type Silence = Pick<Band, "intervalMs" | "silenceIntervals">;

function version(
  number: number,
  effectiveFromMs: number,
  {
    high,
    gapMs,
    forMs,
    silence,
  }: { readonly high: number; readonly gapMs: number; readonly forMs: number; readonly silence: Silence },
): ThresholdVersion {
  const band: Band = {
    warningLow: -high,
    warningHigh: high,
    criticalLow: null,
    criticalHigh: 2 * high,
    forMs,
    gapMs,
    ...silence,
  };
  const rules = [{ match: { site: "*", device: "*", metric: "*" }, band }];
  return { version: number, effectiveFromMs, createdAtMs: 0, timezone: "UTC", note: "", rules, series: [] };
}

/** What may happen between readings, in some order. */
type Step =
  | { readonly kind: "reading"; readonly index: number }
  | { readonly kind: "commit" | "checkpoint" | "restart" | "ship" | "shipUnacknowledged" }
  | { readonly kind: "publish" | "tick"; readonly index: number };

/** Everything in event-time order, once each, all versions known from the start, then all ticks: the plain batch. */
function plainBatch(
  folder: string,
  readings: readonly Reading[],
  versions: readonly ThresholdVersion[],
  ticks: readonly ClockTick[],
): Plant {
  const plant = createPlant(folder, { nowMs: NOW_MS });
  for (const one of versions) plant.publish(one);
  const distinct = new Map(readings.map((reading) => [`${reading.topic} ${reading.tsMs} ${reading.value}`, reading]));
  const sorted = [...distinct.values()].toSorted((a, b) => a.tsMs - b.tsMs || a.value - b.value);
  for (const { topic, tsMs, value } of sorted) plant.send(topic, tsMs, value);
  finish(plant, ticks);
  return plant;
}

/** Ends a run with ticks, after which whatever is silent has been for long. */
function finish(plant: Plant, ticks: ReadonlyArray<ClockTick>): void {
  // Of re-folds that wait, the thresholds are to be known before the last word on what is silent.
  plant.pipeline.checkpoint();
  for (const { nowMs, watching } of ticks) plant.tick(nowMs, watching ?? true);
  plant.pipeline.checkpoint();
  // What the checkpoint's re-folds emitted is in the outbox now.
  plant.ship();
}

function take(plant: Plant, step: Step, { readings, versions, ticks }: Plan): void {
  switch (step.kind) {
    case "reading": {
      const { topic, tsMs, value } = readings[step.index]!;
      plant.send(topic, tsMs, value);
      break;
    }
    case "tick": {
      const { nowMs, watching } = ticks[step.index]!;
      plant.tick(nowMs, watching);
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
  // Seconds of a day and a bit: windows, hours and midnight are all crossed. Most where the clock ticks.
  tsMs: fc
    .oneof({ weight: 3, arbitrary: fc.integer({ min: -400, max: 8000 }) }, fc.integer({ min: -400, max: 90_000 }))
    .map((second) => DAY_MS + second * 1000),
  value: fc.oneof(
    fc.integer({ min: -30, max: 30 }),
    fc.double({ min: -25, max: 25, noNaN: true }).map((v) => v + 0),
  ),
});

const versionsArb = fc
  .array(
    fc.record({
      at: fc.oneof(fc.integer({ min: -500, max: 3000 }), fc.integer({ min: -500, max: 80_000 })),
      high: fc.integer({ min: 2, max: 25 }),
      gap: fc.constantFrom(10, 600, 7200),
      hold: fc.constantFrom(0, 30),
      intervalMs: fc.constantFrom(null, 5_000, 60_000, 300_000),
      silenceIntervals: fc.constantFrom(undefined, null, 0, 0.5, 2, 12),
    }),
    {
      minLength: 1,
      maxLength: 4,
    },
  )
  .map((list) =>
    list.map(({ at, high, gap, hold, intervalMs, silenceIntervals }, i) => {
      const silence = { intervalMs, ...(silenceIntervals === undefined ? {} : { silenceIntervals }) };
      return version(i + 1, DAY_MS + at * 1000, { high, gapMs: gap * 1000, forMs: hold * 1000, silence });
    }),
  );

/** A clock that mostly goes on in steps that count as watched, and at times is set. */
const ticksArb: fc.Arbitrary<Tick[]> = fc
  .array(
    fc.record({
      step: fc.oneof(
        { weight: 8, arbitrary: fc.integer({ min: 20, max: 180 }) },
        fc.constantFrom(340, 600, 4000, -300, -3000, 0),
      ),
      watching: fc.integer({ min: 0, max: 9 }).map((draw) => draw > 0),
    }),
    { minLength: 10, maxLength: 90 },
  )
  .map((list) => {
    let nowMs = DAY_MS - 400_000;
    return list.map(({ step, watching }) => ({ nowMs: (nowMs += step * 1000), watching }));
  });

/** Steps of a clock that is believed to have been watched from the second on, for longer than any silence drawn. */
const LAST_TICKS: readonly Tick[] = [0, 170, 510, 1190, 2390, 3590, 4790].map((second) => ({
  nowMs: END_MS + second * 1000,
  watching: true,
}));

interface Plan {
  readonly readings: readonly Reading[];
  readonly versions: readonly ThresholdVersion[];
  readonly ticks: readonly Tick[];
}

const planArb = fc.record({
  readings: fc.array(readingArb, { minLength: 1, maxLength: 120 }),
  versions: versionsArb,
  ticks: ticksArb,
  disorder: fc.array(fc.nat(), { minLength: 40, maxLength: 300 }),
});

/** A run that sends every reading at least once, in an order drawn from `disorder`, with faults in between. */
function stepsOf(plan: Plan, disorder: readonly number[]): Step[] {
  const readings = plan.readings.length;
  const versions = plan.versions.length;
  const steps: Step[] = [];
  for (let index = 0; index < readings; index++) steps.push({ kind: "reading", index });
  for (let index = 0; index < versions; index++) steps.push({ kind: "publish", index });
  // Spread among the rest, in their order.
  plan.ticks.forEach((_, index, { length }) => {
    steps.splice(Math.floor(((index + 1) * steps.length) / (length + 1)), 0, { kind: "tick", index });
  });
  const faults = ["commit", "checkpoint", "restart", "ship", "shipUnacknowledged", "commit"] as const;
  disorder.forEach((draw, i) => {
    const at = draw % (steps.length + 1);
    const choice = i % 3;
    if (choice === 0) steps.splice(at, 0, { kind: faults[draw % faults.length]! });
    else if (choice === 1) steps.splice(at, 0, { kind: "reading", index: draw % readings });
    else {
      const from = draw % steps.length;
      // The clock goes on as it was drawn.
      if (steps[from]?.kind === "tick") return;
      const [moved] = steps.splice(from, 1);
      if (moved) steps.splice(at % (steps.length + 1), 0, moved);
    }
  });
  return steps;
}

test("any order, duplicates, restarts, re-sent frames and late threshold versions give the plain batch's bytes", () => {
  fc.assert(
    fc.property(planArb, ({ disorder, ...plan }) => {
      const folders = [memoryFolder(), memoryFolder()] as const;
      const plant = createPlant(folders[0].path, { nowMs: NOW_MS });
      const steps = stepsOf(plan, disorder);
      let uncommitted: Step[] = [];
      for (const step of steps) {
        if (step.kind === "reading") uncommitted.push(step);
        if (step.kind === "restart") {
          // Not committed, so not acknowledged: the device or the broker sends it again.
          plant.restart();
          for (const again of uncommitted) take(plant, again, plan);
          continue;
        }
        take(plant, step, plan);
        if (["commit", "checkpoint", "publish", "tick"].includes(step.kind)) uncommitted = [];
      }
      finish(plant, LAST_TICKS);
      const batch = plainBatch(folders[1].path, plan.readings, plan.versions, plant.ticks());
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
      for (const folder of folders) folder.remove();
    }),
    {
      numRuns: Number(process.env["WEIR_PROPERTY_RUNS"] ?? 100),
      interruptAfterTimeLimit: 60_000,
      markInterruptAsFailure: true,
    },
  );
});
